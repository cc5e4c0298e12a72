"""Rules of operations that are neither moves nor computed element by element.

Each gets a `Step` and returns the label of the output, or those of all outputs.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from torch import Tensor

from nonlocal_lens.analysis.tracing.joins import join
from nonlocal_lens.analysis.tracing.label import Label, everywhere, raised, shape_of, written
from nonlocal_lens.analysis.tracing.moves import MOVES
from nonlocal_lens.analysis.tracing.products import product
from nonlocal_lens.analysis.tracing.regions import gathered
from nonlocal_lens.analysis.tracing.sampling import (
    Middles,
    along_bins,
    along_resized,
    along_windows,
    convolution,
    resampled,
)
from nonlocal_lens.analysis.tracing.sources import NOTHING, Ids
from nonlocal_lens.analysis.tracing.step import Step

Rule = Callable[[Step], Label | Iterable[Label | None] | None]

RULES: dict[str, Rule] = {}
"""Operation, without the "_" of those that write into an operand -> its rule."""


def rule(*names: str) -> Callable[[Rule], Rule]:
    """Return a decorator that makes a function the rule for some operations."""

    def registered(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names, function))
        return function

    return registered


@rule(
    "native_layer_norm", "native_batch_norm", "_native_batch_norm_legit_no_training",
    "_native_batch_norm_legit", "native_group_norm", "cudnn_batch_norm", "_softmax",
    "_log_softmax", "_safe_softmax", "_fused_rms_norm", "batch_norm_elemt",
    "_weight_norm_interface",
    "_batch_norm_no_update", "_batch_norm_with_update", "native_dropout", "renorm",
    "miopen_batch_norm", "_masked_softmax", "fake_quantize_per_tensor_affine",
)  # fmt: skip
def normalized(step: Step) -> list[Label | None]:
    """Elements divided by what many of them have in common keep their places."""
    label = step.label(step.args[0])
    kept = None if label is None else label.lost_ownership()
    return [kept, *[None] * (len(step.outputs) - 1)]


@rule("glu")
def gated(step: Step) -> Label | None:
    """One half of the channels times a gate of the other."""
    x, dimension = step.args[0], step.arg(1, "dim", -1)
    label = step.label(x)
    if label is None:
        return None
    half = x.shape[dimension] // 2
    tracks = []
    for ids in label.tracks:
        if ids.shape[dimension] == 1:
            tracks.append(ids)
            continue
        first, second = np.split(ids, [half], axis=dimension)
        shape = shape_of(step.outputs[0])
        tracks.append(join(step.sources, first, shape, second, shape, step.what))
    return written(step.sources, *tracks)


@rule("where")
def chosen(step: Step) -> Label | None:
    """Elements of one tensor or another, as a mask says; of one and nothing, the one's."""
    condition, *options = step.args
    labels = [step.label(x) for x in options]
    if any(label is None for label in labels):
        return step.join([x for x in options if isinstance(x, Tensor)])
    first, second = (label.ids for label in labels if label is not None)
    dimensions = step.outputs[0].ndim
    first, second = (
        ids.reshape((1,) * (dimensions - ids.ndim) + ids.shape) for ids in (first, second)
    )
    if np.array_equal(first, second):
        return labels[0]
    mask = raised(condition.cpu().numpy(), dimensions)
    for d in range(dimensions):
        if (mask == mask.take([0], axis=d)).all():
            mask = mask.take([0], axis=d)
    return written(step.sources, np.where(mask, first, second))


@rule("view_as_real")
def parted(step: Step) -> Label | None:
    """Complex numbers as two real ones, along a new last dimension."""
    label = step.label(step.args[0])
    return None if label is None else label.moved(lambda ids: ids[..., None])


@rule("view_as_complex")
def paired(step: Step) -> Label | None:
    """Two real numbers as a complex one."""
    label = step.label(step.args[0])
    if label is None:
        return None
    x = step.args[0]
    tracks = [gathered(step.sources, i, [-1], shape_of(x), step.what)[..., 0] for i in label.tracks]
    return written(step.sources, *tracks)


# ---------------------------------------------------------------- convolution, pooling, resizing


