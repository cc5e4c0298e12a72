"""Labels of any data set: which pixels are of one kind, and which are of none.

Regions decide, not values: every value is a class of its own, but for the void ones. Which those
are no file tells. `Void` has the usual ones, and every choice is said.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, Integer

from nonlocal_lens.analysis.file_kinds import listed
from nonlocal_lens.models.label_files import SUFFIXES, LabelFile, read_label_file
from nonlocal_lens.models.limits import shortened
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

NO_CLASS = -1
"""The label of pixels that are of no class, and the class of cells that are mostly void."""

Labels = Int[np.ndarray, "height width"]

CITYSCAPES_VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)
"""The `labelIds` of Cityscapes that take no part in its evaluation, which `labelTrainIds` lack."""

VOC_BORDER = 0xE0E0C0
"""The color of the border around objects in Pascal VOC's colored labels."""

KNOWN_VOIDS: dict[str, tuple[int, ...]] = {
    "none": (),
    "voc": (255, VOC_BORDER),
    "cityscapes": (*CITYSCAPES_VOID, 255),
    "ade20k": (0,),
    "camvid": (11, 255),
    "streets": (VOID, 255),
}
"""Name of a data set -> its void values."""

MOST_LOOKED_AT = 50
"""How many label files of a folder tell whether 255 is its void or the foreground of masks."""

PAIRED = (
    ("", ""),
    ("_leftImg8bit", "_gtFine_labelIds"),
    ("_leftImg8bit", "_gtFine_labelTrainIds"),
    ("_leftImg8bit", "_gtCoarse_labelIds"),
    ("_leftImg8bit", "_gtFine_color"),
    ("", "_L"),
    *(("", f"_{word}") for word in ("label", "labels", "mask", "gt", "seg", "segmentation")),
)
"""What the names of a picture and of its labels end in, the first pair that is there is taken."""


class ReadLabels(NamedTuple):
    """The labels of a picture, and what was decided about them."""

    values: Labels  # `NO_CLASS` where void
    note: str
    colored: bool = False


class Void(NamedTuple):
    """Which label values are of no class."""

    values: frozenset[int] | None = None  # None for the usual ones

    @classmethod
    def parse(cls, text: str | None) -> "Void":
        """Read `255`, `0,255`, `0-6,255`, `#e0e0c0`, `none` or a data set's name; None is usual.

        Raises:
            ValueError: It is none of these.
        """
        if text is None or text.strip().casefold() in ("", "usual"):
            return cls()
        values: set[int] = set()
        for part in text.casefold().split(","):
            word = part.strip()
            if word in KNOWN_VOIDS:
                values.update(KNOWN_VOIDS[word])
            elif re.fullmatch(r"#[0-9a-f]{6}", word):
                values.add(int(word[1:], 16))
            elif found := re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word):
                first, last = int(found[1]), int(found[2] or found[1])
                if not first <= last < first + 65536:
                    raise ValueError(f"void values go from a smaller to a larger one, got {word}")
                values.update(range(first, last + 1))
            else:
                raise ValueError(
                    f"void must be values like 255, 0,255, 0-6 or #e0e0c0, or one of "
                    f"{', '.join(KNOWN_VOIDS)}; got {shortened(text, 60)!r}"
                )
        return cls(frozenset(values))


def read_labels(
    source: Path | bytes,
    image_hw: tuple[int, ...],
    void: Void = Void(),  # noqa: B008 (a tuple)
    *,
    name: str | None = None,
    beside: Iterable[Path | bytes] = (),
) -> ReadLabels:
    """Return the labels of a picture's pixels.

    Without a choice of `void`, it is the largest value that 8 or 16 bits hold (255, 65535), as in
    most data sets, and the border's color of Pascal VOC; of Cityscapes' `labelIds` those that its
    evaluation leaves out. Where a file, and those beside it, hold nothing but 0 and 255 they are
    masks, and 255 is their foreground. Negative values are always void.

    Args:
        source: The labels' file or its bytes.
        image_hw: Height and width of the picture.
        void: Which values are of no class.
        name: What a sentence calls the labels.
        beside: Label files of other pictures of the same data set: whether they are masks.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It holds no labels, or not of the picture's size.
    """
    found = read_label_file(source, name)
    what = name or (f"the labels {shortened(str(source), 120)}" if isinstance(source, Path) else "")
    if found.values.shape != tuple(image_hw):
        depth = np.min_scalar_type(min(found.largest, 2**31))
        raise ValueError(
            f"{what or 'the labels'} must be 8-bit class indices of the image's size "
            f"{tuple(image_hw)}, or deeper ones, or colors; they must have the picture's size "
            f"{tuple(image_hw)}, got {depth} of shape {found.values.shape}"
        )
    chosen, words = _void_of(found, source, void, beside)
    values = found.values.copy()
    gone = np.isin(values, list(chosen)) | (values < 0)
    values[gone] = NO_CLASS
    return ReadLabels(values, words, found.colored)


