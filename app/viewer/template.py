"""Pages of their own before anything is in them: code, style, names for what is put in later.

A page's content-security policy lets exactly this script and this style in, by their hashes, and no
request out.
"""

import base64
import re
from hashlib import sha256
from pathlib import Path

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


def filled(text: str, values: dict[str, str]) -> str:
    """Replace names once: what is put in is not looked at again."""
    return NAME.sub(lambda name: values.get(name[1], name[0]), text)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()
