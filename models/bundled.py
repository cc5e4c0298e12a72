"""The networks that come with the package: their names, their weights, and what is known of them.

Nothing heavy is imported here: networks are listed from this alone.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from nonlocal_lens.models.networks.description import Task
from nonlocal_lens.models.zoo import NETWORKS

WEIGHTS = Path(__file__).parent / "weights"


@dataclass(frozen=True)
class ModelCard:
    """What is known about a weight file: where it comes from and how well it does.

    How well is a mean intersection over union where a network segments, on two data sets, and an
    accuracy where it says what happens in clips; what does not apply is None, and not in the file.
    """

    title: str
    sha256: str
    parameters: int
    data: str
    recipe: str  # the command that makes the file
    epochs: int
    seed: int
    trained_on: str  # ISO date
    license: str
    val_miou: float | None = None  # mean intersection over union on CamVid val, 0 to 1
    rendered_miou: float | None = None  # the same on the rendered scenes of the val split
    accuracy: float | None = None  # share of the rendered clips of the val split, 0 to 1

    @classmethod
    def read(cls, name: str) -> "ModelCard":
        """Return the card of a bundled network."""
        return cls(**json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")

    @property
    def figure(self) -> str:
        """How well the network does, in words."""
        if self.accuracy is not None:
            return f"clips val accuracy {self.accuracy:.3f}"
        return f"CamVid val mIoU {self.val_miou:.3f}"


def list_networks(task: Task | None = None) -> tuple[str, ...]:
    """Return the names of the bundled networks of a task, or of all, the most telling first."""
    return tuple(
        name
        for name, spec in NETWORKS.items()
        if task in (None, spec.task) and (WEIGHTS / f"{name}.safetensors").exists()
    )
