"""What the pages keep between reruns, as long as there is room.

Keys are names and hashes, never tensors or pixels. What is kept is shared by all tabs and never
written to. A network's name is what `load_network` takes: of a file that a user brought, a path
with a hash in it.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial, wraps
from inspect import signature
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import streamlit as st
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import atlas, degeneracy
from nonlocal_lens.analysis import record_file as records
from nonlocal_lens.analysis.attribution import Attribution, attributions
from nonlocal_lens.analysis.capture import Observation, observe
from nonlocal_lens.analysis.interventions import Intervention
from nonlocal_lens.analysis.query_map import divergence_from_mean_bits
from nonlocal_lens.analysis.query_map import most_different as find_most_different
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.vectors import VectorDistances, distances_of, vector_distances
from nonlocal_lens.app import first_maps
from nonlocal_lens.app.address import is_linkable
from nonlocal_lens.app.atlas import payload as atlas_payload
from nonlocal_lens.app.atlas.payload import Subject as AtlasSubject
from nonlocal_lens.app.batch.engine import Done, Job, WorkerDied
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.byte_cache import ByteCache
from nonlocal_lens.app.capabilities import segments
from nonlocal_lens.app.changes import Change
from nonlocal_lens.app.changes import changes as changes_of
from nonlocal_lens.app.components.painting import reduced
from nonlocal_lens.app.components.sentence import Looks, cell_classes, looks_of
from nonlocal_lens.app.line import line, page_turn
from nonlocal_lens.app.networks import image_networks, is_random, short_name
from nonlocal_lens.app.pictures import Picture, uploaded_picture
from nonlocal_lens.app.settings import MEGABYTE, settings
from nonlocal_lens.app.tabs import current_tab
from nonlocal_lens.app.uploads import keep
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from nonlocal_lens.models.checkpoints.layout import Network
from nonlocal_lens.models.libraries import LibraryName

if TYPE_CHECKING:
    from nonlocal_lens.app.export.scene import Subject

# What draws figures and exports is imported where it is used: the first page needs none of it.

T = TypeVar("T")
P = ParamSpec("P")

RESULTS = ByteCache(settings().results_mb * MEGABYTE)
"""What was computed for any tab."""

_WAIT: ContextVar[dict[str, ExitStack | None] | None] = ContextVar("wait", default=None)
"""What there is once until the wait ends: where it is to be entered, None once it is."""


@contextmanager
def one_wait(*, turn: bool = True) -> Iterator[None]:
    """Say once that something takes long, and take one turn for all of it, until the `with` ends.

    Whatever a page is told, it draws anew from top to bottom, a tenth of a second where it is slow:
    what it waits for should not come behind the end of a spinner, and another one. So what is shown
    in here is on the page before the spinner goes.

    Of what is remembered, only what is heavy is to be asked for in here: another tab that makes
    something else may stand in line for the very turn that is held while its result is waited for.

    Args:
        turn: Whether a turn is kept; else each piece of work takes its own, and gives it back.
    """
    if _WAIT.get() is not None:
        yield
        return
    with ExitStack() as spinner, ExitStack() as turns:
        token = _WAIT.set({"spinner": spinner, **({"turn": turns} if turn else {})})
        try:
            yield
        finally:
            _WAIT.reset(token)


def _once(
    what: str, begin: Callable[[], AbstractContextManager[object]]
) -> AbstractContextManager[object]:
    """Begin what lasts until the wait ends, unless it has begun; what is of none, for a `with`."""
    wait = _WAIT.get()
    if wait is None or what not in wait:
        return begin()
    stack, wait[what] = wait[what], None
    if stack is not None:
        stack.enter_context(begin())
    return nullcontext()


def remembered(
    spinner: str | None = None, *, heavy: bool = False
) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return what makes a function remember its results, for all tabs, as long as there is room.

    Args:
        spinner: What a page says while the result is made; None for nothing.
        heavy: Whether it takes so long that tabs have to take turns.
    """

    def remember(make: Callable[P, T]) -> Callable[P, T]:
        arguments = signature(make)

        @wraps(make)
        def found(*args: P.args, **kwargs: P.kwargs) -> T:
            bound = arguments.bind(*args, **kwargs)
            bound.apply_defaults()
            key = (make.__name__, *map(_key, bound.arguments.values()))
            made = partial(make, *args, **kwargs)
            if key in RESULTS:
                return RESULTS.get(key, made)
            # First the turn, then the key: who makes what others wait for never stands in line.
            with (
                one_wait(turn=False),
                _once("spinner", lambda: st.spinner(spinner)) if spinner else nullcontext(),
                _once("turn", page_turn) if heavy else nullcontext(),
            ):
                return RESULTS.get(key, made)

        return found

    return remember


