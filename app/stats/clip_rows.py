"""The rows of a clip: its frames one by one, and the whole of it where a network looks at that."""

from collections.abc import Iterator
from typing import Any

import torch

from nonlocal_lens.analysis.capture import takes_clips
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.over_time import (
    degeneracy_over_time,
    drift_by_frame,
    unary_drift,
    unary_maps,
)
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import middle_frame
from nonlocal_lens.app.batch.networks import LoadedNetwork
from nonlocal_lens.app.stats.cells import AnotherInput, about, measured
from nonlocal_lens.app.stats.options import Options


def rows_of_clip(
    clip: Clip, options: Options, another: AnotherInput | None, network: LoadedNetwork
) -> Iterator[dict[str, Any]]:
    """Yield the rows of every block and head of a network on one clip.

    A network that looks at images has a row for every frame. One that looks at clips has a row for
    the whole clip, whose `frame` is None, and then one for the queries of every frame, with what
    can be said of those alone. Beside the numbers of `degeneracy.measure` stand

    - `frame_information_bits`, how much of the query information the query's frame alone tells;
    - `own_frame_mass`, the share of attention that stays in the query's frame, 0 to 1;
    - `drift_nats`, how far the unary map moved since the frame before; of the whole, its mean.
    """
    height, width = clip.frames.shape[1:3]
    where = {
        "input_sha256": clip.sha256,
        "width": width,
        "height": height,
        "frames": len(clip),
        "read_as": None,
        "note": clip.note or None,
    }
    rows = _of_the_whole if takes_clips(network.module) else _of_images
    for row in rows(clip, options, another, network):
        yield {**where, **row}


def _of_the_whole(
    clip: Clip, options: Options, another: AnotherInput | None, network: LoadedNetwork
) -> Iterator[dict[str, Any]]:
    for record, cells in measured(network, clip, options, another=another):
        over_time = degeneracy_over_time(record)
        frames = len(over_time.frames)
        drift = drift_by_frame(unary_maps(record), frames)
        own = torch.full((frames,), torch.nan)
        if record.key_grid.frames == frames:
            own = over_time.frame_to_frame.diagonal()
        middles = [middle_frame(record.query_grid, frame, len(clip)) for frame in range(frames)]
        yield {
            **cells,
            **_group(record, clip),
            "frame_information_bits": over_time.frame_information_bits,
            "own_frame_mass": own.mean().item(),
            "drift_nats": over_time.drift_nats.mean().item(),
        }
        common = about(network, record, cells["call"], options)
        queries, keys = record.query_axis.counting // frames, len(record.key)
        for number, (frame, degeneracy) in enumerate(zip(middles, over_time.frames, strict=True)):
            yield {
                **common,
                **_at(clip, frame),
                "queries": queries,
                "keys": keys,
                **vars(degeneracy),
                "own_frame_mass": own[number].item(),
                "drift_nats": drift[number],
            }


def _group(record: AttentionRecord, clip: Clip) -> dict[str, Any]:
    """Return what a row of a block says that sees a group of frames at a time."""
    grid = record.query_grid
    first, _ = grid.clip_span(0, len(clip))
    _, end = grid.clip_span(grid.frames - 1, len(clip))
    if end - first > len(clip) - 1:
        return {}
    words = f"of the frames {first:.0f} to {end - 1:.0f} alone, which the block sees together"
    return {"note": f"{clip.note}; {words}" if clip.note else words}


def _of_images(
    clip: Clip, options: Options, another: AnotherInput | None, network: LoadedNetwork
) -> Iterator[dict[str, Any]]:
    before: dict[tuple[str, int, int | None], torch.Tensor] = {}
    for frame, image in enumerate(clip.frames):
        for record, cells in measured(network, image, options, another=_frame(another, frame)):
            key, maps = (record.block, record.call, record.head), unary_maps(record)
            drift = torch.nan
            if key in before:
                drift = unary_drift(torch.cat([before[key], maps]))[0].item()
            before[key] = maps
            yield {**cells, **_at(clip, frame), "drift_nats": drift}


def _frame(another: AnotherInput | None, frame: int) -> AnotherInput | None:
    """Return a frame of another clip, the last one where it ends before."""
    if another is None:
        return None
    source, clip = another
    assert isinstance(clip, Clip)  # what is read beside a clip is one
    return source, clip.frames[min(frame, len(clip) - 1)]


def _at(clip: Clip, frame: int) -> dict[str, Any]:
    return {"frame": frame, "time_s": float(clip.times[frame])}
