"""A clip with what every network made of it: all that its files are drawn from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from torch import nn

from analysis import terms
from analysis.capture import Observation, observe, observe_frames, takes_clips
from analysis.clips import Clip
from analysis.figures.panels import (
    ATTENTION,
    LOGIT,
    MAPS,
    MapPanel,
    Panel,
    PhotoPanel,
    Point,
    Shown,
    cell_box,
)
from analysis.record import AttentionRecord
from analysis.tracking import CellFlow, cell_flow
from app.batch.clips import read_source_clip, usual_frames
from app.batch.inputs import Source
from app.batch.networks import load, one_thread
from app.export.clip_queries import ClipQuery, Place
from app.export.options import Options
from app.export.seeing import choose_record


@dataclass(frozen=True, eq=False)
class SeenClip:
    """One clip with what every network made of it.

    A network that looks at whole clips has one record, with frames; one that looks at images has a
    record for every frame.
    """

    source: Source
    clip: Clip
    records: dict[str, tuple[AttentionRecord, ...]]  # by the network's title
    places: list[Place]
    flow: CellFlow | None  # where queries are tracked

    def path(self, place: Place) -> list[Point | None]:
        """Return where a query is in every frame: where it stays, or None where it is lost."""
        if self.flow is None:
            return [(place.x, place.y)] * len(self.clip)
        return list(self.flow.follow(place.x, place.y, place.frame))


def see_clip(source: Source, options: Options) -> SeenClip:
    """Read a clip and run every network on it, once.

    Raises:
        OSError: The clip cannot be read.
        ValueError: The clip cannot be used, or it has no such query.
    """
    networks = {load(name).title: load(name).module for name in options.networks}
    frames = options.frames or usual_frames(networks.values())
    clip = read_source_clip(source.location, options.start, options.stride, frames)
    records: dict[str, tuple[AttentionRecord, ...]] = {}
    with one_thread():
        for title, network in networks.items():
            found = [observation.records for observation in observations(network, clip)]
            records[title] = tuple(choose_record(one, options.block, options.head) for one in found)
        flow = None
        if options.track:
            flow = flow_of(clip, records)
            if flow is None:
                raise ValueError("track is for networks that look at images; these look at clips")
        seen = SeenClip(source, clip, records, [], flow)
        seen.places.extend(places_of(seen, options.clip_queries()))
    return seen


def observations(network: nn.Module, clip: Clip) -> Iterator[Observation]:
    """Yield what a network makes of the clip, or one after the other what it makes of each frame.

    Raises:
        ValueError: The network cannot look at frames of this size.
    """
    if takes_clips(network):
        yield observe(network, clip)
    else:
        yield from observe_frames(network, clip)


def flow_of(clip: Clip, records: Mapping[str, tuple[AttentionRecord, ...]]) -> CellFlow | None:
    """Return how the cells of the first network that looks at images move; None if none does."""
    images = [found for found in records.values() if _is_of_images(found)]
    return cell_flow(clip.frames, images[0][0].query_grid) if images else None


def panels_of(seen: SeenClip, place: Place, shown: tuple[Shown, ...]) -> list[list[Panel]]:
    """Return a row of panels for every frame of a clip, with the maps of one query.

    The query is marked in the frame that it is in: of a network that looks at images, which has a
    row in every frame, in all of them. Where a tracked query is lost, the map is the photograph.
    """
    columns: list[list[Panel]] = []
    path = seen.path(place)
    still = any(_is_of_images(records) for records in seen.records.values())
    grid = next(iter(seen.records.values()))[0].query_grid
    for name in shown:
        if name == "input":
            marked = [
                point if still or frame == place.frame else None for frame, point in enumerate(path)
            ]
            columns.append(
                [
                    PhotoPanel("input", "", image, point, point and cell_box(grid, point))
                    for image, point in zip(seen.clip.frames, marked, strict=True)
                ]
            )
    for title, records in seen.records.items():
        for name in shown:
            if name in MAPS:
                columns.append(_maps(seen, title, records, place, path, name))
    return [list(row) for row in zip(*columns, strict=True)]


def rows_of(
    record: AttentionRecord, query: int, name: Shown
) -> np.ndarray:  # (key frames, rows, columns)
    """Return a query's row as maps of all frames of the keys, in multiples of uniform or logits."""
    row = terms.attention(record, [query], name)[0] * record.key_grid.positions  # type: ignore[arg-type]
    return row.reshape(record.key_grid.shape).numpy()


def query_position(record: AttentionRecord, place: Place, frames: int) -> int:
    """Return the flat position of a place; a grid that pools over time has fewer than `frames`."""
    grid = record.query_grid
    frame = place.frame * grid.frames // frames if grid.frames != frames else place.frame
    return grid.position(grid.cell_at(x=place.x, y=place.y, frame=frame))


def is_spacetime(records: tuple[AttentionRecord, ...], clip: Clip) -> bool:
    """Return whether these are the records of a network that looks at whole clips."""
    return len(records) == 1 and (records[0].query_grid.frames > 1 or len(clip) == 1)


def _is_of_images(records: tuple[AttentionRecord, ...]) -> bool:
    return len(records) > 1 or records[0].query_grid.frames == 1


def _maps(
    seen: SeenClip,
    title: str,
    records: tuple[AttentionRecord, ...],
    place: Place,
    path: list[Point | None],
    name: Shown,
) -> list[Panel]:
    frames = len(seen.clip)
    first = records[0]
    key_grid = first.key_grid
    quantity = LOGIT if first.coupling == "unnormalized" else ATTENTION
    spacetime = is_spacetime(records, seen.clip)
    if spacetime:
        maps = rows_of(first, query_position(first, place, frames), name)
    column: list[Panel] = []
    for frame, point in enumerate(path):
        if spacetime:
            values = maps[frame * key_grid.frames // frames]
            point = (place.x, place.y) if frame == place.frame else None
        elif point is None:
            column.append(PhotoPanel(name, title, seen.clip.frames[frame], None, None))
            continue
        else:
            values = rows_of(
                records[frame], query_position(records[frame], Place(0, *point), 1), name
            )[0]
        cell = cell_box(first.query_grid, point) if point else None
        column.append(MapPanel(name, title, values, key_grid.bounds, quantity, point, cell))
    return column


def places_of(seen: SeenClip, queries: Iterable[ClipQuery]) -> list[Place]:
    """Return the queries of a clip; those without a frame are in the middle one.

    Raises:
        ValueError: The clip has no such frame, or a query lies outside the image.
    """
    frames = len(seen.clip)
    records = next(iter(seen.records.values()))
    found = []
    for query in queries:
        frame = frames // 2 if query.frame is None else query.frame
        if frame >= frames:
            raise ValueError(f"frame must be in [0, {frames}) of the frames chosen, got {frame}")
        record = records[0] if len(records) == 1 else records[frame]
        if query.spec.kind == "auto" and record.query_grid.frames > 1:
            found += _most_different(record, query.spec.count, frames)
        else:
            found += [Place(frame, x, y) for x, y in query.spec.points(record)]
    return found


def _most_different(record: AttentionRecord, count: int, frames: int) -> list[Place]:
    from analysis.figures.queries import most_different

    grid = record.query_grid
    cells = [grid.cell(position) for position in most_different(record, count)]
    return [
        Place(int((cell.frame + 0.5) * frames / grid.frames), *grid.center(cell)) for cell in cells
    ]