@rule(
    "convolution",
    "_convolution",
    "cudnn_convolution",
    "mkldnn_convolution",
    "convolution_overrideable",
)
def convolved(step: Step) -> Label | None:
    """Windows of cells, one place each."""
    x, weight = step.args[0], step.args[1]
    if step.name in ("convolution", "_convolution", "convolution_overrideable"):
        stride, padding, dilation, transposed = step.args[3:7]
    else:
        padding, stride, dilation, transposed = *step.args[3:6], False
    label = step.label(x)
    if label is None:
        return None
    dims = weight.ndim - 2
    return convolution(
        step.sources,
        label,
        shape_of(x),
        shape_of(step.outputs[0]),
        kernel=weight.shape[2:],
        stride=_each(stride, dims),
        padding=_each(padding, dims),
        dilation=_each(dilation, dims),
        transposed=bool(transposed),
        what=step.what,
    )


def _each(value: Any, dims: int) -> list[int]:
    values = [value] if isinstance(value, int) else list(value)
    return values * dims if len(values) == 1 else values


@rule(
    "max_pool2d_with_indices", "max_pool3d_with_indices", "max_pool2d", "max_pool3d", "max_pool1d",
    "max_pool1d_with_indices", "avg_pool1d", "avg_pool2d", "avg_pool3d", "mkldnn_max_pool2d",
    "mkldnn_max_pool3d", "lp_pool2d",
)  # fmt: skip
def pooled(step: Step) -> list[Label | None]:
    """Windows of cells, one place each."""
    kernel = step.args[1]
    dims = int(next(c for c in step.name if c.isdigit()))
    kernel = _each(kernel, dims)
    stride = _each(step.arg(2, "stride") or kernel, dims)
    padding = _each(step.arg(3, "padding", 0), dims)
    dilation = _each(step.arg(4, "dilation", 1), dims) if "max" in step.name else [1] * dims
    out = step.outputs[0].shape
    middles = [
        along_windows(
            out[len(out) - dims + i],
            kernel=kernel[i],
            stride=stride[i],
            padding=padding[i],
            dilation=dilation[i],
        )
        for i in range(dims)
    ]
    return _first(step, middles)


@rule(
    "_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "adaptive_max_pool3d",
    "adaptive_avg_pool1d", "mkldnn_adaptive_avg_pool2d", "adaptive_max_pool1d",
)  # fmt: skip
def adaptively_pooled(step: Step) -> list[Label | None]:
    """Bins of cells, one place each; a single bin of all is mixed."""
    x, out = step.args[0], step.outputs[0]
    dims = int(next(c for c in step.name if c.isdigit()))
    before, after = x.shape[-dims:], out.shape[-dims:]
    if all(size == 1 for size in after) and any(size > 1 for size in before):
        return _reduced(step, list(range(-dims, 0)), keep=True)
    return _first(step, [along_bins(c, size) for c, size in zip(after, before, strict=True)])


@rule(
    "upsample_nearest1d", "upsample_nearest2d", "upsample_nearest3d", "_upsample_nearest_exact1d",
    "_upsample_nearest_exact2d", "_upsample_nearest_exact3d", "upsample_linear1d",
    "upsample_bilinear2d", "upsample_trilinear3d", "upsample_bicubic2d", "_upsample_bilinear2d_aa",
    "_upsample_bicubic2d_aa", "_upsample_lanczos2d_aa",
)  # fmt: skip
def resized(step: Step) -> list[Label | None]:
    """Cells sampled at other distances."""
    x, out = step.args[0], step.outputs[0]
    dims = x.ndim - 2
    corners = step.args[2] if "nearest" not in step.name and len(step.args) > 2 else False
    corners = step.kwargs.get("align_corners", corners)
    scales = _scales(step, dims, bool("nearest" not in step.name))
    return _first(
        step,
        [
            along_resized(
                out.shape[2 + i], x.shape[2 + i], align_corners=bool(corners), scale=scales[i]
            )
            for i in range(dims)
        ],
    )


