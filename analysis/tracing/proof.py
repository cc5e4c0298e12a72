"""The proof of a record: it leads to the weights that the network itself computed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

SINGLE = 1e-5
HALF = 1e-2
MOST_SINGLE, MOST_HALF = 2e-4, 5e-2


@dataclass(frozen=True)
class Proof:
    """How a record was compared with what the network computed, and how far apart they are."""

    how: str  # what the record's rows were compared with, in words
    queries: int  # how many of them
    error: float  # largest difference of a weight, over the largest weight of its row
    tolerance: float  # what rounding explains


class UnprovedError(ValueError):
    """A record does not lead to the weights that the network computed."""


def differences(
    rebuilt: Float[Tensor, "heads queries keys"], own: Float[Tensor, "heads queries keys"]
) -> list[float]:
    """Return of every head the largest difference of a weight, over the largest of its row.

    Args:
        rebuilt: What `terms.attention` makes of the records.
        own: The same rows as the network computed them.
    """
    largest = own.abs().amax(dim=-1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny)
    of_rows = (rebuilt - own).abs().amax(dim=-1, keepdim=True) / largest
    found: list[float] = of_rows.amax(dim=(1, 2)).tolist()
    return found


def prove(
    error: float, *, how: str, queries: int, precision: torch.dtype, largest_logit: float = 0.0
) -> Proof:
    """Return the proof of a record, if it is as near to the network as rounding explains.

    Args:
        error: See `differences`; and how far the network's own rows are themselves from leading to
            its output, relative, whichever is larger.
        how: Where these come from, in words.
        queries: How many rows were compared.
        precision: The coarsest type that the network computed them in.
        largest_logit: The largest of what went into the softmax, which was rounded to that type.

    Raises:
        UnprovedError: They differ by more than rounding explains.
    """
    allowed = tolerance(precision, largest_logit)
    if not error <= allowed:
        raise UnprovedError(
            f"the weights rebuilt from its queries and keys are {error:.1e} from those that the "
            f"network computed, relative; rounding explains {allowed:.1e}"
        )
    return Proof(how, queries, error, allowed)


def tolerance(precision: torch.dtype, largest_logit: float = 0.0) -> float:
    """Return how far weights may be apart, relative, by rounding alone.

    An exponential turns the rounding of a logit, which is relative, into one of the weight that
    grows with the logit.
    """
    eps = torch.finfo(precision).eps
    base, most = (HALF, MOST_HALF) if eps > 1e-4 else (SINGLE, MOST_SINGLE)
    return float(min(max(base, 2 * eps * largest_logit), most))
