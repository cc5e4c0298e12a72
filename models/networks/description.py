"""What must be known besides the weights to build a network, as data.

Nothing heavy is imported here: networks are listed from this alone.
"""

import json
from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal, get_args

Task = Literal["segmentation", "clips"]


@dataclass(frozen=True)
class Shape(ABC):
    """What every bundled network has: a task, a kind of trunk, classes."""

    task: ClassVar[Task]
    trunk: ClassVar[str]
    parts: ClassVar[str]  # what follows each other in it, in words

    classes: tuple[str, ...]

    def to_json(self) -> str:
        """Return the architecture as one line of JSON."""
        return json.dumps({"task": self.task, "trunk": self.trunk, **asdict(self)})

    @property
    @abstractmethod
    def attends(self) -> bool:
        """Whether there is attention to show."""

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many of these parts there are, each with tensors of its own."""


@dataclass(frozen=True)
class Trunk(Shape):
    """What residual networks have: a dilated backbone, at most one block."""

    trunk = "residual"
    parts = "residual blocks"

    block: str | None = None  # a key of `models.networks.architecture.BLOCKS`
    block_options: dict[str, Any] = field(default_factory=dict)
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    dilations: tuple[int, int, int, int] = (1, 1, 2, 4)

    @property
    def attends(self) -> bool:
        """Whether there is a block."""
        return self.block is not None

    @property
    def depth(self) -> int:
        """How many residual blocks follow each other."""
        return sum(self.depths)


@dataclass(frozen=True)
class Architecture(Trunk):
    """The shape of a segmentation network; travels in the header of its weight file."""

    task = "segmentation"


@dataclass(frozen=True)
class ClipArchitecture(Trunk):
    """The shape of a network for clips; travels in the header of its weight file."""

    task = "clips"

    widths: tuple[int, int, int, int] = (16, 32, 64, 64)
    depths: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: tuple[int, int, int, int] = (1, 1, 2, 2)
    frames: int = 8  # of the clips that it is trained on
    long_side: int = 128  # of their frames, in pixels


@dataclass(frozen=True)
class HybridClipArchitecture(ClipArchitecture):
    """The shape of a network for clips whose head is a transformer.

    The fields are explained where it is built:
    `models.networks.spacetime_transformer.SpacetimeTransformer`.

    Raises:
        ValueError: A block is given, for which there is no place.
    """

    trunk = "hybrid"
    parts = "residual blocks and layers"

    channels: int = 64
    layers: int = 3
    heads: int = 4

    def __post_init__(self) -> None:
        if self.block is not None:
            raise ValueError(f"a transformer has no place for a block, got {self.block!r}")

    @property
    def attends(self) -> bool:
        """It always does."""
        return True

    @property
    def depth(self) -> int:
        """How many residual blocks, and then layers, follow each other."""
        return super().depth + self.layers


@dataclass(frozen=True)
class TransformerArchitecture(Shape):
    """The shape of a transformer that segments; travels in the header of its weight file.

    The fields are explained where it is built: `models.networks.transformer.VisionTransformer`.
    """

    task = "segmentation"
    trunk = "transformer"
    parts = "layers"

    channels: int = 160
    layers: int = 7
    heads: int = 5
    registers: int = 0
    patch: int = 16
    grid_hw: tuple[int, int] = (15, 20)

    @property
    def attends(self) -> bool:
        """It always does."""
        return True

    @property
    def depth(self) -> int:
        """How many layers follow each other."""
        return self.layers


StreetArchitecture = Architecture | TransformerArchitecture
"""The shapes of networks that segment."""

AnyArchitecture = StreetArchitecture | ClipArchitecture

ARCHITECTURES: dict[tuple[Task, str], type[AnyArchitecture]] = {
    (shape.task, shape.trunk): shape
    for shape in (
        Architecture,
        TransformerArchitecture,
        ClipArchitecture,
        HybridClipArchitecture,
    )
}


def read_architecture(text: str) -> AnyArchitecture:
    """Read what `to_json` wrote; ValueError if it is anything else.

    Files that name no task, or no trunk, are from before there was another than the first.
    """
    try:
        given = json.loads(text)
        task = given.pop("task", Architecture.task)
        if task not in get_args(Task):
            raise ValueError(f"unknown task {task!r}; available: {', '.join(get_args(Task))}")
        trunk = given.pop("trunk", Architecture.trunk)
        known = [name for of_task, name in ARCHITECTURES if of_task == task]
        if trunk not in known:
            raise ValueError(f"unknown trunk {trunk!r} for {task}; available: {', '.join(known)}")
        shape = ARCHITECTURES[task, trunk]
        for one in fields(shape):
            if str(one.type).startswith("tuple"):  # of which JSON makes lists
                given[one.name] = tuple(given[one.name])
        return shape(**given)
    except KeyError as error:
        raise ValueError(f"the architecture in its header has no {error}") from error
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the architecture in its header cannot be read: {error}") from error
