"""Random records to test with; sizes are distinct primes, so that a swapped axis cannot hide."""

import torch

from analysis.grid import Grid
from analysis.record import AttentionRecord

QUERY_HW, KEY_HW, CHANNELS = (5, 7), (3, 11), 13
QUERIES, KEYS = QUERY_HW[0] * QUERY_HW[1], KEY_HW[0] * KEY_HW[1]


def random_record(generator, coupling="coupled", dtype=torch.float64, *, offset=0.7, scale=0.3):
    """Return a record whose queries and keys have a mean far from 0, as real ones do."""

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype) + offset

    return AttentionRecord(
        block="head.block",
        form="embedded_gaussian",
        coupling=coupling,
        scale=scale,
        query=draw(QUERIES, CHANNELS),
        key=draw(KEYS, CHANNELS),
        unary=draw(KEYS) if coupling == "disentangled" else None,
        query_grid=Grid.tiling((40, 56), *QUERY_HW),
        key_grid=Grid.tiling((40, 56), *KEY_HW),
    )
