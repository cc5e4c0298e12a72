"""What the pages keep between reruns: the only place with Streamlit's caches.

Keys are names and hashes, never tensors or pixels. What is cached is shared by all sessions and
never written to.
"""

from collections.abc import Callable
from operator import attrgetter
from threading import Lock
from typing import Any

import streamlit as st

from analysis import degeneracy
from analysis.capture import Observation, observe
from app.pictures import Picture, uploaded_picture
from app.viewer.payload import pack
from models import load_network
from models.networks.segmentation import SegmentationNetwork

BY_ID: dict[str | type[Any], Callable[[Any], Any]] = {Picture: attrgetter("id")}


@st.cache_resource(max_entries=4, show_spinner="Loading the network…")
def network(name: str) -> tuple[SegmentationNetwork, Lock]:
    """Return a bundled network, and the lock to hold while hooks are on it."""
    return load_network(name), Lock()


@st.cache_resource(max_entries=4, show_spinner="Reading the picture…")
def upload(data: bytes) -> Picture:
    """Return the picture in an uploaded file; ValueError if there is none that can be used."""
    return uploaded_picture(data)


@st.cache_resource(max_entries=8, show_spinner="Running the network…", hash_funcs=BY_ID)
def observation(network_name: str, picture: Picture) -> Observation:
    """Return what a network made of a picture."""
    module, lock = network(network_name)
    with lock:
        return observe(module, picture.image)


@st.cache_resource(max_entries=32, show_spinner="Preparing the maps…", hash_funcs=BY_ID)
def payload(network_name: str, picture: Picture) -> bytes:
    """Return what the viewer needs to show a network's first block."""
    seen = observation(network_name, picture)
    return pack(seen, seen.records[0], title=network_name, alt=picture.alt)


@st.cache_resource(max_entries=256, show_spinner="Measuring…", hash_funcs=BY_ID)
def report(network_name: str, picture: Picture) -> degeneracy.DegeneracyReport:
    """Return the degeneracy statistics of a network's first block."""
    return degeneracy.measure(observation(network_name, picture).records[0])
