"""Rendered clips for training and evaluation."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8
from tqdm import tqdm

from nonlocal_lens.models.atomic_write import appearing
from nonlocal_lens.streets import render_clip, split_seeds

RENDERED_CLIPS = {"train": 2400, "val": 600, "test": 600}
"""How many rendered clips a split holds; the renderer would make any number."""

FRAMES = 8
SIZE_HW = (96, 128)
"""How the clips are drawn: from the first moment to the last, and small."""


class Clips(NamedTuple):
    """Labeled clips of equal size."""

    images: UInt8[np.ndarray, "clips frames height width 3"]
    frame_labels: UInt8[np.ndarray, "clips frames height width"]  # values of streets.classes
    labels: Int[np.ndarray, " clips"]  # indices into streets.CLIP_LABELS


def rendered_clips(split: str, folder: Path | None = None) -> Clips:
    """Draw the clips of one split, or read them if they were drawn before.

    Args:
        split: A key of `RENDERED_CLIPS`.
        folder: Where drawn clips are kept for the next time; nowhere if not given. What lies there
            is believed: after a change of the renderer it must go.

    Raises:
        ValueError: There is no such split.
    """
    if split not in RENDERED_CLIPS:
        raise ValueError(f"unknown split {split!r}; available: {', '.join(RENDERED_CLIPS)}")
    count = RENDERED_CLIPS[split]
    kept = folder and folder / f"clips-{split}-{count}x{FRAMES}x{SIZE_HW[0]}x{SIZE_HW[1]}.npz"
    if kept and kept.exists():
        with np.load(kept) as arrays:
            return Clips(**arrays)
    seeds = tqdm(split_seeds(split, count), desc=f"drawing clips ({split})", leave=False)
    drawn = [render_clip(seed, FRAMES, SIZE_HW) for seed in seeds]
    clips = Clips(
        images=np.stack([clip.images for clip in drawn]),
        frame_labels=np.stack([clip.labels for clip in drawn]),
        labels=np.array([clip.label for clip in drawn]),
    )
    if kept:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with appearing(kept) as partial, partial.open("wb") as file:
            np.savez(file, **clips._asdict())
    return clips
