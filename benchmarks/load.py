"""Many tabs at once, as many people would use them, against the app of this checkout.

    python -m benchmarks.load --tabs 20 --seconds 300
    python -m benchmarks.load --uploads 30      # memory: pictures of 24 megapixels
    python -m benchmarks.load --alone           # what each thing takes of a core, in one tab

Tabs are sessions of Streamlit's own protocol, without browsers, which would need more processor
than the server: each brings a picture of its own, pins, compares, measures and looks at an export,
again and again, while one more measures 40 pictures. What is told of a pin is the time from the
click to the end of what it changes on the page. Every map must be that of the tab's own picture.
"""

import argparse
import base64
import io
import json
import os
import random
import re
import statistics
import sys
import threading
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from streamlit.components.v2.bidi_component.main import _make_trigger_id
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets import Subprotocol
from websockets.sync.client import connect

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from browser import running

ROOT = Path(__file__).parents[1]
MOST_SECONDS = 240.0  # without an answer: then it is an error
LARGE = 6000, 4000
PICTURES, PINS = 4, 8  # of a tab that is alone
AFTERWARDS = 1.0  # seconds for what goes on when a page has answered


class Tab:
    """One session: what a browser's tab would say and hear."""

    def __init__(self, url: str) -> None:
        address = url.replace("http", "ws") + "/_stcore/stream"
        self._socket = connect(
            address, subprotocols=[Subprotocol("streamlit")], max_size=None, legacy=True
        )
        self._states: dict[str, dict[str, object]] = {}
        self.page = self._query = self._script = ""
        self.forget()

    def forget(self) -> None:
        """Forget what the page held."""
        self.ids: dict[str, str] = {}  # kind and label or name of a widget -> its id
        self.fragments: dict[str, str] = {}  # id -> the part of the page that it reruns
        self.payload = b""
        self.errors: list[str] = []

    def close(self) -> None:
        """Close the tab."""
        self._socket.close()

    def open(self, page: str) -> None:
        """Go to a page."""
        self.page, _, self._query = page.partition("?")
        self._script, self._states = "", {}
        self.forget()
        self.run()

    def run(self, changed: dict[str, dict[str, object]] | None = None, fragment: str = "") -> float:
        """Run the page, or a part of it, with what was changed; return after how many seconds."""
        said = BackMsg()
        if self._script:
            said.rerun_script.page_script_hash = self._script
        else:
            said.rerun_script.page_name = self.page
        said.rerun_script.query_string = self._query
        said.rerun_script.fragment_id = fragment
        for name, value in {**self._states, **(changed or {})}.items():
            state = said.rerun_script.widget_states.widgets.add(id=name)
            for field, content in value.items():
                setattr(state, field, content)
        began = time.monotonic()
        self._socket.send(said.SerializeToString())
        while True:
            message = ForwardMsg()
            message.ParseFromString(self._socket.recv(timeout=MOST_SECONDS))
            self._hear(message)
            if message.WhichOneof("type") == "script_finished" and not runs_again(message):
                return time.monotonic() - began

    def pin(self, x: float, y: float) -> float:
        """Pin a query; return how long it takes until the page has answered."""
        viewer = self.ids["bidi:viewer"]
        view = {"view": {"queries": [{"points": [[x, y]]}], "active": 0}}
        self._states[viewer] = {"json_value": json.dumps(view)}
        return self.run(fragment=self.fragments[viewer])

    def drop(self, name: str, data: bytes) -> None:
        """Drop a picture on the page."""
        trigger = _make_trigger_id(self.ids["bidi:shelf"], "events")
        file = {"name": name, "data": base64.b64encode(data).decode()}
        event = json.dumps([{"event": "file", "value": file}])
        self.payload = b""
        self._states[self.ids["bidi:shelf"]] = {"json_value": "{}"}
        self.run({trigger: {"json_trigger_value": event}})

    def press(self, label: str) -> None:
        """Press the button whose label begins so."""
        found = [name for key, name in self.ids.items() if key.startswith(f"button:{label}")]
        if found:
            self.run({found[0]: {"trigger_value": True}})

    def _hear(self, message: ForwardMsg) -> None:
        if message.WhichOneof("type") == "new_session":
            self._script = message.new_session.page_script_hash
        if message.WhichOneof("type") != "delta" or not message.delta.HasField("new_element"):
            return
        element = message.delta.new_element
        kind = element.WhichOneof("type")
        if kind == "bidi_component":
            found = element.bidi_component
            short = found.component_name.rpartition("_")[2]
            self.ids[f"bidi:{short}"] = found.id
            self.fragments[found.id] = message.delta.fragment_id
            if short == "viewer":
                self.payload = found.bytes or self.payload
        elif kind == "button":
            self.ids[f"button:{element.button.label}"] = element.button.id
        elif kind == "exception":
            self.errors.append(f"{element.exception.type}: {element.exception.message}")
        elif kind == "alert" and element.alert.format == element.alert.ERROR:
            self.errors.append(element.alert.body)


