"""An input with what every network made of it: all that its files are drawn from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor, nn

from nonlocal_lens.analysis import consistency, degeneracy
from nonlocal_lens.analysis.atlas import placed
from nonlocal_lens.analysis.capture import Observation, observe, observe_frames, takes_clips
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.figures.queries import QuerySpec
from nonlocal_lens.analysis.head_means import HeadMeans
from nonlocal_lens.analysis.query_map import most_different
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import (
    Classes,
    Place,
    Query,
    Records,
    Scene,
    flow_of,
    middle_frame,
    records_over,
)
from nonlocal_lens.app.batch.ahead import Ahead
from nonlocal_lens.app.batch.clips import default_frames, read_source_clip
from nonlocal_lens.app.batch.inputs import Source, read_source
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.export.options import ATLASES, MEANS, Options
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.streets.classes import STREET_CLASSES


@dataclass(frozen=True, eq=False)
class Subject:
    """One input, what networks made of it, and the queries that are asked of it."""

    source: Source
    clip: Clip  # a picture is a clip of one frame
    scene: Scene
    places: Sequence[Place]
    outputs: dict[str, Any]  # of a picture: what networks said, by title
    heads: dict[str, tuple[AttentionRecord, ...]] = field(default_factory=dict)  # of an atlas: all
    means: dict[str, HeadMeans] = field(default_factory=dict)  # of several inputs, this the first

    @property
    def queries(self) -> list[Query]:
        """The queries: image points, and names of tokens that are no places."""
        return [place.query for place in self.places]


def look_at(
    source: Source, options: Options, *, as_clip: bool, ahead: Ahead[Observation] | None = None
) -> Subject:
    """Read an input and run every network on it, once.

    Args:
        source: The input.
        options: What is to be drawn of it.
        as_clip: How it is read.
        ahead: What networks made of pictures before.

    Raises:
        OSError: The input cannot be read.
        ValueError: The input cannot be used, or it has no such query.
    """
    networks = {network.title: network.module for network in map(load, options.networks)}
    labels = None
    if as_clip:
        frames = options.frames or default_frames(networks.values())
        clip = read_source_clip(source.location, options.start, options.stride, frames)
    else:
        picture = read_source(source.location, options.labels, options.void)
        labels, name = picture.labels, source.name
        digest, note = picture.sha256, picture.note
        clip = Clip(picture.image[None], np.zeros(1), (0,), 1.0, name, digest, note)
    records: dict[str, Records] = {}
    predictions: dict[str, Classes] = {}
    outputs: dict[str, Any] = {}
    heads: dict[str, tuple[AttentionRecord, ...]] = {}
    with one_thread():
        for title, network in networks.items():
            passes = []
            seen = None if ahead is None else ahead.take(title, source.location)
            for one in observations(network, clip) if seen is None else [seen]:
                passes.append(one.records)
                if options.layout in ATLASES:
                    heads[title] = placed(one.records)
                if not as_clip:
                    outputs[title] = one.output
                    classes = predicted_classes(one.output, clip.frames.shape[1:3])
                    predictions |= {} if classes is None else {title: classes}
            records[title] = records_over(
                passes,
                len(clip),
                of_clips=takes_clips(network),
                block=options.block,
                head=options.head,
                call=options.call,
            )
        flow = flow_of(clip.frames, records) if options.track else None
        if options.track and flow is None:
            raise ValueError("track is for networks that look at images; these look at clips")
        times = clip.times if as_clip else None
        scene = Scene(
            clip.frames, times, records, predictions, labels, flow, on_picture=options.on_picture
        )
        asked = [] if options.layout in (MEANS, "statistics") else options.query_specs()
        return Subject(source, clip, scene, places_of(scene, asked), outputs, heads)


def observations(network: nn.Module, clip: Clip) -> Iterator[Observation]:
    """Yield what a network makes of the clip, or one after the other what it makes of each frame.

    Raises:
        ValueError: The network cannot look at frames of this size.
    """
    if takes_clips(network):
        yield observe(network, clip)
    else:
        yield from observe_frames(network, clip)


def places_of(scene: Scene, queries: Sequence[QuerySpec]) -> list[Place]:
    """Return the queries of an input; those without a frame are in the middle one.

    Raises:
        ValueError: There is no such frame, or a query lies outside the image.
    """
    frames, over = len(scene.frames), scene.first
    found = []
    for query in queries:
        frame = frames // 2 if query.frame is None else query.frame
        if frame >= frames:
            raise ValueError(f"frame must be in [0, {frames}) of the frames chosen, got {frame}")
        record, _ = over.at(frame)
        axis, grid = record.query_axis, record.query_axis.grid
        if query.kind == "auto" and over.of_clips and grid is not None and axis.placed:
            chosen = [axis.all_cells[at] for at in most_different(record, query.count)]
            cells = [grid.cell(int(position)) for position in chosen]
            found += [Place(middle_frame(grid, c.frame, frames), *grid.center(c)) for c in cells]
        else:
            found += [Place.of(asked, frame) for asked in query.of(record)]
    return found


def predicted_classes(
    output: Any, image_hw: tuple[int, ...]
) -> UInt8[np.ndarray, "height width"] | None:
    """Return the most likely class of every pixel; None if the network does not segment streets."""
    if not isinstance(output, Tensor) or output.ndim != 4 or output.shape[1] != len(STREET_CLASSES):
        return None
    classes = Image.fromarray(output[0].argmax(dim=0).to(torch.uint8).numpy())
    height, width = image_hw
    return np.asarray(classes.resize((width, height), Image.Resampling.NEAREST))


def numbers_in_words(scene: Scene) -> str:
    """Return the numbers of a picture's blocks in words."""
    sentences = []
    for title, over in scene.records.items():
        record = over.first
        report = degeneracy.measure(record)
        share = f"{report.unary_share:.3f}" if isfinite(report.unary_share) else "undefined"
        sentence = f"{title} ({record.block}): unary share {share}"
        if report.token_shares:
            sentence += f", {report.token_share:.0%} of attention off the picture"
        if isfinite(report.query_information_bits):  # logits without a softmax have none
            bits, most = report.query_information_bits, report.bounds("query_information_bits")[1]
            sentence += f", query information {bits:.3f} of at most {most:.1f} bits"
        if scene.labels is not None:
            found = consistency.measure(record, scene.labels)
            own, about = found.own_category, ""
            if found.picture_share < 1:
                about = f" of the {found.picture_share:.0%} of attention that fall on the picture"
            sentence += f", own-category mass {own.mass:.3f}{about} ({own.lift:.2f} times chance)"
        sentences.append(sentence + ".")
    return " ".join(sentences)
