"""The maps that the app opens with: kept, so that they live before torch is imported.

What is kept is what the viewer is given, with its view. `python -m nonlocal_lens.app.first_maps`
keeps it anew, and a test holds it to what the network makes of the street.
"""

from functools import cache
from pathlib import Path

from nonlocal_lens.models.atomic_write import atomic_write

FILE = Path(__file__).with_suffix(".safetensors")

NETWORK, PICTURE = "streets-dnl", "street-2000030"
"""Whose maps they are, and the id of the picture that they are of."""


def are_of(network: str, picture: str, record: int) -> bool:
    """Return whether the kept maps are those of one of a network's records."""
    return (network, picture, record) == (NETWORK, PICTURE, 0)


@cache
def kept() -> bytes:
    """Return what the viewer is given, see `viewer.payload`."""
    return FILE.read_bytes()


def made() -> bytes:
    """Return the same, computed."""
    from nonlocal_lens.app.cache import computed_payload
    from nonlocal_lens.app.pictures import known_picture
    from nonlocal_lens.app.shown import first_view
    from nonlocal_lens.app.viewer.payload import with_view

    picture = known_picture(PICTURE)
    assert picture is not None
    return with_view(computed_payload(NETWORK, picture), first_view(picture))


if __name__ == "__main__":
    atomic_write(FILE, made())
