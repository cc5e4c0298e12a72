"""What is shown and pinned in Explore or Compare, for the pages that go on from there."""

from typing import NamedTuple

from app.pictures import Picture

EXPLORED = "explored"  # where the session keeps it


class Explored(NamedTuple):
    """One picture through one network, or several, with the pinned queries."""

    network: str  # what `load_network` takes
    picture: Picture
    block: str
    head: int | None
    points: tuple[tuple[float, float], ...]  # image pixels
    others: tuple[str, ...] = ()  # networks that it is compared with

    @property
    def networks(self) -> tuple[str, ...]:
        """All networks, the first one first."""
        return self.network, *self.others
