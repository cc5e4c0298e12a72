"""What a job looked at: its inputs, or the first one with the means over all."""

from typing import Any

from nonlocal_lens.analysis.head_means import HeadMeans
from nonlocal_lens.app.export.options import MEANS, Options
from nonlocal_lens.app.export.scene import Subject
from nonlocal_lens.app.uploads import user_message


class Looked:
    """The inputs of a job, added one after the other.

    Attributes:
        subjects: What is drawn: of means over inputs, the first input with the means of all.
        inputs: What notes say of every input.
    """

    def __init__(self, options: Options) -> None:
        self._averages = options.layout == MEANS
        self.subjects: list[Subject] = []
        self.inputs: list[dict[str, Any]] = []

    def add(self, subject: Subject) -> None:
        """Take one more input; of means, its numbers and maps alone.

        Raises:
            ValueError: A network has no attention with places in it, which means are of.
        """
        if self._averages:
            for title, records in subject.heads.items():
                if not records:
                    raise ValueError(f"{title} has no attention with places in it")
            means = self.subjects[0].means if self.subjects else subject.means
            for title, records in subject.heads.items():
                means.setdefault(title, HeadMeans()).add(records)
        if not (self._averages and self.subjects):
            self.subjects.append(subject)
        self.inputs.append(facts_of_input(subject))


def facts_of_input(one: Subject) -> dict[str, Any]:
    """Return what notes say of an input."""
    clip = one.clip
    facts = {
        "name": one.source.name,
        "location": user_message(one.source.location),
        "sha256": clip.sha256,
        "size": [clip.frames.shape[2], clip.frames.shape[1]],
    }
    if one.scene.is_clip:
        times = [round(float(time), 6) for time in clip.times]
        facts |= {"frames": list(clip.indices), "times": times, "note": clip.note}
    elif clip.note:
        facts["note"] = clip.note
    return facts
