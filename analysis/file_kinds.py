"""What a file is, by its name and its first bytes: the one table of suffixes, and what is junk."""

import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

from nonlocal_lens.models import limits

# fmt: off
STILLS = frozenset((
    ".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff",
    ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".ico",
    ".pcx", ".sgi", ".qoi", ".dds", ".psd",
))
# fmt: on
"""Suffixes of pictures that hold one picture, or of which the first is looked at."""

ANIMATIONS = frozenset({".gif"})
"""Suffixes of files that are a picture to some and a moving picture to others."""

PICTURES = STILLS | ANIMATIONS

# fmt: off
VIDEOS = frozenset((
    ".mp4", ".m4v", ".mov", ".qt", ".avi", ".webm", ".mkv", ".3gp", ".3g2", ".mpg", ".mpeg", ".m2v",
    ".vob", ".ts", ".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".mxf", ".mj2",
))
# fmt: on

UPLOADED_PICTURES = sorted(suffix[1:] for suffix in PICTURES)
UPLOADED_VIDEOS = sorted(suffix[1:] for suffix in VIDEOS)
"""The same for a browser's dialog, which wants them without a dot."""

UNREADABLE = {
    ".heic": "HEIC pictures cannot be read: save it as JPEG or PNG",
    ".heif": "HEIC pictures cannot be read: save it as JPEG or PNG",
    ".hif": "HEIC pictures cannot be read: save it as JPEG or PNG",
    ".jxl": "JPEG XL pictures cannot be read: save it as JPEG or PNG",
    ".svg": "drawings (SVG) cannot be read: save it as PNG",
    ".svgz": "drawings (SVG) cannot be read: save it as PNG",
    ".eps": "PostScript is a program and is never run: save it as PNG",
    ".ps": "PostScript is a program and is never run: save it as PNG",
    ".ai": "PostScript is a program and is never run: save it as PNG",
    ".pdf": "PDF pages cannot be read: save the page as PNG",
    ".wmf": "drawings (WMF) cannot be read: save it as PNG",
    ".emf": "drawings (EMF) cannot be read: save it as PNG",
    ".dcm": "DICOM files cannot be read, their gray values need a window: save it as PNG or TIFF",
    ".dicom": "DICOM files cannot be read, their gray values need a window: save it as PNG or TIFF",
    ".nii": "NIfTI volumes cannot be read: save a slice as PNG or TIFF",
    ".exr": "OpenEXR pictures cannot be read: save it as 16-bit PNG or as TIFF",
    ".hdr": "Radiance pictures cannot be read: save it as 16-bit PNG or as TIFF",
    **dict.fromkeys(
        [".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw"],
        "raw camera files cannot be read: develop it and save it as TIFF, PNG or JPEG",
    ),
}
"""Suffix of pictures that people have and that are not read -> why, and what to do."""

JUNK = re.compile(
    r"(\..*|thumbs\.db|ehthumbs.*\.db|desktop\.ini|icon\r|__macosx|@.*|\$recycle\.bin|"
    r"system volume information|lost\+found|#recycle|~\$.*|.*\.(tmp|part|partial|crdownload)|.*~)",
    re.IGNORECASE | re.DOTALL,
)
"""Names of files and folders that computers leave by themselves; hidden ones are among them."""

HEAD_BYTES = 512


class Kind(StrEnum):
    """What a file is to us."""

    picture = "picture"
    video = "video"
    unreadable = "unreadable"  # a picture of a kind that is not read
    other = "other"


def kind_of(path: Path) -> Kind:
    """Return what a file is: by its suffix, and by its first bytes where that says nothing.

    A TypeScript file has the suffix of a transport stream, so that one is looked into, too.
    """
    suffix = path.suffix.lower()
    if suffix == ".ts":
        return Kind.video if sniffed(head_of(path)) == ".ts" else Kind.other
    return kind_of_suffix(suffix) or kind_of_suffix(sniffed(head_of(path))) or Kind.other


def kind_of_suffix(suffix: str) -> Kind | None:
    """Return what a suffix (lower case, with its dot) stands for; None where it is not known."""
    if suffix in PICTURES:
        return Kind.picture
    if suffix in VIDEOS:
        return Kind.video
    return Kind.unreadable if suffix in UNREADABLE else None


