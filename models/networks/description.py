"""What must be known besides the weights to build a network, as data.

Nothing heavy is imported here: networks are listed from this alone.
"""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

Task = Literal["segmentation", "clips"]


@dataclass(frozen=True)
class Trunk:
    """What every bundled network has: classes, a dilated residual backbone, at most one block."""

    task: ClassVar[Task]

    classes: tuple[str, ...]
    block: str | None = None  # a key of `models.networks.architecture.BLOCKS`
    block_options: dict[str, Any] = field(default_factory=dict)
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    dilations: tuple[int, int, int, int] = (1, 1, 2, 4)

    def to_json(self) -> str:
        """Return the architecture as one line of JSON."""
        return json.dumps({"task": self.task, **asdict(self)})


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


AnyArchitecture = Architecture | ClipArchitecture

ARCHITECTURES: dict[Task, type[AnyArchitecture]] = {
    "segmentation": Architecture,
    "clips": ClipArchitecture,
}


def read_architecture(text: str) -> AnyArchitecture:
    """Read what `to_json` wrote; ValueError if it is anything else.

    Files that name no task are from before there were others than segmentation.
    """
    try:
        fields = json.loads(text)
        task = fields.pop("task", Architecture.task)
        if task not in ARCHITECTURES:
            raise ValueError(f"unknown task {task!r}; available: {', '.join(ARCHITECTURES)}")
        for name in ("classes", "widths", "depths", "dilations"):
            fields[name] = tuple(fields[name])
        return ARCHITECTURES[task](**fields)
    except KeyError as error:
        raise ValueError(f"the architecture in its header has no {error}") from error
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the architecture in its header cannot be read: {error}") from error
