"""Two pictures in one place, of which a slider shows more of the one or of the other."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import streamlit as st
from jaxtyping import UInt8
from PIL import Image

from nonlocal_lens.app.viewer.bundle import HERE as VIEWER
from nonlocal_lens.app.viewer.bundle import joined

HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "nonlocal_lens_before_after",
    js=joined((VIEWER / "elements.js", HERE / "before_after.js")),
    css=(HERE / "before_after.css").read_text(encoding="utf-8"),
)


def before_after(
    before: UInt8[np.ndarray, "height width 3"],
    after: UInt8[np.ndarray, "height width 3"],
    names: Sequence[str],
    alts: Sequence[str],
) -> None:
    """Show two pictures of one size, one over the other, and a slider between them.

    Args:
        before: What is seen left of the slider.
        after: What is seen right of it.
        names: What stands at both sides.
        alts: What both show, in words.
    """
    pictures = [
        {"image": _url(image), "name": name, "alt": alt}
        for image, name, alt in zip((before, after), names, alts, strict=True)
    ]
    _mount(data={"pictures": pictures}, key="before-after")


def _url(image: UInt8[np.ndarray, "height width 3"]) -> str:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
