"""What a table of statistics is asked for."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from nonlocal_lens.analysis.causes import PARTS, Part
from nonlocal_lens.analysis.clips import check_choice
from nonlocal_lens.analysis.labels import Void
from nonlocal_lens.app.batch.inputs import is_video

OWN_LABELS = "own"


@dataclass(frozen=True)
class Options:
    """All that decides what the rows hold.

    Raises:
        ValueError: Something that must be given is not.
    """

    inputs: tuple[str, ...]  # files, folders, globs, samples, samples:NAME, rendered:SEED, videos
    networks: tuple[str, ...]  # bundled or published names, or weight files
    block: str | None = None  # None: all that a network has
    labels: str | None = None  # folder of label images named like the inputs, or OWN_LABELS
    void: str | None = None  # which labels are of no class, see `analysis.labels.Void.parse`
    interventions: bool = False
    intervene_on: Part = "network"  # what is changed at a time
    baselines: bool = False
    image_independence: bool = False  # of all pictures together, in the summary
    seed: int = 0
    start: int | None = None  # of clips: the first frame; None is 0
    stride: int | None = None  # of clips: from frame to frame; None spreads them to the end
    frames: int | None = None  # of clips: how many; None is what the first network looks at
    batch: int = 1  # pictures of one size that go through a network together

    def __post_init__(self) -> None:
        for name, values in [("input", self.inputs), ("network", self.networks)]:
            if not values:
                raise ValueError(f"at least one {name} must be given")
            for value in values:
                if name == "network" and values.count(value) > 1:
                    raise ValueError(f"every network can be given once, {value!r} is twice")
        Void.parse(self.void)
        if self.void is not None and self.labels is None:
            raise ValueError("--void says which of the labels are of no class: it needs --labels")
        if self.intervene_on not in PARTS:
            raise ValueError(f"unknown part {self.intervene_on!r}; available: {', '.join(PARTS)}")
        if self.intervene_on != "network" and not self.interventions:
            raise ValueError("--intervene-on says what is changed: it needs --interventions")
        if self.batch < 1:
            raise ValueError(f"batch must be at least 1, got {self.batch}")
        if self.batch > 1 and self.interventions:
            raise ValueError("--interventions change one picture at a time: they need --batch 1")
        check_choice(self.start or 0, self.stride, self.frames)

    @cached_property
    def asks_for_clips(self) -> bool:
        """Whether the inputs are to be read as clips, as far as the options themselves say so.

        A network that looks at clips says so, too: see `app.batch.clips.of_clips`.
        """
        chosen = (self.start, self.stride, self.frames)
        return any(one is not None for one in chosen) or any(map(is_video, self.inputs))

    @property
    def label_folder(self) -> str | None:
        """Where the labels of inputs lie that have none of their own."""
        return None if self.labels == OWN_LABELS else self.labels

    def to_json(self) -> dict[str, Any]:
        """Return the choices by name."""
        return asdict(self)
