"""`explore`: from what a notebook has at hand to the viewer under its cell."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

import numpy as np
from jaxtyping import UInt8
from torch import nn

from nonlocal_lens.analysis import record_file
from nonlocal_lens.analysis.capture import takes_clips
from nonlocal_lens.analysis.clips import Clip, ClipSource, is_clip, read_clip
from nonlocal_lens.analysis.compare import Network, loaded, title_of
from nonlocal_lens.analysis.images import ImageSource, read_with_note
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Records, choose_record, groups_of
from nonlocal_lens.analysis.vectors import vector_distances
from nonlocal_lens.app.batch.clips import default_frames
from nonlocal_lens.app.export.scene import observations
from nonlocal_lens.app.networks import weights_path
from nonlocal_lens.app.notebook.exploration import Exploration
from nonlocal_lens.app.notebook.passes import NetworkPasses, Pass
from nonlocal_lens.models.file_hash import file_sha256

Query = int | str | tuple[float, float] | tuple[int, float, float]
"""An index of the query axis (of a whole grid a flat position), the name of a token that is no
place, a point (x, y) in image pixels, or one in a clip's frame."""


def explore(
    network: Network,
    image_or_clip: ImageSource | ClipSource,
    *,
    block: str | None = None,
    head: int | None = None,
    call: int | None = None,
    queries: Sequence[Query] | None = None,
    compare: Sequence[Network] = (),
    start: int = 0,
    stride: int | None = None,
    frames: int | None = None,
) -> Exploration:
    """Show where a network looks: point at a pixel of an image or a clip, click to pin it.

    At the end of a cell, what it returns is the viewer, for a clip with a time line:

    >>> lens = explore("streets-dnl", "street.png", compare=["streets-nl"])
    >>> lens.queries = [(240, 110)]
    >>> film = explore("clips-dnl", "street.mp4", stride=3)
    >>> film.queries = [(4, 240, 110)]

    Args:
        network: The name of a network, a file of weights, or any module that `analysis.capture`
            can read.
        image_or_clip: A path, the bytes of a file, a PIL image, an array or a tensor; see
            `analysis.images.read_image`. What moves is a clip (see `analysis.clips.read_clip`): a
            video, a folder of frames, `rendered:SEED`, a `Clip`, an array or a tensor with four
            dimensions. So is a GIF, or any file's bytes, if a network looks at clips or `start`,
            `stride` or `frames` is given. Networks that look at images see a clip frame by frame.
        block: Name of the block to show, of every network that has it; the first if None.
        head: Which head of it; the first if None.
        call: Which run of it, from 0, where it runs several times on an input; the first if None.
        queries: What is pinned at first: points (x, y) in image pixels, flat positions, or names
            of tokens like "class"; in a clip some (frame, x, y).
        compare: More networks, shown beside it with one cursor and one scale.
        start: The first frame of a clip.
        stride: From one frame of a clip to the next; spread evenly to the end if None.
        frames: How many frames of a clip at most. If None, as many as the first network that says
            so looks at, else 8; all of a `Clip`.

    Raises:
        FileNotFoundError: The image, the clip or a file of weights does not exist.
        ValueError: A name is unknown, the image or clip cannot be used, a network looks at clips
            and this is an image, a network has no such block, or a query lies outside the image.
    """
    networks: dict[str, nn.Module] = {}
    hashes: dict[str, str] = {}
    for source in (network, *compare):
        title = _unlike(networks, title_of(source))
        networks[title] = loaded(source)
        if not isinstance(source, nn.Module):
            provenance = getattr(networks[title], "provenance", None)
            path = weights_path(str(source))
            hashes[title] = provenance["sha256"] if provenance else file_sha256(path)
    as_clip = _is_clip(image_or_clip, networks.values(), start, stride, frames)
    if as_clip:
        clip = _read_clip(networks, image_or_clip, start, stride, frames)
    else:
        image, note = read_with_note(cast("ImageSource", image_or_clip))
        named = isinstance(image_or_clip, str | Path)
        name = Path(image_or_clip).name if named else "image"  # type: ignore[arg-type]
        clip = _still(image, name, note)
    explored: dict[str, NetworkPasses] = {}
    for title, one in networks.items():
        passes, output = [], None
        with vector_distances(one) as vectors:
            for seen in observations(one, clip):
                passes.append(Pass(seen.records, dict(vectors)))
                output = None if as_clip else seen.output
        chosen = [
            _record_to_show(title, run.records, block, head, call, first=not explored)
            for run in passes
        ]
        of_clips = takes_clips(one)
        if of_clips:
            chosen = groups_of(passes[0].records, chosen[0])
        shown = Records(len(clip), tuple(chosen), of_clips)
        explored[title] = NetworkPasses(passes, shown, output, hashes.get(title, ""))
    return Exploration(clip, explored, queries or (), is_clip=as_clip)


