"""Tiny networks for clips, and clips for them."""

import numpy as np
import torch

from nonlocal_lens.models.networks.architecture import build_clip_network
from nonlocal_lens.models.networks.description import ClipArchitecture, HybridClipArchitecture
from nonlocal_lens.models.training.clip_data import Clips
from nonlocal_lens.streets import CLIP_LABELS

SIZES = {"widths": (3, 5, 6, 6), "depths": (1, 1, 1, 1), "frames": 3, "long_side": 40}


def tiny_clip_architecture(block=None, **options):
    options = {"init": "awake", **options} if block else {}
    return ClipArchitecture(CLIP_LABELS, block, options, **SIZES)


def tiny_hybrid_architecture():
    """Return two layers of three heads behind a backbone of a few hundred weights."""
    sizes = {**SIZES, "long_side": 112}
    return HybridClipArchitecture(CLIP_LABELS, channels=12, layers=2, heads=3, **sizes)


def tiny_clip_network(block=None, **options):
    """Return a random network of a few hundred weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_clip_network(tiny_clip_architecture(block, **options)).eval()


def tiny_hybrid_network():
    """Return it with random weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_clip_network(tiny_hybrid_architecture()).eval()


def made_up_clips(count, *, frames=3, height=24, width=40, seed=0):
    """Return clips in which a red square moves left (0) or right (1), and its pixels' labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, count)
    images = rng.integers(90, 110, (count, frames, height, width, 3)).astype(np.uint8)
    frame_labels = np.full((count, frames, height, width), 3, np.uint8)
    for clip, label in enumerate(labels):
        top, left = rng.integers(0, height - 8), rng.integers(8, width - 16)
        for frame in range(frames):
            step = (frame - frames // 2) * (1 if label else -1) * 4
            square = slice(top, top + 8), slice(left + step, left + step + 8)
            images[clip, frame][square] = (220, 20, 20)
            frame_labels[clip, frame][square] = 9
    return Clips(images, frame_labels, labels)
