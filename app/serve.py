"""What Streamlit runs: `main.py` behind what guards, counts and logs requests.

Without it `streamlit run main.py` shows the same pages.
"""

import os
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.routing import Route

from nonlocal_lens.app.server import imports
from nonlocal_lens.app.server.counters import COUNTERS, serve_counters
from nonlocal_lens.app.server.garbage import Collector
from nonlocal_lens.app.server.guard import Guard
from nonlocal_lens.app.server.health import health
from nonlocal_lens.app.server.log import RequestLog, tell_error
from nonlocal_lens.app.settings import settings

# Before torch is imported. Under load threads of one computation are in the way of the others
# (`python -m benchmarks.threads` measures it): there is one unless a turn in line gives more, and
# those that have nothing to do sleep instead of looking for work on a core that somebody else has.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ["OMP_WAIT_POLICY"] = "passive"

imports.announce(imports.PATIENCE)
Collector().watch()

if settings().metrics_port:
    serve_counters(COUNTERS, settings().metrics_port)

app = st.App(
    Path(__file__).with_name("main.py"),
    routes=[Route("/healthz", health)],
    middleware=[
        Middleware(RequestLog, counters=COUNTERS, as_json=settings().log == "json"),
        Middleware(Guard, hosts=settings().host_names),
    ],
    on_script_error=tell_error,
)
