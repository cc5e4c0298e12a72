"""What attention is worth to a network over many images: interventions beside their controls."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

import torch
from torch import nn

from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.changing import Changing, Heads
from nonlocal_lens.analysis.effects import effect, scores_under
from nonlocal_lens.analysis.file_kinds import Kind, kind_of, listed
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.intervals import mean_interval
from nonlocal_lens.analysis.interventions import CONTROLS, Intervention, Where
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.models.limits import shortened
from nonlocal_lens.models.wrappers import unwrapped

if TYPE_CHECKING:
    import pandas as pd

Part = Literal["network", "block", "head"]
PARTS: tuple[Part, ...] = get_args(Part)
"""What is changed at a time."""

Image = TypeVar("Image")

EFFECTS = ("kl_nats", "flipped_share")

ROLES: dict[Intervention, str] = {
    "off": "zeroing",
    **dict.fromkeys(CONTROLS, "control"),
    "unary_only": "term",
    "pairwise_only": "term",
}
"""Intervention -> what it is for."""


def causes(
    network: nn.Module,
    images: str | Path | Iterable[ImageSource],
    *,
    of: Part = "network",
    seed: int = 0,
) -> "pd.DataFrame":
    """Return what every intervention does to a network's output, over images, with intervals.

    Zeroing attention gives the layers behind it what they have never seen, so that it overstates
    what attention is worth: what it costs beyond its controls is the shock. Read `off` beside them.

    Args:
        network: A module whose output is class scores, see `analysis.effects.effects`.
        images: Images, or a folder of pictures. The other image of each one's `another_image` is
            the one half of the list away, scaled to its size: frames of one drive lie side by side.
            A single image has a rendered street.
        of: What is changed at a time: all blocks of the "network", each "block", or each "head".
        seed: Of the intervals.

    Returns:
        A row for every part and intervention: `block` and `head` (<NA> for all), `intervention`,
        `role` ("zeroing", "control" or "term"), and for `kl_nats` and `flipped_share` (see
        `analysis.effects.Effect`) the mean over images with the ends of its 95 % bootstrap interval
        as `_low` and `_high`; `images`, of how many.

    Raises:
        FileNotFoundError: The folder or a file does not exist.
        ValueError: `of` is unknown, there is no image, one cannot be used, the output is no class
            scores, or a block of the network cannot be changed.
    """
    import pandas as pd

    if of not in PARTS:
        raise ValueError(f"unknown part {of!r}; available: {', '.join(PARTS)}")
    network = unwrapped(network)
    found: dict[tuple[str | None, int | None], dict[Intervention, list[tuple[float, float]]]] = {}
    for image, another in with_another(_listed(images)):
        pixels, x = prepared(network, image)
        changing = Changing(network, x, prepared_another(network, pixels, another))
        for part, where in parts_of(changing.heads, of):
            with torch.inference_mode():
                scores = scores_under(changing, where)
            for how in scores:
                if how != "on":
                    one = effect(scores["on"], scores[how])
                    values = found.setdefault(part, {}).setdefault(how, [])
                    values.append((one.mean_kl_nats, one.flipped_share))
    if not found:
        raise ValueError("there are no images to measure")
    rows = []
    for (block, head), by_intervention in found.items():
        for how, pairs in by_intervention.items():
            row: dict[str, object] = {"block": block, "head": head}
            row |= {"intervention": how, "role": ROLES[how]}
            for name, measured in zip(EFFECTS, zip(*pairs, strict=True), strict=True):
                interval = mean_interval(measured, seed=seed)
                row |= {name: interval.mean, f"{name}_low": interval.low}
                row |= {f"{name}_high": interval.high}
            rows.append({**row, "images": len(pairs)})
    return pd.DataFrame(rows).astype({"block": "string", "head": "Int64"})


def parts_of(
    heads: Heads, of: Part
) -> Iterator[tuple[tuple[str | None, int | None], Where | None]]:
    """Yield what is changed at a time: the block and head that a row names, None for all."""
    if of == "network":
        yield (None, None), None
    elif of == "block":
        for block in dict.fromkeys(block for block, _ in heads):
            yield (block, None), [(block, None)]
    else:
        for block, head in heads:
            yield (block, head), [(block, head)]


def with_another(images: Sequence[Image]) -> Iterator[tuple[Image, Image | None]]:
    """Yield every image with the one half of the list away; a single one has none."""
    for number, image in enumerate(images):
        other = (number + len(images) // 2) % len(images)
        yield image, images[other] if other != number else None


def _listed(images: str | Path | Iterable[ImageSource]) -> list[ImageSource]:
    if not isinstance(images, str | Path):
        return list(images)
    folder = Path(images)
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {shortened(str(folder))}")
    return [path for path in listed(folder) if kind_of(path) is Kind.picture]
