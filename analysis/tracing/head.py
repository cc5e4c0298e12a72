"""A head: what a record holds, but for where tokens lie, and rows to prove it by."""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.models.blocks import Reach

SOFTMAX = "the output of its softmax"
FUSED = "rows computed from the operands of its fused attention, which lead to its output"
PRODUCT = "rows of its products of queries and keys, which lead to its output"


@dataclass(frozen=True, eq=False)
class Head:
    """What one head of one block did on one picture, and a few rows of its weights as proof.

    Fields that `AttentionRecord` has, too, mean the same. Where tokens came from is None if nobody
    told.
    """

    block: str
    call: int
    head: int | None
    form: str
    coupling: str
    scale: float
    query: Float[Tensor, "queries channels"]
    key: Float[Tensor, "keys channels"]
    probes: Int[Tensor, " probes"]
    own: Float[Tensor, "probes keys"]
    unary: Float[Tensor, " keys"] | None = None
    pairwise_gain: float = 1.0
    whitened: bool = True
    reach: Reach | None = None
    value: Float[Tensor, "keys value_channels"] | None = None  # on its way out
    query_from: Int[Tensor, " queries"] | None = None
    key_from: Int[Tensor, " keys"] | None = None
    picture: int = 0
    precision: torch.dtype = torch.float32
    fused: str = ""
    error: float = 0.0
    said: tuple[str, ...] = field(default=())
    made_by: tuple[tuple[int, int], ...] = ()  # number of each operation, and the group in it

    def changed(self, **fields: Any) -> "Head":
        """Return the same with other values of some fields; there are hundreds of heads."""
        other = object.__new__(Head)
        vars(other).update(vars(self), **fields)
        return other

    @property
    def how(self) -> str:
        """What its rows are compared with."""
        if self.coupling == "unnormalized":
            return PRODUCT
        return FUSED if self.fused else SOFTMAX


class UnreadableError(ValueError):
    """Weights that no record can hold."""