def _key(argument: Any) -> Hashable:
    """Return what stands for an argument in a key."""
    if isinstance(argument, Picture):
        return "picture", argument.id
    if isinstance(argument, bytes):
        return "bytes", hashlib.sha256(argument).hexdigest()
    hash(argument)
    key: Hashable = argument
    return key


_SHOWN: WeakKeyDictionary[nn.Module, tuple[Any, Lock]] = WeakKeyDictionary()
_SHOWN_LOCK = Lock()


def network(name: str) -> tuple[Network, Lock]:
    """Return a network, and the lock to hold while hooks are on it."""
    with st.spinner("Loading the network…"):
        loaded = load(name)
    with _SHOWN_LOCK:
        if loaded.pattern not in _SHOWN:
            _SHOWN[loaded.pattern] = loaded.twin(), Lock()
        return _SHOWN[loaded.pattern]


def upload(data: bytes, name: str = "picture") -> Picture:
    """Return the picture in an uploaded file; ValueError if there is none that can be used."""
    found = _uploaded(data, name)
    keep(data, name)  # another tab may have brought it before, and gone since
    return found


@remembered("Reading the picture…")
def _uploaded(data: bytes, name: str) -> Picture:
    return uploaded_picture(data, name)


@remembered("Running the network…", heavy=True)
def _watched(network_name: str, picture: Picture) -> tuple[Observation, dict[str, VectorDistances]]:
    module, lock = network(network_name)
    with lock, vector_distances(module) as vectors:
        return observe(module, picture.image), vectors


def observation(network_name: str, picture: Picture) -> Observation:
    """Return what a network made of a picture."""
    return _watched(network_name, picture)[0]


@remembered("Preparing the maps…", heavy=True)
def payload(network_name: str, picture: Picture, index: int = 0) -> bytes:
    """Return what the viewer needs to show one of a network's records."""
    if first_maps.are_of(network_name, picture.id, index):
        return first_maps.kept()  # to the byte what the page may show already
    return computed_payload(network_name, picture, index)


def computed_payload(network_name: str, picture: Picture, index: int = 0) -> bytes:
    """Return the same, computed anew."""
    seen = observation(network_name, picture)
    record = seen.records[index]
    sha256 = weights_sha256(network_name)
    shown = Shown(short_name(network_name), record, seen.output, sha256)
    linkable = network_name in image_networks() or is_linkable(network_name)
    return pack_all(picture.image, [shown], alt=picture.alt, name=picture.name, linkable=linkable)


@remembered("Measuring…")
def report(network_name: str, picture: Picture, index: int = 0) -> degeneracy.DegeneracyReport:
    """Return the degeneracy statistics of one of a network's records."""
    seen, vectors = _watched(network_name, picture)
    record = seen.records[index]
    return degeneracy.measure(record, vectors=distances_of(record, seen.records, vectors))