def _void_of(
    found: LabelFile, source: Path | bytes, void: Void, beside: Iterable[Path | bytes]
) -> tuple[frozenset[int], str]:
    """Return the void values of a file, and what is to be said about them."""
    if void.values is not None:
        if not void.values:
            return void.values, "no label is void"
        names = ", ".join(value_name(one, found.colored) for one in sorted(void.values)[:8])
        more = f" and {len(void.values) - 8} more" if len(void.values) > 8 else ""
        return void.values, f"void labels: {names}{more}, as was chosen"
    if found.colored:
        return frozenset({VOC_BORDER}), (
            "labels are colors, each a class of its own; only Pascal VOC's border, #e0e0c0, is void"
        )
    if isinstance(source, Path) and source.stem.endswith("_labelIds"):
        return frozenset({*CITYSCAPES_VOID, 255}), (
            "void labels: those that the evaluation of Cityscapes leaves out, as the file is "
            "called labelIds"
        )
    top = found.largest if found.largest in (255, 65535) else 255
    if _is_mask(found, top) and all(_is_mask(one, top) for one in _others(beside)):
        return frozenset(), (
            f"labels are masks of 0 and {top}: {top} is their foreground and no label is void"
        )
    return frozenset({top}), f"void label: {top}, as is usual; every other value is a class"


def _is_mask(found: LabelFile | None, top: int) -> bool:
    if found is None:
        return True
    return not found.colored and bool(np.isin(found.values, (0, top)).all())


def _others(beside: Iterable[Path | bytes]) -> Iterator[LabelFile | None]:
    for source in islice(beside, MOST_LOOKED_AT):
        try:
            yield read_label_file(source)
        except (ValueError, OSError):  # told when it is read for its own picture
            yield None


def value_name(value: int, colored: bool = False) -> str:
    """Return what a label value is called where nobody named its class."""
    return f"#{value:06x}" if colored else str(value)


def class_names(values: Iterable[int], *, colored: bool = False) -> dict[int, str]:
    """Return names for label values: those of streets if all are theirs, else the values."""
    values = sorted(values)
    if not colored and all(0 <= value < len(STREET_CLASSES) for value in values):
        names = tuple(STREET_CLASSES)
        return {value: names[value] for value in values}
    return {value: value_name(value, colored) for value in values}


def labels_beside(folder: Path, picture: Path) -> Path:
    """Return the file in a folder that holds the labels of a picture, by its name.

    Raises:
        FileNotFoundError: There is none.
    """
    names = _files_of(folder, folder.stat().st_mtime_ns if folder.is_dir() else 0)
    for end, other in PAIRED:
        if not picture.stem.endswith(end):
            continue
        stem = picture.stem.removesuffix(end) + other
        for suffix in SUFFIXES:
            if (found := names.get((stem, suffix))) is not None:
                return found
    raise FileNotFoundError(
        f"there are no labels {shortened(str(folder / picture.stem), 150)}.png, nor of another "
        "name or format that is known"
    )


def label_files(folder: Path) -> list[Path]:
    """Return the files of a folder that may hold labels, in natural order."""
    return list(_files_of(folder, folder.stat().st_mtime_ns).values())


@lru_cache(maxsize=4)
def _files_of(folder: Path, _changed: int) -> dict[tuple[str, str], Path]:
    if not folder.is_dir():
        return {}
    return {
        (path.stem, path.suffix.lower()): path
        for path in listed(folder)
        if path.suffix.lower() in SUFFIXES
    }


def without_void(labels: Integer[np.ndarray, "height width"], void: Iterable[int] | None) -> Labels:
    """Return labels with `NO_CLASS` for what is void: the usual values if None.

    The usual ones are 255, where there are others than 0 and 255, and all that are negative.
    """
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"labels must be whole numbers, got {labels.dtype}")
    kept: Labels = labels.astype(np.int32)
    chosen = Void(None if void is None else frozenset(void))
    values, _ = _void_of(LabelFile(kept, False, 255), b"", chosen, ())
    kept[np.isin(kept, list(values)) | (kept < 0)] = NO_CLASS
    return kept
