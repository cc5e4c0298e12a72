"""An oracle on every capture in the tests: weights that the network itself computed, and pixels.

`watched_captures` stands around `capture`: when a test captures a network of another kind (what it
is built of, how that is set, on what input, and what is found), the network is run once more under
a listener of torch's own operations that knows nothing of this package, and rows of the records
must be among the weights that it computed, softmax by softmax. The first time that a sort of
network is met, the pixels of a cell are changed, too: what moves must lie where they are.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module

import numpy as np
import torch
from oracle import assert_near, inverted_at, without_hooks
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.verify.oracle import written_out

SOFTMAXES = ("aten::_softmax", "aten::_safe_softmax", "aten::softmax.int")
MOST_NUMBERS = 1 << 26  # of weights of one network: 256 MB
MOST_RECORDS = 6
ROWS = 3
NEAREST = 32  # rows that are looked at whole
SMALLEST = 8  # cells along a side, below which being beside another says nothing
BESIDE = 3


class Listening(TorchDispatchMode):
    """Keeps the rows of every softmax, by their length, with the sums of their squares.

    The sum of squares knows no order, as rows are compared: of all rows, the few that are nearest
    by it are sorted.
    """

    def __init__(self) -> None:
        super().__init__()
        self.rows: dict[int, list[tuple[Tensor, Tensor]]] = {}
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        if func._schema.name in SOFTMAXES and self.numbers < MOST_NUMBERS:
            dim = args[1] if isinstance(args[1], int) else -1
            rows = output.detach().movedim(dim, -1).flatten(0, -2)
            squares = rows.square().sum(dim=1, dtype=torch.float64)
            self.rows.setdefault(rows.shape[-1], []).append((rows, squares))
            self.numbers += rows.numel()
        return output


def own_weights(network: nn.Module, x: Tensor) -> Listening:
    """Return the rows of every softmax that a network computes on an input."""
    with torch.no_grad(), written_out(), Listening() as listening:
        network(x)
    return listening


def expected_rows(record: AttentionRecord) -> Iterator[Tensor]:
    """Yield rows that the network must have computed: of each softmax that there is."""
    queries = torch.linspace(0, len(record.query) - 1, ROWS).long()
    if record.signed:
        return
    if record.coupling in ("disentangled", "pairwise"):
        yield terms.attention(record, queries, "pairwise").double()
    if record.coupling in ("disentangled", "unary"):
        yield terms.attention(record, queries[:1], "unary").double()
    if record.coupling == "coupled":
        yield terms.attention(record, queries).double()


def distance(row: Tensor, listening: Listening) -> float:
    """Return the largest difference of a row's sorted weights from the nearest row's, relative."""
    row = row.sort(descending=True).values
    row = row[: max(int((row > 0).sum()), 1)]
    best = float("inf")
    for width, found in listening.rows.items():
        if width < len(row):
            continue
        for every, squares in found:
            apart = (squares - row.square().sum()).abs().nan_to_num(nan=torch.inf)
            rows = every[apart.topk(min(NEAREST, len(apart)), largest=False).indices]
            rows = rows.double().sort(descending=True).values
            off = (rows[:, : len(row)] - row).abs().amax(dim=1)
            if width > len(row):  # keys that nobody looks at: padding, what is masked
                off = torch.maximum(off, rows[:, len(row)])
            best = min(best, (off / row[0]).nan_to_num(nan=torch.inf).min().item())
    return best


def check_rows(records: Sequence[AttentionRecord], listening: Listening) -> None:
    """Check that rows of records are among those that the network computed."""
    for record in records[:: max(1, len(records) // MOST_RECORDS)]:
        precise = record.query.dtype in (torch.float32, torch.float64)
        for rows in expected_rows(record):
            for row in rows:
                off = distance(row, listening)
                assert off < (1e-4 if precise else 2e-2), (
                    f"{record.block}, head {record.head}: a row of {len(row)} weights is off by "
                    f"{off:.2g} from every one that the network computed"
                )


def check_places(
    records: Sequence[AttentionRecord],
    pixels: np.ndarray,
    captured: Callable[[np.ndarray], Sequence[AttentionRecord]],
) -> None:
    """Check that what a cell's pixels move most lies at the cell, or beside it.

    Of the first record, before attention has carried anything from one place to another.
    """
    record = records[0]
    grid = record.query_grid
    if grid is None or pixels.ndim != 3 or min(grid.height, grid.width) < SMALLEST:
        return
    cell = Cell(grid.height // 6, 4 * grid.width // 5)  # far from its mirror images
    changed = inverted_at(pixels, grid, cell)
    if (changed != pixels).any():
        assert_near(record, captured(changed)[0], grid.center(cell), BESIDE)


def kind_of(network: nn.Module, x: Tensor, records: Sequence[AttentionRecord]) -> int:
    """Return what is the same for captures of which one is checked: all but numbers in tensors."""
    built = [
        (name, type(module).__module__, type(module).__qualname__, *settings(module, within=1))
        for name, module in network.named_modules()
    ]
    weights = [(name, weight.shape, weight.dtype) for name, weight in network.named_parameters()]
    found = [
        (
            record.block,
            record.head,
            record.coupling,
            record.signed,
            record.query.dtype,
            record.query.shape,
            record.key.shape,
            record.query_grid,
            record.key_grid,
        )
        for record in records
    ]
    return hash(repr((built, weights, x.shape, x.dtype, x.device, found)))


def settings(owner: object, within: int) -> Iterator[tuple[str, str]]:
    """Yield what an object holds as plain values and functions, and of what it holds likewise."""
    for name, value in sorted(vars(owner).items()):
        if isinstance(value, (str, bool, int, float, complex, torch.dtype)) or value is None:
            yield name, repr(value)
        elif isinstance(value, (tuple, list)):
            yield name, repr([part for part in value if isinstance(part, (str, int, float))])
        elif hasattr(value, "__qualname__"):
            yield name, value.__qualname__
        elif isinstance(value, dict):
            yield name, repr([getattr(part, "__qualname__", "") for part in value.values()])
        elif within and not isinstance(value, (Tensor, nn.Module)) and hasattr(value, "__dict__"):
            yield name, repr(list(settings(value, within - 1)))


@contextmanager
def watched_captures() -> Iterator[None]:
    """Check every kind of capture that is made in this process."""
    module = import_module("nonlocal_lens.analysis.capture")
    original, checked, met = module.observe_pixels, set(), set()

    def observe(network, pixels, x):
        seen = original(network, pixels, x)
        if not seen.records or (kind := kind_of(network, x, seen.records)) in checked:
            return seen
        checked.add(kind)
        with torch.random.fork_rng(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = without_hooks(network)
            check_rows(seen.records, own_weights(network, x))
            sort = (type(network).__qualname__, len(list(network.modules())), pixels.shape)
            is_scripted = any(isinstance(m, torch.jit.ScriptModule) for m in network.modules())
            if sort not in met and not is_scripted:  # hooks go on no copy of a scripted module
                met.add(sort)
                check_places(
                    seen.records,
                    pixels,
                    lambda changed: original(network, *module.prepared(network, changed)).records,
                )
        return seen

    module.observe_pixels = observe
    try:
        yield
    finally:
        module.observe_pixels = original