def head_of(path: Path) -> bytes:
    """Return a file's first bytes; none where it cannot be read or is no regular file."""
    try:
        if not path.is_file():
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except OSError:
        return b""


def sniffed(head: bytes) -> str:
    """Return the suffix that fits the first bytes of a file; empty where none does."""
    for start, suffix in STARTS.items():
        if head.startswith(start):
            return suffix
    if head[4:8] == b"ftyp":
        return _of_brands(head)
    if head[:4] == b"RIFF":
        return {b"WEBP": ".webp", b"AVI ": ".avi"}.get(head[8:12], "")
    if head[128:132] == b"DICM":
        return ".dcm"
    if head[:2] == b"BM" and head[6:10] == bytes(4):
        return ".bmp"
    if head[:1] == b"G" and head[188:189] == b"G" and head[376:377] == b"G":
        return ".ts"
    if re.match(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!DOCTYPE svg[^>]*>\s*)?<svg", head, re.S):
        return ".svg"
    return ""


STARTS = {
    b"\x89PNG\r\n\x1a\n": ".png",
    b"\xff\xd8\xff": ".jpg",
    b"GIF87a": ".gif",
    b"GIF89a": ".gif",
    b"II*\0": ".tif",
    b"MM\0*": ".tif",
    b"II+\0": ".tif",
    b"MM\0+": ".tif",
    b"\0\0\0\x0cjP  \r\n\x87\n": ".jp2",
    b"\xffO\xffQ": ".j2k",
    b"8BPS": ".psd",
    b"qoif": ".qoi",
    b"DDS ": ".dds",
    b"\x1aE\xdf\xa3": ".mkv",
    b"FLV\x01": ".flv",
    b"OggS": ".ogv",
    b"\x00\x00\x01\xba": ".mpg",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": ".wmv",
    b"%!PS": ".eps",
    b"\xc5\xd0\xd3\xc6": ".eps",
    b"%PDF": ".pdf",
    b"\xd7\xcd\xc6\x9a": ".wmf",
    b"#?RADIANCE": ".hdr",
    b"v/1\x01": ".exr",
    b"\xff\x0a": ".jxl",
    b"\0\0\0\x0cJXL \r\n\x87\n": ".jxl",
}
"""What files begin with -> the suffix of such files."""


def _of_brands(head: bytes) -> str:
    """Tell pictures from videos among the files that are made of boxes, by their brands."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = {head[8:12], *(head[at : at + 4] for at in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return ".avif"
    if brands & {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}:
        return ".heic"
    return ".mp4"


def is_junk(path: Path) -> bool:
    """Return whether a file or folder is one that computers leave by themselves."""
    return JUNK.fullmatch(path.name) is not None


def listed(folder: Path) -> list[Path]:
    """Return the files of a folder that somebody put there, in natural order of their names.

    Raises:
        OSError: The folder cannot be read; the sentence names it.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        raise type(error)(f"the folder {folder} cannot be read: {error.strerror}") from error
    found = (entry for entry in entries if not is_junk(entry))
    return sorted((entry for entry in found if _is_file(entry)), key=natural)


def folders_below(folder: Path) -> Iterator[Path]:
    """Yield a folder and all below it, each once: also where links lead round in a circle.

    Raises:
        ValueError: There are more than `limits.MOST_FOLDERS`.
    """
    seen: set[Path] = set()
    waiting = [folder]
    while waiting:
        here = waiting.pop()
        try:
            real = here.resolve()
            inside = sorted(
                (entry for entry in here.iterdir() if not is_junk(entry) and entry.is_dir()),
                key=natural,
                reverse=True,
            )
        except (OSError, RuntimeError):  # not to be read, or a link that leads to itself
            continue
        if real in seen:
            continue
        seen.add(real)
        if len(seen) > limits.MOST_FOLDERS:
            raise ValueError(
                f"there are more than {limits.MOST_FOLDERS} folders below "
                f"{limits.shortened(str(folder), 100)}: name one further down"
            )
        yield here
        waiting += inside


def natural(path: Path | str) -> list[tuple[int, int, str]]:
    """Return what orders img2 before img10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # such as a link that leads to itself
        return False
