"""What the pages keep between reruns: the only place with Streamlit's caches.

Keys are names and hashes, never tensors or pixels. What is cached is shared by all sessions and
never written to. A network's name is what `load_network` takes: of a file that a user brought, a
path with a hash in it.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Hashable
from operator import attrgetter
from threading import Lock
from typing import Any, BinaryIO, TypeVar

import streamlit as st
from jaxtyping import Float
from torch import Tensor

from analysis import degeneracy
from analysis import record_file as records
from analysis.attribution import Attribution, attributions
from analysis.capture import Observation, observe
from analysis.figures import Look, attention_figure, figure_bytes
from analysis.interventions import Intervention
from analysis.query_map import divergence_from_mean_bits
from analysis.query_map import most_different as find_most_different
from analysis.record import AttentionRecord
from analysis.vectors import VectorDistances, vector_distances
from app.batch.clips import of_clips
from app.changes import Change
from app.changes import changes as changes_of
from app.components.painting import reduced
from app.export.bundle import bundle as draw_bundle
from app.export.clip_seeing import SeenClip
from app.export.options import Options
from app.export.preview import preview as draw_preview
from app.export.preview import see_one, see_one_clip
from app.export.seeing import Seen
from app.networks import image_networks, short_name, weights_path
from app.pictures import Picture, uploaded_picture
from app.viewer.payload import Shown, pack_all
from models import load_network
from models.checkpoints.layout import Network
from models.file_hash import file_sha256

T = TypeVar("T")

BY_ID: dict[str | type[Any], Callable[[Any], Any]] = {Picture: attrgetter("id")}


@st.cache_resource(max_entries=4, show_spinner="Loading the network…")
def network(name: str) -> tuple[Network, Lock]:
    """Return a network, and the lock to hold while hooks are on it."""
    return load_network(name), Lock()


@st.cache_resource(max_entries=4, show_spinner="Reading the picture…")
def upload(data: bytes, name: str = "picture") -> Picture:
    """Return the picture in an uploaded file; ValueError if there is none that can be used."""
    return uploaded_picture(data, name)


@st.cache_resource(max_entries=8, show_spinner="Running the network…", hash_funcs=BY_ID)
def _watched(network_name: str, picture: Picture) -> tuple[Observation, dict[str, VectorDistances]]:
    module, lock = network(network_name)
    with lock, vector_distances(module) as vectors:
        return observe(module, picture.image), vectors


def observation(network_name: str, picture: Picture) -> Observation:
    """Return what a network made of a picture."""
    return _watched(network_name, picture)[0]


@st.cache_resource(max_entries=32, show_spinner="Preparing the maps…", hash_funcs=BY_ID)
def payload(network_name: str, picture: Picture, index: int = 0) -> bytes:
    """Return what the viewer needs to show one of a network's records."""
    seen = observation(network_name, picture)
    record = seen.records[index]
    sha256 = weights_sha256(network_name)
    shown = Shown(short_name(network_name), record, seen.output, sha256)
    linkable = network_name in image_networks()
    return pack_all(picture.image, [shown], alt=picture.alt, name=picture.name, linkable=linkable)


@st.cache_resource(max_entries=256, show_spinner="Measuring…", hash_funcs=BY_ID)
def report(network_name: str, picture: Picture, index: int = 0) -> degeneracy.DegeneracyReport:
    """Return the degeneracy statistics of one of a network's records."""
    seen, vectors = _watched(network_name, picture)
    record = seen.records[index]
    return degeneracy.measure(record, vectors=vectors.get(record.block))


@st.cache_resource(max_entries=32, show_spinner="Comparing queries…", hash_funcs=BY_ID)
def query_map(network_name: str, picture: Picture, index: int) -> Float[Tensor, " query_pos"]:
    """Return how far every query's row is from the mean row, in bits."""
    return divergence_from_mean_bits(observation(network_name, picture).records[index])


@st.cache_resource(max_entries=32, show_spinner="Comparing queries…", hash_funcs=BY_ID)
def most_different(
    network_name: str, picture: Picture, index: int, dark: bool
) -> tuple[bytes, tuple[int, int]]:
    """Return the two queries that differ most, before them their maps as a PNG.

    Raises:
        ValueError: There are not two queries that attend to anything.
    """
    record = observation(network_name, picture).records[index]
    pair = find_most_different(record)
    look = Look(style="slides", dpi=100) if dark else Look(width_in=12.0, dpi=100)
    figure = attention_figure(record, pair, image=picture.image, look=look)
    return figure_bytes(figure, "png", note={}), pair


