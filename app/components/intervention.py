"""Does the network need its attention? The predicted segmentation before and after a change."""

import numpy as np
import streamlit as st

from analysis.interventions import INTERVENTIONS
from app import cache
from app.abilities import can_intervene
from app.changes import INTERVENTION_WORDS
from app.components.painting import class_colors, class_legend, reduced
from app.networks import short_name
from app.pictures import Picture

FLIPPED = (255, 64, 64)
FADED = 0.35  # how much of the photograph is left where nothing flipped


def show_intervention(network_name: str, picture: Picture) -> None:
    """Show what every intervention changes in numbers, and one of them in pictures."""
    module, _ = cache.network(network_name)
    if not can_intervene(module, cache.observation(network_name, picture).output):
        st.info(
            "An intervention is seen in a predicted segmentation, and changes blocks of this "
            f"project's kind: `{short_name(network_name)}` does not offer both."
        )
        return
    changed = cache.changes(network_name, picture)
    how = st.segmented_control(
        "Attention is replaced by",
        [how for how in INTERVENTIONS if how != "on"],
        format_func=lambda how: how.replace("_", " "),
        required=True,
        default="mean_row",
        key="intervention",
    )
    st.caption(f"{INTERVENTION_WORDS[how].capitalize()}, in every block; nothing is trained again.")
    before, after = changed["on"], changed[how]
    colors = class_colors(module.classes)
    photo = reduced(picture.image)
    marked = (FADED * photo + (1 - FADED) * 128).astype(np.uint8)
    marked[after.flipped] = FLIPPED
    shown = {
        "Predicted before": (colors[before.classes], "Predicted classes with attention as it is"),
        "Predicted after": (colors[after.classes], f"Predicted classes, attention {how}"),
        f"{after.flipped_share:.1%} of pixels flipped": (marked, "Flipped pixels in red"),
    }
    for column, (title, (image, alt)) in zip(st.columns(3), shown.items(), strict=True):
        with column:
            st.markdown(f"**{title}**")
            st.image(image, alt=alt, width="stretch")
    present = np.union1d(before.classes, after.classes).tolist()
    st.html(class_legend(module.classes, present))
    rows = []
    for name, change in changed.items():
        row: dict[str, str | float] = {
            "Attention": name.replace("_", " "),
            "Flipped pixels, %": round(100 * change.flipped_share, 2),
            "KL per pixel, bits": round(change.kl_bits, 4),
        }
        if change.miou == change.miou:
            row["mIoU"] = round(change.miou, 3)
            row["mIoU change"] = round(change.miou - before.miou, 3)
        rows.append(row)
    st.dataframe(rows, hide_index=True)
    if before.miou != before.miou:
        st.caption("mIoU needs a picture with labels of the network's classes: a rendered street.")
