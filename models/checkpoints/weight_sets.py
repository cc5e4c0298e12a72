"""Where in a checkpoint the weights lie, and what else it says: training programs differ."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from nonlocal_lens.models.checkpoints.pickles import Array, NotPlain
from nonlocal_lens.models.limits import MOST_TENSOR_BYTES as MOST_BYTES
from nonlocal_lens.models.limits import MOST_TENSORS

WEIGHTS_AT = (
    "state_dict",
    "model_state_dict",
    "model_state",
    "model_weights",
    "model",
    "network_state_dict",
    "network",
    "net",
    "weights",
    "params_ema",
    "params",
    "generator_ema",
    "generator",
    "g_ema",
    "netG",
    "G",
    "teacher",
    "student",
    "module",
    "ema_state_dict",
    "state_dict_ema",
    "model_ema",
    "ema_model",
    "ema",
    "shadow_params",
    "backbone",
    "encoder",
)
"""Keys under which training programs put the weights, those that are taken first coming first.

The weights that a program itself evaluates come before others: BasicSR's average (`params_ema`)
before `params`, DINO's teacher before the student, a `state_dict` before its average.
"""

BESIDE = (
    "optim",
    "sched",
    "scaler",
    "amp",
    "rng",
    "random",
    "callbacks",
    "loops",
    "loss",
    "criterion",
    "discriminator",
    "netD",
    "history",
    "message_hub",
    "queue",
)
"""How keys of what training programs keep beside the weights begin, or go on after a "_"."""

DEPTH = 5  # of containers in each other


def weight_sets(
    loaded: Mapping[Any, Any], most_bytes: int = MOST_BYTES
) -> dict[str, dict[str, Tensor | NotPlain]]:
    """Return all dictionaries of weights in nested containers, by where they lie.

    The place of one under `ckpt["model"]["teacher"]` is "model.teacher", that of what is no
    container in itself is "". They are in the order of `WEIGHTS_AT`, those beside others last.

    Raises:
        ValueError: All tensors together have more bytes in single precision than `most_bytes`, or
            are too many: those of a damaged or hostile file may share what they are made of.
    """
    left, count = most_bytes, MOST_TENSORS
    found: dict[str, dict[str, Tensor | NotPlain]] = {}
    seen: set[int] = set()

    def spend(tensor: Any) -> None:
        nonlocal left, count
        if isinstance(tensor, Tensor):
            held = tensor.untyped_storage().nbytes() // tensor.element_size()
            if tensor.numel() <= held:  # others are refused by what they claim
                size = 4 if tensor.is_floating_point() else tensor.element_size()
                left -= tensor.numel() * size
        elif isinstance(tensor, Array) and tensor.values is not None:
            left -= tensor.values.size * max(4, tensor.values.itemsize)
        count -= 1
        if left < 0:
            raise ValueError("its tensors together are far larger than the file: they share bytes")
        if count < 0:
            raise ValueError(f"it has more than {MOST_TENSORS} tensors")

    def walk(value: Any, place: tuple[str, ...]) -> None:
        if not isinstance(value, Mapping) or id(value) in seen or len(place) > DEPTH:
            return
        seen.add(id(value))
        if "_parameters" in value and "_modules" in value:
            tensors = dict(_of_module(value, "", spend))
        else:
            tensors = {
                key: tensor
                for key, each in value.items()
                if isinstance(key, str) and (tensor := _as_tensor(each, spend)) is not None
            }
        if tensors:
            found[".".join(place)] = tensors
        for key, each in value.items():
            if isinstance(key, str) and not _is_beside(key) and not key.startswith("_"):
                walk(each, (*place, key))

    def rank(place: str) -> tuple[int, ...]:
        parts = place.split(".") if place else []
        known = [WEIGHTS_AT.index(part) for part in parts if part in WEIGHTS_AT]
        unknown = sum(part not in WEIGHTS_AT for part in parts)
        start = f".{place}." if place else "."
        holds_others = any(other != place and f".{other}".startswith(start) for other in found)
        return holds_others, unknown, *(known or [-1])

    walk(loaded, ())
    return {place: found[place] for place in sorted(found, key=rank)}


def _of_module(
    state: Mapping[str, Any], prefix: str, spend: Callable[[Any], None]
) -> Iterator[tuple[str, Any]]:
    """Yield the tensors of a module that was saved as an object, by name."""
    for kind in ("_parameters", "_buffers"):
        for name, each in dict(state.get(kind) or {}).items():
            tensor = _as_tensor(each, spend)
            if tensor is not None:
                yield f"{prefix}{name}", tensor
    for name, child in dict(state.get("_modules") or {}).items():
        spend(child)
        if isinstance(child, Mapping):
            yield from _of_module(child, f"{prefix}{name}.", spend)


def _as_tensor(value: Any, spend: Callable[[Any], None]) -> Any:
    if isinstance(value, Array | Tensor):
        spend(value)
    if isinstance(value, Array):
        values = value.values
        return None if values is None else torch.from_numpy(values.copy())
    return value if isinstance(value, Tensor | NotPlain) else None


def _is_beside(key: str) -> bool:
    return any(part.startswith(BESIDE) for part in (key, *key.split("_")))


def about(loaded: Mapping[Any, Any]) -> str:
    """Return what a checkpoint says about its training as text: never more than 100 kB."""
    said: list[str] = []
    left = 100_000
    seen: set[int] = set()  # a few lists that hold each other many times are endless to walk

    def walk(value: Any, depth: int) -> None:
        nonlocal left
        if depth > DEPTH or id(value) in seen or not isinstance(value, Mapping | list | tuple):
            return
        seen.add(id(value))
        if isinstance(value, Mapping):
            for key, each in value.items():
                if left < 0:
                    return
                if not isinstance(key, str):
                    continue
                if isinstance(each, str):
                    said.append(f"{key}={each!r}" if len(each) < 200 else each[:left])
                    left -= len(said[-1])
                elif isinstance(each, float) or (isinstance(each, int) and abs(each) < 1 << 63):
                    said.append(f"{key}={each!r}")
                    left -= len(said[-1])
                elif not _is_beside(key):
                    walk(each, depth + 1)
        elif len(value) < 1000:
            for each in value:
                walk(each, depth + 1)

    walk(loaded, 0)
    return "\n".join(said)