@remembered()
def looks(
    network_name: str,
    picture: Picture,
    index: int,
    query: int,
    category: str | None = None,
    predicting: str | None = None,
) -> Looks | None:
    """Return what a query, or the mean of all of a class, looks at above chance.

    None of a network that scores no pixels.

    Args:
        network_name: Whose attention it is.
        picture: What it looks at.
        index: Of the record.
        query: Of the record; of a class one place.
        category: The class.
        predicting: Whose prediction says where that is: the network's own if not given.
    """
    seen = observation(network_name, picture)
    module, _ = network(network_name)
    if not segments(module, seen.output):
        return None
    classes = tuple(module.classes)
    predicting = predicting or network_name
    predicted = observation(predicting, picture).output
    if category not in classes or not segments(network(predicting)[0], predicted):
        return looks_of(seen.records[index], [query], seen.output, classes)
    found = cell_classes(predicted, seen.records[index].query_axis) == classes.index(category)
    queries = found.nonzero().flatten().tolist()
    return looks_of(seen.records[index], queries or [query], seen.output, classes)


@remembered("Comparing queries…")
def query_map(network_name: str, picture: Picture, index: int) -> Float[Tensor, " query_pos"]:
    """Return how far every query's row is from the mean row, in bits."""
    return divergence_from_mean_bits(observation(network_name, picture).records[index])


@remembered("Comparing queries…", heavy=True)
def most_different(
    network_name: str, picture: Picture, index: int, dark: bool
) -> tuple[bytes, tuple[int, int]]:
    """Return the two queries that differ most, before them their maps as a PNG.

    Raises:
        ValueError: There are not two queries that attend to anything.
    """
    from nonlocal_lens.analysis.figures import Look, attention_figure, figure_bytes

    record = observation(network_name, picture).records[index]
    one, other = find_most_different(record)
    pair = one, other
    look = Look(style="slides", dpi=100) if dark else Look(width_in=12.0, dpi=100)
    figure = attention_figure(record, pair, image=picture.image, look=look)
    return figure_bytes(figure, "png", note={}), pair


@remembered(heavy=True)
def attribution(
    network_name: str, picture: Picture, block: str, head: int | None, query: int, method: str
) -> Attribution:
    """Return what the class score at a query depends on, by one method."""
    module, lock = network(network_name)
    with lock:
        _, (found,) = attributions(
            module, picture.image, query, block=block, head=head, methods=(method,)
        )
    return found


@remembered("Changing the attention…", heavy=True)
def changes(
    network_name: str, picture: Picture, where: tuple[str, int | None] | None = None
) -> dict[Intervention, Change]:
    """Return what a network says about a picture under every intervention.

    Args:
        network_name: What `load_network` takes.
        picture: What it looks at.
        where: The block, and the head or None for all of it, that is changed; None changes all.
    """
    module, lock = network(network_name)
    height, width = reduced(picture.image).shape[:2]
    with lock:
        return changes_of(module, picture, (height, width), None if where is None else [where])


EXPORTING = Lock()
"""Held while an export runs networks: it has its own, shared by all tabs."""


def one_by_one(
    work: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[Job, Done | WorkerDied]]:
    """Do jobs in this process, with a turn for each: an `app.batch.engine.Engine`."""
    tab = current_tab()
    for job in jobs:
        with line().turn(tab, background=True), EXPORTING:
            done = work(job)
        yield job, done


@remembered("Running the networks…", heavy=True)
def _looked_at(options: str, as_clip: bool) -> "Subject":
    from nonlocal_lens.app.export.options import Options
    from nonlocal_lens.app.export.preview import look_at_one

    with EXPORTING:
        return look_at_one(Options.build(json.loads(options)), as_clip=as_clip)


@remembered("Drawing…", heavy=True)
def preview(options: str) -> list[tuple[str, bytes]]:
    """Return the first figures of an export with their names, as PNG for the screen.

    Args:
        options: JSON of `Options.to_json`.

    Raises:
        ValueError: There is nothing to draw, or an input, network or query is not there.
        OSError: An input cannot be read.
    """
    from nonlocal_lens.app.batch.run import reads_clips
    from nonlocal_lens.app.export.options import Options
    from nonlocal_lens.app.export.preview import preview as draw_preview

    asked = Options.build(json.loads(options))
    as_clip = reads_clips(asked)
    found = json.dumps(asked.only_looking(as_clip=as_clip))
    return draw_preview(asked, _looked_at(found, as_clip))


