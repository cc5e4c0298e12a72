"""One forward pass per input and network: all that the figures of an input are drawn from."""

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from analysis import consistency, degeneracy
from analysis.capture import Observation, attention_blocks, observe
from analysis.figures.panels import Point, Scene
from analysis.figures.queries import query_points
from analysis.record import AttentionRecord
from app.batch.inputs import Picture, Source, read_source, safe_name
from app.batch.networks import load, one_thread
from app.export.options import Options
from models.streets import STREET_CLASSES


@dataclass(frozen=True, eq=False)
class Seen:
    """One input with what every network made of it."""

    source: Source
    picture: Picture
    observations: dict[str, Observation]  # by the network's title
    scene: Scene
    points: list[Point]


def check_networks(options: Options) -> None:
    """Raise ValueError unless every network has the block that is asked for, and its own title."""
    titles: dict[str, str] = {}
    for name in options.networks:
        network = load(name)
        blocks = list(attention_blocks(network.module))
        if not blocks:
            raise ValueError(f"network {name!r} has no attention block to show")
        if options.block is not None and options.block not in blocks:
            raise ValueError(
                f"network {name!r} has no block {options.block!r}; available: {', '.join(blocks)}"
            )
        title = safe_name(network.title).casefold()  # files are named after it
        if title in titles:
            raise ValueError(
                f"networks need different names, {titles[title]!r} and {name!r} would both "
                f"be called {network.title!r}"
            )
        titles[title] = name


def see(source: Source, options: Options) -> Seen:
    """Read an input and run every network on it, once.

    Raises:
        OSError: The input cannot be read.
        ValueError: The input cannot be used, or it has no such query.
    """
    picture = read_source(source.location, options.labels)
    observations, records, predictions = {}, {}, {}
    with one_thread():
        for name in options.networks:
            title, module, _ = load(name)
            observation = observe(module, picture.image)
            observations[title] = observation
            records[title] = choose_record(observation.records, options.block, options.head)
            classes = predicted_classes(observation.output, picture.image.shape[:2])
            if classes is not None:
                predictions[title] = classes
        scene = Scene(picture.image, records, predictions, picture.labels)
        points: list[Point] = []
        if options.layout != "statistics":
            points = query_points(next(iter(records.values())), options.query_specs())
    return Seen(source, picture, observations, scene, points)


def choose_record(
    records: tuple[AttentionRecord, ...], block: str | None, head: int | None
) -> AttentionRecord:
    """Return the first record of a block and head; of any block, or any head, where that is None.

    Raises:
        ValueError: There is none.
    """
    found = [
        record
        for record in records
        if (block is None or record.block == block) and (head is None or record.head == head)
    ]
    if not found:
        there = [
            record.block if record.head is None else f"{record.block} head {record.head}"
            for record in records
        ]
        wanted = f"block {block!r}" if block is not None else "block"
        raise ValueError(
            f"there is no {wanted}{'' if head is None else f' with a head {head}'}; available: "
            f"{', '.join(there)}"
        )
    return found[0]


def predicted_classes(
    output: Tensor, image_hw: tuple[int, ...]
) -> UInt8[np.ndarray, "height width"] | None:
    """Return the most likely class of every pixel; None if the network does not segment streets."""
    if output.ndim != 4 or output.shape[1] != len(STREET_CLASSES):
        return None
    classes = Image.fromarray(output[0].argmax(dim=0).to(torch.uint8).numpy())
    height, width = image_hw
    return np.asarray(classes.resize((width, height), Image.Resampling.NEAREST))


def caption_of(seen: Seen) -> str:
    """Return the numbers of an input's blocks in words."""
    sentences = []
    for title, record in seen.scene.records.items():
        report = degeneracy.measure(record)
        share = f"{report.unary_share:.3f}" if isfinite(report.unary_share) else "undefined"
        sentence = f"{title} ({record.block}): unary share {share}"
        if isfinite(report.query_information_bits):  # logits without a softmax have none
            bits, most = report.query_information_bits, report.bounds("query_information_bits")[1]
            sentence += f", query information {bits:.3f} of at most {most:.1f} bits"
        if seen.picture.labels is not None:
            own = consistency.measure(record, seen.picture.labels, len(STREET_CLASSES)).own_category
            sentence += f", own-category mass {own.mass:.3f} ({own.lift:.2f} times chance)"
        sentences.append(sentence + ".")
    return " ".join(sentences)
