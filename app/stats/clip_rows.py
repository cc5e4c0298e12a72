"""The rows of a clip: its frames one by one, and the whole of it where a network looks at that."""

from collections.abc import Iterator
from typing import Any

import torch

from analysis.capture import takes_clips
from analysis.clips import Clip, frames_of
from analysis.over_time import degeneracy_over_time, drift_by_frame, unary_drift, unary_maps
from app.batch.networks import LoadedNetwork
from app.stats.cells import about, measured
from app.stats.options import Options


def rows_of_clip(clip: Clip, options: Options, network: LoadedNetwork) -> Iterator[dict[str, Any]]:
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
        "note": clip.note or None,
    }
    rows = _of_the_whole if takes_clips(network.module) else _of_images
    for row in rows(clip, options, network):
        yield {**where, **row}


def _of_the_whole(clip: Clip, options: Options, network: LoadedNetwork) -> Iterator[dict[str, Any]]:
    for record, cells in measured(network, clip, options):
        over_time = degeneracy_over_time(record)
        frames = len(over_time.frames)
        drift = drift_by_frame(unary_maps(record), frames)
        own = torch.full((frames,), torch.nan)
        if record.key_grid.frames == frames:
            own = over_time.frame_to_frame.diagonal()
        yield {
            **cells,
            "frame_information_bits": over_time.frame_information_bits,
            "own_frame_mass": own.mean().item(),
            "drift_nats": over_time.drift_nats.mean().item(),
        }
        common = about(network, record, options)
        queries, keys = len(record.query) // frames, len(record.key)
        for number, (frame, degeneracy) in enumerate(
            zip(frames_of(clip, frames), over_time.frames, strict=True)
        ):
            yield {
                **common,
                **_at(clip, frame),
                "queries": queries,
                "keys": keys,
                **vars(degeneracy),
                "own_frame_mass": own[number].item(),
                "drift_nats": drift[number],
            }


def _of_images(clip: Clip, options: Options, network: LoadedNetwork) -> Iterator[dict[str, Any]]:
    before: dict[tuple[str, int | None], torch.Tensor] = {}
    for frame, image in enumerate(clip.frames):
        for record, cells in measured(network, image, options):
            key, maps = (record.block, record.head), unary_maps(record)
            drift = torch.nan
            if key in before:
                drift = unary_drift(torch.cat([before[key], maps]))[0].item()
            before[key] = maps
            yield {**cells, **_at(clip, frame), "drift_nats": drift}


def _at(clip: Clip, frame: int) -> dict[str, Any]:
    return {"frame": frame, "time_s": float(clip.times[frame])}