@st.cache_resource(max_entries=64, show_spinner=False, hash_funcs=BY_ID)
def attribution(
    network_name: str, picture: Picture, block: str, query: int, method: str
) -> Attribution:
    """Return what the class score at a query depends on, by one method."""
    module, lock = network(network_name)
    with lock:
        _, (found,) = attributions(module, picture.image, query, block=block, methods=(method,))
    return found


@st.cache_resource(max_entries=8, show_spinner="Changing the attention…", hash_funcs=BY_ID)
def changes(network_name: str, picture: Picture) -> dict[Intervention, Change]:
    """Return what a network says about a picture under every intervention."""
    module, lock = network(network_name)
    height, width = reduced(picture.image).shape[:2]
    with lock:
        return changes_of(module, picture, (height, width))


EXPORTING = Lock()
"""Held while an export runs networks: it has its own, shared by all sessions."""


@st.cache_resource(max_entries=8, show_spinner="Running the networks…")
def _seen(options: str) -> Seen:
    with EXPORTING:
        return see_one(Options.build(json.loads(options)))


@st.cache_resource(max_entries=2, show_spinner="Running the networks on every frame…")
def _seen_clip(options: str) -> SeenClip:
    with EXPORTING:
        return see_one_clip(Options.build(json.loads(options)))


@st.cache_resource(max_entries=16, show_spinner="Drawing…")
def preview(options: str) -> list[tuple[str, bytes]]:
    """Return the first figures of an export with their names, as PNG for the screen.

    Args:
        options: JSON of `Options.to_json`.

    Raises:
        ValueError: There is nothing to draw, or an input, network or query is not there.
        OSError: An input cannot be read.
    """
    asked = json.loads(options)
    decisive = ["inputs", "networks", "block", "head", "queries", "layout"]
    built = Options.build(asked)
    moving = of_clips(built)
    if moving:
        decisive += ["start", "stride", "frames", "track"]
    found = json.dumps({name: asked[name] for name in decisive if name in asked})
    return draw_preview(built, _seen_clip(found) if moving else _seen(found))


def bundle(options: str) -> BinaryIO:
    """Return all files of an export as one; it is on its way to the user, and not kept."""
    with EXPORTING:
        return draw_bundle(Options.build(json.loads(options)))


def record_title(name: str, record: AttentionRecord) -> str:
    """Return what one record of several of a network is called."""
    head = "" if record.head is None else f" head {record.head}"
    return f"{name} {record.block}{head}"


def record_name(network_name: str, number: int, picture: Picture) -> str:
    """Return the block, and the head, of one record of a network."""
    record = observation(network_name, picture).records[number]
    return record.block if record.head is None else f"{record.block}.head{record.head}"


@st.cache_resource(max_entries=64, show_spinner=False)
def weights_sha256(name: str) -> str:
    """Return the hash of a network's weight file; empty where it is gone."""
    path = weights_path(name)
    return file_sha256(path) if path.is_file() else ""


@st.cache_resource(max_entries=16, show_spinner="Preparing the maps…", hash_funcs=BY_ID)
def comparison(chosen: tuple[tuple[str, int], ...], picture: Picture) -> bytes:
    """Return what the viewer needs to compare records: a network's name and a record's number."""
    shown = []
    for name, number in chosen:
        seen = observation(name, picture)
        record = seen.records[number]
        title = name if len({other for other, _ in chosen}) > 1 else record_title(name, record)
        shown.append(Shown(title, record, seen.output, weights_sha256(name)))
    return pack_all(picture.image, shown, alt=picture.alt, name=picture.name, linkable=True)


@st.cache_resource(max_entries=4, show_spinner="Reading the record file…")
def record_file(data: bytes, name: str) -> bytes:
    """Return what the viewer needs to show a record file; ValueError if it is none."""
    held = records.read_bytes(data, name)
    digest = hashlib.sha256(data).hexdigest()
    shown = [Shown(title, record, sha256=digest) for title, record in held.titled.items()]
    return pack_all(held.image, shown, alt=f"The image in {name}", name=name)


class Shelf:
    """The last few of something that takes long to make and tells how far it is.

    Streamlit's own caches replay what is drawn while something is made, which a progress bar cannot
    stand; and they keep what was made when the user has gone on to something else.
    """

    def __init__(self, entries: int) -> None:
        self._entries, self._kept, self._lock = entries, OrderedDict[Hashable, Any](), Lock()

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, made first if it is not there."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                kept: T = self._kept[key]
                return kept
        made = make()
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)
        return made


@st.cache_resource
def shelf(name: str, entries: int) -> Shelf:
    """Return the shelf of a name, shared by all sessions."""
    return Shelf(entries)
