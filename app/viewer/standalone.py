"""The viewer as a page of its own: one file that works offline and asks nobody.

`template.py` makes what Python (`page`) and the viewer itself (save_record.js) fill in.
"""

import base64
import html
import json
from typing import Any

from nonlocal_lens.app.viewer.bundle import page_template
from nonlocal_lens.app.viewer.payload import config_of
from nonlocal_lens.app.viewer.template import filled
from nonlocal_lens.app.viewer.view import View


def page(
    payload: bytes,
    *,
    title: str,
    view: View | None = None,
    meta: str = "",
    details: str = "",
) -> bytes:
    """Return an HTML page with the viewer of a payload.

    Args:
        payload: What the viewer shows, see payload.py.
        title: What the picture is called; any text.
        view: Queries and settings that it opens with.
        meta: Elements of the page's head, as HTML.
        details: How the page was made; any text.
    """
    made = "<details><summary>How it was made</summary><pre>{}</pre></details>"
    return filled(
        page_template(),
        {
            "title": html.escape(title),
            "meta": meta,
            "about": "".join(f"<li>{html.escape(line)}</li>" for line in about(config_of(payload))),
            "details": made.format(html.escape(details)) if details else "",
            "view": html.escape(json.dumps((view or View()).as_json())),
            "payload": base64.b64encode(payload).decode(),
        },
    ).encode("utf-8", "replace")  # names of files may be no text


def about(config: dict[str, Any]) -> list[str]:
    """Return where the records come from and what colors mean at first, a line each."""
    records = config["records"]
    scales = []
    for signed, unit in ((False, "multiples of uniform"), (True, "logits")):
        tops = [record["scale_top"] for record in records if record["signed"] == signed]
        if tops:
            scales.append(f"shared scale up to {max(tops):g} {unit}")
    return [*(record["about"] for record in records), " · ".join([*scales, config["product"]])]
