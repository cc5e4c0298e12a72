"""Kills whatever takes long at random moments, goes on with it, and compares every byte.

    python -m benchmarks.kills                       # every kind, 150 kills
    python -m benchmarks.kills --kills 20 --only download training

A run is killed with SIGKILL, its workers left to themselves, and gone on with, again and again,
until it has been killed as often as its share is; then it ends in peace. What it leaves must be
what a run that nobody disturbs leaves, hidden files counted.
"""

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]
STREETS = (2_000_030, 2_000_036, 2_000_021)
CONTENT = bytes(range(251)) * 4099
PIECE, PAUSE = 4096, 0.002  # of what the server sends at a time, and seconds between
IGNORED = (".lock",)  # of downloads: it stays beside the file, and is empty
DOWNLOAD = """
import sys
from nonlocal_lens.models.download import fetch
fetch(*sys.argv[1:])
"""


@dataclass(frozen=True)
class Work:
    """Where a kind of run finds what it reads."""

    photos: Path
    url: str


Command = Callable[[Work, Path], list[str]]


def _app(*words: object) -> list[str]:
    return [sys.executable, "-m", "app", *map(str, words)]


def _stats(suffix: str) -> Command:
    def command(work: Work, out: Path) -> list[str]:
        table = out / f"stats.{suffix}"
        network = ("--network", "streets-dnl", "--jobs", 2)
        return _app("stats", work.photos, *network, "--resume", "--out", table)

    return command


def _figures(work: Work, out: Path) -> list[str]:
    look = ("--queries", "grid:1x2", "--formats", "png,svg,pdf", "--dpi", 60, "--jobs", 2)
    return _app("export", work.photos, "--network", "streets-dnl", *look, "--resume", "--out", out)


def _movies(work: Work, out: Path) -> list[str]:
    clips = [f"rendered:{seed}" for seed in STREETS]
    look = ("--frames", 4, "--queries", "grid:1x1", "--formats", "mp4,gif", "--dpi", 50)
    return _app("export", *clips, "--network", "streets-dnl", *look, "--resume", "--out", out)


def _download(work: Work, out: Path) -> list[str]:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return [sys.executable, "-c", DOWNLOAD, work.url, digest]


