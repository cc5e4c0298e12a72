"""What goes wrong around a batch: named, and the rest goes on."""

import errno
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import dying
import numpy as np
import pytest
import torch
from batches import saved_network, saved_photos
from filelock import FileLock
from PIL import Image

from nonlocal_lens.app.batch import engine
from nonlocal_lens.app.batch.content import content_of
from nonlocal_lens.app.batch.engine import MOST_DEATHS, WorkerDied, local
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.batch.journal import Journal
from nonlocal_lens.app.batch.writing import OutputError
from nonlocal_lens.app.export.options import Options as ExportOptions
from nonlocal_lens.app.export.run import JOURNAL, export
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def network(tmp_path):
    return saved_network(tmp_path)


@pytest.fixture
def photos(tmp_path):
    return saved_photos(tmp_path, 4)


def stats_options(photos, network, **more):
    return Options(**{"inputs": (str(photos),), "networks": (str(network),), **more})


def export_options(photos, network, **more):
    asked = {"inputs": [str(photos)], "networks": [str(network)], "queries": ["grid:1x2"]}
    return ExportOptions.build({**asked, "dpi": 50, "width_in": 2, **more})


class StopError(Exception):
    """Stands for a crash."""


def stop_after(count):
    def progress(done, total):
        if done == count:
            raise StopError

    return progress


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def other_photo(path):
    """Put another picture of the same size of file's time into a file's place."""
    before = path.stat()
    pixels = np.random.default_rng(97).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))  # copies keep times


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_input_that_changed_is_measured_again_and_said(suffix, photos, network, tmp_path):
    out = tmp_path / "out" / f"stats.{suffix}"
    with pytest.raises(StopError):
        measure_all(stats_options(photos, network), out, jobs=1, progress=stop_after(3))
    other_photo(photos / "photo1.png")
    done = measure_all(stats_options(photos, network), out, jobs=1, resume=True)
    assert done.skipped == 2
    assert done.notes == ("changed since the interrupted run, done again: photo1",)
    whole = tmp_path / "whole" / out.name
    measure_all(stats_options(photos, network), whole, jobs=1)
    assert contents(out.parent) == contents(whole.parent)


def test_labels_are_inputs_too(photos, network, tmp_path):
    labels = tmp_path / "labels"
    labels.mkdir()
    for number in range(4):
        Image.fromarray(np.eye(40, 56, dtype=np.uint8)).save(labels / f"photo{number}.png")
    options = stats_options(photos, network, labels=str(labels))
    with pytest.raises(StopError):
        measure_all(options, tmp_path / "stats.csv", jobs=1, progress=stop_after(3))
    Image.fromarray(np.eye(40, 56, 7, dtype=np.uint8)).save(labels / "photo2.png")
    done = measure_all(options, tmp_path / "stats.csv", jobs=1, resume=True)
    assert done.skipped == 2
    assert "changed since the interrupted run, done again: photo2" in done.notes


