"""From where in the input every element of every tensor comes, followed while a network runs."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing import copies
from nonlocal_lens.analysis.tracing.affine import AFFINE_MOVES
from nonlocal_lens.analysis.tracing.by_identity import ByIdentity
from nonlocal_lens.analysis.tracing.inputs import labels_of
from nonlocal_lens.analysis.tracing.label import Affine, Label, everywhere, shape_of, written
from nonlocal_lens.analysis.tracing.label_rules import RULES
from nonlocal_lens.analysis.tracing.mode import Observer
from nonlocal_lens.analysis.tracing.moves import MOVES, UnmovableError
from nonlocal_lens.analysis.tracing.naming import called
from nonlocal_lens.analysis.tracing.operation import Operation
from nonlocal_lens.analysis.tracing.recall import Labels, Parameters, Recall, described, taken
from nonlocal_lens.analysis.tracing.running import Running, plain
from nonlocal_lens.analysis.tracing.running import sources as parameters_of
from nonlocal_lens.analysis.tracing.sources import (
    COLUMN,
    FRAME,
    INPUT,
    NOTHING,
    PICTURE,
    ROW,
    SPREAD,
    Ids,
    Side,
    Sources,
)
from nonlocal_lens.analysis.tracing.step import Step

CONVOLUTIONS = {"convolution", "mkldnn_convolution", "cudnn_convolution"}

MOST_PICTURES = 1 << 20
"""More pictures than an input holds."""

_LAYERS = (nn.Linear, nn.modules.conv._ConvNd, nn.LayerNorm, nn.GroupNorm, nn.BatchNorm2d)
"""Layers whose parameters are weights for sure, and no tokens."""


class View(NamedTuple):
    """How a tensor is seen in another's memory."""

    base: Tensor
    op_name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    at: int  # which of the outputs it is


