"""Statistics of many images as a table: a row for every image, block and head."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import UInt8
from torch import nn

from analysis import degeneracy
from analysis.capture import observe
from analysis.images import ImageSource
from analysis.record import AttentionRecord
from analysis.terms import TERMS
from analysis.vectors import vector_distances
from models.streets import STREET_CLASSES

if TYPE_CHECKING:
    import pandas as pd

Labels = UInt8[np.ndarray, "height width"]
Labeled = ImageSource | tuple[ImageSource, Labels]
"""An image, or an image with the class of every pixel."""


def over_dataset(
    network: nn.Module, images: str | Path | Iterable[Labeled], *, seed: int = 0
) -> "pd.DataFrame":
    """Measure every attention block of a network on every image.

    Only the numbers are kept: an iterator of any length will do. `python -m app stats` does the
    same for folders, in several processes, and goes on after an image that is damaged.

    Args:
        network: Any module that `analysis.capture` can read.
        images: Images as `analysis.images.read_image` takes them, each alone or as a pair with its
            labels (as `models.rendered.render_scene` gives it); or a folder, whose files are read
            in the order of their names.
        seed: Of everything random in the statistics.

    Returns:
        A row for every image, block and head: `image` (file name or number), `block`, `head` (<NA>
        where there is one only), and the `analysis.degeneracy.STATISTICS` under their names. With
        labels, for each term the share of attention in the query's own class, `own_category_whole`
        and so on, and on class boundaries, `boundary_whole` and so on, each with what uniform
        attention has, `own_category_chance` and `boundary_chance`.

    Raises:
        FileNotFoundError: The folder or a file does not exist.
        ValueError: There is no image, or one cannot be used; the network has no block to measure.
    """
    import pandas as pd

    rows = []
    for name, image, labels in _named(images):
        with vector_distances(network) as vectors:
            records = observe(network, image).records
        if not records:
            raise ValueError(
                f"{type(network).__name__} has no attention block that capture can read"
            )
        for record in records:
            report = degeneracy.measure(record, vectors=vectors.get(record.block), seed=seed)
            row: dict[str, Any] = {"image": name, "block": record.block, "head": record.head}
            row |= {statistic: getattr(report, statistic) for statistic in degeneracy.STATISTICS}
            if labels is not None:
                classes = len(getattr(network, "classes", STREET_CLASSES))
                row |= _consistency(record, labels, classes)
            rows.append(row)
    if not rows:
        raise ValueError("there are no images to measure")
    return pd.DataFrame(rows).astype({"head": "Int64"})


def _named(
    images: str | Path | Iterable[Labeled],
) -> Iterator[tuple[str, ImageSource, Labels | None]]:
    """Yield every image with its name, and its labels where it has any."""
    if isinstance(images, str | Path):
        folder = Path(images)
        if not folder.is_dir():
            raise FileNotFoundError(f"there is no folder {folder}")
        images = sorted(path for path in folder.iterdir() if path.is_file())
    for number, item in enumerate(images):
        image, labels = item if isinstance(item, tuple) else (item, None)
        name = Path(image).name if isinstance(image, str | Path) else str(number)
        yield name, image, labels


def _consistency(record: AttentionRecord, labels: Labels, classes: int) -> dict[str, float]:
    from analysis import consistency  # draws in OpenCV and scikit-image

    row = {}
    for term in TERMS:
        found = consistency.measure(record, labels, classes, term=term)
        for region, agreement in (
            ("own_category", found.own_category),
            ("boundary", found.boundary),
        ):
            row[f"{region}_{term}"] = agreement.mass
            row[f"{region}_chance"] = agreement.chance
    return row
