"""The viewer as a page of its own: one file that works offline and asks nobody.

A template holds the viewer's code and style; Python (`page`) and the viewer itself (save_record.js)
fill in the same names. Its content-security policy lets exactly this script and this style in, by
their hashes, and no request out.
"""

import base64
import html
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

from nonlocal_lens.app.viewer.payload import config_of
from nonlocal_lens.app.viewer.view import View

HERE = Path(__file__).parent
NAME = re.compile(r"%%(\w+)%%")


def template(code: str, style: str, hint: str = "") -> str:
    """Return the page with `%%names%%` where its contents go.

    Args:
        code: A module.
        style: Its style.
        hint: How to use the page, as HTML; the viewer's if not given.

    Raises:
        ValueError: The code would end the element it stands in.
    """
    style += "\n" + _read("standalone.css")
    if "</script" in code or "</style" in style:
        raise ValueError("code and style of a page must not contain </script or </style")
    policy = (
        f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; "
        "img-src blob: data:; base-uri 'none'; form-action 'none'"
    )
    names = {"policy": policy, "style": style, "code": code}
    return filled(_read("standalone.html"), {**names, "hint": hint or _read("hint.html").strip()})


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
    from nonlocal_lens.app.viewer.bundle import page_template

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


def filled(text: str, values: dict[str, str]) -> str:
    """Replace names once: what is put in is not looked at again."""
    return NAME.sub(lambda name: values.get(name[1], name[0]), text)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()