def _scales(step: Step, dims: int, has_corners: bool) -> list[float | None]:
    """Return the factors that an operation was given, None where sizes say them."""
    given = list(step.args[3 if has_corners else 2 :])
    if len(given) == 1 and isinstance(given[0], list | tuple):
        given = list(given[0])
    names = {1: ("scales",), 2: ("scales_h", "scales_w"), 3: ("scales_d", "scales_h", "scales_w")}
    given = given or [step.kwargs.get(name) for name in names[dims]]
    return (given + [None] * dims)[:dims]


def _first(step: Step, middles: Sequence[Middles]) -> list[Label | None]:
    """Label the first output as cells at the middles of others."""
    x = step.args[0]
    label = step.label(x)
    if label is None:
        return [None] * len(step.outputs)
    if len(middles) == 1 and x.ndim < 2:
        return step.unknown(f"{step.what} of a vector")
    result = resampled(step.sources, label, shape_of(x), middles, step.what)
    return [result, *[None] * (len(step.outputs) - 1)]


# ------------------------------------------------------------------------------------- products


@rule("mm", "bmm", "_int_mm", "mv", "dot")
def multiplied(step: Step) -> Label | None:
    """A product of matrices or vectors."""
    return _product(step, *step.args[:2])


@rule("addmm", "baddbmm", "_addmm_activation", "addmv")
def multiplied_and_added(step: Step) -> Label | None:
    """A product of matrices, added to something."""
    label = _product(step, *step.args[1:3])
    return label if label is not None else step.join([step.args[0]])


@rule("_transform_bias_rescale_qkv")
def parted_in_heads(step: Step) -> list[Label | None]:
    """Queries, keys and values side by side as channels, each parted in heads."""
    x, _, heads = step.args
    label = step.label(x)
    if label is None:
        return [None] * 3

    def part(at: int, ids: Ids) -> Ids:
        third = ids if ids.shape[2] == 1 else np.split(ids, 3, axis=2)[at]
        inner = third.shape[2] // heads if third.shape[2] > 1 else 1
        return third.reshape(*third.shape[:2], -1, inner).transpose(0, 2, 1, 3)

    return [label.moved(partial(part, at)) for at in range(3)]


@rule("linear", "mkldnn_linear", "_linear")
def linear(step: Step) -> Label | None:
    """A layer over channels."""
    x = step.args[0]
    label = step.label(x)
    if label is None:
        return None
    return product(step.sources, label, shape_of(x), None, (x.shape[-1], 1), step.what)


def _product(step: Step, left: Tensor, right: Tensor) -> Label | None:
    labels = [step.label(left), step.label(right)]
    shapes = [shape_of(left), shape_of(right)]
    for i in range(2):  # a vector is a row on the left, and a column on the right
        label = labels[i]
        if len(shapes[i]) == 1:
            shapes[i] = (1, *shapes[i]) if i == 0 else (*shapes[i], 1)
            labels[i] = None if label is None else label.moved(partial(np.expand_dims, axis=i))
    result = product(step.sources, labels[0], shapes[0], labels[1], shapes[1], step.what)
    dimensions = step.outputs[0].ndim
    if result is None or result.ids.ndim == dimensions:
        return result
    # what was a vector is one again
    gone = (0, 1) if dimensions == 0 else (1 if right.ndim == 1 else 0,)
    return result.moved(lambda ids: ids.squeeze(gone))


@rule(
    "_scaled_dot_product_flash_attention", "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention", "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_attention_math", "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps", "_flash_attention_forward",
    "_efficient_attention_forward", "flex_attention",
)  # fmt: skip
def attended(step: Step) -> list[Label | None]:
    """What attention gathers lies where its queries do."""
    label = step.label(step.args[0])
    rest: list[Label | None] = [None] * (len(step.outputs) - 1)
    if label is None:
        return [None, *rest]
    label = label.lost_ownership()
    tracks = []
    for ids in label.tracks:
        tracks.append(gathered(step.sources, ids, [-1], shape_of(step.args[0]), step.what))
    return [written(step.sources, *tracks), *rest]


