"""A wall of the page: of one network on one picture, or with the means over several pictures.

What is computed for it is remembered, see `app.cache`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from nonlocal_lens.analysis.atlas import MeasuredHead, placed
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.head_means import HeadMeans
from nonlocal_lens.app import cache
from nonlocal_lens.app.atlas import payload
from nonlocal_lens.app.atlas.means import means_of
from nonlocal_lens.app.atlas.payload import Subject
from nonlocal_lens.app.line import page_turn
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.app.survey.run import Item
from nonlocal_lens.models.limits import error_words


@dataclass(frozen=True)
class Several:
    """The pictures that numbers are to be means over; equal where they are the same pictures."""

    named: str  # which they are, in words
    ids: tuple[str, ...]  # what tells each from all others
    items: tuple[Item, ...] = field(compare=False)


class Averaged(NamedTuple):
    """What was measured on several pictures."""

    means: HeadMeans
    left_out: dict[str, str]  # pictures that could not be measured, with the reason


AVERAGED = cache.shelf("means over pictures")


def average(
    network: str, several: Several, progress: Callable[[int, int], None] = lambda done, total: None
) -> Averaged:
    """Run a network on several pictures, one at a time, and keep the means alone.

    Args:
        network: What `load_network` takes.
        several: The pictures; those that cannot be read or measured are left out.
        progress: Told, before every picture, how many of how many are done.
    """
    module, lock = cache.network(network)
    found, left_out = HeadMeans(), {}
    for number, item in enumerate(several.items):
        progress(number, len(several.items))
        try:
            image = item.read().image
            with page_turn(), lock:
                records = placed(observe(module, image).records)
            found.add(records)
        except (ValueError, OSError) as error:
            left_out[item.name] = error_words(error)
    return Averaged(found, left_out)


class Wall(NamedTuple):
    """What the page shows."""

    network: str  # what `load_network` takes
    picture: Picture  # the one that is pointed at
    several: Several | None = None  # whose means the numbers are; None: of the picture alone

    @property
    def subject(self) -> Subject:
        """What the wall is of."""
        if self.several is None:
            return cache.atlas_subject(self.network, self.picture)
        return _averaged_subject(self.network, self.picture, self.several)

    @property
    def heads(self) -> list[MeasuredHead]:
        """What was measured of all heads."""
        if self.several is None:
            return cache.atlas_all_heads(self.network, self.picture)
        return _averaged_heads(self.network, self.picture, self.several)

    @property
    def first(self) -> bytes:
        """What it begins with."""
        if self.several is None:
            return cache.atlas_first(self.network, self.picture)
        return _averaged_first(self.network, self.picture, self.several)

    def part(self, number: int) -> bytes:
        """Return one of the parts that it is brought."""
        if self.several is None:
            return cache.atlas_part(self.network, self.picture, number)
        return _averaged_part(self.network, self.picture, self.several, number)

    @property
    def buffers(self) -> list[bytes]:
        """The first part and all others."""
        count = len(payload.parts(self.subject.records))
        return [self.first, *(self.part(number) for number in range(count))]


def _means(network: str, several: Several) -> HeadMeans:
    return AVERAGED.get((network, several), lambda: average(network, several)).means


@cache.remembered("Measuring…")
def _averaged_heads(network: str, picture: Picture, several: Several) -> list[MeasuredHead]:
    return _means(network, several).over(cache.atlas_all_heads(network, picture))


@cache.remembered()
def _averaged_subject(network: str, picture: Picture, several: Several) -> Subject:
    subject = cache.atlas_subject(network, picture)
    heads = _averaged_heads(network, picture, several)
    means = means_of(_means(network, several), heads, several.named, picture.name)
    return subject._replace(means=means)


@cache.remembered()
def _averaged_first(network: str, picture: Picture, several: Several) -> bytes:
    return payload.first_part(_averaged_subject(network, picture, several))


@cache.remembered()
def _averaged_part(network: str, picture: Picture, several: Several, number: int) -> bytes:
    subject = _averaged_subject(network, picture, several)
    heads = _averaged_heads(network, picture, several)
    indices = payload.parts(subject.records)[number]
    return payload.part(subject, number, [heads[index] for index in indices])
