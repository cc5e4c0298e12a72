"""How long tokens are before they attend: is the key that everybody looks at an outlier?

Vision transformers make a few tokens very long and look at them from everywhere (Darcet et al.
2024, "Vision Transformers Need Registers", arXiv 2309.16588; Sun et al. 2024, arXiv 2402.17762).
Lengths are those of the residual stream: of what goes into the norm before a block, as the norm
makes all tokens alike; or of what goes into the block, where it is one of this package.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.layout import Layout
from nonlocal_lens.analysis.tracing.mode import Observer, run
from nonlocal_lens.analysis.tracing.operation import Operation
from nonlocal_lens.analysis.tracing.placed import Placed, UnplacedError
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.reading import read
from nonlocal_lens.analysis.tracing.running import Running
from nonlocal_lens.analysis.tracing.sources import Ids
from nonlocal_lens.models.blocks import attention_blocks
from nonlocal_lens.models.wrappers import unwrapped

NORMS = {"native_layer_norm", "_fused_rms_norm", "rms_norm"}
"""Operations that give every token the same length."""


class TokenNorms(NamedTuple):
    """The lengths of one block's keys before they attend, beside its unary map."""

    record: AttentionRecord
    lengths: Float[Tensor, " key_pos"]  # in the order of `record.key_axis`
    unary: Float[Tensor, " key_pos"]  # the unary logits of the same keys

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of length and unary logit over keys; NaN for a constant."""
        ranks = torch.stack([_ranks(self.lengths), _ranks(self.unary)])
        return torch.corrcoef(ranks)[0, 1].item()

    @property
    def longest(self) -> int:
        """Index of the longest key."""
        return int(self.lengths.argmax())

    @property
    def outlier(self) -> float:
        """How many times as long as the median the longest is."""
        return (self.lengths.max() / self.lengths.quantile(0.5)).item()


class _Read(NamedTuple):
    """The input of a norm: where its tokens come from, and how long they are."""

    attended: int  # how many blocks had attended before
    ids: Ids | None
    lengths: Float[Tensor, " tokens"]


class _NormInputs(Observer):
    """Keeps how long the tokens are that go into norms."""

    def __init__(self, provenance: Provenance, computation: Computation) -> None:
        self._provenance, self._computation = provenance, computation
        self.found: list[_Read] = []

    def begin(
        self,
        network: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        running: Running,
    ) -> None:
        """Forget everything: a run begins."""
        self.found = []

    def seen(self, operation: Operation) -> None:
        """Keep the lengths, if it is a norm over the channels of one picture's tokens."""
        if operation.op_name not in NORMS:
            return
        x = operation.args[0]
        if x.ndim < 3 or len(x) != 1:
            return
        tokens = self._provenance.tokens(x, x.ndim - 1)
        lengths = x.detach().float().norm(dim=-1).flatten().double().cpu()
        ids = None if tokens is None else tokens[0]
        self.found.append(_Read(len(self._computation.found), ids, lengths))


@torch.no_grad()
def token_norms(network: nn.Module, image: ImageSource) -> tuple[TokenNorms, ...]:
    """Return how long the keys of every block are before they attend, with its unary logits.

    Left out are blocks of which this is not known: before which no norm saw the very keys.

    Args:
        network: Any module that `analysis.capture` can read.
        image: A picture.
    """
    network = unwrapped(network)
    pixels, x = prepared(network, image)
    provenance = Provenance()
    computation = Computation(provenance.lookup)
    norms = _NormInputs(provenance, computation)
    inputs: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, block in attention_blocks(network).items():
            keep = partial(_keep, inputs, name)
            hooks.callback(block.register_forward_pre_hook(keep).remove)
        run(network, (x,), observers=[provenance, computation, norms])
    layout = Layout(provenance, (pixels.shape[-3], pixels.shape[-2]))
    runs = [(one.module, one.call) for one in computation.found]
    found = []
    for one in read(computation, layout)[0]:
        lengths = _of_input(inputs.get(one.record.block), one.record)
        if lengths is None:
            lengths = _of_norm(one.record, norms.found, runs, layout)
        if lengths is not None:
            unary = terms.unary_logits(one.record).double()
            found.append(TokenNorms(one.record, lengths, unary))
    return tuple(found)


def _keep(inputs: dict[str, Tensor], name: str, _block: nn.Module, args: tuple[Tensor]) -> None:
    inputs[name] = args[0].detach()


def _of_input(x: Tensor | None, record: AttentionRecord) -> Float[Tensor, " key_pos"] | None:
    """Return lengths of the places that went into a block of this package, if they are its keys."""
    if x is None or not record.key_axis.is_whole_grid or x[0, 0].numel() != len(record.key):
        return None
    lengths: Tensor = x[0].flatten(1).double().norm(dim=0).cpu()
    return lengths


def _of_norm(
    record: AttentionRecord,
    norms: list[_Read],
    runs: Sequence[tuple[str, int]],
    layout: Layout,
) -> Float[Tensor, " key_pos"] | None:
    """Return lengths of a record's keys as they went into the last norm before it.

    Args:
        record: The record.
        norms: All of the run.
        runs: Which module attended, and how often it had run before, in order.
        layout: Where tokens lie.
    """
    at = runs.index((record.block, record.call))
    for norm in reversed(norms):
        if norm.attended > at or len(norm.lengths) != len(record.key):
            continue
        placed = _placed(norm, layout)
        if placed is not None and placed.axis == record.key_axis:
            lengths: Tensor = norm.lengths[torch.from_numpy(placed.order)]
            return lengths
    return None


def _placed(norm: _Read, layout: Layout) -> Placed | None:
    try:
        return layout.sides(norm.ids, norm.ids).key
    except UnplacedError:
        return None


def _ranks(values: Float[Tensor, " key_pos"]) -> Float[Tensor, " key_pos"]:
    """Return the rank of every value; equal ones share the mean of theirs."""
    _, group, count = values.unique(return_inverse=True, return_counts=True)
    middle: Tensor = count.cumsum(0).double() - (count - 1) / 2
    return middle[group]
