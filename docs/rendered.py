"""Draw the contact sheets of rendered streets: `python -m docs.rendered`."""

from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image, ImageDraw, ImageFont

from nonlocal_lens.streets import CLIP_LABELS, render_clip, render_scene, split_seeds
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

HERE = Path(__file__).parent
SCENE_HW = (240, 320)
CLIP_HW = (150, 200)
CLIP_FRAMES = 6
ROW_TITLE = 16  # pixels

PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[: len(STREET_CLASSES)] = list(STREET_CLASSES.values())
PALETTE[VOID] = (20, 20, 22)


def main() -> None:
    """Write `rendered-scenes.jpg` and `rendered-clips.jpg` beside this file."""
    save(scene_sheet(columns=4, rows=3), HERE / "rendered-scenes.jpg")
    save(clip_sheet(), HERE / "rendered-clips.jpg")


def scene_sheet(columns: int, rows: int) -> UInt8[np.ndarray, "height width 3"]:
    """Return scenes in a grid, each above the classes of its pixels."""
    scenes = [render_scene(seed, SCENE_HW) for seed in split_seeds("val", columns * rows)]
    lines = []
    for row in range(rows):
        some = scenes[row * columns : (row + 1) * columns]
        lines.append(np.hstack([scene.image for scene in some]))
        lines.append(np.hstack([PALETTE[scene.labels] for scene in some]))
    return np.vstack(lines)


def clip_sheet() -> UInt8[np.ndarray, "height width 3"]:
    """Return a strip of frames for each label, under its name."""
    strips: dict[int, np.ndarray] = {}
    for seed in split_seeds("val", 100):
        clip = render_clip(seed, CLIP_FRAMES, CLIP_HW)
        strips.setdefault(clip.label, np.hstack(list(clip.images)))
        if len(strips) == len(CLIP_LABELS):
            break
    lines = []
    for label, strip in sorted(strips.items()):
        title = Image.new("RGB", (strip.shape[1], ROW_TITLE), "white")
        ImageDraw.Draw(title).text(
            (4, 1), CLIP_LABELS[label], fill="black", font=ImageFont.load_default(size=12)
        )
        lines += [np.asarray(title), strip]
    return np.vstack(lines)


def save(picture: UInt8[np.ndarray, "height width 3"], path: Path) -> None:
    """Write a JPEG."""
    Image.fromarray(picture).save(path, quality=80, optimize=True)


if __name__ == "__main__":
    main()
