"""The central type: what one attention block did on one input, before any softmax."""

import json
from dataclasses import asdict, dataclass, replace
from math import isfinite, nan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.tracing.proof import Proof
from nonlocal_lens.models.atomic_write import atomic_write
from nonlocal_lens.models.blocks import Parts, Reach
from nonlocal_lens.models.safetensors_header import split

if TYPE_CHECKING:  # most code is given places, and need not ask each time whether there are any
    MaybeGrid = Grid
else:
    MaybeGrid = Grid | None

SCHEMA_VERSION = 7
READABLE_VERSIONS = (1, 2, 3, 4, 5, 6, 7)
"""The first had no gain, no whitening to tell and no offset of grids, the second no reach, the
third no frames of the clip that a grid's frames stand for, the fourth no call, no proof and no
lengths of values, the fifth no tokens without a place and no grids of which cells are missing,
the sixth of values no more than their lengths."""
HEADER_KEY = "nonlocal_lens.record"

ROW_SUM: dict[str, float] = {
    "coupled": 1,
    "disentangled": 2,
    "pairwise": 1,
    "unary": 1,
    "unnormalized": nan,
}
"""Coupling -> what a row of the whole attention sums to, NaN where that may be anything.

`analysis.terms` says why; `AttentionRecord.row_sum` also knows of gains.
"""


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """What one block computed for one image or clip: queries, keys, and how they make a logit.

    Everything shown or measured is a function of this; the query x key matrix is never kept (that
    of a 97 x 97 grid takes 354 MB). Rows of attention are rebuilt on demand by `analysis.terms`.
    """

    block: str  # the module's name in its network
    form: str  # how query and key make a logit: a key of `analysis.forms.FORMS`
    coupling: str  # how logits make attention: a key of ROW_SUM
    scale: float  # factor on every dot product
    query: Float[Tensor, "query_pos channels"]
    key: Float[Tensor, "key_pos channels"]
    unary: Float[Tensor, " key_pos"] | None  # learned unary logits; None where they are derived
    query_grid: MaybeGrid  # None where no query has a place
    key_grid: MaybeGrid  # smaller than query_grid where keys are sub-sampled
    head: int | None = None  # None where the block has one head only
    pairwise_gain: float = 1.0  # weight of the pairwise softmax beside the unary one
    whitened: bool = True  # False where the pairwise softmax has its derived unary logits left in
    reach: Reach | None = None  # which keys queries look at; None where they look at all
    call: int = 0  # how often the block had run before, on this input
    value_norm: Float[Tensor, " key_pos"] | None = None  # length of each key's value on its way out
    value: Float[Tensor, "key_pos value_channels"] | None = None  # itself, but for a rotation
    proof: Proof | None = None  # how it was compared with the network's own weights; None if not
    query_axis: Axis = None  # type: ignore[assignment]  # None given: all cells of query_grid
    key_axis: Axis = None  # type: ignore[assignment]  # None given: all cells of key_grid

    @property
    def row_sum(self) -> float:
        """What a row of the whole attention sums to, NaN where that may be anything."""
        if self.coupling == "disentangled":
            return self.pairwise_gain + 1
        return ROW_SUM[self.coupling]

    @property
    def parts(self) -> Parts | None:
        """The parts of the grid that attend to themselves; None where there are none.

        There are none where queries look at all keys, and where their reaches overlap.
        """
        return None if self.reach is None else self.reach.parts

    def __post_init__(self) -> None:
        for name, value, known in (
            ("form", self.form, FORMS),
            ("coupling", self.coupling, ROW_SUM),
        ):
            if value not in known:
                raise ValueError(f"unknown {name} {value!r}; available: {', '.join(known)}")
        if self.coupling not in FORMS[self.form].couplings:
            raise ValueError(
                f"the coupling of form {self.form!r} must be one of "
                f"{', '.join(FORMS[self.form].couplings)}, got {self.coupling!r}"
            )
        if self.coupling in ("pairwise", "unnormalized") and self.unary is not None:
            raise ValueError(
                f"learned unary logits have no part in the coupling {self.coupling!r}: "
                "unary must be None"
            )
        if self.form == "query_independent" and self.unary is None:
            raise ValueError(
                "learned unary logits are all that the form 'query_independent' has: "
                "unary must be given"
            )
        if not isfinite(self.pairwise_gain):
            raise ValueError(f"pairwise_gain must be finite, got {self.pairwise_gain}")
        if self.coupling != "disentangled" and (self.pairwise_gain != 1 or not self.whitened):
            raise ValueError(
                f"the coupling {self.coupling!r} has one softmax at most: pairwise_gain must be 1 "
                f"and whitened True, got {self.pairwise_gain} and {self.whitened}"
            )
        if not self.whitened and self.unary is None:
            raise ValueError(
                "derived unary logits cannot be in both terms: unary must be given where whitened "
                "is False"
            )
        if self.query.shape[1] != self.key.shape[1]:
            raise ValueError(
                f"query and key must have equally many channels, got {self.query.shape[1]} "
                f"and {self.key.shape[1]}"
            )
        channels = FORMS[self.form].channels
        if channels is not None and self.query.shape[1] != channels:
            raise ValueError(
                f"query and key of the form {self.form!r} must have {channels} channels, "
                f"got {self.query.shape[1]}"
            )
        for side, grid in (("query", self.query_grid), ("key", self.key_grid)):
            axis = getattr(self, f"{side}_axis")
            if axis is None or axis.grid != grid:
                object.__setattr__(self, f"{side}_axis", _laid_over(axis, grid))
        sides = [("query", self.query, self.query_axis), ("key", self.key, self.key_axis)]
        for name, of_keys in (
            ("unary", self.unary),
            ("value_norm", self.value_norm),
            ("value", self.value),
        ):
            sides += [(name, of_keys, self.key_axis)] if of_keys is not None else []
        for name, tensor, axis in sides:
            if tensor.shape[0] != len(axis):
                raise ValueError(
                    f"{name} must have one row for each of the {axis.described}, "
                    f"got {tensor.shape[0]}"
                )
        if self.value is not None:
            object.__setattr__(self, "value_norm", self._length_of_value())
        if self.reach is None:
            return
        if self.signed:
            raise ValueError("only the weights of a softmax can be 0 out of reach")
        labels = len(self.reach.query), len(self.reach.key)
        if labels != (len(self.query), len(self.key)):
            raise ValueError(
                f"reach must have labels for {len(self.query)} queries and {len(self.key)} keys, "
                f"got {labels[0]} and {labels[1]}"
            )

    def _length_of_value(self) -> Tensor:
        """Return how long each key's value is; ValueError if something else is said."""
        assert self.value is not None  # whoever asks has looked
        length: Tensor = self.value.norm(dim=1)
        said = self.value_norm
        if said is not None and not torch.allclose(said.to(length), length, rtol=1e-4, atol=1e-6):
            raise ValueError("value_norm must be the length of each row of value, or None")
        return length

    @property
    def signed(self) -> bool:
        """Whether weights have no softmax, so that they may have any sign: they are logits."""
        return self.coupling == "unnormalized"

    @property
    def title(self) -> str:
        """What the block, and the head where it has several, is called."""
        return self.block if self.head is None else f"{self.block}, head {self.head}"

    def with_proof(self, proof: Proof) -> "AttentionRecord":
        """Return the same with a proof; all else has been checked already."""
        return self._changed(proof=proof)

    def beside(
        self,
        head: int | None,
        query: Float[Tensor, "query_pos channels"],
        key: Float[Tensor, "key_pos channels"],
        value: Float[Tensor, "key_pos value_channels"] | None,
        value_norm: Float[Tensor, " key_pos"] | None,
    ) -> "AttentionRecord":
        """Return another head of the same tokens, whose tensors have the very shapes of these."""
        return self._changed(head=head, query=query, key=key, value=value, value_norm=value_norm)

    def _changed(self, **fields: Any) -> "AttentionRecord":
        """Return the same with other values of fields that need no check."""
        other = object.__new__(type(self))
        vars(other).update(vars(self), **fields)
        return other

    def save(self, path: str | Path) -> None:
        """Write the record to one safetensors file; nothing half-written is left behind."""
        atomic_write(Path(path), self.to_bytes())

    def to_bytes(self) -> bytes:
        """Return the record as the bytes of a safetensors file."""
        header = {
            "schema_version": SCHEMA_VERSION,
            "block": self.block,
            "form": self.form,
            "coupling": self.coupling,
            "scale": self.scale,
            "head": self.head,
            "pairwise_gain": self.pairwise_gain,
            "whitened": self.whitened,
            "call": self.call,
            "proof": None if self.proof is None else asdict(self.proof),
        }
        for side, axis in (("query", self.query_axis), ("key", self.key_axis)):
            header[f"{side}_grid"] = None if axis.grid is None else asdict(axis.grid)
            header[f"{side}_names"] = list(axis.names)
        tensors = {"query": self.query.contiguous(), "key": self.key.contiguous()}
        values = (
            ("value", self.value) if self.value is not None else ("value_norm", self.value_norm)
        )
        for name, of_keys in (("unary", self.unary), values):
            if of_keys is not None:
                tensors[name] = of_keys.contiguous()
        for side, axis in (("query", self.query_axis), ("key", self.key_axis)):
            if axis.cells is not None:
                tensors[f"{side}_cells"] = torch.from_numpy(axis.cells.astype("int32"))
        if self.reach is not None:
            header["reach"] = self.reach.kind
            tensors["query_labels"] = self.reach.query.int().contiguous()
            tensors["key_labels"] = self.reach.key.int().contiguous()
        return save(tensors, metadata={HEADER_KEY: json.dumps(header)})

    @classmethod
    def load(cls, path: str | Path) -> "AttentionRecord":
        """Read a record that `save` wrote, or that another program wrote in the same layout.

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: The file is not a record, or its fields contradict each other.
        """
        return cls.from_bytes(Path(path).read_bytes(), str(path))

    @classmethod
    def from_bytes(cls, data: bytes, name: str = "this") -> "AttentionRecord":
        """Return the record in the bytes of a file, which `name` calls in what is raised; `load`.

        Raises:
            ValueError: The bytes are no record, or its fields contradict each other.
        """
        try:
            tensors = load(data)
            text = (split(data)[0].get("__metadata__") or {}).get(HEADER_KEY)
        except (SafetensorError, ValueError) as error:
            raise ValueError(f"{name} is not a readable safetensors file: {error}") from error
        if text is None:
            raise ValueError(f"{name} is not a record: its header has no {HEADER_KEY!r}")
        try:
            header = json.loads(text)
            version = header.pop("schema_version")
            if version not in READABLE_VERSIONS:
                known = ", ".join(map(str, READABLE_VERSIONS))
                raise ValueError(f"schema_version must be one of {known}, got {version}")
            kind = header.pop("reach", None)
            proof = header.pop("proof", None)
            reach = kind and Reach(kind, tensors.pop("query_labels"), tensors.pop("key_labels"))
            return cls(
                reach=reach,
                query=tensors.pop("query"),
                key=tensors.pop("key"),
                unary=tensors.pop("unary", None),
                value_norm=tensors.pop("value_norm", None),
                value=tensors.pop("value", None),
                proof=None if proof is None else Proof(**proof),
                **_side("query", header, tensors),
                **_side("key", header, tensors),
                **header,
            )
        except KeyError as error:
            raise ValueError(
                f"{name} is not a complete record: {error.args[0]} is missing"
            ) from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{name} is not a record: {error}") from error


def _laid_over(axis: Axis | None, grid: Grid | None) -> Axis:
    """Return an axis whose cells are those of a grid that was given anew."""
    if axis is None or (axis.cells is None and not axis.names):
        return Axis(grid)
    if axis.grid is None or grid is None or axis.grid.shape != grid.shape:
        raise ValueError(f"tokens are those of the grid {axis.grid}, got the grid {grid}")
    return replace(axis, grid=grid)


def _side(side: str, header: dict[str, Any], tensors: dict[str, Tensor]) -> dict[str, Any]:
    """Return grid and axis of one side, taken out of a file's header and tensors."""
    fields, names = header.pop(f"{side}_grid"), header.pop(f"{side}_names", [])
    grid = None if fields is None else _grid(fields)
    cells = tensors.pop(f"{side}_cells", None)
    axis = Axis(grid, None if cells is None else cells.numpy().astype("int64"), tuple(names))
    return {f"{side}_grid": grid, f"{side}_axis": axis}


def _grid(fields: dict[str, Any]) -> Grid:
    pairs: dict[str, Any] = {
        name: tuple(fields[name]) for name in ("image_hw", "offset") if name in fields
    }
    return Grid(**(fields | pairs))
