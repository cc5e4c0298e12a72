"""What the attention blocks of a network are: of this package by name, of others as they run."""

import warnings
from typing import Any

import numpy as np
from torch import nn

from nonlocal_lens.analysis.capture import attention_blocks, observe
from nonlocal_lens.analysis.own_blocks import only_own_blocks_attend
from nonlocal_lens.analysis.prepared import takes_clips
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.refusals import kind_of

PICTURE_HW = (224, 224)
FRAMES = 8


def blocks_of(network: nn.Module) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Return what every attention block of a network is, and why others are not read.

    Blocks of this package say what they are. Where there are others, the network looks at a picture
    of noise: what they are is proved by what they make of it.

    Returns:
        A row for every block, and a sentence for every kind of block that gives no record.
    """
    own = attention_blocks(network)
    rows = [
        {
            "block": name,
            "class": type(block).__name__,
            "form": block.form,
            "coupling": block.coupling,
            "scale": block.scale,
        }
        for name, block in own.items()
    ]
    if only_own_blocks_attend(network):
        return rows, ()
    noise = np.random.default_rng(0).integers(0, 256, (*PICTURE_HW, 3), dtype=np.uint8)
    picture = np.repeat(noise[None], FRAMES, axis=0) if takes_clips(network) else noise
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        records = observe(network, picture).records
    by_block: dict[str, list[AttentionRecord]] = {}
    for record in records:
        by_block.setdefault(record.block, []).append(record)
    rows += [
        {
            "block": name,
            "class": kind_of(network, name),
            "form": heads[0].form,
            "coupling": heads[0].coupling,
            "scale": heads[0].scale,
            "heads": len({one.head for one in heads}),
            "tokens": " x ".join(map(str, heads[0].query_grid.shape[1:])),
        }
        for name, heads in by_block.items()
        if name not in own
    ]
    return rows, tuple(dict.fromkeys(str(one.message) for one in caught))