def bundle(options: str) -> BinaryIO:
    """Return all files of an export as one; it is on its way to the user, and not kept."""
    from nonlocal_lens.app.export.bundle import bundle as draw_bundle
    from nonlocal_lens.app.export.options import Options

    return draw_bundle(Options.build(json.loads(options)), engine=one_by_one)


@remembered()
def atlas_subject(network_name: str, picture: Picture) -> AtlasSubject:
    """Return what one network did on one picture, as the wall of all heads takes it."""
    return AtlasSubject(
        short_name(network_name),
        picture.image,
        picture.name,
        picture.alt,
        atlas.placed(observation(network_name, picture).records),
        weights_sha256(network_name),
        is_random(LibraryName.read(network_name)),
    )


@remembered()
def atlas_first(network_name: str, picture: Picture) -> bytes:
    """Return what a wall begins with; ValueError where there is no head to show."""
    return atlas_payload.first_part(atlas_subject(network_name, picture))


@remembered()
def atlas_heads(network_name: str, picture: Picture, number: int) -> list[atlas.MeasuredHead]:
    """Return what was measured of the heads of one part of a wall."""
    subject = atlas_subject(network_name, picture)
    every = atlas_payload.parts(subject.records)
    earlier = [head for n in range(number) for head in atlas_heads(network_name, picture, n)]
    records = [subject.records[index] for index in every[number]]
    first_layer = atlas.layers(subject.records)[every[number].start]
    return atlas.measure_heads(records, earlier=earlier, first_layer=first_layer)


@remembered()
def atlas_part(network_name: str, picture: Picture, number: int) -> bytes:
    """Return one of the parts that a wall is brought."""
    heads = atlas_heads(network_name, picture, number)
    return atlas_payload.part(atlas_subject(network_name, picture), number, heads)


def atlas_all_heads(network_name: str, picture: Picture) -> list[atlas.MeasuredHead]:
    """Return what was measured of all heads that a wall shows."""
    count = len(atlas_payload.parts(atlas_subject(network_name, picture).records))
    return [head for n in range(count) for head in atlas_heads(network_name, picture, n)]


def record_title(name: str, record: AttentionRecord) -> str:
    """Return what one record of several of a network is called."""
    again = f" call {record.call}" if record.call else ""
    head = "" if record.head is None else f" head {record.head}"
    return f"{name} {record.block}{again}{head}"


def record_name(network_name: str, number: int, picture: Picture) -> str:
    """Return what one record of a network is called in an address."""
    return atlas.head_title(observation(network_name, picture).records[number])


def weights_sha256(name: str) -> str:
    """Return the hash of a network's weights."""
    return load(name).sha256


@remembered("Preparing the maps…", heavy=True)
def comparison(chosen: tuple[tuple[str, int], ...], picture: Picture) -> bytes:
    """Return what the viewer needs to compare records: a network's name and a record's number."""
    shown = []
    for name, number in chosen:
        seen = observation(name, picture)
        record = seen.records[number]
        title = short_name(name)
        if len({other for other, _ in chosen}) == 1:
            title = record_title(title, record)
        shown.append(Shown(title, record, seen.output, weights_sha256(name)))
    return pack_all(picture.image, shown, alt=picture.alt, name=picture.name, linkable=True)


@remembered("Reading the record file…")
def record_file(data: bytes, name: str) -> bytes:
    """Return what the viewer needs to show a record file; ValueError if it is none."""
    held = records.read_bytes(data, name)
    digest = hashlib.sha256(data).hexdigest()
    shown = [Shown(title, record, sha256=digest) for title, record in held.titled.items()]
    return pack_all(held.image, shown, alt=f"The image in {name}", name=name)


class Shelf:
    """Results of one kind that tell how far they are while they are made, and can be cancelled.

    What `remembered` makes is drawn by nobody but its spinner, which a progress bar cannot stand.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __contains__(self, key: Hashable) -> bool:
        return (self._name, key) in RESULTS

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, made first if it is not there."""
        return RESULTS.get((self._name, key), make)


def shelf(name: str) -> Shelf:
    """Return the shelf of a name, shared by all tabs."""
    return Shelf(name)
