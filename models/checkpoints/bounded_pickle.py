"""Pickles of strangers under a budget: what they make is in proportion to what they are.

A pickle of nine bytes can ask for gigabytes: by a place in the memo that is far out, by a length
that it does not have, or by one text turned into bytes again and again. The reader of the standard
library that is written in Python keeps its memo in a dictionary; the rest is counted here.
"""

import os
import pickle
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

LONGEST_LINE = 1 << 20
ENCODE = "_codecs.encode"
"""As what Python 3 writes bytes where Python 2 must be able to read them."""


class _Measured:
    """A file of which no more can be asked for than it has."""

    def __init__(self, file: Any) -> None:
        self._file = file
        begin = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        file.seek(begin)

    def read(self, count: int = -1) -> bytes:
        left = self.size - self._file.tell()
        if count > left:
            raise EOFError(f"it has {left} bytes left and claims {count}")
        data: bytes = self._file.read(count)
        return data

    def readline(self) -> bytes:
        line: bytes = self._file.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise pickle.UnpicklingError("a line of it has no end")
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a line")
        return line


class BoundedUnpickler(pickle._Unpickler):
    """Reads a pickle that cannot make more bytes than twice those that it has.

    Args:
        file: Where the pickle is; it must be able to go back.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {**pickle._Unpickler.dispatch}

    def __init__(self, file: Any) -> None:
        measured = _Measured(file)
        super().__init__(measured, encoding="latin1")
        self._left = 2 * measured.size + 4096

    def bytes_of_text(self) -> Callable[..., bytes]:
        """Return what makes bytes of a text, given anew: pickles can change attributes."""
        return partial(self._encode)

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        if encoding != "latin1" or not isinstance(text, str):
            raise pickle.UnpicklingError(f"text in {str(encoding)[:40]}")
        self._left -= len(text)
        if self._left < 0:
            raise pickle.UnpicklingError("it makes more bytes than it has")
        return text.encode("latin1")

    def load_bytearray8(self) -> None:
        """Read bytes that can be changed, after their number."""
        reader: Any = self  # its methods appear when it begins
        count = int.from_bytes(reader.read(8), "little")
        reader.append(bytearray(reader.read(count)))

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8