def _training(work: Work, out: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.kills", "--train", str(out)]


KINDS: dict[str, Command] = {
    "download": _download,
    "training": _training,
    "stats-csv": _stats("csv"),
    "stats-parquet": _stats("parquet"),
    "export": _figures,
    "movies": _movies,
}


def train_a_little(runs: Path) -> None:
    """Train a network of a few hundred weights on noise for some epochs."""
    import torch

    from nonlocal_lens.models.networks.architecture import Architecture, build_network
    from nonlocal_lens.models.training.loop import Course, parameter_groups, train
    from nonlocal_lens.models.training.recipe import Recipe

    torch.set_num_threads(1)
    torch.manual_seed(0)
    classes = ("a", "b", "c")
    shape = {"widths": (3, 5, 6, 6), "depths": (1, 1, 1, 1)}
    network = build_network(Architecture(classes, "disentangled", {"init": "awake"}, **shape))
    recipe = Recipe("tiny", epochs=23, warmup_steps=5, identity_dropout=0.25)
    optimizer = torch.optim.SGD(parameter_groups(network, recipe), lr=recipe.learning_rate)

    def losses(epoch: int):
        draws = torch.Generator().manual_seed(epoch)
        for _ in range(5):
            pictures = torch.randn(4, 3, 37, 41, generator=draws)
            labels = torch.randint(0, len(classes), (4, 37, 41), generator=draws)
            yield torch.nn.functional.cross_entropy(network(pictures), labels)

    train("tiny", Course(recipe, network, optimizer, 5, losses, lambda _: {}, None), runs)


class _Slow(BaseHTTPRequestHandler):
    """Serves CONTENT in small pieces, from wherever it is asked to."""

    def do_GET(self) -> None:
        asked = self.headers["Range"]
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked else 0
        if start >= len(CONTENT):
            self.send_error(416)
            return
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        try:
            for at in range(start, len(CONTENT), PIECE):
                self.wfile.write(CONTENT[at : at + PIECE])
                time.sleep(PAUSE)
        except OSError:
            pass  # whoever asked was killed

    def log_message(self, *words: object) -> None:
        """Say nothing."""


def contents(folder: Path) -> dict[str, str]:
    """Return the hash of every file of a folder by its name; of logs, without the seconds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.endswith(IGNORED):
            continue
        data = path.read_bytes()
        if path.name == "log.jsonl":
            data = b"\n".join(line.partition(b', "seconds"')[0] for line in data.splitlines())
        found[str(path.relative_to(folder))] = hashlib.sha256(data).hexdigest()
    return found


def _environment(out: Path) -> dict[str, str]:
    return {**os.environ, "NONLOCAL_LENS_CACHE": str(out), "PYTHONHASHSEED": "0"}


def undisturbed(command: list[str], out: Path) -> float:
    """Run a command to its end; return how many seconds it took."""
    began = time.monotonic()
    subprocess.run(command, cwd=ROOT, env=_environment(out), check=True, capture_output=True)
    return time.monotonic() - began


def killed(command: list[str], out: Path, after: float) -> bool:
    """Kill a command after some seconds; return False where it had ended before."""
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, cwd=ROOT, env=_environment(out), stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            process.wait(after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return True
        if process.returncode:
            said.seek(0)
            words = said.read().decode(errors="replace")
            raise SystemExit(f"status {process.returncode}: {' '.join(command)}\n{words}")
    return False


def compare(name: str, work: Work, folder: Path, kills: int, draws: random.Random) -> int:
    """Kill runs of a kind so many times; return how many of them ended in other bytes."""
    command = KINDS[name]
    whole = folder / f"{name}-whole"
    whole.mkdir()
    seconds = undisturbed(command(work, whole), whole)
    expected, done, runs, wrong = contents(whole), 0, 0, 0
    assert expected, f"{name} writes nothing"
    while done < kills:
        out = folder / f"{name}-{runs}"
        out.mkdir()
        # many of the kills come where work is done, not while libraries are imported
        for _ in range(min(kills - done, draws.randint(1, 5))):
            was_killed = killed(command(work, out), out, seconds * draws.uniform(0.3, 1.1))
            done += was_killed
            if not was_killed or contents(out) == expected:
                break  # all is written, and there is nothing to go on with
        else:
            undisturbed(command(work, out), out)
        runs += 1
        found = contents(out)
        if found != expected:
            wrong += 1
            differ = {key for key in found | expected if found.get(key) != expected.get(key)}
            print(f"{name}: other bytes in {', '.join(sorted(differ))} of {out}", flush=True)
    print(f"{name}: {done} kills in {runs} runs of {seconds:.1f} s, {wrong} differ", flush=True)
    return wrong


def main(arguments: list[str] | None = None) -> int:
    """Kill, and return 1 if any byte differs."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=150, help="in all")
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--photos", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.train is not None:
        train_a_little(chosen.train)
        return 0
    draws = random.Random(chosen.seed)
    pixels = np.random.default_rng(chosen.seed)
    with (
        tempfile.TemporaryDirectory(prefix="kills-") as temporary,
        ThreadingHTTPServer(("127.0.0.1", 0), _Slow) as server,
    ):
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        folder = Path(temporary)
        photos = folder / "photos"
        photos.mkdir()
        for number in range(chosen.photos):
            noise = pixels.integers(0, 256, (97, 131, 3), dtype=np.uint8)
            Image.fromarray(noise).save(photos / f"photo{number}.png")
        work = Work(photos, f"http://127.0.0.1:{server.server_port}/weights.pth")
        share = -(-chosen.kills // len(chosen.only))
        wrong = sum(compare(name, work, folder, share, draws) for name in chosen.only)
        server.shutdown()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
