"""The live viewer as one HTML file: works offline, asks nobody, runs no code but its own."""

import base64
import html
import json
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from app.export.provenance import html_meta
from app.export.seeing import Seen
from app.viewer.payload import pack

VIEWER = Path(__file__).parents[1] / "viewer"
HERE = Path(__file__).parent


def page_bytes(seen: Seen, note: dict[str, Any]) -> bytes:
    """Return an HTML page with a viewer for every network, opened at the first query.

    Its content-security policy lets exactly this script and this style in, by their hashes, and no
    request out.
    """
    code = _read(VIEWER / "viewer.js") + _read(HERE / "page.js")
    style = _read(VIEWER / "viewer.css") + _read(HERE / "page.css")
    sections = []
    for title, record in seen.scene.records.items():
        grid = record.query_grid
        payload = pack(
            seen.observations[title], record, title=title, alt=f"The input {seen.source.name}"
        )
        positions = [grid.position(grid.cell_at(x=x, y=y)) for x, y in seen.points]
        sections.append(
            f'<section><h2>{html.escape(title)}</h2><div class="host"></div>'
            f'<script type="application/octet-stream" data-queries="{json.dumps(positions)}">'
            f"{base64.b64encode(payload).decode()}</script></section>"
        )
    queries = "".join(
        f'<button type="button" data-query="{number}">{number + 1}: x {x:.0f}, y {y:.0f}</button>'
        for number, (x, y) in enumerate(seen.points)
    )
    page = Template(_read(HERE / "page.html")).substitute(
        policy=(
            f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; "
            "img-src blob:; base-uri 'none'; form-action 'none'"
        ),
        meta=html_meta(note),
        title=html.escape(seen.source.name),
        style=style,
        queries=queries,
        sections="\n".join(sections),
        command=html.escape(str(note.get("command", ""))),
        code=code,
    )
    return page.encode()


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()
