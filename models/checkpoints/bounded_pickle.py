"""Pickles of strangers under a budget: what they make is in proportion to what they are.

A pickle of nine bytes can ask for gigabytes: by a place in the memo that is far out, by a length
that it does not have, or by one text turned into bytes again and again. One of some kilobytes can
take hours: by keys whose hashes are equal or take exponential time, or by a long list that is put
into one object after the other. The reader of the standard library that is written in Python keeps
its memo in a dictionary; the rest is counted here.
"""

import os
import pickle
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

from nonlocal_lens.models.limits import (
    MOST_DIMENSIONS,
    MOST_PICKLE_CALLS,
    MOST_PICKLE_NAMES,
    MOST_PICKLE_STEPS,
)

LONGEST_LINE = 1 << 20
AT_A_TIME = 4096  # bytes that are asked for without a look at how many there are
LONGEST_KEY = 4096  # characters, of a dictionary's or of a name that is looked up
LONGEST_TUPLE = 16  # as a key
LARGEST_KEY = (1 << 61) - 2
"""Integers up to it have hashes of their own in Python; multiples of the next one share theirs."""

SIZED = (str, bytes, bytearray, list, dict, set, frozenset, tuple)

ENCODE = "_codecs.encode"
"""As what Python 3 writes bytes where Python 2 must be able to read them."""


class _Measured:
    """A file of which no more can be asked for than it has, and not too often."""

    def __init__(self, file: Any) -> None:
        self._file = file
        begin = file.tell()
        self.size = file.seek(0, os.SEEK_END)
        file.seek(begin)
        self._left = MOST_PICKLE_STEPS

    def read(self, count: int = -1) -> bytes:
        self._step()
        if count > AT_A_TIME:
            left = self.size - self._file.tell()
            if count > left:
                raise EOFError(f"it has {left} bytes left and claims {count}")
        data: bytes = self._file.read(count)
        return data

    def readline(self) -> bytes:
        self._step()
        line: bytes = self._file.readline(LONGEST_LINE)
        if len(line) == LONGEST_LINE:
            raise pickle.UnpicklingError("a line of it has no end")
        if not line.endswith(b"\n"):
            raise EOFError("it ends within a line")
        return line

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise pickle.UnpicklingError(f"it has more than {MOST_PICKLE_STEPS} instructions")


