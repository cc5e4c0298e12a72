"""The live viewer of an export as one HTML file."""

from typing import Any

from analysis.terms import TERMS
from app.export.provenance import html_meta
from app.export.seeing import Seen
from app.viewer.payload import Shown, pack_all
from app.viewer.standalone import page
from app.viewer.view import MOST_QUERIES, Query, View


def page_bytes(seen: Seen, note: dict[str, Any]) -> bytes:
    """Return an HTML page that compares every network, opened at the first sixteen queries."""
    hashes = {network["title"]: network["sha256"] for network in note.get("networks", ())}
    shown = [
        Shown(title, record, seen.observations[title].output, hashes.get(title, ""))
        for title, record in seen.scene.records.items()
    ]
    payload = pack_all(
        seen.scene.image, shown, alt=f"The input {seen.source.name}", name=seen.source.name
    )
    points = seen.points[:MOST_QUERIES]
    return page(
        payload,
        title=seen.source.name,
        view=View(queries=tuple(Query((point,)) for point in points), terms=TERMS),
        meta=html_meta(note),
        details=str(note.get("command", "")),
    )
