"""How much of what strangers bring is read: every limit, in one place, and how it is told."""

from collections.abc import Iterable
from difflib import get_close_matches

MOST_PIXELS = 40_000_000
"""Of a picture."""

MOST_PICTURE_BYTES = 1_000_000_000
"""Of a picture's file: 40 megapixels of four 32-bit samples are 640 MB."""

MOST_SCANS = 100
"""Of a JPEG: each costs a walk through all of its pixels, however little it holds."""

MOST_INPUTS = 1_000_000
"""Of one command."""

MOST_FOLDERS = 50_000
"""That one `**` leads through: to look into so many takes seconds."""

MOST_RENDERED = 100_000
"""Rendered streets that one `rendered:FIRST-LAST` stands for."""

MOST_RECORD_BYTES = 1 << 29
"""Of a record file, and of all that is in it when it is unpacked."""

MOST_RECORD_MEMBERS = 4096
"""Arrays of a record file."""

MOST_POSITIONS = 1 << 18
"""Queries or keys of a record that comes from a file: a grid of 512 x 512."""

MOST_RECORD_NUMBERS = 1 << 26
"""Numbers in the queries and keys of a record that comes from a file, and of all on one page."""

MOST_RECORD_WEIGHTS = 1 << 30
"""Queries times keys of all records of a file, each computed once: one grid of 128 x 256 cells,
or all 384 heads of a DINOv2-L over 37 x 37. It takes about 20 seconds."""

MOST_HEADER_BYTES = 1 << 24
"""Of the header of a safetensors file with records, or of an export."""

MOST_RECORDS = 1024
"""Records of one file."""

RECORDS_ON_A_PAGE = 16
"""Records that stand on one page side by side; more have pages of their own."""

MOST_OPTION_BYTES = 1 << 20
MOST_OPTION_NODES = 20_000
MOST_OPTION_DEPTH = 16
LONGEST_OPTION = 10_000
"""Of a file of options: its bytes, all its words and lists with aliases written out, how deep they
lie in one another, and the characters of a word of YAML."""

MOST_DOTS = 2_000
"""Of dots in a line of TOML: numbers have them, and keys."""

MOST_FIGURES = 1000
"""Exports that one file of options asks for."""

MOST_NOTE_BYTES = 1 << 22
"""Of what a figure says about how it was made."""

MOST_FIGURE_BYTES = 1 << 29
"""Of a file of an export."""

MOST_TENSORS = 50_000
"""Of a weight file, modules that hold them counted, too."""

MOST_TENSOR_BYTES = 4 << 30
"""Of all tensors of a weight file; the largest published one here has 0.3 GB."""

TENSOR_FACTOR, TENSOR_BYTES = 8, 64 << 20
"""All tensors of a weight file together may have that many times its size, and so much beyond:
half precision becomes single, and some weights are tied."""

MOST_PICKLE_STEPS = 2_000_000
MOST_PICKLE_CALLS = 150_000
MOST_PICKLE_NAMES = 10_000
"""Of a pickle of weights: instructions and what they read, objects that they make, and different
names of classes. A tensor takes one call or two and some 60 steps, so that 30 000 of them fit: ten
times those of the largest published network with all that its optimizer keeps."""

MOST_BLOCKS = 1000
"""Residual blocks in a row that a weight file may name: ResNet-152 has 36."""

MOST_DIMENSIONS = 32
"""Of a tensor."""

MOST_LABEL_VALUES = 4096
"""Different values of the labels of one picture."""

LONGEST_MESSAGE = 300
"""Characters of a sentence that tells what is wrong."""

LONGEST_NAME = 80
"""Characters of what a user calls something, as sentences repeat it."""


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Return a text on one line that is no longer than that: what is too much goes in its middle.

    The beginning tells what it is about, the end what to do. What no text can hold, as names of
    files can, and what terminals take for a command become question marks.
    """
    text = " ".join(text.encode("utf-8", "replace").decode().split())
    text = "".join(letter if letter.isprintable() else "?" for letter in text)
    if len(text) <= most:
        return text
    head = (most - 1) * 2 // 3
    return f"{text[:head]}…{text[len(text) - (most - 1 - head) :]}"


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return the question whether the choice most like a name is meant; "" if none is like it."""
    known = {choice.casefold(): choice for choice in choices}
    alike = get_close_matches(name.casefold(), known, n=1, cutoff=0.7)
    return "".join(f" (did you mean {known[one]}?)" for one in alike)


def error_words(error: BaseException) -> str:
    """Return what an error says, as short as sentences are; the kind of one that says little."""
    text = str(error)
    plain = isinstance(error, ValueError | OSError | RuntimeError | ImportError | SyntaxError)
    if not text or not plain:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return shortened(text)


def most_tensor_bytes(size: int) -> int:
    """Return how many bytes the tensors of a weight file of some size may have together."""
    return min(MOST_TENSOR_BYTES, TENSOR_FACTOR * size + TENSOR_BYTES)