class Provenance(Observer):
    """Follows where data comes from; `label` tells it of any tensor that is still there.

    Args:
        tiled: Height and width of the image that feature maps tile where the network is given no
            picture, as a generator; None where they lie nowhere.

    Attributes:
        first_picture: Height and width of the first picture, and how many frames it has.
    """

    def __init__(self, tiled: tuple[int, int] | None = None) -> None:
        self._tiled = tiled
        self._network: nn.Module | None = None
        self._recall = Recall({})
        self._forget()

    def _forget(self) -> None:
        self._is_tiling = False
        self._labels: ByIdentity[Label] = ByIdentity()
        self._views: ByIdentity[View] = ByIdentity()
        self._parameters: Parameters = {}
        self._layers: copies.Layers = {}
        self.first_picture: tuple[tuple[int, int], int | None] = (1, 1), None

    @property
    def sources(self) -> Sources:
        """All sources of the run."""
        return self._recall.sources

    def begin(
        self,
        network: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        running: Running,
    ) -> None:
        """Forget everything, and learn which tensors are inputs and which are parameters."""
        self._forget()
        if not (args or kwargs):  # nothing runs yet
            self._network, self._recall = None, Recall({})
            return
        weights = {
            id(parameter)
            for module in running.modules.values()
            if isinstance(module, _LAYERS)
            for parameter in module._parameters.values()
        }
        self._parameters = {
            id(tensor): (plain(name), tensor)
            for name, tensor in parameters_of(network)
            if id(tensor) not in weights
        }
        if self._network is not network or not self._recall.fits(self._parameters):
            self._network, self._recall = network, taken(network, self._parameters)
        inputs = list(labels_of(self.sources, network, args, kwargs))
        labels = self._recall.begin([label for _, label in inputs])
        for (tensor, _), label in zip(inputs, labels, strict=True):
            if self.first_picture == ((1, 1), None) and label.affine is not None:
                self.first_picture = _size(label)
            self._labels.set(tensor, label)
        if self._tiled is not None and self.first_picture == ((1, 1), None):
            self.first_picture, self._is_tiling = (self._tiled, None), True

    def end(self) -> None:
        """Let the network's next run reuse what does not depend on values."""
        if self._network is not None:
            self._recall.keep(self._network)
        self._network = None

    def lookup(self, tensor: Tensor) -> Tensor | None:
        """Return the number of each element's source; None where they come from no source."""
        label = self.label(tensor)
        if label is None:
            return None
        ids = np.ascontiguousarray(label.canonical)
        return torch.from_numpy(ids).expand(tensor.shape)

    def tokens(self, tensor: Tensor, channels: int) -> Ids | None:
        """Return the number of each token's source, (batch, tokens); None if it has none.

        Args:
            tensor: Its first dimension is the batch, all others but the channels are tokens.
            channels: The dimension of the channels.
        """
        label = self.label(tensor)
        if label is None:
            return None
        ids = label.canonical
        spread = ids.shape[channels] > 1 and (ids != ids.take([0], axis=channels)).any(channels)
        ids = ids.take(0, axis=channels) if ids.shape[channels] else ids.sum(axis=channels)
        shape = [size for d, size in enumerate(tensor.shape) if d != channels]
        return np.broadcast_to(np.where(spread, SPREAD, ids), shape).reshape(shape[0], -1)

    def item_of(self, tokens: Ids | None, picture: int = 0) -> int | None:
        """Return which item of a batch is of a picture; None if several are, or none."""
        if tokens is None or len(tokens) == 1:
            return 0
        lead = np.array([item[item >= 0][:1].max(initial=NOTHING) for item in tokens])
        of_picture = np.flatnonzero(self.pictures(torch.from_numpy(lead)).numpy() == picture)
        return int(of_picture[0]) if len(of_picture) == 1 else None

    def pictures(self, ids: Tensor) -> Tensor:
        """Return which picture each source lies on, -1 for those that lie on none.

        The pictures of the first input are counted from 0, those of others after `MOST_PICTURES`.
        """
        rows = self.sources.rows(ids.numpy())
        numbers = rows[..., PICTURE] + rows[..., INPUT] * MOST_PICTURES
        return torch.from_numpy(np.nan_to_num(numbers, nan=-1).astype(np.int64))

    def label(self, tensor: Any) -> Label | None:
        """Return from where a tensor's elements come; None where they come from no source."""
        label = self._labels.get(tensor)
        return self._own_label(tensor) if label is None and self._parameters else label

    def seen(self, operation: Operation) -> None:
        """Label what an operation gave."""
        op_name, func, args, _, outputs, _, tensors = operation
        in_place = op_name.endswith("_") and not op_name.endswith("__")
        find, own = self._labels.get, self._parameters
        operands = [
            self._own_label(x) if (label := find(x)) is None and id(x) in own else label
            for x in tensors
        ]
        if not any(operands):
            if self._is_tiling and op_name in CONVOLUTIONS and min(outputs[0].shape[2:]) > 1:
                self._labels.set(outputs[0], self._tile(outputs[0]))
            if _is_view(func):
                self._see(operation)
            elif in_place and outputs:
                self._wrote(outputs[0], None)
            return
        if (given := copies.input_of(operation)) is not None:
            self._count(operation, *given)
        what = described(operation)
        labels = self._recall.outputs(what, operands)
        if labels is None:
            labels = self._labels_of(Step(self, operation), op_name)
            self._recall.note(what, operands, labels)
        if in_place and outputs and args and outputs[0] is args[0]:
            self._wrote(outputs[0], labels[0] if labels else None)
            return
        for output, label in zip(outputs, labels, strict=False):
            if label is not None:
                self._labels.set(output, label)
        if _is_view(func):
            self._see(operation)

    def _count(self, operation: Operation, at: int, channels: int) -> None:
        """Count how often a layer is given the same tokens."""
        x, weight = operation.args[at : at + 2]
        label, of_weight = self.label(x), self.label(weight)
        if label is None or label.own or (of_weight is not None and not of_weight.own):
            return  # a product of two tensors of tokens
        count = self._recall.copies(label, shape_of(x), channels)
        if count is not None:
            name = operation.module_name
            self._layers[name] = min(self._layers.get(name, count), count)

    def copies(self, block: str) -> int:
        """Return how often a block is given the same tokens in one batch; 0 if that is unknown."""
        return copies.in_block(self._layers, block)

    def _tile(self, x: Tensor) -> Label:
        """Return the label of a feature map whose cells tile the image."""
        (height, width), _ = self.first_picture
        sizes = height / x.shape[-2], width / x.shape[-1]
        sides: list[Side | None] = [None] * x.ndim
        for coordinate, size in zip((ROW, COLUMN), sizes, strict=True):
            dimension = coordinate - 5
            sides[dimension] = Side.whole(coordinate, size / 2, size, x.shape[dimension])
        if len(x) > 1:
            sides[0] = Side.whole(PICTURE, 0.0, 1.0, len(x))
        fixed = (0.0, 0.0, 0.5, 0.0, 0.0, 1.0, *sizes)
        return Label(self.sources, affine=Affine(fixed, tuple(sides)))

    def _see(self, operation: Operation) -> None:
        """Remember how tensors are seen in another's memory, for when one is written into."""
        op_name, _, args, kwargs, outputs, *_ = operation
        base, rest = args[0], args[1:]
        for at, output in enumerate(outputs):
            if output is not base:
                self._views.set(output, View(base, op_name, rest, kwargs, at))

    def _labels_of(self, step: Step, name: str) -> Labels:
        rule = RULES.get(name)
        if rule is None and name.endswith("_"):
            rule = RULES.get(name[:-1])
        try:
            if rule is not None:
                return _listed(rule(step))
            if name in MOVES:
                return self._moved(step, name)
            if name.endswith("_") and name[:-1] in MOVES:
                return self._moved(step, name[:-1])
            if is_pointwise(step.func, name):
                return [step.joined()]
        except UnmovableError:
            pass
        except (IndexError, ValueError) as error:
            return step.unknown(f"{step.what}, whose arguments its rule does not know ({error})")
        return step.unknown(f"{step.what} has no rule that tells where its output comes from")

    def _moved(self, step: Step, name: str) -> Labels:
        label = self.label(step.args[0])
        if label is None:
            return [None] * len(step.outputs)
        shape, out = shape_of(step.args[0]), [shape_of(x) for x in step.outputs]
        rest = step.args[1:]
        if label.affine is not None and name in AFFINE_MOVES:
            affine = AFFINE_MOVES[name](label.affine, shape, rest, step.kwargs, out)
            if affine is not None:
                several = affine if isinstance(affine, list) else [affine]
                return [Label(self.sources, affine=a, own=label.own) for a in several]
        if name.startswith("as_strided") and not step.args[0].is_contiguous():
            return step.unknown(f"{step.what} of a tensor with gaps")
        tracks = [MOVES[name](ids, shape, rest, step.kwargs, out) for ids in label.tracks]
        if isinstance(tracks[0], list):
            return [
                Label(self.sources, written=parts, own=label.own)
                for parts in zip(*tracks, strict=True)
            ]
        return [Label(self.sources, written=tuple(tracks), own=label.own)]

    def _wrote(self, tensor: Tensor, label: Label | None) -> None:
        """Label a tensor that was written into, and what it is a view of."""
        chain: list[tuple[Tensor, View]] = []
        base = tensor
        while (view := self._views.get(base)) is not None:
            chain.append((base, view))
            base = view.base
        before = self.label(base)
        if not chain or (before is None and label is None):
            if label is None:
                self._labels.drop(tensor)
            else:
                self._labels.set(tensor, label)
            return
        new = (
            written(self.sources, np.full((1,) * tensor.ndim, NOTHING)) if label is None else label
        )
        whole = np.full((1,) * base.ndim, NOTHING) if before is None else before.ids
        whole = np.broadcast_to(whole, shape_of(base)).copy()
        seen, tensors = whole, [base]
        for output, view in reversed(chain):
            shape = tuple(seen.shape)
            if view.op_name not in MOVES:
                return
            out = [shape_of(output)] * (view.at + 1)
            if view.op_name in ("split", "split_with_sizes", "chunk", "unbind"):
                seen = _part_of(seen, view, output)
            else:
                seen = MOVES[view.op_name](seen, shape, view.args, view.kwargs, out)
            tensors.append(output)
        if not np.shares_memory(seen, whole):
            self._labels.set(base, everywhere(self.sources, self.sources.note(
                "unknown", "a tensor was written into by way of a view that is not followed"),
                base.ndim))  # fmt: skip
            return
        seen[...] = new.ids
        self._labels.set(base, written(self.sources, whole))
        for (output, view), inner in zip(reversed(chain), tensors[:-1], strict=True):
            inside = self._labels.get(inner)
            if inside is not None:
                shape, out = shape_of(inner), [shape_of(output)] * (view.at + 1)
                if view.op_name in ("split", "split_with_sizes", "chunk", "unbind"):
                    ids = _part_of(np.broadcast_to(inside.ids, shape), view, output)
                else:
                    ids = MOVES[view.op_name](inside.ids, shape, view.args, view.kwargs, out)
                self._labels.set(output, written(self.sources, ids))

    def _own_label(self, tensor: Any) -> Label | None:
        """Return the names of a parameter's rows; None where the tensor is no parameter."""
        key = id(tensor)
        named = self._parameters.get(key)
        if named is None or named[1] is not tensor:
            return None
        own = self._recall.own
        if key not in own:
            own[key] = None if tensor.ndim == 0 else self._named_rows(*named)
        return own[key]

    def _named_rows(self, name: str, tensor: Tensor) -> Label:
        text, strong = called(name)
        shape = (*tensor.shape[:-1], 1) if tensor.ndim > 1 else (1,)
        count = int(np.prod(shape))
        if not strong or count > 4096:  # what is that large is no token
            number = self.sources.note("weak", text)
            return Label(self.sources, written=(np.full((1,) * tensor.ndim, number),), own=True)
        return Label(
            self.sources, written=(self.sources.names(text, count).reshape(shape),), own=True
        )