def runs_again(finished: ForwardMsg) -> bool:
    """Whether a run ended for the sake of another one, which begins by itself."""
    return finished.script_finished == ForwardMsg.ScriptFinishedStatus.FINISHED_EARLY_FOR_RERUN


def photo(seed: int, size: tuple[int, int] = (640, 480)) -> bytes:
    """Return a picture, unlike that of any other seed, as JPEG."""
    draws = np.random.default_rng(seed)
    small = draws.integers(0, 256, (size[1] // 40, size[0] // 40, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


class Load:
    """What all tabs found together."""

    def __init__(self, url: str, seconds: float) -> None:
        self.url, self.until = url, time.monotonic() + seconds
        self.times: dict[str, list[float]] = defaultdict(list)
        self.errors: list[str] = []
        self.crossed = 0

    def use(self, number: int, draws: random.Random) -> None:
        """Use the app as one person does, until the time is over."""
        tab = Tab(self.url)
        try:
            self._timed("open", lambda: tab.open(""))
            self._timed("drop", lambda: tab.drop(f"mine-{number}.jpg", photo(number)))
            while time.monotonic() < self.until:
                self._check(tab, number)
                for _ in range(draws.randint(2, 6)):
                    seconds = tab.pin(draws.uniform(10, 600), draws.uniform(10, 470))
                    self.times["pin"].append(seconds)
                    time.sleep(draws.uniform(0.5, 3))
                page = draws.choice(["compare", "export", "degeneracy"])
                self._timed(page, lambda page=page: tab.open(page))
                if page == "degeneracy" and draws.random() < 0.3:
                    self._timed("measure", lambda: tab.press("Measure"))
                self._note(tab)
                self._timed("explore", lambda: tab.open(""))
        except Exception as error:
            self.errors.append(f"tab {number}: {type(error).__name__}: {error}")
        finally:
            self._note(tab)
            tab.close()

    def survey(self, pictures: int) -> None:
        """Measure pictures in one more tab; note how many were done in the end."""
        tab = Tab(self.url)
        tab.open(f"degeneracy?pictures=Rendered+streets&count={pictures}")
        tab.press("Measure")
        while time.monotonic() < self.until:
            time.sleep(1)
        tab.close()

    def _timed(self, name: str, do: Callable[[], object]) -> None:
        began = time.monotonic()
        do()
        self.times[name].append(time.monotonic() - began)

    def _note(self, tab: Tab) -> None:
        self.errors += tab.errors
        tab.errors = []

    def _check(self, tab: Tab, number: int) -> None:
        if f"mine-{number}.jpg".encode() not in tab.payload:
            self.crossed += 1
            shown = b", ".join(re.findall(rb"mine-\d+", tab.payload)).decode() or "none of ours"
            self.errors.append(f"tab {number} has not the map of its own picture but {shown}")


def counters(port: int) -> dict[str, float]:
    """Return what the server counts."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def under_load(url: str, port: int, tabs: int, seconds: float, survey: int) -> int:
    """Use the app in many tabs; print what that was like, return 1 if anything was wrong."""
    load = Load(url, seconds)
    threads = [
        threading.Thread(target=load.use, args=(number, random.Random(number)))
        for number in range(tabs)
    ]
    if survey:
        threads.append(threading.Thread(target=load.survey, args=(survey,)))
    most = 0.0
    for thread in threads:
        thread.start()
        time.sleep(0.2)
    while any(thread.is_alive() for thread in threads):
        time.sleep(1)
        most = max(most, counters(port)["nonlocal_lens_resident_bytes"])
    for name, times in sorted(load.times.items()):
        p95 = statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]
        median = statistics.median(times)
        print(f"{name:<11} {len(times):5} times, p50 {median:6.2f} s, p95 {p95:6.2f} s")
    print(f"memory at most {most / 1e6:.0f} MB, {len(load.errors)} errors, {load.crossed} crossed")
    for error in load.errors[:10]:
        print(f"  {error[:200]}")
    return 1 if load.errors else 0


def large_uploads(url: str, port: int, uploads: int, side_by_side: bool) -> int:
    """Bring large pictures; print how much memory that takes, and what stays of it."""
    first = Tab(url)
    first.open("")
    first.close()
    time.sleep(60)
    idle = counters(port)["nonlocal_lens_resident_bytes"]
    most, tabs = idle, []
    tab = Tab(url)
    tab.open("")
    for number in range(uploads):
        if side_by_side and number:
            tabs.append(tab)
            tab = Tab(url)
            tab.open("")
        tab.drop(f"mine-{number}.jpg", photo(number, LARGE))
        if tab.errors or f"mine-{number}.jpg".encode() not in tab.payload:
            print(f"upload {number}: {tab.errors or 'no map'}")
            return 1
        now = counters(port)["nonlocal_lens_resident_bytes"]
        most = max(most, now)
        print(f"{number + 1:3} uploads: {now / 1e6:6.0f} MB", flush=True)
    for one in [*tabs, tab]:
        one.close()
    time.sleep(60)
    after = counters(port)["nonlocal_lens_resident_bytes"]
    print(
        f"idle {idle / 1e6:.0f} MB, at most {most / 1e6:.0f} MB; 60 s after the last tab closed "
        f"{after / 1e6:.0f} MB"
    )
    return 1 if most > 2e9 or after - idle > 300e6 else 0


def alone(url: str, port: int) -> int:
    """Print what each thing that a visitor asks for takes of a core: the mean of several."""
    tab = Tab(url)
    seconds: dict[str, list[float]] = defaultdict(list)

    def taken(name: str, do: Callable[[], object]) -> None:
        before = counters(port)["nonlocal_lens_processor_seconds"]
        do()
        time.sleep(AFTERWARDS)
        seconds[name].append(counters(port)["nonlocal_lens_processor_seconds"] - before)

    for number in range(1 + PICTURES):
        tab.open("")
        taken("picture", lambda number=number: tab.drop(f"mine-{number}.jpg", photo(number)))
        for step in range(PINS):
            taken("pin", lambda step=step: tab.pin(20 + 50 * step, 100 + 20 * step))
        for page in ("compare", "export"):
            taken(page, lambda page=page: tab.open(page))
        if not number:  # networks and fonts were loaded for the first picture
            seconds.clear()
    for name, found in seconds.items():
        print(f"{name:<8} {statistics.mean(found):5.2f} core seconds")
    tab.close()
    return 1 if tab.errors else 0


def main() -> int:
    """Start the app and load it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tabs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--survey", type=int, default=40, help="pictures; 0 for no survey beside")
    parser.add_argument("--uploads", type=int, default=0, help="large pictures, instead of tabs")
    parser.add_argument("--alone", action="store_true", help="one tab: core seconds, no waits")
    parser.add_argument("--side-by-side", action="store_true", help="each large one in its own tab")
    chosen = parser.parse_args()
    port = random.Random().randint(20_000, 60_000)
    environment = {**os.environ, "NONLOCAL_LENS_METRICS_PORT": str(port)}
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.pop(variable, None)
    with running([sys.executable, "-m", "app"], cwd=ROOT, env=environment) as url:
        if chosen.alone:
            return alone(url, port)
        if chosen.uploads:
            return large_uploads(url, port, chosen.uploads, chosen.side_by_side)
        return under_load(url, port, chosen.tabs, chosen.seconds, chosen.survey)


if __name__ == "__main__":
    sys.exit(main())
