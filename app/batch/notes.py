"""What was decided on reading the inputs of a batch, told once for all that it was decided for."""

from collections.abc import Iterable
from pathlib import Path

from nonlocal_lens.app.uploads import user_message
from nonlocal_lens.models.limits import LONGEST_NAME, shortened

MOST_NOTES = 20


def gathered(notes: Iterable[tuple[object, object]]) -> tuple[str, ...]:
    """Return each note once, with the input that it is of or how many those are.

    Args:
        notes: Inputs and what is to be said of them; a pair may come several times.
    """
    inputs: dict[str, dict[str, None]] = {}
    for location, note in notes:
        inputs.setdefault(str(note), {})[str(location)] = None
    sentences = [
        f"{_named(list(locations))}: {note}"
        for note, locations in list(inputs.items())[:MOST_NOTES]
    ]
    if len(inputs) > MOST_NOTES:
        sentences.append(f"and {len(inputs) - MOST_NOTES} notes more")
    return tuple(sentences)


def _named(locations: list[str]) -> str:
    if len(locations) > 1:
        return f"{len(locations)} inputs"
    name = user_message(locations[0])
    return shortened(Path(name).name or name, LONGEST_NAME)