def _size(label: Label) -> tuple[tuple[int, int], int | None]:
    """Return height and width of a picture or clip, and how many frames a clip has."""
    assert label.affine is not None
    counts = {side.coordinate: side.count for side in label.affine.sides if side is not None}
    return (counts.get(ROW, 1), counts.get(COLUMN, 1)), counts.get(FRAME)


def _part_of(ids: Ids, view: View, output: Tensor) -> Ids:
    """Return one of several parts along a dimension; a view of the numbers."""
    if view.op_name == "unbind":
        dimension = view.kwargs.get("dim", view.args[0] if view.args else 0)
        part: Ids = np.moveaxis(ids, dimension, 0)[view.at]
        return part
    dimension = view.kwargs.get("dim", view.args[1] if len(view.args) > 1 else 0)
    sizes = view.args[0]
    start = view.at * sizes if isinstance(sizes, int) else sum(sizes[: view.at])
    index: list[Any] = [slice(None)] * ids.ndim
    index[dimension] = slice(start, start + output.shape[dimension])
    cut: Ids = ids[tuple(index)]
    return cut


def _listed(result: Label | Iterable[Label | None] | None) -> Labels:
    return [result] if result is None or isinstance(result, Label) else list(result)


_UNTAGGED = {
    "hardswish", "hardsigmoid", "mish", "hardtanh", "rsub", "floor_divide", "complex", "polar",
    "tril", "triu", "softplus", "rrelu", "rrelu_with_noise", "celu", "selu", "prelu", "_add_relu",
    "_prelu_kernel", "threshold", "_masked_scale", "nan_to_num", "clamp", "lerp", "copysign",
}  # fmt: skip
"""Operations that are computed element by element, without torch's tag that says so."""


def is_pointwise(func: Any, name: str) -> bool:
    """Return whether an operation is computed element by element, in place or not."""
    known = _POINTWISE.get(func)
    if known is None:
        plain_name = name.removesuffix("_")
        twin = getattr(torch.ops.aten, plain_name, None)
        twins = [getattr(twin, overload) for overload in twin.overloads()] if twin else []
        tagged = any(torch.Tag.pointwise in f.tags for f in (func, *twins) if hasattr(f, "tags"))
        known = _POINTWISE[func] = tagged or plain_name in _UNTAGGED
    return known


_POINTWISE: dict[Any, bool] = {}
_VIEWS: dict[int, tuple[Any, bool]] = {}
"""Identity of an operation, which stays, -> itself, and whether what it gives is a view."""


def _is_view(func: Any) -> bool:
    known = _VIEWS.get(id(func))
    if known is None:
        returns = getattr(getattr(func, "_schema", None), "returns", ())
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        known = _VIEWS[id(func)] = func, is_view
    return known[1]
