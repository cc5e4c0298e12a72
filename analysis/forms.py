"""The forms of attention: how a query and a key make a logit.

A form is an entry of `FORMS`. Its couplings say how logits become attention (`analysis.terms`).
Where a logit is a dot product, everything else follows from queries and keys: whitening splits it,
and ranks and squares come in closed form. A form of another kind says what its logits' means are,
and has a twin in app/viewer/forms.js.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Vectors = Float[Tensor, "_ channels"]
Means = tuple[Float[Tensor, " query_pos"], Float[Tensor, " key_pos"]]


def _product(query: Vectors, key: Vectors, scale: float) -> Float[Tensor, "queries key_pos"]:
    return scale * query @ key.T


def _rectified_sum(query: Vectors, key: Vectors, scale: float) -> Float[Tensor, "queries key_pos"]:
    return (query + key.T).relu()


def _means_of_rectified_sums(query: Vectors, key: Vectors) -> Means:
    """Return the row and the column means of ReLU(query_i + key_j), in double precision."""
    of_query, of_key = query[:, 0].double(), key[:, 0].double()
    return _mean_rectified_sum(of_query, of_key), _mean_rectified_sum(of_key, of_query)


def _mean_rectified_sum(
    x: Float[Tensor, " pos"], y: Float[Tensor, " other_pos"]
) -> Float[Tensor, " pos"]:
    """Return the mean over j of ReLU(x_i + y_j): with y in descending order, a running sum."""
    y = y.sort(descending=True).values
    running = F.pad(y.cumsum(dim=0), (1, 0))
    positive = torch.searchsorted(-y, x)
    return (x * positive + running[positive]) / y.shape[0]


@dataclass(frozen=True)
class Form:
    """How a query and a key make a logit.

    Attributes:
        couplings: How its logits may become attention: keys of `analysis.record.ROW_SUM`.
        logits: Of some queries, all keys and the scale.
        channels: What queries and keys must have; None where that is free.
        means: The row and the column means of all logits, of all queries and all keys, in double
            precision; None where a logit is a dot product, whose means are products of means.
    """

    couplings: tuple[str, ...]
    logits: Callable[[Vectors, Vectors, float], Float[Tensor, "queries key_pos"]] = _product
    channels: int | None = None
    means: Callable[[Vectors, Vectors], Means] | None = None

    @property
    def is_product(self) -> bool:
        """Whether a logit is a scaled dot product of a query and a key."""
        return self.means is None


BY_SOFTMAX = ("coupled", "disentangled", "pairwise", "unary")

FORMS: dict[str, Form] = {
    "gaussian": Form(BY_SOFTMAX),
    "embedded_gaussian": Form(BY_SOFTMAX),
    "dot_product": Form(("unnormalized",)),
    "concatenation": Form(("unnormalized",), _rectified_sum, 1, _means_of_rectified_sums),
    "query_independent": Form(("unary",), channels=0),
}
"""Name -> form; an exponential is normalized by a softmax, others are not.

In the first three a logit is a scaled dot product. In "concatenation" it is the ReLU of the sum of
a number of the query and a number of the key, their only channels. In "query_independent" no query
takes part: queries and keys have no channels, and the learned unary logits are all there is.
"""
