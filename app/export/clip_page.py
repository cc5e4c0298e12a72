"""The live film strip as one HTML file: works offline, asks nobody, runs no code but its own."""

import base64
import html
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Any

from analysis.tracking import cell_flow
from app.export.clip_seeing import SeenClip, is_spacetime
from app.export.provenance import html_meta
from app.filmstrip import FILM_STRIP
from app.filmstrip.payload import pack_clip
from app.viewer.bundle import joined

FILMSTRIP = Path(__file__).parents[1] / "filmstrip"


def clip_page_bytes(seen: SeenClip, note: dict[str, Any]) -> bytes:
    """Return an HTML page with a film strip for every network, opened at the first query.

    Its content-security policy lets exactly this script and this style in, by their hashes, and no
    request out.
    """
    code = joined((*FILM_STRIP, FILMSTRIP / "page.js"))
    style = "".join(
        (FILMSTRIP / name).read_text(encoding="utf-8") for name in ("filmstrip.css", "page.css")
    )
    sections = [
        f'<section><h2>{html.escape(title)}</h2><div class="host"></div>'
        f'<script type="application/octet-stream">{base64.b64encode(payload).decode()}'
        "</script></section>"
        for title, payload in film_payloads(seen).items()
    ]
    page = Template((FILMSTRIP / "page.html").read_text(encoding="utf-8")).substitute(
        policy=(
            f"default-src 'none'; script-src '{_hash(code)}'; style-src '{_hash(style)}'; "
            "img-src blob:; base-uri 'none'; form-action 'none'"
        ),
        meta=html_meta(note),
        title=html.escape(seen.source.name),
        style=style,
        sections="\n".join(sections),
        command=html.escape(str(note.get("command", ""))),
        code=code,
    )
    return page.encode()


def film_payloads(seen: SeenClip) -> dict[str, bytes]:
    """Return what the film strip of every network is given, opened at the first query."""
    payloads = {}
    for title, records in seen.records.items():
        spacetime = is_spacetime(records, seen.clip)
        grid, query, flow = records[0].query_grid, None, None
        if seen.places:
            place = seen.places[0]
            frame = place.frame * grid.frames // len(seen.clip) if spacetime else place.frame
            query = (frame, place.x, place.y)
        if seen.flow is not None and not spacetime:  # each network has its own cells
            flow = seen.flow if seen.flow.grid == grid else cell_flow(seen.clip.frames, grid)
        payloads[title] = pack_clip(
            seen.clip,
            records,
            title=title,
            alt=f"The clip {seen.source.name}",
            flow=flow,
            query=query,
        )
    return payloads


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(sha256(text.encode()).digest()).decode()
