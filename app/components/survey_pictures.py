"""Choose the pictures of a survey: rendered streets, samples, or the user's own with labels."""

from functools import partial
from pathlib import Path

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from nonlocal_lens.analysis.labels import Void
from nonlocal_lens.app.components.picture_picker import UPLOAD_MEGABYTES, UPLOAD_TYPES
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.pictures import (
    SAMPLES,
    SEED_HELP,
    STREETS,
    Picture,
    kept_picture,
    rendered_picture,
    sample_picture,
)
from nonlocal_lens.app.session import kept
from nonlocal_lens.app.survey.run import Item
from nonlocal_lens.app.uploads import keep
from nonlocal_lens.models.checkpoints.datasets import classes_by_count
from nonlocal_lens.models.label_files import SUFFIXES
from nonlocal_lens.streets.classes import STREET_CLASSES
from nonlocal_lens.streets.seeds import SPLITS

RENDERED, SAMPLE_SET, OWN = "Rendered streets", "Samples", "Your own"
KINDS = (RENDERED, SAMPLE_SET, OWN)
MOST_STREETS = 10_000
USUAL_STREETS = 6  # few enough to be measured while one looks on


def choose_kind() -> str:
    """Let the user choose a kind of pictures."""
    kind: str = st.segmented_control(
        "Pictures", KINDS, required=True, **kept("survey-kind", RENDERED, among=KINDS)
    )
    return kind


def choose_streets() -> range:
    """Let the user choose rendered streets by their numbers."""
    first = st.number_input(
        "First street",
        0,
        STREETS - 1,
        help=f"{SEED_HELP} They come with labels.",
        width=150,
        **kept("survey-first", SPLITS["test"]),
    )
    count = st.number_input(
        "How many", 1, MOST_STREETS, width=120, **kept("survey-count", USUAL_STREETS)
    )
    return range(first, min(first + count, STREETS))


def items_of(kind: str, numbers: range | None) -> tuple[list[Item], tuple[str, ...]]:
    """Return samples, or the streets of some numbers, and the names of their labels' values."""
    if kind == SAMPLE_SET or numbers is None:
        return [
            Item(sample.title, partial(sample_picture, name)) for name, sample in SAMPLES.items()
        ], ()
    streets = [Item(f"street {number}", partial(rendered_picture, number)) for number in numbers]
    return streets, tuple(STREET_CLASSES)


def brought_pictures(place: DeltaGenerator) -> tuple[tuple[str, ...], list[Item]]:
    """Let the user bring pictures without labels; return also where each is kept."""
    files = _kept_files(place, "Pictures", UPLOAD_TYPES, "pictures-files")
    items = [Item(name, partial(_read_kept, path, None, "")) for path, name in files]
    return tuple(str(path) for path, _ in files), items


def own_items() -> tuple[list[Item], tuple[str, ...]]:
    """Let the user bring pictures and, maybe, labels of the same names."""
    pictures_column, labels_column = st.columns(2)
    pictures = _kept_files(pictures_column, "Pictures", UPLOAD_TYPES, "pictures-files")
    label_files = _kept_files(
        labels_column,
        "Labels, if there are any",
        sorted(suffix[1:] for suffix in SUFFIXES),
        "labels-files",
        help="For each picture an image of its name whose values, or colors, are the classes of "
        "its pixels, of any data set.",
    )
    classes: tuple[str, ...] = ()
    void = ""
    if label_files:
        void = labels_column.text_input(
            "Void labels",
            **kept("survey-void", ""),
            placeholder="the usual: 255",
            help="Values of no class, like 255 or 0,255 or #e0e0c0, or a data set: voc, "
            "cityscapes, ade20k, camvid.",
        )
        try:
            Void.parse(void)
        except ValueError as error:
            labels_column.error(f"{literal(str(error))}.")
            void = ""
        count = labels_column.number_input(
            "Classes in the labels",
            2,
            255,
            **kept("survey-classes", len(STREET_CLASSES)),
            help="Names them where they are known. Values beyond them are classes, too, and called "
            "by their number.",
        )
        classes = tuple(STREET_CLASSES)
        if count != len(classes):
            classes, _ = classes_by_count(count)
    labels = {Path(name).stem: path for path, name in label_files}
    lonely = sorted(set(labels) - {Path(name).stem for _, name in pictures})
    if lonely:
        labels_column.warning(f"No picture is called like these labels: {', '.join(lonely[:5])}.")
    return [
        Item(name, partial(_read_kept, path, labels.get(Path(name).stem), void))
        for path, name in pictures
    ], classes


def _kept_files(
    place: DeltaGenerator, label: str, types: list[str], key: str, *, help: str | None = None
) -> list[tuple[Path, str]]:
    """Let the user bring files; the last ones stay while other pages are visited.

    Returns:
        Where each is kept, and what the user calls it.
    """
    name = f"{key} kept"

    def take() -> None:
        brought = st.session_state[key] or []
        st.session_state[name] = [(keep(file.getvalue(), file.name), file.name) for file in brought]

    shown = place.file_uploader(
        label,
        types,
        accept_multiple_files=True,
        max_upload_size=UPLOAD_MEGABYTES,
        key=key,
        help=help,
        on_change=take,
    )
    files: list[tuple[Path, str]] = st.session_state.get(name, [])
    if files and not shown:
        words = "1 file" if len(files) == 1 else f"{len(files)} files"
        place.caption(
            f"Still open: {words}, {literal(files[0][1])}{' …' if len(files) > 1 else ''}"
        )
    return files


def _read_kept(path: Path, labels: Path | None, void: str) -> Picture:
    return kept_picture(path, None if labels is None else labels.read_bytes(), void)