@rule("embedding", "embedding_renorm")
def looked_up(step: Step) -> Label | None:
    """Rows of a table by number: tokens are called as the numbers are, or as the rows."""
    table, index = step.args[0], step.args[1]
    label = step.label(index)
    if label is not None:
        return label.moved(lambda ids: ids[..., None])
    rows = step.label(table)
    if rows is None:
        return None
    numbers = rows.ids[:, :1]
    taken = (
        numbers[index.cpu().numpy(), 0] if len(numbers) > 1 else np.full(index.shape, numbers[0, 0])
    )
    return Label(step.sources, written=(taken[..., None],), own=True)


# ----------------------------------------------------------------------------------- reductions


@rule("mean", "sum", "amax", "amin", "prod", "logsumexp", "norm", "linalg_vector_norm", "nansum",
      "std", "var", "median", "nanmedian", "mode", "max", "min", "var_mean", "std_mean",
      "aminmax", "kthvalue", "special_logsumexp", "count_nonzero")  # fmt: skip
def reduced(step: Step) -> list[Label | None]:
    """What is computed of all elements along some dimensions: of patches, or mixed."""
    x = step.args[0]
    if step.name in ("max", "min") and len(step.args) > 1 and isinstance(step.args[1], Tensor):
        return [step.joined()]
    position = {"norm": 2, "linalg_vector_norm": 2, "kthvalue": 2}.get(step.name, 1)
    dims = step.arg(position, "dim")
    if isinstance(dims, float | bool):
        dims = None
    listed = list(range(x.ndim)) if dims is None or dims == [] else _each(dims, 1)
    return _reduced(step, listed, keep=step.outputs[0].ndim == x.ndim)


def _reduced(step: Step, dimensions: Sequence[int], *, keep: bool) -> list[Label | None]:
    x = step.args[0]
    label = step.label(x)
    if label is None:
        return [None] * len(step.outputs)
    over = sorted({d % max(x.ndim, 1) for d in dimensions}) if x.ndim else []
    if label.affine is not None and all(label.affine.sides[d] is None for d in over) and keep:
        return [label.lost_ownership()] * len(step.outputs)
    tracks = []
    for ids in label.tracks:
        ids = gathered(step.sources, ids, over, shape_of(x), step.what)
        tracks.append(ids if keep else np.squeeze(ids, tuple(over)))
    result = written(step.sources, *tracks)
    return [result if out.is_floating_point() else None for out in step.outputs]


@rule("cumsum", "cumprod", "logcumsumexp", "cummax", "cummin")
def accumulated(step: Step) -> list[Label | None]:
    """Running sums mix what they run over."""
    x, dimension = step.args[0], step.args[1]
    label = step.label(x)
    rest: list[Label | None] = [None] * (len(step.outputs) - 1)
    if label is None or all(ids.shape[dimension] == 1 for ids in label.tracks):
        return [label, *rest]
    mixed = step.sources.note("mixed", f"{step.what} mixed places in a running sum")
    return [everywhere(step.sources, mixed, x.ndim), *rest]


# --------------------------------------------------------------- several tensors, numbered moves


@rule("cat", "concat", "_cat")
def joined_ends(step: Step) -> Label | None:
    """Tensors one after another."""
    tensors = [x for x in step.args[0] if x.numel() or x.ndim > 1]
    dimension = step.arg(1, "dim", 0)
    labels = [step.label(x) for x in tensors]
    dimension %= tensors[0].ndim
    affine = None if labels[0] is None else labels[0].affine
    alike = all(label is not None and label.affine == affine for label in labels)
    if affine is not None and affine.sides[dimension] is None and alike:
        return labels[0]
    count = max((len(label.tracks) for label in labels if label is not None), default=1)
    return written(
        step.sources, *(_concatenated(tensors, labels, dimension, i) for i in range(count))
    )


def _concatenated(
    tensors: Sequence[Tensor], labels: Sequence[Label | None], dimension: int, track: int
) -> Ids:
    parts = []
    for x, label in zip(tensors, labels, strict=True):
        if label is None:
            parts.append(np.full((1,) * x.ndim, NOTHING))
        else:
            tracks = label.tracks
            parts.append(tracks[track] if track < len(tracks) else tracks[0])
    if all(np.array_equal(p, parts[0]) and p.shape[dimension] == 1 for p in parts):
        return parts[0]
    shape = [max(p.shape[d] for p in parts) for d in range(parts[0].ndim)]
    full = []
    for x, p in zip(tensors, parts, strict=True):
        shape[dimension] = x.shape[dimension]
        full.append(np.broadcast_to(p, shape))
    return np.concatenate(full, axis=dimension)


