"""Whether the unary map is the same whatever the image: a share of variance over a folder."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from hashlib import sha256
from math import nan, sqrt
from typing import TYPE_CHECKING, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.intervals import NORMAL_QUANTILE
from nonlocal_lens.analysis.record import AttentionRecord

if TYPE_CHECKING:
    import pandas as pd


class Independence(NamedTuple):
    """How much of the unary logits' variation over images and keys is by the key's place alone."""

    share: float  # 0 to 1; 1: the same map for every image. NaN for fewer than two images
    low: float  # ends of its 95 % interval over images; NaN for fewer than three
    high: float
    chance: float  # what maps that have nothing in common give: 1 / images
    images: int


class UnaryMap(NamedTuple):
    """One image's unary logits: all that is kept of it."""

    logits: Float[Tensor, " key_pos"]  # float32, with mean 0
    places: str  # equal for equal keys: hash of their cells and names


def unary_map(record: AttentionRecord) -> UnaryMap:
    """Return the unary logits of a record, less the constant that cancels in the softmax."""
    logits = terms.unary_logits(record).double()
    axis = record.key_axis
    places = sha256(repr((axis.all_cells.tolist(), axis.names)).encode()).hexdigest()
    return UnaryMap((logits - logits.mean()).float(), places)


@dataclass(eq=False)
class UnaryMaps:
    """The unary logits of one block and head over images: a vector for each image is all it keeps.

    SS(key position) / SS(total) of the unary logits, in the analysis of variance over images and
    key positions. Constants that a map has more than another cancel in the softmax and are taken
    out first, so that the images' own means have no part in it.
    """

    maps: list[Float[Tensor, " key_pos"]] = field(default_factory=list)  # each with mean 0
    places: str = ""  # of all of them

    def add(self, record: AttentionRecord) -> None:
        """Take one more image's map; for errors see `add_map`."""
        self.add_map(unary_map(record), record.block)

    def add_map(self, one: UnaryMap, block: str) -> None:
        """Take one more image's map.

        Raises:
            ValueError: Its keys are other places or tokens than those of the images before; `block`
                says whose they are.
        """
        self.places = self.places or one.places
        if self.maps and len(one.logits) != len(self.maps[0]):
            raise ValueError(
                f"the unary maps of block {block!r} have {len(self.maps[0])} and "
                f"{len(one.logits)} keys: only images of one size have the same places"
            )
        if one.places != self.places:
            raise ValueError(
                f"the keys of block {block!r} are other places from image to image: their "
                "unary maps cannot be compared"
            )
        self.maps.append(one.logits)

    def independence(self) -> Independence:
        """Return the share, with the interval of the jackknife over images (Quenouille 1956)."""
        images = len(self.maps)
        if images < 2:
            return Independence(nan, nan, nan, nan, images)
        maps = torch.stack(self.maps).double()
        total, squares = maps.sum(dim=0), maps.square().sum(dim=1)
        share = _share(total.square().sum(), squares.sum(), images)
        if images < 3 or share != share:
            return Independence(share, nan, nan, 1 / images, images)
        # without one image: |total - map|^2 over the squares of the others
        others = total.square().sum() - 2 * maps @ total + squares
        without = others / ((images - 1) * (squares.sum() - squares).clamp_min(1e-300))
        spread = (without - without.mean()).square().sum() * (images - 1) / images
        reach = NORMAL_QUANTILE * sqrt(spread.item())
        return Independence(
            share, max(share - reach, 0.0), min(share + reach, 1.0), 1 / images, images
        )


def _share(of_total: Tensor, squares: Tensor, images: int) -> float:
    if squares.item() == 0:
        return nan
    share: float = (of_total / (images * squares)).item()
    return share


def image_independence(network: nn.Module, images: Iterable[ImageSource]) -> "pd.DataFrame":
    """Return how far every block's unary map is the same for all images.

    One pass over the images; kept is a vector for every image, block, run and head.

    Args:
        network: Any module that `analysis.capture` can read.
        images: Images of one size, as `analysis.images.read_image` takes them.

    Returns:
        A row for every block, run and head: `block`, `call` (which run, from 0), `head` (<NA>
        where there is one only), `image_independence`, `low`, `high`, `chance`, `images`; see
        `Independence`.

    Raises:
        ValueError: There is no image, or their grids differ; the network has no block to measure.
    """
    import pandas as pd

    found: dict[tuple[str, int, int | None], UnaryMaps] = {}
    for image in images:
        records = capture(network, image)
        if not records:
            raise ValueError(
                f"{type(network).__name__} has no attention block that capture can read"
            )
        for record in records:
            part = record.block, record.call, record.head
            found.setdefault(part, UnaryMaps()).add(record)
    if not found:
        raise ValueError("there are no images to measure")
    rows = []
    for (block, call, head), maps in found.items():
        share, *others = maps.independence()
        named = zip(("low", "high", "chance", "images"), others, strict=True)
        row = {"block": block, "call": call, "head": head, "image_independence": share}
        rows.append(row | dict(named))
    return pd.DataFrame(rows).astype({"head": "Int64"})
