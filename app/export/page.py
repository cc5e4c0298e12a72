"""The live viewer of an export as one HTML file."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.analysis.tracking import CellFlow, cell_flow
from nonlocal_lens.app.export.formats import Note, html_meta
from nonlocal_lens.app.export.scene import Subject
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from nonlocal_lens.app.viewer.standalone import page
from nonlocal_lens.app.viewer.view import MOST_QUERIES, Query, View


def page_bytes(subject: Subject, note: Note) -> bytes:
    """Return an HTML page that compares every network, opened at the first sixteen queries."""
    hashes = {network["title"]: network["sha256"] for network in note.get("networks", ())}
    kind = "clip" if subject.scene.is_clip else "input"
    queries = tuple(
        Query.at(place.query, place.frame if subject.scene.is_clip else None)
        for place in subject.places[:MOST_QUERIES]
    )
    return page(
        payload_of(subject, hashes, alt=f"The {kind} {subject.source.name}"),
        title=subject.source.name,
        view=View(queries=queries, terms=TERMS, on_picture=subject.scene.on_picture or None),
        meta=html_meta(note),
        details=str(note.get("command", "")),
    )


def payload_of(subject: Subject, hashes: Mapping[str, str], *, alt: str) -> bytes:
    """Return what the viewer is given: an input with what every network made of it.

    Args:
        subject: The input; where its scene has a flow, queries can follow what moves.
        hashes: Of the networks' weights, by their titles.
        alt: What the picture shows, in words.
    """
    scene, shown = subject.scene, []
    for title, over in scene.records.items():
        flow: CellFlow | None = None
        if scene.flow is not None and not over.of_clips:  # each network has its own cells
            grid = over.first.query_grid
            flow = scene.flow if scene.flow.grid == grid else cell_flow(scene.frames, grid)
        held = over if scene.is_clip else over.first
        output = _tensor(subject.outputs.get(title))
        shown.append(Shown(title, held, output, hashes.get(title, ""), flow))
    picture = subject.clip if scene.is_clip else scene.frames[0]
    return pack_all(picture, shown, alt=alt, name=subject.source.name)


def _tensor(output: Any) -> Tensor | None:
    """Return an output that the viewer can look at: some networks' are no tensors."""
    return output if isinstance(output, Tensor) else None
