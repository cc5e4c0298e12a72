"""What strangers bring, hundreds of it: read, or refused in a sentence, soon and within bounds."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
from nasty_files import GROUPS
from peak_memory import peak_megabytes
from typer.testing import CliRunner

from nonlocal_lens.analysis import record_file
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.images import read_image
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export.config import read_config
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.models.checkpoint import load_network

pytestmark = pytest.mark.slow

SECONDS = 20
MEGABYTES = 3000
MOST_CHARACTERS = 450  # lists of what there is among them; the command line tells 300


def options(path):
    from nonlocal_lens.app.export.run import planned_files

    for figure in read_config(path):
        figure.pop("out", None)
        planned_files(Options.build(figure))


READERS = {
    "pictures": read_image,
    "records": record_file.read,
    "weights": load_network,
    "options": options,
    "clips": read_clip,
}


def trial(group, folder):
    """Return the names of the files of a group, and what is wrong with how they were read."""
    names, wrong = [], []
    for nasty in GROUPS[group]():
        names.append(nasty.name)
        path = folder / nasty.name
        path.write_bytes(nasty.data)
        begin, said = time.process_time(), None
        try:
            READERS[group](path)
        except (ValueError, OSError) as error:
            said = str(error)
        except Exception as error:
            wrong.append(f"{nasty.name}: {type(error).__name__}: {str(error)[:200]}")
            continue
        seconds = time.process_time() - begin
        if seconds > SECONDS:
            wrong.append(f"{nasty.name}: {seconds:.0f} s")
        if said is None and nasty.reads is False:
            wrong.append(f"{nasty.name}: was read")
        if said is not None and nasty.reads:
            wrong.append(f"{nasty.name}: {said[:200]}")
        if said is not None and "\x1b" in said:
            wrong.append(f"{nasty.name}: tells terminals what to do")
        if said is not None and not 0 < len(said) <= MOST_CHARACTERS + len(str(folder)):
            wrong.append(f"{nasty.name}: says {len(said)} characters: {said[:90]}")
        path.unlink()
    return names, wrong


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    """Read all files in a process of their own, whose memory is theirs alone, as users run it.

    They are made there, one by one: some take seconds to make, and megabytes to hold.
    """
    command = [sys.executable, "-W", "ignore", __file__, str(tmp_path_factory.mktemp("nasty"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_there_are_many(outcomes):
    cases = [(group, name) for group, (names, _) in outcomes["groups"].items() for name in names]
    assert len(cases) >= 300
    assert len(set(cases)) == len(cases)


@pytest.mark.parametrize("group", GROUPS)
def test_a_nasty_file_is_read_or_refused_in_a_sentence(group, outcomes):
    _, wrong = outcomes["groups"][group]
    assert not wrong, "\n".join(wrong)


def test_no_nasty_file_takes_much_memory(outcomes):
    assert outcomes["megabytes"] < MEGABYTES


def run(*words):
    return CliRunner().invoke(cli, [str(word) for word in words])


@pytest.mark.parametrize("command", ["layers", "view", "replay", "export", "stats"])
def test_pipes_and_devices_do_not_hang(command, tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.npz")
    more = ["--network", "streets-nl"] if command in ("export", "stats") else []
    for path in (tmp_path / "pipe.npz", Path("/dev/zero")):
        done = run(command, path, *more)
        assert done.exit_code in (1, 2), done.output
        assert done.stderr.startswith("error: ")
        assert "Traceback" not in done.stderr
    if command == "export":
        done = run(command, "--config", tmp_path / "pipe.npz")
        assert done.exit_code == 2
        assert "no regular file" in done.stderr


def test_view_writes_over_nothing_without_force(tmp_path):
    import numpy as np

    path = tmp_path / "own.npz"
    np.savez(path, query=np.zeros((4, 4, 2), "f4"), key=np.zeros((4, 4, 2), "f4"))
    (tmp_path / "own.html").write_text("mine")
    done = run("view", path)
    assert done.exit_code == 1
    assert "own.html exists already; --force replaces it" in done.stderr
    assert (tmp_path / "own.html").read_text() == "mine"
    assert run("view", path, "--force").exit_code == 0
    assert "mine" not in (tmp_path / "own.html").read_text()[:99]


def test_more_records_than_a_page_has_room_for_have_further_pages(tmp_path):
    import numpy as np

    fields = {
        f"h{number}.{side}": np.random.default_rng(number).random((3, 5, 2), np.float32)
        for number in range(19)
        for side in ("query", "key")
    }
    np.savez(tmp_path / "own.npz", **fields)
    done = run("view", tmp_path / "own.npz")
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines() == [
        f"{tmp_path / 'own.html'}: 16 records",
        f"{tmp_path / 'own-2.html'}: 3 records",
    ]


if __name__ == "__main__":
    found = {group: trial(group, Path(sys.argv[1])) for group in GROUPS}
    print(json.dumps({"groups": found, "megabytes": peak_megabytes()}))  # noqa: T201
