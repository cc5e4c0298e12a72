"""Every parser of what strangers bring, with what is changed at random: nothing but sentences.

    python -m benchmarks.fuzz --seconds 60
    python -m benchmarks.fuzz --only records links --seconds 600

What reaches lines of this package, or of the reader of pickles, that nothing before has reached is
changed further: the search is guided by coverage.

What a target raises beside ValueError and OSError, and what takes more than 5 seconds, is printed
with the bytes that did it.
"""

import argparse
import base64
import io
import json
import pickle
import random
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
from collections.abc import Callable, Iterator
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

SLOW = 5.0  # seconds
REFUSED = (ValueError, OSError)
ROOMS = [find_spec(f"nonlocal_lens.{room}") for room in ("app", "analysis", "models")]
TRACED = (
    *(str(Path(room.origin).parent) for room in ROOMS if room and room.origin),
    pickle.__file__,
)
"""Where the files lie whose lines guide the search."""

Read = Callable[[bytes], Any]


class Target(NamedTuple):
    """A parser, and what it is known to read."""

    read: Read
    seeds: Callable[[], list[bytes]]
    words: tuple[bytes, ...] = ()  # that mean something to it


class Finding(NamedTuple):
    """What should not have come of some bytes."""

    target: str
    data: bytes
    what: str


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="fuzz-", ignore_cleanup_errors=True)


def _as_file(name: str, read: Callable[[Path], Any], data: bytes) -> Any:
    path = Path(_folder().name) / name
    path.write_bytes(data)
    return read(path)


def _options(data: bytes) -> None:
    from nonlocal_lens.app.export.config import read_config
    from nonlocal_lens.app.export.options import Options

    for figure in _as_file("options.yaml", read_config, data):
        figure.pop("out", None)
        Options.build(figure)


def _queries(data: bytes) -> None:
    from nonlocal_lens.analysis.figures.queries import QuerySpec
    from nonlocal_lens.analysis.labels import Void

    text = data.decode("utf-8", "replace")
    for read in (QuerySpec.parse, Void.parse):
        try:
            read(text)
        except REFUSED:
            continue


def _link(data: bytes) -> None:
    from nonlocal_lens.app.link import read, write

    params = dict(parse_qsl(data.decode("utf-8", "replace"), max_num_fields=97))
    found, _ = read(params, ("streets-dnl", "streets-nl"))
    again, said = read(write(found), ("streets-dnl", "streets-nl"))
    assert not said, said
    assert write(again) == write(found), "a link that was read is written and read again"


def _note(data: bytes) -> None:
    from nonlocal_lens.app.export.provenance import _check
    from nonlocal_lens.app.export.replay import options_of

    note = json.loads(data)
    if isinstance(note, dict):
        _check(note, "note")
        options_of(note)


def _records(name: str, data: bytes) -> None:
    from nonlocal_lens.analysis.record_file import read_bytes

    read_bytes(data, name)


def _weights(name: str, data: bytes) -> None:
    from nonlocal_lens.models.checkpoints.reading import read_contents

    _as_file(name, read_contents, data)


def _blobs(data: bytes) -> None:
    from nonlocal_lens.models.checkpoints.caffe2 import read_blobs

    _as_file("blobs.pkl", read_blobs, data)


def _record_seeds(kind: str) -> list[bytes]:
    import numpy as np

    draws = np.random.default_rng(0)
    arrays = {
        "query": draws.normal(size=(20, 3)).astype(np.float32),
        "key": draws.normal(size=(20, 3)).astype(np.float32),
        "unary": draws.normal(size=20).astype(np.float32),
        "query_grid": np.array([4, 5]),
    }
    file = io.BytesIO()
    if kind == "npz":
        np.savez(file, **arrays)
        other = io.BytesIO()
        np.savez_compressed(other, **arrays, block=np.array("a"), scale=np.array(0.5))
        return [file.getvalue(), other.getvalue()]
    from safetensors.numpy import save

    return [save(arrays), save(arrays, {"block": "a", "scale": "0.5"})]


def _weight_seeds() -> list[bytes]:
    import torch

    state = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.half)}
    seeds = []
    for whole in (state, {"state_dict": state, "meta": {"CLASSES": ("a", "b"), "epoch": 3}}):
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(whole, file, _use_new_zipfile_serialization=zipped)
            seeds.append(file.getvalue())
    return seeds


def _blob_seeds() -> list[bytes]:
    import numpy as np

    blobs = {"conv1_w": np.ones((2, 3), np.float32), "conv1_b": np.zeros(2, np.float32)}
    return [pickle.dumps({"blobs": blobs}, protocol) for protocol in (0, 2, 4)]


NOTE = {
    "schema_version": 1,
    "file": "a.png",
    "job": "a",
    "options": {"inputs": ["a.png"], "networks": ["streets-nl"], "queries": ["10,20"], "dpi": 90},
    "versions": {"torch": "2"},
    "networks": [{"name": "streets-nl", "title": "a", "sha256": "0"}],
    "inputs": [{"name": "a", "location": "a.png", "sha256": "0"}],
}
YAML = b"""inputs: [samples:coffee]
networks: [streets-nl]
queries: [&q "10,20", grid:2x3, *q]
terms: whole,pairwise
figures:
  - {layout: queries, formats: "png,svg", dpi: 90}
  - layout: sheet
"""
LINK = (
    b"picture=sample-coffee&networks=streets-dnl~streets-nl&block=head.block&q=100-200-30-40_10-20"
    b"&names=YQ_&chosen=1&scale=log&maps=whole-unary&shown=0-1&difference=0-1&frame=2"
    b"&marks=arrows-5&look=contours&fixed=0.5"
)
QUERIES = [b"10,20", b"grid:3x4", b"3,10,20", b"strongest", b"255", b"0,255", b"#e0e0c0", b"0-6"]

