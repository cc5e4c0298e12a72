"""Does the network need its attention? Its output before and after a change, beside controls."""

from collections.abc import Mapping
from math import isnan
from typing import Any

import numpy as np
import streamlit as st

from nonlocal_lens.analysis.causes import ROLES
from nonlocal_lens.analysis.interventions import Intervention
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app import cache
from nonlocal_lens.app.capabilities import scores_classes, segments
from nonlocal_lens.app.changes import INTERVENTION_WORDS, Change
from nonlocal_lens.app.components.before_after import before_after
from nonlocal_lens.app.components.painting import class_colors, class_legend, reduced
from nonlocal_lens.app.networks import short_name
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.session import kept

FLIPPED = (255, 64, 64)
FADED = 0.35  # how much of the photograph is left where nothing flipped

ALL, BLOCK, HEAD = "all blocks", "this block", "this head"

WHAT_IT_IS = {
    "zeroing": "takes attention away",
    "control": "control",
    "term": "one term alone",
}


def show_intervention(network_name: str, picture: Picture, record: AttentionRecord) -> None:
    """Show what every intervention changes in numbers, and one of them in pictures."""
    module, _ = cache.network(network_name)
    output = cache.observation(network_name, picture).output
    if not scores_classes(output):
        st.info(
            "An intervention is seen in class scores, of the pixels or of the picture: "
            f"`{short_name(network_name)}` gives none."
        )
        return
    where = choose_part(network_name, picture, record)
    try:
        changed = cache.changes(network_name, picture, where)
    except ValueError as error:
        st.info(f"The attention of `{short_name(network_name)}` cannot be changed: {error}.")
        return
    how = st.segmented_control(
        "Attention is replaced by",
        [how for how in changed if how != "on"],
        format_func=lambda how: how.replace("_", " "),
        required=True,
        **kept("intervention", "mean_row", among=changed),
    )
    words = INTERVENTION_WORDS[how]
    st.caption(f"{words[0].upper()}{words[1:]}. Nothing is trained again.")
    if segments(module, output):
        show_pictures(module.classes, picture, changed, how)
    st.dataframe(table(changed, how), hide_index=True)
    st.caption(
        "Read “off” beside its controls: what it costs beyond them is the shock of an output that "
        "the layers behind have never seen. Whether *this* picture's attention matters, the "
        "controls say. KL: how much worse the changed probabilities code what the network said "
        "before, per pixel or for the picture."
    )
    if segments(module, output) and isnan(changed["on"].miou):
        st.caption("mIoU needs a picture with labels of the network's classes: a rendered street.")


def choose_part(
    network_name: str, picture: Picture, record: AttentionRecord
) -> tuple[str, int | None] | None:
    """Let the user choose what is changed at a time; None is all blocks."""
    records = cache.observation(network_name, picture).records
    parts: dict[str, tuple[str, int | None] | None] = {ALL: None}
    if len({one.block for one in records}) > 1:
        parts[BLOCK] = (record.block, None)
    if record.head is not None:
        parts[HEAD] = (record.block, record.head)
    if len(parts) == 1:
        return None
    part = st.segmented_control(
        "What is changed", list(parts), required=True, **kept("intervene-on", ALL, among=parts)
    )
    return parts[part]


def show_pictures(
    classes: tuple[str, ...],
    picture: Picture,
    changed: Mapping[Intervention, Change],
    how: Intervention,
) -> None:
    """Show the predicted segmentation before and after, and where they differ."""
    before, after = changed["on"], changed[how]
    colors = class_colors(classes)
    photo = reduced(picture.image)
    marked = (FADED * photo + (1 - FADED) * 128).astype(np.uint8)
    marked[after.flipped] = FLIPPED
    slider, flipped = st.columns([3, 2], gap="large")
    with slider:
        before_after(
            colors[before.classes],
            colors[after.classes],
            ("Predicted before", "Predicted after"),
            (
                "Predicted classes with attention as it is",
                f"Predicted classes, attention {how.replace('_', ' ')}",
            ),
        )
    with flipped:
        st.markdown(f"**{after.flipped_share:.1%} of pixels flipped**")
        st.image(marked, alt="Flipped pixels in red", width="stretch")
    shown = [classes for classes in (before.classes, after.classes) if classes is not None]
    present = np.unique(shown).tolist()
    st.caption("Predicted classes:")
    st.html(class_legend(classes, present))


def table(changed: Mapping[Intervention, Change], how: Intervention) -> list[dict[str, Any]]:
    """Return a row for every intervention, the one that is shown marked: what it is and changes."""
    before = changed["on"]
    rows = []
    for name, change in changed.items():
        role = WHAT_IT_IS.get(ROLES.get(name, ""), "nothing is changed")
        row: dict[str, str | float] = {
            "Shown": "\u25cf" if name == how else "",
            "Attention": name.replace("_", " "),
            "What it is": role,
        }
        if change.classes is None:
            row["Class named"] = change.best
            row[f"Probability of {before.best}"] = round(change.probability, 4)
            row["KL, bits"] = round(change.kl_bits, 4)
        else:
            row["Flipped pixels, %"] = round(100 * change.flipped_share, 2)
            row["KL per pixel, bits"] = round(change.kl_bits, 4)
        if change.miou == change.miou:
            row["mIoU"] = round(change.miou, 3)
            row["mIoU change"] = round(change.miou - before.miou, 3)
        rows.append(row)
    return rows