class BoundedUnpickler(pickle._Unpickler):
    """Reads a pickle that cannot make more than in proportion to its bytes, and of bounded steps.

    What a pickle hands to a call or to an object's state is counted by its length, however often it
    is handed over: together it may be four times as long as the pickle. Keys are texts, numbers and
    short tuples of them.

    Args:
        file: Where the pickle is; it must be able to go back.
    """

    dispatch: ClassVar[dict[int, Callable[..., None]]] = {**pickle._Unpickler.dispatch}
    takes_state: ClassVar[tuple[type, ...]] = ()
    """What is given the state that a pickle has for it; of other objects it is left out."""

    def __init__(self, file: Any) -> None:
        measured = _Measured(file)
        super().__init__(measured, encoding="latin1")
        self._left = 4 * measured.size + 4096
        self._calls = MOST_PICKLE_CALLS
        self._names: set[tuple[str, str]] = set()

    def bytes_of_text(self) -> Callable[..., bytes]:
        """Return what makes bytes of a text, given anew: pickles can change attributes."""
        return partial(self._encode)

    def note_name(self, module: str, name: str) -> None:
        """Count a name that a pickle looks up.

        Raises:
            UnpicklingError: It is too long, or one too many.
        """
        if len(module) + len(name) > LONGEST_KEY:
            raise pickle.UnpicklingError("it holds a name of that length")
        self._names.add((module, name))
        if len(self._names) > MOST_PICKLE_NAMES:
            raise pickle.UnpicklingError(f"it names more than {MOST_PICKLE_NAMES} classes")

    def _encode(self, text: str, encoding: str = "latin1") -> bytes:
        if not isinstance(text, str) or not isinstance(encoding, str) or encoding != "latin1":
            raise pickle.UnpicklingError("it holds text that is not in latin1")
        return text.encode("latin1")

    def _spend(self, handed: Any) -> None:
        """Count what a call or a state takes: its length, and those of its parts."""
        parts = handed if isinstance(handed, tuple) else (handed,)
        self._left -= len(parts) + sum(len(part) for part in parts if isinstance(part, SIZED))
        self._calls -= 1
        if self._left < 0:
            raise pickle.UnpicklingError("it makes more than it has bytes for")
        if self._calls < 0:
            raise pickle.UnpicklingError(f"it makes more than {MOST_PICKLE_CALLS} objects")

    def load_frame(self) -> None:
        """Read on: frames only say how far may be read ahead, and steps are counted here."""
        self._reader.read(8)

    def load_reduce(self) -> None:
        """Call what stands for a name."""
        self._spend(self._reader.stack[-1])
        self._from_pickle(pickle.REDUCE)

    def load_newobj(self) -> None:
        """Make an object of what stands for a class."""
        self._spend(self._reader.stack[-1])
        self._from_pickle(pickle.NEWOBJ)

    def load_newobj_ex(self) -> None:
        """Make an object of what stands for a class, arguments by name among them."""
        self._spend(tuple(self._reader.stack[-2:]))
        self._from_pickle(pickle.NEWOBJ_EX)

    def _instantiate(self, kind: Any, handed: list[Any]) -> None:
        """Make an object as pickles of Python 1 say it."""
        self._spend(tuple(handed))
        make: Any = super()
        make._instantiate(kind, handed)

    def load_build(self) -> None:
        """Give an object its state, if it is one that takes any."""
        state = self._reader.stack.pop()
        target = self._reader.stack[-1]
        if isinstance(target, self.takes_state):
            take: Any = target
            self._spend(state)
            take.__setstate__(state)

    def load_setitem(self) -> None:
        """Put one item into a dictionary."""
        self._check_items(self._reader.stack[-3], self._reader.stack[-2:-1])
        self._from_pickle(pickle.SETITEM)

    def load_setitems(self) -> None:
        """Put items into a dictionary."""
        self._check_items(self._reader.metastack[-1][-1], self._reader.stack[::2])
        self._from_pickle(pickle.SETITEMS)

    def load_dict(self) -> None:
        """Make a dictionary."""
        self._check_items({}, self._reader.stack[::2])
        self._from_pickle(pickle.DICT)

    def load_additems(self) -> None:
        """Put members into a set."""
        self._check_items(self._reader.metastack[-1][-1], self._reader.stack)
        self._from_pickle(pickle.ADDITEMS)

    def load_frozenset(self) -> None:
        """Make a set."""
        self._check_items({}, self._reader.stack)
        self._from_pickle(pickle.FROZENSET)

    def load_bytearray8(self) -> None:
        """Read bytes that can be changed, after their number."""
        count = int.from_bytes(self._reader.read(8), "little")
        self._reader.append(bytearray(self._reader.read(count)))

    def _check_items(self, target: Any, keys: Iterable[Any]) -> None:
        if not isinstance(target, dict | set):
            raise pickle.UnpicklingError("it puts items into what is no dictionary")
        for key in keys:
            check_key(key)

    def _from_pickle(self, code: bytes) -> None:
        load: Any = pickle._Unpickler.dispatch[code[0]]
        load(self)

    @property
    def _reader(self) -> Any:
        """This, with the attributes that appear when it begins to read."""
        return self

    for _code, _load in (
        (pickle.FRAME, load_frame),
        (pickle.REDUCE, load_reduce),
        (pickle.NEWOBJ, load_newobj),
        (pickle.NEWOBJ_EX, load_newobj_ex),
        (pickle.BUILD, load_build),
        (pickle.SETITEM, load_setitem),
        (pickle.SETITEMS, load_setitems),
        (pickle.DICT, load_dict),
        (pickle.ADDITEMS, load_additems),
        (pickle.FROZENSET, load_frozenset),
        (pickle.BYTEARRAY8, load_bytearray8),
    ):
        dispatch[_code[0]] = _load


def check_key(key: Any) -> None:
    """Check that a key is quick to find: its hash, and what it is compared with, cost little.

    Raises:
        UnpicklingError: It is too long or too large, or a container in a container.
    """
    parts = key if isinstance(key, tuple) else (key,)
    plain = len(parts) <= LONGEST_TUPLE and all(map(_is_quick, parts))
    if not plain:
        raise pickle.UnpicklingError("it holds a key that is no short text or number")


def _is_quick(key: Any) -> bool:
    if isinstance(key, str | bytes):
        return len(key) <= LONGEST_KEY
    if isinstance(key, int):
        return abs(key) <= LARGEST_KEY
    return not isinstance(key, tuple | frozenset)


def check_sizes(sizes: Any) -> None:
    """Check that what should be a shape, or steps from number to number, is one.

    Raises:
        UnpicklingError: It is no tuple or list of integers, or of too many.
    """
    plain = isinstance(sizes, tuple | list) and len(sizes) <= 2 * MOST_DIMENSIONS + 1
    if not plain or not all(isinstance(one, int) and abs(one) < 1 << 63 for one in sizes):
        raise pickle.UnpicklingError("it holds a shape that is none")


def ordered(pairs: Any = ()) -> OrderedDict[Any, Any]:
    """Return an `OrderedDict`, of which a pickle has checked no key before.

    Raises:
        UnpicklingError: A key of it is not quick to find.
    """
    found: OrderedDict[Any, Any] = OrderedDict()
    for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
        check_key(key)
        found[key] = value
    return found
