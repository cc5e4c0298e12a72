"""Which of the weights in a checkpoint a network is for, under which of their names.

Programs that train keep several sets of weights (a network and its average, a teacher and its
student, a generator), and put modules into wrappers that lengthen all names.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from nonlocal_lens.models.checkpoints.weight_sets import WEIGHTS_AT

WRAPPERS = frozenset(
    (
        "module",  # data parallel
        "_orig_mod",  # torch.compile
        "_fsdp_wrapped_module",
        "_checkpoint_wrapped_module",
        "_forward_module",
    )
)
"""Parts of names that wrappers add, wherever they stand."""

NESTED = 3  # modules that a network may lie in, one in another
SHOWN = 4


class Chosen(NamedTuple):
    """Weights by the names that they have in the network itself."""

    place: str  # where they lie: keys of containers, then modules, joined by "."
    tensors: dict[str, Tensor]
    decisions: tuple[str, ...] = ()


def choose(
    path: Path,
    sets: dict[str, dict[str, Tensor]],
    fits: Callable[[dict[str, Tensor]], bool],
    weights: str | None = None,
    *,
    inside: bool = True,
) -> Chosen:
    """Return the first weights that fit, without what wrappers add to their names.

    Sets of weights are asked in their order, whole ones before parts. Where none fits, the first
    ones are returned as they are.

    Args:
        path: Where the weights are from; it is named in errors.
        sets: As in `Contents`.
        fits: Whether some tensors are what is looked for.
        weights: Which ones to take, by where they lie: "state_dict_ema", "model.teacher".
        inside: Whether the weights of a module inside of another are asked, too.

    Raises:
        ValueError: There are no such weights.
    """
    found = [Chosen(place, unwrapped_names(tensors)) for place, tensors in sets.items()]
    candidates: list[Chosen] = [*found, *(_parts(found) if inside else ())]
    if weights is not None:
        candidates = [each for each in candidates if f".{weights}." in f".{each.place}."]
        if not candidates:
            places = ", ".join(repr(place or "the file itself") for place in sets)
            raise ValueError(f"{path} has no weights at {weights!r}; there are those at {places}")
    fitting = [each for each in candidates if fits(each.tensors)]
    if not fitting:
        return candidates[0]
    first, *others = fitting
    decisions = _left_out(first, sets)
    others = [each for each in others if not _of_one_kin(first.place, each.place)]
    if others:
        places = ", ".join(repr(each.place or "the file itself") for each in others[:SHOWN])
        place = repr(first.place) if first.place else "the file itself"
        decisions += (
            f"weights at {place}, not those at {places}: weights={others[0].place!r} takes these",
        )
    return first._replace(decisions=decisions)


def unwrapped_names(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by their names in the module that wrappers were put around."""
    bare = {unwrapped_name(name): tensor for name, tensor in tensors.items()}
    return bare if len(bare) == len(tensors) else dict(tensors)


def unwrapped_name(name: str) -> str:
    """Return a name without what wrappers add to it."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _parts(found: list[Chosen]) -> Iterator[Chosen]:
    """Yield the weights of modules inside others, the outer ones first."""
    for _ in range(NESTED):
        inner: list[Chosen] = []
        for place, tensors, _ in found:
            groups: dict[str, dict[str, Tensor]] = {}
            for name, tensor in tensors.items():
                first, _, rest = name.partition(".")
                if rest:
                    groups.setdefault(first, {})[rest] = tensor
            inner += [
                Chosen(f"{place}.{name}".lstrip("."), unwrapped_names(groups[name]))
                for name in sorted(groups, key=_rank)
            ]
        yield from inner
        found = inner


def _rank(name: str) -> int:
    return WEIGHTS_AT.index(name) if name in WEIGHTS_AT else len(WEIGHTS_AT)


def _left_out(chosen: Chosen, sets: dict[str, dict[str, Tensor]]) -> tuple[str, ...]:
    """Say which weights are left out where those of a module inside another are taken."""
    outer = max((place for place in sets if _within(chosen.place, place)), key=len, default="")
    module = chosen.place[len(outer) :].lstrip(".")
    if not module or outer not in sets:
        return ()
    names = [name for name in unwrapped_names(sets[outer]) if not name.startswith(f"{module}.")]
    if not names:
        return ()
    some = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return (f"the weights of {module!r} alone: {len(names)} others are left out ({some})",)


def _within(place: str, outer: str) -> bool:
    return outer == "" or place == outer or place.startswith(f"{outer}.")


def _of_one_kin(place: str, other: str) -> bool:
    return _within(place, other) or _within(other, place) if place and other else place == other