TARGETS: dict[str, Target] = {
    "records-npz": Target(partial(_records, "a.npz"), lambda: _record_seeds("npz")),
    "records": Target(partial(_records, "a.safetensors"), lambda: _record_seeds("safetensors")),
    "weights": Target(partial(_weights, "a.pth"), _weight_seeds),
    "weights-safetensors": Target(
        partial(_weights, "a.safetensors"), lambda: _record_seeds("safetensors")
    ),
    "caffe2": Target(_blobs, _blob_seeds),
    "options": Target(_options, lambda: [YAML], (b"*q", b"&q", b"[", b"{", b": ", b".inf", b"!!")),
    "queries": Target(_queries, lambda: QUERIES, (b"grid:", b"x", b",", b"-", b"#", b"e9", b"nan")),
    "links": Target(_link, lambda: [LINK], (b"&", b"=", b"_", b"-", b"head.", b"file-")),
    "notes": Target(_note, lambda: [json.dumps(NOTE).encode()], (b"null", b"[]", b"{}", b"1e999")),
}

INTERESTING = (
    b"\0",
    b"\xff",
    b"\xff\xff\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\0\0\0\x80",
    b"-1",
    b"9" * 19,
)


def mutated(data: bytes, target: Target, draws: random.Random) -> bytes:
    """Return bytes with a few things changed; in an archive, often within a member."""
    if data[:2] == b"PK" and draws.random() < 0.6:
        try:
            return _in_member(data, target, draws)
        except Exception:
            pass  # an archive that was changed before
    found = bytearray(data)
    for _ in range(draws.choice((1, 1, 2, 4, 8))):
        at = draws.randrange(len(found) + 1)
        kind = draws.randrange(7)
        if kind == 0 and found:
            found[at % len(found)] ^= 1 << draws.randrange(8)
        elif kind == 1:
            found[at:at] = draws.choice((*INTERESTING, *target.words))
        elif kind == 2:
            del found[at : at + draws.choice((1, 2, 4, 16, 97))]
        elif kind == 3:
            found[at:at] = found[at : at + draws.choice((1, 4, 16, 97))] * draws.choice((1, 2, 9))
        elif kind == 4:
            word = draws.choice((*INTERESTING, *target.words))
            found[at : at + len(word)] = word
        elif kind == 5 and found:
            found[at % len(found)] = draws.randrange(256)
        else:
            other = draws.choice(target.seeds())
            start = draws.randrange(len(other) + 1)
            found[at:] = other[start:]
    return bytes(found[: 1 << 20])


def _in_member(data: bytes, target: Target, draws: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(one.filename, archive.read(one)) for one in archive.infolist()]
    chosen = draws.randrange(len(members))
    file = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w") as archive:
        warnings.simplefilter("ignore")
        for number, (name, content) in enumerate(members):
            inside = Target(target.read, lambda content=content: [content])
            new = mutated(content, inside, draws) if number == chosen else content
            archive.writestr(name, new)
    return file.getvalue()


def attempt(name: str, data: bytes) -> Finding | None:
    """Read some bytes; return what is wrong with how that ended."""
    began = time.process_time()
    try:
        TARGETS[name].read(data)
    except REFUSED as error:
        if len(str(error)) > 600:
            return Finding(name, data, f"says {len(str(error))} characters")
    except Exception:
        return Finding(name, data, traceback.format_exc(limit=-4))
    seconds = time.process_time() - began
    return Finding(name, data, f"takes {seconds:.1f} s") if seconds > SLOW else None


class Lines:
    """The lines of this package and of the reader of pickles that are reached within a `with`."""

    def __init__(self) -> None:
        self.reached: set[tuple[CodeType, int]] = set()
        self._before: Any = None

    def __enter__(self) -> "Lines":
        self._before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        is_ours = frame.f_code.co_filename.startswith(TRACED)
        return self._line if event == "call" and is_ours else None

    def _line(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "line":
            self.reached.add((frame.f_code, frame.f_lineno))
        return self._line


class Search:
    """A search in one target, guided by the lines that are reached.

    Args:
        name: Of the target.
        seed: Of what is drawn at random.
    """

    def __init__(self, name: str, seed: int = 0) -> None:
        self._name, self._draws = name, random.Random(seed)
        self._lines = Lines()
        self.corpus = list(TARGETS[name].seeds())
        self.tries = 0

    @property
    def lines(self) -> int:
        """How many lines were reached."""
        return len(self._lines.reached)

    def findings(self, seconds: float) -> Iterator[Finding]:
        """Yield what is found in some seconds of this process; a finding's kind once."""
        for data in self.corpus:
            with self._lines:
                TARGETS[self._name].read(data)
        until, kinds = time.process_time() + seconds, set()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            while time.process_time() < until:
                data = mutated(self._draws.choice(self.corpus), TARGETS[self._name], self._draws)
                before = self.lines
                with self._lines:
                    found = attempt(self._name, data)
                self.tries += 1
                if found is not None and (kind := found.what[-200:]) not in kinds:
                    kinds.add(kind)
                    yield found
                elif self.lines > before:
                    self.corpus.append(data)  # what reaches other code is changed further


def main() -> int:
    """Look, and return 1 if anything was found."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for each target")
    parser.add_argument("--only", nargs="+", choices=TARGETS, default=list(TARGETS))
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    count = 0
    for name in chosen.only:
        search = Search(name, chosen.seed)
        for found in search.findings(chosen.seconds):
            count += 1
            print(f"{name}: {found.what}\n  {base64.b64encode(found.data[:3000]).decode()}")
        told = f"{search.tries} tries, {search.lines} lines reached, {len(search.corpus)} kept"
        print(f"{name}: {told}", flush=True)
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