@rule("stack")
def stacked(step: Step) -> Label | None:
    """Tensors side by side along a new dimension."""
    tensors = list(step.args[0])
    dimension = step.arg(1, "dim", 0) % (tensors[0].ndim + 1)
    labels = [step.label(x) for x in tensors]
    raised = [
        None if label is None else label.moved(lambda ids: np.expand_dims(ids, dimension))
        for label in labels
    ]
    with_dimension = [x.unsqueeze(dimension) for x in tensors]
    return written(step.sources, _concatenated(with_dimension, raised, dimension, 0))


@rule("sort", "topk", "msort")
def ordered(step: Step) -> list[Label | None]:
    """Elements in the order of their values: moved as the values were."""
    values, index = step.outputs
    label = step.label(step.args[0])
    if label is None:
        return [None, None]
    dimension = step.arg(2 if step.name == "topk" else 1, "dim", -1)
    if isinstance(dimension, bool):
        dimension = step.args[2]
    shape = shape_of(step.args[0])
    return [
        label.moved(
            lambda ids: MOVES["gather"](ids, shape, (dimension, index), {}, [shape_of(values)])
        ),
        None,
    ]


@rule("copy", "_copy_from")
def copied(step: Step) -> Label | None:
    """Elements written over others."""
    label = step.label(step.args[1])
    if label is None:
        return everywhere(step.sources, NOTHING, step.outputs[0].ndim)
    more = step.outputs[0].ndim - step.args[1].ndim
    if not more:
        return label
    return label.moved(partial(raised, dimensions=step.outputs[0].ndim))


@rule("fill", "zero", "normal", "uniform", "bernoulli", "full_like", "zeros_like", "ones_like",
      "empty_like", "rand_like", "randn_like", "new_zeros", "new_ones", "new_full", "new_empty",
      "randint_like", "new_empty_strided", "argmax", "argmin", "argsort", "nonzero",
      "bucketize", "searchsorted",
      "_local_scalar_dense", "any", "all", "isin", "equal", "resize", "is_nonzero", "sym_size",
      "_assert_async", "_assert_scalar", "histc", "bincount", "unique", "_unique2",
      "exponential")  # fmt: skip
def unrelated(step: Step) -> list[Label | None]:
    """What has the shape of an operand at most, or is a number of an element."""
    return [everywhere(step.sources, NOTHING, x.ndim) for x in step.outputs]


@rule("index_put", "_index_put_impl", "_unsafe_index_put")
def put(step: Step) -> Label | None:
    """Elements written over others, or added to them, by number."""
    x, indices, values = step.args[:3]
    accumulate = bool(step.arg(3, "accumulate", False))
    ids = _whole(step, x)
    at = tuple(slice(None) if i is None else i.cpu().numpy() for i in indices)
    label = step.label(values)
    new = np.full((1,) * values.ndim, NOTHING) if label is None else label.ids
    if accumulate:
        target = np.broadcast_to(new, ids[at].shape)
        return _scattered(step, ids, np.arange(ids.size).reshape(ids.shape)[at], target)
    ids[at] = np.broadcast_to(new, values.shape) if values.ndim else new
    return written(step.sources, ids)


@rule("scatter", "scatter_add", "scatter_reduce")
def scattered(step: Step) -> Label | None:
    """Elements written to places by number, or added to what is there: merged where they meet."""
    x, dimension, index, source = step.args[:4]
    ids, at = _whole(step, x), index.cpu().numpy()
    label = step.label(source)
    new = np.full((1,) * index.ndim, NOTHING) if label is None else label.ids
    if isinstance(source, Tensor):
        new = np.broadcast_to(new, source.shape)[tuple(slice(size) for size in at.shape)]
    else:
        new = np.broadcast_to(new, at.shape)
    if step.name.rstrip("_") == "scatter" and step.arg(4, "reduce") is None:
        np.put_along_axis(ids, at, new, dimension)
        return written(step.sources, ids)
    flat = np.arange(ids.size).reshape(ids.shape)
    flat = flat[
        tuple(slice(None) if d == dimension else slice(size) for d, size in enumerate(at.shape))
    ]
    targets = np.take_along_axis(flat, at, dimension)
    if step.kwargs.get("include_self") is False:
        ids.ravel()[targets.ravel()] = NOTHING
    return _scattered(step, ids, targets, new)


