"""What a table of statistics is asked for."""

from dataclasses import asdict, dataclass
from typing import Any

OWN_LABELS = "own"


@dataclass(frozen=True)
class Options:
    """All that decides what the rows hold.

    Raises:
        ValueError: Something that must be given is not.
    """

    inputs: tuple[str, ...]  # files, folders, globs, samples, samples:NAME, rendered:SEED
    networks: tuple[str, ...]  # bundled or published names, or weight files
    block: str | None = None  # None: all that a network has
    labels: str | None = None  # folder of label images named like the inputs, or OWN_LABELS
    interventions: bool = False
    baselines: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        for name, values in [("input", self.inputs), ("network", self.networks)]:
            if not values:
                raise ValueError(f"at least one {name} must be given")
            for value in values:
                if name == "network" and values.count(value) > 1:
                    raise ValueError(f"every network can be given once, {value!r} is twice")

    @property
    def label_folder(self) -> str | None:
        """Where the labels of inputs lie that have none of their own."""
        return None if self.labels == OWN_LABELS else self.labels

    def to_json(self) -> dict[str, Any]:
        """Return the choices by name."""
        return asdict(self)
