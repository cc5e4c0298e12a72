"""The central type: what one attention block did on one input, before any softmax."""

import json
from dataclasses import asdict, dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Any

from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from analysis.grid import Grid
from models.blocks import Parts, Reach

SCHEMA_VERSION = 3
READABLE_VERSIONS = (1, 2, 3)
"""The first had no gain, no whitening to tell and no offset of grids, the second no reach."""
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

FORMS: dict[str, tuple[str, ...]] = {
    "gaussian": ("coupled", "disentangled", "pairwise", "unary"),
    "embedded_gaussian": ("coupled", "disentangled", "pairwise", "unary"),
    "dot_product": ("unnormalized",),
    "concatenation": ("unnormalized",),
    "query_independent": ("unary",),
}
"""Form -> the couplings it comes with: an exponential is normalized by a softmax, others are not.

In the first three a logit is a scaled dot product. In "concatenation" it is the ReLU of the sum of
a number of the query and a number of the key, their only channels. In "query_independent" no query
takes part: queries and keys have no channels, and the learned unary logits are all there is.
"""

FIXED_CHANNELS = {"concatenation": 1, "query_independent": 0}
"""Form -> the channels its queries and keys must have, where these are not free."""


@dataclass(frozen=True, eq=False)
class AttentionRecord:
    """What one block computed for one image or clip: queries, keys, and how they make a logit.

    Everything shown or measured is a function of this; the query x key matrix is never kept (that
    of a 97 x 97 grid takes 354 MB). Rows of attention are rebuilt on demand by `analysis.terms`.
    """

    block: str  # the module's name in its network
    form: str  # how query and key make a logit: a key of FORMS
    coupling: str  # how logits make attention: a key of ROW_SUM
    scale: float  # factor on every dot product
    query: Float[Tensor, "query_pos channels"]
    key: Float[Tensor, "key_pos channels"]
    unary: Float[Tensor, " key_pos"] | None  # learned unary logits; None where they are derived
    query_grid: Grid
    key_grid: Grid  # smaller than query_grid where keys are sub-sampled
    head: int | None = None  # None where the block has one head only
    pairwise_gain: float = 1.0  # weight of the pairwise softmax beside the unary one
    whitened: bool = True  # False where the pairwise softmax has its derived unary logits left in
    reach: Reach | None = None  # which keys queries look at; None where they look at all

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
        if self.coupling not in FORMS[self.form]:
            raise ValueError(
                f"the coupling of form {self.form!r} must be one of "
                f"{', '.join(FORMS[self.form])}, got {self.coupling!r}"
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
        channels = FIXED_CHANNELS.get(self.form, self.query.shape[1])
        if self.query.shape[1] != channels:
            raise ValueError(
                f"query and key of the form {self.form!r} must have {channels} channels, "
                f"got {self.query.shape[1]}"
            )
        sides = [("query", self.query, self.query_grid), ("key", self.key, self.key_grid)]
        sides += [("unary", self.unary, self.key_grid)] if self.unary is not None else []
        for name, tensor, grid in sides:
            if tensor.shape[0] != grid.positions:
                raise ValueError(
                    f"{name} must have one row for each of the {grid.positions} positions of its "
                    f"grid (frames, rows, columns) = {grid.shape}, got {tensor.shape[0]}"
                )
        if self.reach is None:
            return
        if self.coupling == "unnormalized":
            raise ValueError("only the weights of a softmax can be 0 out of reach")
        labels = len(self.reach.query), len(self.reach.key)
        if labels != (len(self.query), len(self.key)):
            raise ValueError(
                f"reach must have labels for {len(self.query)} queries and {len(self.key)} keys, "
                f"got {labels[0]} and {labels[1]}"
            )

    def save(self, path: str | Path) -> None:
        """Write the record to one safetensors file; nothing half-written is left behind."""
        header = {
            "schema_version": SCHEMA_VERSION,
            "block": self.block,
            "form": self.form,
            "coupling": self.coupling,
            "scale": self.scale,
            "head": self.head,
            "pairwise_gain": self.pairwise_gain,
            "whitened": self.whitened,
            "query_grid": asdict(self.query_grid),
            "key_grid": asdict(self.key_grid),
        }
        tensors = {"query": self.query.contiguous(), "key": self.key.contiguous()}
        if self.unary is not None:
            tensors["unary"] = self.unary.contiguous()
        if self.reach is not None:
            header["reach"] = self.reach.kind
            tensors["query_labels"] = self.reach.query.int().contiguous()
            tensors["key_labels"] = self.reach.key.int().contiguous()
        path = Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            save_file(tensors, partial, metadata={HEADER_KEY: json.dumps(header)})
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "AttentionRecord":
        """Read a record that `save` wrote, or that another program wrote in the same layout.

        Raises:
            FileNotFoundError: The path does not exist.
            ValueError: The file is not a record, or its fields contradict each other.
        """
        try:
            with safe_open(Path(path), framework="pt") as file:
                text = (file.metadata() or {}).get(HEADER_KEY)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
        if text is None:
            raise ValueError(f"{path} is not a record: its header has no {HEADER_KEY!r}")
        try:
            header = json.loads(text)
            version = header.pop("schema_version")
            if version not in READABLE_VERSIONS:
                known = ", ".join(map(str, READABLE_VERSIONS))
                raise ValueError(f"schema_version must be one of {known}, got {version}")
            kind = header.pop("reach", None)
            reach = kind and Reach(kind, tensors.pop("query_labels"), tensors.pop("key_labels"))
            return cls(
                reach=reach,
                query=tensors.pop("query"),
                key=tensors.pop("key"),
                unary=tensors.pop("unary", None),
                query_grid=_grid(header.pop("query_grid")),
                key_grid=_grid(header.pop("key_grid")),
                **header,
            )
        except KeyError as error:
            raise ValueError(
                f"{path} is not a complete record: {error.args[0]} is missing"
            ) from error
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a record: {error}") from error


def _grid(fields: dict[str, Any]) -> Grid:
    pairs: dict[str, Any] = {
        name: tuple(fields[name]) for name in ("image_hw", "offset") if name in fields
    }
    return Grid(**(fields | pairs))
