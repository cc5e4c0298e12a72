"""Random records to test with; sizes are distinct primes, so that a swapped axis cannot hide."""

import torch

from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.models.blocks import Reach

QUERY_HW, KEY_HW, CHANNELS = (5, 7), (3, 11), 13
QUERIES, KEYS = QUERY_HW[0] * QUERY_HW[1], KEY_HW[0] * KEY_HW[1]


FORM = {"unnormalized": "dot_product", "unary": "query_independent"}
LEARNED = ("disentangled", "unary")


def random_record(
    generator,
    coupling="coupled",
    dtype=torch.float64,
    *,
    form=None,
    learned=None,
    offset=0.7,
    scale=0.3,
    reach=None,
):
    """Return a record whose queries and keys have a mean far from 0, as real ones do.

    Form and learned unary logits are those of the coupling's usual block unless given.
    """
    form = form or FORM.get(coupling, "embedded_gaussian")
    learned = coupling in LEARNED if learned is None else learned
    channels = CHANNELS if FORMS[form].channels is None else FORMS[form].channels

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype) + offset

    return AttentionRecord(
        block="head.block",
        form=form,
        coupling=coupling,
        scale=scale if channels > 1 else 1.0,
        query=draw(QUERIES, channels),
        key=draw(KEYS, channels) - (2 * offset if form == "concatenation" else 0),
        unary=draw(KEYS) if learned else None,
        query_grid=Grid.tiling((40, 56), *QUERY_HW),
        key_grid=Grid.tiling((40, 56), *KEY_HW),
        reach=reach,
    )


PARTS = Reach("part", torch.arange(QUERIES)[:, None] % 3, torch.arange(KEYS)[:, None] // 5 % 3)
"""Three parts of unequal size, scattered over both grids."""

OVERLAPPING = Reach(
    "row and column",
    torch.stack((torch.arange(QUERIES) // 7 % 3, torch.arange(QUERIES) % 7), dim=1),
    torch.stack((torch.arange(KEYS) // 11, torch.arange(KEYS) % 11), dim=1),
)


KINDS = {
    "non_local": {"coupling": "coupled"},
    "product": {"coupling": "coupled", "learned": True},
    "sum": {"coupling": "disentangled", "learned": False},
    "disentangled": {"coupling": "disentangled"},
    "pairwise": {"coupling": "pairwise"},
    "unary": {"coupling": "unary"},
    "dot_product": {"coupling": "unnormalized"},
    "concatenation": {"coupling": "unnormalized", "form": "concatenation"},
    "parts": {"coupling": "coupled", "reach": PARTS},
    "disentangled_parts": {"coupling": "disentangled", "reach": PARTS},
    "overlapping": {"coupling": "coupled", "reach": OVERLAPPING},
}
"""One way to draw a random record for every kind of attention there is."""