def test_inputs_that_went_and_came_are_left_out_and_measured(photos, network, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(StopError):
        export(export_options(photos, network), out, progress=stop_after(3))
    (photos / "photo0.png").unlink()
    Image.new("RGB", (56, 40), (97, 89, 83)).save(photos / "photo9.png")
    done = export(export_options(photos, network), out, resume=True)
    assert done.skipped == 2
    said = "not there anymore since the interrupted run, left out: photo0"
    assert done.notes == (said,)
    export(export_options(photos, network), tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_figures_of_a_changed_input_are_drawn_again_and_none_is_left_over(
    photos, network, tmp_path
):
    options = export_options(photos, network, layout="queries", formats="png")
    out = tmp_path / "out"
    with pytest.raises(StopError):
        export(options, out, progress=stop_after(3))
    other_photo(photos / "photo1.png")
    (photos / "photo2.png").write_bytes(b"")
    done = export(options, out, resume=True)
    assert (done.skipped, done.errors) == (1, 1)
    assert done.notes[0].endswith("done again: photo1, photo2")
    export(options, tmp_path / "whole")
    assert contents(out) == contents(tmp_path / "whole")


def test_weights_that_changed_make_another_export(photos, network, tmp_path):
    from networks import tiny_architecture, tiny_network

    from nonlocal_lens.models.checkpoint import save_network

    with pytest.raises(StopError):
        export(export_options(photos, network), tmp_path / "out", progress=stop_after(2))
    other = tiny_network("disentangled")
    next(other.parameters()).data += 0.25
    save_network(network, other, tiny_architecture("disentangled"))
    with pytest.raises(ValueError, match="unfinished export of other inputs or options"):
        export(export_options(photos, network), tmp_path / "out", resume=True)


def test_a_finished_export_of_a_changed_input_is_not_taken_for_finished(photos, network, tmp_path):
    options, out = export_options(photos, network), tmp_path / "out"
    export(options, out)
    assert export(options, out, resume=True) == (4, 0, 4)
    other_photo(photos / "photo1.png")
    with pytest.raises(FileExistsError, match="exists already; --force replaces"):
        export(options, out, resume=True)


def test_content_is_bytes_not_times(tmp_path):
    frames = tmp_path / "clip"
    frames.mkdir()
    (frames / "a.png").write_bytes(b"one")
    clip = Source("clip", str(frames))
    first = content_of([clip])
    os.utime(frames / "a.png", (0, 0))
    assert content_of([clip]) == first
    (frames / "b.png").write_bytes(b"two")
    second = content_of([clip])
    (frames / "b.png").write_bytes(b"ten")
    (frames / "a.png").unlink()
    assert len({first, second, content_of([clip])}) == 3
    gone = Source("gone", str(tmp_path / "gone.png"))
    assert content_of([gone]) == content_of([gone])
    assert content_of([Source("a", "rendered:1")]) != content_of([Source("a", "rendered:2")])


@pytest.mark.parametrize("how", [{}, {"resume": True}, {"force": True}])
def test_the_second_run_in_a_folder_is_told_in_words(how, photos, network, tmp_path):
    out = tmp_path / "out"
    context = multiprocessing.get_context("spawn")
    ready, end = context.Event(), context.Event()
    other = context.Process(target=dying.hold, args=(out / JOURNAL, ready, end))
    other.start()
    try:
        assert ready.wait(60)
        with pytest.raises(FileExistsError, match=r"another export is at work in .* right now"):
            export(export_options(photos, network), out, **how)
    finally:
        end.set()
        other.join(60)
    assert contents(out) == {}
    assert export(export_options(photos, network), out) == (4, 0, 0)
    assert not list(out.glob(".*"))


def test_the_lock_of_a_killed_run_holds_nobody_off(photos, network, tmp_path):
    (tmp_path / ".stats.csv.journal.lock").touch()
    measure_all(stats_options(photos, network), tmp_path / "stats.csv", jobs=1)
    lock = FileLock(tmp_path / ".stats.csv.journal.lock", timeout=0)
    with lock, pytest.raises(FileExistsError, match="another run is at work"):
        measure_all(stats_options(photos, network), tmp_path / "stats.csv", jobs=1, force=True)


@pytest.fixture
def _quick_workers(monkeypatch):
    """Let workers begin without torch, which takes seconds."""
    monkeypatch.setattr(engine, "_begin_worker", dying.begin)


@pytest.mark.usefixtures("_quick_workers")
def test_a_worker_that_dies_is_that_jobs_end_alone():
    found = dict(local(dying.square_unless_seven, list(range(13)), 2))
    assert isinstance(found.pop(7), WorkerDied)
    assert found == {number: number * number for number in range(13) if number != 7}


@pytest.mark.usefixtures("_quick_workers")
def test_workers_that_always_die_end_the_batch_in_a_sentence():
    with pytest.raises(OutputError, match="3 worker processes died one after the other"):
        list(local(dying.die, list(range(MOST_DEATHS)), 2))


class Deadly:
    """An engine whose worker dies of one input."""

    def __call__(self, work, jobs, workers):
        for job in jobs:
            yield job, WorkerDied() if job.name == "photo2" else work(job)


def test_an_input_that_kills_its_worker_is_named_and_the_rest_goes_on(photos, network, tmp_path):
    out = tmp_path / "stats.json"
    done = measure_all(stats_options(photos, network), out, engine=Deadly())
    assert (done.rows, done.errors) == (3, 1)
    said = (tmp_path / "errors.csv").read_text().splitlines()[1]
    assert said.startswith(f"{photos / 'photo2.png'},")
    assert said.strip('"').endswith("worked on it died, perhaps for lack of memory")
    assert export(export_options(photos, network), tmp_path / "out", engine=Deadly()) == (3, 1, 0)


def test_an_input_that_needs_too_much_memory_is_named_and_the_rest_goes_on(
    photos, network, tmp_path, monkeypatch
):
    from nonlocal_lens.app.stats import job

    read = job.read_source

    def greedy(location, *more):
        if location.endswith("photo1.png"):
            raise MemoryError
        return read(location, *more)

    monkeypatch.setattr(job, "read_source", greedy)
    done = measure_all(stats_options(photos, network), tmp_path / "stats.csv", jobs=1)
    assert (done.rows, done.errors) == (3, 1)
    assert "MemoryError" in (tmp_path / "errors.csv").read_text()


def test_an_input_that_vanishes_under_way_is_named_and_the_rest_goes_on(photos, network, tmp_path):
    def progress(done, total):
        (photos / "photo3.png").unlink(missing_ok=True)

    done = measure_all(
        stats_options(photos, network), tmp_path / "stats.csv", jobs=1, progress=progress
    )
    assert (done.rows, done.errors) == (3, 1)
    assert "photo3.png,,No such file" in (tmp_path / "errors.csv").read_text()


def _small_files(most):
    """Let a process write no file beyond some bytes: what a full disk does, for the kernel."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))


@pytest.mark.parametrize(("suffix", "most"), [("csv", 7), ("csv", 3001), ("parquet", 6007)])
def test_a_full_disk_is_status_3_and_a_sentence(suffix, most, photos, network, tmp_path):
    measure_all(stats_options(photos, network), tmp_path / "whole" / f"stats.{suffix}", jobs=1)
    out = tmp_path / "out" / f"stats.{suffix}"
    command = [sys.executable, "-m", "app", "stats", photos, "--network", network, "--jobs", "1"]
    command = [str(word) for word in [*command, "--out", out]]
    ended = subprocess.run(
        command,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: _small_files(most),
    )
    assert ended.returncode == 3, ended.stderr
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith("error: ")
    assert os.strerror(errno.EFBIG) in ended.stderr
    assert not list(out.parent.glob("*.partial"))
    measure_all(stats_options(photos, network), out, jobs=1, resume=True)
    assert contents(out.parent) == contents(tmp_path / "whole")


def test_a_journal_line_is_whole_or_not_there(tmp_path):
    journal = Journal(tmp_path / "journal", "one", "run")
    with journal.opened(resume=False):
        journal.add("a", {"rows": [1]})
        whole = journal.path.read_bytes()
    for cut in range(len(whole)):
        journal.path.write_bytes(whole[:cut])
        again = Journal(journal.path, "one", "run")
        with again.opened(resume=True):
            assert again.jobs == []
            again.add("b", {"rows": [2]})
        lines = [json.loads(line) for line in journal.path.read_text().splitlines()]
        assert lines[0] == {"fingerprint": "one"}
        assert lines[1] == {"job": "b", "rows": [2]}


STRANGE = [b"[1]", b"7", b"null", b'"fingerprint"', b"\xff\xfe", b"[" * 100_000, b"{}}"]


@pytest.mark.parametrize("line", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize("at", [0, 1, 2])
def test_a_line_that_no_batch_has_written_is_dropped_with_all_behind_it(tmp_path, line, at):
    journal = Journal(tmp_path / "journal", "one", "run")
    with journal.opened(resume=False):
        journal.add("a", {"rows": [1]})
    lines = journal.path.read_bytes().splitlines(keepends=True)
    journal.path.write_bytes(b"".join([*lines[:at], line + b"\n", *lines[at:]]))
    again = Journal(journal.path, "one", "run")
    with again.opened(resume=True):
        assert again.jobs == (["a"] if at == 2 else [])
        again.add("b", {"rows": [2]})
    whole = [json.loads(line) for line in journal.path.read_text().splitlines()]
    assert whole[0] == {"fingerprint": "one"}
    assert whole[-1] == {"job": "b", "rows": [2]}


def test_a_job_whose_name_is_no_text_is_none(tmp_path):
    journal = Journal(tmp_path / "journal", "one", "run")
    with journal.opened(resume=False):
        journal.add("a", {"rows": [1]})
    with journal.path.open("ab") as file:
        file.write(b'{"job": ["b"]}\n{"job": 7}\n')
    again = Journal(journal.path, "one", "run")
    with again.opened(resume=True):
        assert again.jobs == ["a"]


def test_threads_and_jobs_change_no_byte(network, tmp_path):
    photos = saved_photos(tmp_path, 2)
    before = torch.get_num_threads()
    found = []
    try:
        for threads, jobs in [(1, 1), (3, 1), (1, 2)]:
            torch.set_num_threads(threads)
            out = tmp_path / f"{threads}-{jobs}"
            measure_all(stats_options(photos, network), out / "stats.parquet", jobs=jobs)
            export(export_options(photos, network, formats="png,svg"), out, jobs=jobs)
            found.append(contents(out))
    finally:
        torch.set_num_threads(before)
    assert found[0] == found[1] == found[2]
