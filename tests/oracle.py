"""What records are held against: pixels that move tokens, and weights of other code than ours.

`check_places` changes the pixels of single cells: the query that changes most must be the one whose
cell they are. `eager_weights` runs a network with attention written out here, and keeps the weights
of every module. `check_weights` compares records with them.
"""

from collections import defaultdict
from contextlib import contextmanager
from copy import deepcopy

import numpy as np
import torch
from torch.nn import functional as F

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.prepared import prepared

SOFTMAX = ((torch, "softmax"), (torch.Tensor, "softmax"), (F, "softmax"))


def some_cells(grid):
    """Return cells that no symmetry of a grid maps onto each other, where it is large enough."""
    found = {(grid.height // 3, grid.width // 4), (grid.height - 1, grid.width // 2)}
    return [Cell(*cell) for cell in sorted(found)]


def check_places(network, image, records=None, *, within=0, blocks=None):
    """Check that the query of each cell is the one that its own pixels move most.

    Args:
        network: What was captured.
        image: Of what: a uint8 array of (rows, columns, 3).
        records: What was found; captured anew if None.
        within: Cells that the query may lie away, where features of neighbors overlap.
        blocks: Names of blocks whose records are checked; the first one's alone if None.
    """
    network = without_hooks(network)
    records = capture(network, image) if records is None else records
    blocks = {records[0].block} if blocks is None else set(blocks)
    checked = [i for i, record in enumerate(records) if record.block in blocks]
    assert checked
    for cell in some_cells(records[checked[0]].query_grid):
        center = records[checked[0]].query_grid.center(cell)
        moved = capture(network, inverted_at(image, records[checked[0]].query_grid, cell))
        for index in checked:
            assert_near(records[index], moved[index], center, within)


def inverted_at(image, grid, cell):
    """Return an image whose pixels are inverted where a cell of a grid lies."""
    changed = image.copy()
    left, top, width, height = grid.box(cell)
    rows = slice(max(round(top), 0), max(round(top + height), 1))
    columns = slice(max(round(left), 0), max(round(left + width), 1))
    changed[rows, columns] = 255 - changed[rows, columns]
    return changed


def assert_near(record, other, center, within):
    """Check that the place that changed most is at a point (x, y), or so many cells away.

    Nothing is checked where nothing changed: the block sees other pixels.
    """
    change, grid = moved_by(record, other)
    if not change.any():
        return
    found, expected = grid.cell(int(change.argmax())), grid.cell_at(x=center[0], y=center[1])
    apart = max(abs(found.row - expected.row), abs(found.col - expected.col))
    assert apart <= within, f"{record.block}: the pixels of {expected} move {found}"


def moved_by(record, other):
    """Return how much each query changed, or each key where no query did, and their grid."""
    queries = (other.query - record.query).norm(dim=1)[: record.query_axis.placed]
    if queries.any() and record.query_grid is not None:
        return queries, record.query_grid
    keys = (other.key - record.key).norm(dim=1)
    if record.unary is not None:
        keys = keys + (other.unary - record.unary).abs()
    return keys[: record.key_axis.placed], record.key_grid


def without_hooks(network):
    """Return a copy whose runs nobody hears of, and which leaves what the network kept as it is.

    What this package put on it stays, as it is part of how the network runs.
    """
    copied = deepcopy(network).eval()
    if hasattr(network, "preprocess"):  # a network that torch.fx rewrote forgets it in its copies
        copied.preprocess = network.preprocess
    for module in copied.modules():
        for hooks in (module._forward_hooks, module._forward_pre_hooks):
            for number, hook in list(hooks.items()):
                if not str(getattr(hook, "__module__", "")).startswith("nonlocal_lens."):
                    del hooks[number]
    return copied


@contextmanager
def _written_out(kept):
    """Attend by the formula, and hand every matrix of weights to `kept`."""

    def attention(query, key, value, attn_mask=None, dropout_p=0.0, is_causal=False, scale=None,
                  enable_gqa=False):  # fmt: skip
        logits = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
        if is_causal:
            unseen = torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1)
            logits = logits.masked_fill(unseen, -torch.inf)
        if attn_mask is not None:
            hidden = attn_mask.dtype == torch.bool
            logits = logits.masked_fill(~attn_mask, -torch.inf) if hidden else logits + attn_mask
        weights = logits.exp() / logits.exp().sum(dim=-1, keepdim=True)
        kept(weights)
        return weights @ value

    def watching(function):
        def softmax(*args, **options):
            made = function(*args, **options)
            if made.ndim > 1:
                kept(made)
            return made

        return softmax

    changed = {(F, "scaled_dot_product_attention"): attention}
    for owner, name in SOFTMAX:
        changed[owner, name] = watching(getattr(owner, name))
    originals = {(owner, name): getattr(owner, name) for owner, name in changed}
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        for (owner, name), function in changed.items():
            setattr(owner, name, function)
        yield
    finally:
        for (owner, name), function in originals.items():
            setattr(owner, name, function)
        torch.backends.mha.set_fastpath_enabled(fast)


def eager_weights(network, image):
    """Return the matrices of weights that each module computed, by its name, as it ran on an image.

    A matrix belongs to all modules that were running.
    """
    found, running = defaultdict(list), []
    hooks = []
    for name, module in network.named_modules():
        hooks.append(module.register_forward_pre_hook(lambda *_, n=name: running.append(n)))
        hooks.append(module.register_forward_hook(lambda *_: running.pop() and None))

    def keep(weights):
        for name in running:
            found[name].append(weights.detach())

    network.eval()
    with torch.no_grad(), _written_out(keep):
        network(prepared(network, image)[1])
    for hook in hooks:
        hook.remove()
    return found


def check_weights(network, image, records=None, *, placed=None, tolerance=1e-4):
    """Check that the rows of records are the weights of the network's own modules.

    Args:
        network: What was captured.
        image: Of what.
        records: What was found; captured anew if None.
        placed: Which of a module's tokens are places, in the order of the grid; all if None. The
            others follow.
        tolerance: Largest difference of weights.
    """
    records = capture(network, image) if records is None else records
    assert records
    weights = eager_weights(network, image)
    for record in records:
        own = weights[record.block][0]
        own = own.reshape(-1, *own.shape[-2:])[record.head or 0]
        if placed is not None:
            order = [*placed, *(i for i in range(len(own)) if i not in placed)]
            own = own[order][:, order]
        rows = np.linspace(0, len(own) - 1, 7).astype(int).tolist()
        torch.testing.assert_close(
            terms.attention(record, rows), own[rows], rtol=tolerance, atol=tolerance
        )
