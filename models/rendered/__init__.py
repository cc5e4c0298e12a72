"""Rendered streets: seed in, labeled street scene or clip out; nothing is downloaded."""

from models.rendered.clip import Clip, render_clip
from models.rendered.scene import Scene, render_scene
from models.rendered.seeds import split_seeds
from models.rendered.story import CLIP_LABELS, MIRRORED

__all__ = [
    "CLIP_LABELS",
    "MIRRORED",
    "Clip",
    "Scene",
    "render_clip",
    "render_scene",
    "split_seeds",
]
