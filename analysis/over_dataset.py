"""Statistics of many images as a table: a row for every image, block and head."""

import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Integer
from torch import nn

from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.file_kinds import Kind, kind_of, listed
from nonlocal_lens.analysis.images import ImageSource, read_image
from nonlocal_lens.analysis.labels import without_void
from nonlocal_lens.analysis.vectors import distances_of_all, vector_distances
from nonlocal_lens.models.limits import LONGEST_NAME, error_words, shortened

if TYPE_CHECKING:
    import pandas as pd

Labels = Integer[np.ndarray, "height width"]
Labeled = ImageSource | tuple[ImageSource, Labels]
"""An image, or an image with the class of every pixel."""


def over_dataset(
    network: nn.Module,
    images: str | Path | Iterable[Labeled],
    *,
    seed: int = 0,
    void: Iterable[int] | None = None,
) -> "pd.DataFrame":
    """Measure every attention block of a network on every image.

    Only the numbers are kept: an iterator of any length will do. `nonlocal-lens stats` does the
    same for folders, in several processes.

    Args:
        network: Any module that `analysis.capture` can read.
        images: Images as `analysis.images.read_image` takes them, each alone or as a pair with its
            labels (as `streets.render_scene` gives it); or a folder, whose pictures are
            read in natural order of their names. What computers leave in folders is passed by, and
            of what cannot be read a warning tells; the rest is measured.
        seed: Of everything random in the statistics.
        void: Label values that are of no class. If None, 255 where there are others than 0 and 255;
            negative ones always. Every other value is a class of its own.

    Returns:
        A row for every image, block and head, and each run of it: `image` (file name or number),
        `block`, `call` (which run, from 0), `head` (<NA> where there is one only), and the
        `analysis.degeneracy.STATISTICS` under their names. With labels also what
        `analysis.tables.rows.label_cells` tells, such as the share of the whole attention in the
        query's own class, `own_category_mass`, what uniform attention has there,
        `own_category_chance`, and the same of one term, `pairwise_own_category_mass`.
        `attrs["left_out"]` has the files of a folder that could not be read, with the reason.

    Raises:
        FileNotFoundError: The folder or a file does not exist.
        ValueError: There is no image, or one cannot be used; the network has no block to measure.
    """
    import pandas as pd

    # the catalog loads the statistics of other packages, which import this one
    from nonlocal_lens.analysis.catalog import STATISTICS
    from nonlocal_lens.analysis.tables.rows import label_columns, measure_rows

    left_out: dict[str, str] = {}
    void = None if void is None else tuple(void)
    rows = []
    for name, image, labels in named_images(images, left_out):
        with vector_distances(network) as vectors:
            records = observe(network, image).records
        if not records:
            raise ValueError(
                f"{type(network).__name__} has no attention block that capture can read"
            )
        measured = measure_rows(
            records,
            vectors=distances_of_all(records, vectors),
            labels=None if labels is None else without_void(labels, void),
            seed=seed,
        )
        for found in measured:
            agreements = [] if labels is None else label_columns()
            columns = ["block", "call", "head", *STATISTICS, *agreements]
            rows.append({"image": name, **{column: found[column] for column in columns}})
    if left_out:
        warnings.warn(left_out_sentence(left_out), stacklevel=2)
    if not rows:
        raise ValueError("there are no images to measure")
    frame = pd.DataFrame(rows).astype({"head": "Int64"})
    frame.attrs["left_out"] = left_out
    return frame


def named_images(
    images: str | Path | Iterable[Labeled], left_out: dict[str, str]
) -> Iterator[tuple[str, ImageSource, Labels | None]]:
    """Yield every image with its name, and its labels where it has any.

    Args:
        images: See `over_dataset`.
        left_out: Takes the files of a folder that cannot be read, with the reason.

    Raises:
        FileNotFoundError: The folder does not exist.
    """
    if isinstance(images, str | Path):
        yield from _of_folder(Path(images), left_out)
        return
    for number, item in enumerate(images):
        image, labels = item if isinstance(item, tuple) else (item, None)
        name = Path(image).name if isinstance(image, str | Path) else str(number)
        yield name, image, labels


def _of_folder(
    folder: Path, left_out: dict[str, str]
) -> Iterator[tuple[str, ImageSource, Labels | None]]:
    """Yield the pictures in a folder, and keep why others could not be read."""
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {shortened(str(folder))}")
    for path in listed(folder):
        if kind_of(path) not in (Kind.picture, Kind.unreadable):
            continue
        try:
            image = read_image(path)
        except Exception as error:  # whatever a decoder raises is this file's
            left_out[path.name] = error_words(error)
        else:
            yield path.name, image, None


def left_out_sentence(left_out: dict[str, str]) -> str:
    """Return which files could not be read, the first with its reason."""
    name, reason = next(iter(left_out.items()))
    more = f" (and {len(left_out) - 1} more)" if len(left_out) > 1 else ""
    return shortened(f"left out{more}: {shortened(name, LONGEST_NAME)}: {reason}")
