"""The atlas' modules as one text, and the page of its own that it is saved as."""

import base64
import html
from functools import cache
from pathlib import Path

from nonlocal_lens.app.viewer import bundle
from nonlocal_lens.app.viewer.template import filled, template

HERE = Path(__file__).parent

SHARED = (
    "buffer.js",
    "geometry.js",
    "axis.js",
    "forms.js",
    "attention.js",
    "color.js",
    "elements.js",
    "charts.js",
    "panel.js",
)
"""What it has in common with the viewer: there are no other rows and no other colors."""

ATLAS = tuple(
    [*(bundle.HERE / name for name in SHARED)]
    + [HERE / n for n in ("order.js", "heads.js", "depth.js", "view.js", "toolbar.js", "atlas.js")]
)
"""The atlas, in an order in which each module imports from earlier ones only."""

HINT = (
    "Point at the picture, or at any map, and every head answers; click to keep the place. "
    "Shift-click or Space picks heads. This page works offline and sends nothing."
)


@cache
def atlas_js() -> str:
    """Return the atlas for a Streamlit page."""
    return bundle.joined((*ATLAS, HERE / "streamlit.js"))


@cache
def atlas_css() -> str:
    """Return the atlas' style, on top of the viewer's."""
    return bundle.viewer_css() + (HERE / "atlas.css").read_text(encoding="utf-8")


@cache
def _template() -> str:
    code = bundle.joined((*ATLAS, HERE / "standalone.js"))
    return template(code, atlas_css(), html.escape(HINT))


def page(payload: bytes, *, title: str, about: list[str], meta: str = "") -> bytes:
    """Return an HTML page with a whole wall: one file that works offline and asks nobody.

    Args:
        payload: All parts, as `payload.together` joins them.
        title: What it shows; any text.
        about: How it was made, a line each.
        meta: Elements of the page's head, as HTML.
    """
    return filled(
        _template(),
        {
            "title": html.escape(title),
            "meta": meta,
            "about": "".join(f"<li>{html.escape(line)}</li>" for line in about),
            "details": "",
            "view": "",
            "payload": base64.b64encode(payload).decode(),
        },
    ).encode("utf-8", "replace")