def explore_file(path: str | Path, *, queries: Sequence[Query] | None = None) -> Exploration:
    """Show your own tensors, from any framework: a record file with query, key and image.

    Args:
        path: A safetensors or .npz file, see `analysis.record_file`.
        queries: What is pinned at first: points (x, y) in image pixels, flat positions, or names
            of tokens like "class".

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: It is no record file (the sentence names the field), or a query lies outside.
    """
    path = Path(path)
    held, digest = record_file.read(path), file_sha256(path)
    explored = {
        title: NetworkPasses([Pass((record,), {})], Records(1, (record,), False), None, digest)
        for title, record in held.titled.items()
    }
    return Exploration(_still(held.image, path.name), explored, queries or (), is_clip=False)


def _still(image: UInt8[np.ndarray, "height width 3"], name: str, note: str = "") -> Clip:
    """Return a picture as a clip of one frame."""
    digest = sha256(image.tobytes()).hexdigest()
    return Clip(image[None], np.zeros(1), (0,), 1.0, name, digest, note)


def _is_clip(
    source: ImageSource | ClipSource,
    networks: Iterable[nn.Module],
    start: int,
    stride: int | None,
    frames: int | None,
) -> bool:
    """Return whether a source is to be read as a clip: by its kind, the networks, or the choice."""
    chosen = start != 0 or stride is not None or frames is not None
    return is_clip(source) or chosen or any(takes_clips(network) for network in networks)


def _read_clip(
    networks: Mapping[str, nn.Module],
    source: ImageSource | ClipSource,
    start: int,
    stride: int | None,
    frames: int | None,
) -> Clip:
    """Read a clip for networks: as many frames as they look at, where nothing else is said.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: This is no clip, it is damaged, or the choice is out of range.
    """
    looking = next((title for title, one in networks.items() if takes_clips(one)), None)
    need = f"{looking} looks at clips" if looking else "start, stride and frames are of clips"
    name = Path(source).name if isinstance(source, str | Path) else "this"
    still = (
        f"{need}, and {name} is a single image: give a video, a GIF, a folder of frames, or an "
        "array (frames, height, width, 3)"
    )
    if not (is_clip(source) or isinstance(source, str | Path | bytes)):
        raise ValueError(still)
    wanted = len(source) if isinstance(source, Clip) else default_frames(networks.values())
    clip = read_clip(
        source,  # type: ignore[arg-type]
        start=start,
        stride=stride,
        frames=wanted if frames is None else frames,
    )
    if len(clip) == 1 and frames != 1 and not is_clip(source):
        raise ValueError(still)
    return clip


def _record_to_show(
    title: str,
    records: tuple[AttentionRecord, ...],
    block: str | None,
    head: int | None,
    call: int | None,
    *,
    first: bool,
) -> AttentionRecord:
    """Return the record of the block, head and run that are asked for.

    Args:
        title: What the network is called.
        records: All of its records.
        block: See `explore`.
        head: See `explore`.
        call: See `explore`.
        first: Whether this is the first network: others need not have the block.

    Raises:
        ValueError: There is none.
    """
    if not records:
        raise ValueError(f"{title} has no attention block that capture can read")
    wanted = block if first or any(record.block == block for record in records) else None
    if wanted != block:
        head = call = None
    return choose_record(records, wanted, head, call)


def _unlike(taken: Mapping[str, Any], title: str) -> str:
    """Return a title that is not taken: networks of one class differ by number."""
    number, other = 1, title
    while other in taken:
        number += 1
        other = f"{title} ({number})"
    return other
