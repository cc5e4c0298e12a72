"""A record file as pages of the viewer: whole or not at all, and in no other file's place."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.record_file import read_bytes
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from nonlocal_lens.app.viewer.standalone import page
from nonlocal_lens.models.limits import (
    LONGEST_NAME,
    MOST_RECORD_BYTES,
    MOST_RECORD_NUMBERS,
    RECORDS_ON_A_PAGE,
    shortened,
)
from nonlocal_lens.models.local_files import read_regular


def pages(file: Path, out: Path, *, force: bool = False) -> Iterator[tuple[Path, int]]:
    """Write the pages of a record file; yield the path of each and how many records it shows.

    Args:
        file: The record file.
        out: The first page; the second is called `NAME-2.html`, and so on.
        force: Replace pages that are there.

    Raises:
        FileNotFoundError: There is no such file, or it is none.
        FileExistsError: A page is there already, and `force` is not given.
        ValueError: It is no record file; the sentence names the field.
        OutputError: A page cannot be written.
    """
    data = read_regular(file, MOST_RECORD_BYTES, "record file")
    held = read_bytes(data, file.name)
    digest = sha256(data).hexdigest()
    name = shortened(file.name, LONGEST_NAME)
    parts = list(_parts(held.titled))
    paths = [out, *(out.with_stem(f"{out.stem}-{n}") for n in range(2, len(parts) + 1))]
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise FileExistsError(
            f"{shortened(str(taken[0]), 150)} exists already; --force replaces it"
        )
    for number, (path, part) in enumerate(zip(paths, parts, strict=True), start=1):
        shown = [Shown(title, record, sha256=digest) for title, record in part]
        payload = pack_all(held.image, shown, alt=f"The image in {name}", name=name)
        title = name if len(parts) == 1 else f"{name}, {number} of {len(parts)}"
        write_atomically(path, page(payload, title=title), replace=force)
        yield path, len(part)


def _parts(titled: dict[str, AttentionRecord]) -> Iterator[list[tuple[str, AttentionRecord]]]:
    """Yield the records of one page after the other."""
    part: list[tuple[str, AttentionRecord]] = []
    numbers = 0
    for title, record in titled.items():
        size = record.query.numel() + record.key.numel()
        if part and (len(part) == RECORDS_ON_A_PAGE or numbers + size > MOST_RECORD_NUMBERS):
            yield part
            part, numbers = [], 0
        part.append((title, record))
        numbers += size
    yield part