@rule("index_add", "index_copy")
def added_by_number(step: Step) -> Label | None:
    """Slices written or added to others by number."""
    x, dimension, index, source = step.args[:4]
    ids, label = _whole(step, x), step.label(source)
    new = np.full((1,) * source.ndim, NOTHING) if label is None else label.ids
    new = np.broadcast_to(new, source.shape)
    at: list[Any] = [slice(None)] * x.ndim
    at[dimension] = index.cpu().numpy()
    if step.name.startswith("index_copy"):
        ids[tuple(at)] = new
        return written(step.sources, ids)
    return _scattered(step, ids, np.arange(ids.size).reshape(ids.shape)[tuple(at)], new)


@rule("col2im")
def folded(step: Step) -> Label | None:
    """Patches laid back over each other: what meets of the same place stays there."""
    x, size, kernel, dilation, padding, stride = step.args[:6]
    label = step.label(x)
    if label is None:
        return None
    rows, columns = size
    flat = np.arange(rows * columns).reshape(1, 1, rows, columns)
    at = MOVES["im2col"](flat, (1, 1, rows, columns), (kernel, dilation, padding, stride), {}, [])[
        0
    ]
    patch = kernel[0] * kernel[1]
    shape = step.outputs[0].shape
    batch, channels = shape[-4:-2] if x.ndim == 3 else (1, shape[0])
    ids = np.broadcast_to(label.ids, shape_of(x)).reshape(batch, channels, patch, -1)
    result = np.full((batch, rows * columns), NOTHING)
    first = ids[:, :1] if (ids == ids[:, :1]).all() else None
    if first is None:
        return step.unknown(f"{step.what} of channels that come from different places")[0]
    inside = at >= 0
    for image in range(batch):
        result[image] = _merged(step, result[image], at[inside], first[image, 0][inside])
    whole = result.reshape(batch, 1, rows, columns)
    return written(step.sources, whole if x.ndim == 3 else whole[0])


def _whole(step: Step, x: Tensor) -> Ids:
    label = step.label(x)
    ids = np.full((1,) * x.ndim, NOTHING) if label is None else label.ids
    return np.broadcast_to(ids, x.shape).copy()


def _scattered(step: Step, ids: Ids, targets: Ids, new: Ids) -> Label:
    flat = _merged(step, ids.ravel(), targets.ravel(), np.broadcast_to(new, targets.shape).ravel())
    return written(step.sources, flat.reshape(ids.shape))


def _merged(step: Step, ids: Ids, targets: Ids, new: Ids) -> Ids:
    """Return sources after others were added to them: mixed where they differ."""
    says = new != NOTHING
    targets, new = targets[says], new[says]
    last = np.iinfo(ids.dtype)
    low, high = np.full(ids.shape, last.max), np.full(ids.shape, last.min)
    np.minimum.at(low, targets, new)
    np.maximum.at(high, targets, new)
    touched = np.zeros(ids.shape, dtype=bool)
    touched[targets] = True
    before = touched & (ids != NOTHING)
    low = np.where(before, np.minimum(low, ids), low)
    high = np.where(before, np.maximum(high, ids), high)
    mixed = step.sources.note("mixed", f"{step.what} merged tokens")
    return np.where(touched, np.where(low == high, low, mixed), ids)


@rule("unfold_backward", "grid_sampler_2d", "grid_sampler_3d", "_fft_r2c", "_fft_c2c", "_fft_c2r")
def unknowable(step: Step) -> list[Label | None]:
    """What gathers elements from wherever its values say."""
    return step.unknown(f"{step.what} gathers from places that depend on values")
