"""What the film strip is given: frames, queries and keys in one safetensors buffer."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from safetensors.numpy import save

from analysis.clips import Clip, frames_of
from analysis.record import AttentionRecord
from analysis.render import DIVERGING_PALETTES, PALETTES, jpeg, palette_table
from analysis.tracking import CellFlow
from app.viewer.payload import color_scale, record_spec, signed, term_tensors

SHOWN_SIDE = 640
"""Frames are reduced to this for the screen; what the network sees is not affected."""


def pack_clip(
    clip: Clip,
    records: Sequence[AttentionRecord],
    *,
    title: str,
    alt: str,
    flow: CellFlow | None = None,
    query: tuple[int, float, float] | None = None,
) -> bytes:
    """Return the payload of one block on one clip.

    Numbers travel as in `app.viewer.payload.pack_all`.

    Args:
        clip: The frames.
        records: One record whose grids have frames, or the records of all frames.
        title: What the network is called on the page.
        alt: What the clip shows, in words.
        flow: How cells move, for queries that are tracked; of networks that look at images.
        query: A frame (of the record's grid) and an image point to begin at.

    Raises:
        ValueError: There is neither one record with frames nor one record per frame.
    """
    spacetime = len(records) == 1 and (records[0].query_grid.frames > 1 or len(clip) == 1)
    if not spacetime and len(records) != len(clip):
        raise ValueError(
            f"a clip of {len(clip)} frames needs one record with frames or {len(clip)} records, "
            f"got {len(records)}"
        )
    shown = frames_of(clip, records[0].query_grid.frames if spacetime else len(clip))
    palettes = DIVERGING_PALETTES if signed(records[0]) else PALETTES
    scales = [color_scale(record) for record in records]
    height, width = clip.frames.shape[1:3]
    config: dict[str, Any] = {
        "title": title,
        "clip": clip.sha256,
        "image": {"width": width, "height": height, "alt": alt},
        "frames": [{"time": float(clip.times[index])} for index in shown],
        "fps": clip.fps * len(shown) / len(clip),
        "spacetime": spacetime,
        "palettes": palettes,
        "scale": {
            **{name: max(scale[name] for scale in scales) for name in scales[0]},
            "signed": signed(records[0]),
        },
        "query": None if query is None else dict(zip(("frame", "x", "y"), query, strict=True)),
        "records": [record_spec(record) for record in records],
    }
    tensors = {"palettes": palette_table(palettes)}
    for number, index in enumerate(shown):
        tensors[f"frame.{number}"] = np.frombuffer(jpeg(_reduced(clip.frames[index])), np.uint8)
    for number, record in enumerate(records):
        travels = term_tensors(record)
        tensors |= {f"{number}.{name}": tensor.numpy() for name, tensor in travels.items()}
    if flow is not None:
        tensors |= {"flow.forward": flow.forward, "flow.backward": flow.backward}
    digest = hashlib.sha256(json.dumps(config).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).data)
    config["id"] = digest.hexdigest()
    return save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"config": json.dumps(config)},
    )


def _reduced(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows cols 3"]:
    picture = Image.fromarray(frame)
    picture.thumbnail((SHOWN_SIDE, SHOWN_SIDE))
    return np.asarray(picture)
