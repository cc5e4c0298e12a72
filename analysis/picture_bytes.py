"""The parts of a picture's file, without decoding it: what can be left out where it is damaged."""

from collections.abc import Callable, Iterator

JPEG_SCAN = b"\xff\xda"  # how a scan begins; what is in one never holds these bytes
PNG_START = b"\x89PNG\r\n\x1a\n"
PNG_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
TELLING_TEXTS = (b"XML:com.adobe.xmp\0", b"Raw profile type exif\0", b"Raw profile type APP1\0")
"""Texts of a PNG that may say how the camera was held; others decide nothing that is shown."""

PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
"""What the first picture of a PNG is made of."""


def is_deep_png(data: bytes) -> bool:
    """Return whether a PNG says that it has 16 bits for each sample."""
    return data[12:16] == b"IHDR" and data[24:25] == b"\x10"


def png_depth(data: bytes) -> tuple[int, int] | None:
    """Return the bits for each sample of a PNG, and its kind of color; None of another file."""
    if not data.startswith(PNG_START) or data[12:16] != b"IHDR" or len(data) < 26:
        return None
    return data[24], data[25]


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the kind, begin and end of every chunk of a PNG as far as they are whole."""
    at = len(PNG_START)
    while at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            return
        yield data[at + 4 : at + 8], at, end
        at = end


def without_texts(data: bytes) -> bytes:
    """Return a PNG without the texts that somebody wrote into it.

    Pillow keeps them under the names of what it reads itself: a text that is called `transparency`
    or `duration` stands for the transparency and for the time.
    """
    return _kept(
        data,
        lambda kind, at: kind not in PNG_TEXTS or data.startswith(TELLING_TEXTS, at + 8),
    )


def without_metadata(data: bytes, suffix: str) -> bytes:
    """Return a file with nothing but what its pixels are made of; as it is where that is all.

    Args:
        data: The file.
        suffix: What it is, see `analysis.file_kinds.sniffed`.
    """
    if suffix == ".png":
        return _kept(data, lambda kind, at: kind in PNG_PIXELS)
    if suffix == ".jpg":
        return _plain_jpeg(data)
    return data


def _kept(data: bytes, wanted: Callable[[bytes, int], bool]) -> bytes:
    parts, at, left_out = [], len(PNG_START), False
    for kind, begin, end in png_chunks(data):
        if not wanted(kind, begin):
            parts.append(data[at:begin])
            at, left_out = end, True
    return PNG_START + b"".join(parts) + data[at:] if left_out else data


def _plain_jpeg(data: bytes) -> bytes:
    """Leave out applications' segments and comments, but not Adobe's, which tells the colors."""
    parts, at = [data[:2]], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        marker = data[at + 1]
        if not (0xE1 <= marker <= 0xEF or marker == 0xFE) or marker == 0xEE:
            parts.append(data[at:end])
        at = end
    return b"".join(parts) + data[at:]
