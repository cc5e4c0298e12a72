"""Exports of a tiny network: what is written, what is never written, what is written again."""

import csv
import errno
import json
import os
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import time
from math import isfinite
from pathlib import Path

import pytest
import torch
from batches import assert_is_wrong_use, saved_network, saved_photos
from networks import tiny_architecture, tiny_network
from PIL import Image
from typer.testing import CliRunner

from nonlocal_lens.analysis.figures.bars import statistics_figure
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app.batch.writing import OutputError
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export import scene
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.provenance import read_note
from nonlocal_lens.app.export.replay import replay
from nonlocal_lens.app.export.run import JOURNAL, export
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.file_hash import file_sha256

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def network(tmp_path):
    return saved_network(tmp_path)


@pytest.fixture
def photos(tmp_path):
    return saved_photos(tmp_path)


def options(photos, network, **more):
    usual = {
        "inputs": [str(photos)],
        "networks": [str(network)],
        "queries": ["grid:1x2"],
        "dpi": 50,
        "width_in": 2,
    }
    return Options.build({**usual, **more})


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def test_every_layout_and_format_writes_what_it_names_beforehand(photos, network, tmp_path):
    from nonlocal_lens.app.export.run import planned_files

    for layout, formats in [
        ("grid", "png,pdf,svg,safetensors"),
        ("queries", "png,svg"),
        ("panels", "png"),
        ("sheet", "pdf"),
        ("statistics", "png"),
    ]:
        chosen = options(photos, network, layout=layout, formats=formats, per_sheet=2)
        out = tmp_path / layout
        summary = export(chosen, out)
        written = {path.name for path in out.iterdir()} - {"manifest.json"}
        bars = {name for name in written if ".scale-" in name}
        assert written - bars == set(planned_files(chosen)), layout
        assert len(bars) == (3 if layout == "panels" else 0)
        assert (summary.files, summary.errors) == (len(written), 0)
    assert {"sheet-001.pdf", "sheet-002.pdf"} == set(contents(tmp_path / "sheet")) - {
        "manifest.json"
    }


def test_every_file_and_the_manifest_say_how_it_was_made(photos, network, tmp_path):
    out = tmp_path / "out"
    export(options(photos, network, formats="png,pdf,svg,safetensors", caption=True), out)
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["schema_version"] == 1
    assert manifest["inputs"] == 3
    assert len(manifest["files"]) == 12
    for entry in manifest["files"]:
        path = out / entry["file"]
        assert entry["sha256"] == file_sha256(path)
        note = read_note(path)
        assert note["file"] == path.name
        assert note["networks"] == [
            {"name": str(network), "title": "tiny", "sha256": file_sha256(network)}
        ]
        (source,) = note["inputs"]
        assert source["sha256"] == file_sha256(Path(source["location"]))
        assert source["size"] == [56, 40]
        assert note["blocks"]["tiny"]["block"] == "head.block"
        assert note["command"].startswith("nonlocal-lens export ")
        assert torch.__version__.startswith(note["versions"]["torch"])
    drawn = read_note(out / "photo0.png")
    assert drawn["queries"] == [[14.0, 20.0], [42.0, 20.0]]
    assert "attention (multiples of uniform)" in drawn["scale"]
    assert drawn["caption"].startswith("tiny (head.block): unary share ")
    assert str(tmp_path / "out") not in json.dumps(manifest), "equal exports, equal bytes"


def test_a_record_that_was_exported_can_be_loaded(photos, network, tmp_path):
    export(options(photos, network, formats="safetensors"), tmp_path / "out")
    record = AttentionRecord.load(tmp_path / "out" / "photo1.tiny.safetensors")
    assert record.coupling == "disentangled"


@pytest.mark.parametrize("layout", ["grid", "queries", "panels", "sheet", "statistics"])
def test_replay_draws_the_same_bytes_again(layout, photos, network, tmp_path):
    formats = "png,pdf,svg" + (",safetensors" if layout == "grid" else "")
    out = tmp_path / "out"
    export(options(photos, network, layout=layout, formats=formats), out)
    names = sorted(contents(out))
    for name in [name for name in names if name != "manifest.json"][-4:]:
        again = tmp_path / f"again-{name}"
        result = run("replay", out / name, "--out", again)
        assert result.exit_code == 0, result.output
        assert again.read_bytes() == (out / name).read_bytes()


def test_replay_refuses_what_has_changed_and_keeps_what_is_there(photos, network, tmp_path):
    out = tmp_path / "out"
    export(options(photos, network), out)
    assert run("replay", out / "photo0.png").exit_code == 0
    twice = run("replay", out / "photo0.png")
    assert twice.exit_code == 2
    assert "photo0.replay.png exists already; --force replaces it" in twice.stderr
    Image.new("RGB", (56, 40)).save(photos / "photo1.png")
    changed = run("replay", out / "photo1.png")
    assert "photo1.png has changed since: its sha256 was" in changed.stderr
    (photos / "photo2.png").unlink()
    assert "No such file" in run("replay", out / "photo2.png").stderr
    torch.manual_seed(7)
    save_network(network, tiny_network("non_local"), tiny_architecture("non_local"))
    assert "has changed since" in run("replay", out / "photo0.png", "--force").stderr
    assert "does not say how it was made" in run("replay", photos / "photo0.png").stderr


def test_one_forward_pass_per_input_and_network(photos, network, tmp_path, monkeypatch):
    passes = []
    original = scene.observations

    def counted(module, image):
        passes.append(module)
        return original(module, image)

    monkeypatch.setattr(scene, "observations", counted)
    chosen = options(
        photos, network, layout="queries", queries=["grid:2x3"], formats="png,svg,safetensors"
    )
    export(chosen, tmp_path / "out")
    assert len(passes) == 3


def test_a_broken_input_is_noted_and_the_rest_goes_on(photos, network, tmp_path):
    (photos / "photo1.png").write_bytes(b"no picture")
    (photos / "=cmd().png").write_bytes(b"")
    result = run("export", photos, "--network", network, "--dpi", 50, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "2 inputs failed, see" in result.stderr
    with (tmp_path / "out" / "errors.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["input"] for row in rows} == {
        str(photos / "photo1.png"),
        str(photos / "=cmd().png"),
    }
    assert any("not an image in a known format" in row["error"] for row in rows)
    assert {"photo0.png", "photo2.png"} <= set(contents(tmp_path / "out"))


def test_a_query_outside_one_image_fails_there_alone(photos, network, tmp_path):
    Image.new("RGB", (99, 99)).save(photos / "large.png")
    summary = export(options(photos, network, queries=["90,90"]), tmp_path / "out")
    assert (summary.files, summary.errors) == (1, 3)
    assert "pixel (x=90.0, y=90.0) is outside" in (tmp_path / "out" / "errors.csv").read_text()


def test_a_sheet_leaves_broken_inputs_out(photos, network, tmp_path):
    (photos / "photo1.png").write_bytes(b"")
    summary = export(options(photos, network, layout="sheet"), tmp_path / "out")
    assert (summary.files, summary.errors) == (1, 1)
    note = read_note(tmp_path / "out" / "sheet-001.png")
    assert [one["name"] for one in note["inputs"]] == ["photo0", "photo2"]


def test_nothing_is_overwritten_without_force(photos, network, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "photo2.png").write_text("mine")
    with pytest.raises(FileExistsError, match=r"photo2\.png exists already; --force replaces"):
        export(options(photos, network), out)
    assert contents(out) == {"photo2.png": b"mine"}, "it is found out before anything is drawn"
    export(options(photos, network), out, force=True)
    first = contents(out)
    assert first["photo2.png"] != b"mine"
    export(options(photos, network), out, force=True)
    assert contents(out) == first


class StopError(Exception):
    """Stands for a crash."""


def stop_after(count):
    def progress(done, total):
        if done == count:
            raise StopError

    return progress


def test_an_interrupted_export_resumes_to_the_same_bytes(photos, network, tmp_path):
    chosen = options(photos, network, layout="queries", formats="png,svg")
    export(chosen, tmp_path / "whole")
    out = tmp_path / "out"
    with pytest.raises(StopError):
        export(chosen, out, progress=stop_after(1))
    assert (out / JOURNAL).exists()
    with (out / JOURNAL).open("ab") as file:
        file.write(b'{"job": "photo1", "fil')  # a line that a crash cut off
    (out / "photo1.q01.png.partial").write_bytes(b"half")
    with pytest.raises(FileExistsError, match="holds an unfinished export; --resume goes on"):
        export(chosen, out)
    with pytest.raises(ValueError, match="unfinished export of other inputs or options"):
        export(options(photos, network), out, resume=True)
    summary = export(chosen, out, resume=True)
    assert summary.skipped == 1
    assert contents(out) == contents(tmp_path / "whole")
    assert export(chosen, out, resume=True) == (12, 0, 3), "nothing is left to do"
    Image.new("RGB", (56, 40)).save(photos / "photo3.png")
    with pytest.raises(FileExistsError, match="exists already"):
        export(chosen, out, resume=True)


def test_statistics_resume_to_the_same_bytes_too(photos, network, tmp_path):
    chosen = options(photos, network, layout="statistics", formats="png")
    export(chosen, tmp_path / "whole")
    with pytest.raises(StopError):
        export(chosen, tmp_path / "out", progress=stop_after(2))
    export(chosen, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_statistics_are_in_the_order_named_without_those_that_nobody_has(
    photos, network, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(
        "nonlocal_lens.app.export.outputs.statistics_figure",
        lambda bars, look: drawn.append(bars) or statistics_figure(bars, look=look),
    )
    shutil.copy(network, tmp_path / "a.safetensors")
    networks = [str(network), str(tmp_path / "a.safetensors")]
    export(options(photos, network, networks=networks, layout="statistics"), tmp_path / "out")
    replay(tmp_path / "out" / "statistics.png", tmp_path / "again.png")
    assert len(drawn) == 2
    for bars in drawn:
        assert next(iter(bars)) == "selectivity_bits"
        assert all(list(of_network) == [network.stem, "a"] for of_network in bars.values())
        assert all(any(isfinite(bar.mean) for bar in one.values()) for one in bars.values())


@pytest.mark.parametrize("signaled", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_export_leaves_no_half_file_and_resumes(signaled, photos, network, tmp_path):
    chosen = options(photos, network, layout="queries", formats="png,svg")
    command = [
        sys.executable,
        "-m",
        "app",
        *shlex.split(chosen.command())[1:],
        "--out",
        str(tmp_path / "out"),
    ]
    export(chosen, tmp_path / "whole")
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 120
        while not (tmp_path / "out" / "photo0.q02.svg").exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        process.send_signal(signaled)
        _, words = process.communicate()
    if signaled == signal.SIGINT and process.returncode:  # 0: it was faster than the signal
        assert process.returncode == 130
        assert words.endswith(
            "interrupted: what is finished is kept, --resume goes on from there\n"
        )
        assert not list((tmp_path / "out").glob("*.partial"))
    export(chosen, tmp_path / "out", resume=True)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_worker_processes_write_the_same_bytes(photos, network, tmp_path):
    (photos / "photo1.png").write_bytes(b"")
    chosen = options(photos, network)
    export(chosen, tmp_path / "one")
    export(chosen, tmp_path / "two", jobs=2)
    assert contents(tmp_path / "two") == contents(tmp_path / "one")


def test_a_full_disk_leaves_no_half_file_and_says_what_to_do(
    photos, network, tmp_path, monkeypatch
):
    original = Path.write_bytes

    def full(path, data):
        if path.name.startswith("photo1"):
            original(path, data[:100])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    out = tmp_path / "out"
    with pytest.raises(OutputError, match=r"cannot be written: No space left on device; what is"):
        export(options(photos, network), out)
    assert set(contents(out)) == {"photo0.png", JOURNAL}
    monkeypatch.undo()
    export(options(photos, network), out, resume=True)
    assert set(contents(out)) == {"photo0.png", "photo1.png", "photo2.png", "manifest.json"}


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(photos, network, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    out.chmod(stat.S_IRUSR | stat.S_IXUSR)
    result = run("export", photos, "--network", network, "--out", out)
    assert result.exit_code == 3
    assert "cannot be written to" in result.stderr


def test_a_folder_that_is_a_file_is_named(photos, network, tmp_path):
    (tmp_path / "out").write_text("")
    result = run("export", photos, "--network", network, "--out", tmp_path / "out")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: the folder ")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["samples:coffee"], "at least one network must be given"),
        (["--network", "streets-nl"], "at least one input must be given"),
        (["nowhere", "--network", "NETWORK"], "there is no input 'nowhere'"),
        (["samples", "--network", "resnet"], "unknown network 'resnet'"),
        (["samples", "--network", "PLAIN"], "has no attention block to show"),
        (["samples", "--network", "NETWORK", "--block", "neck"], "has no block 'neck'"),
        (["samples", "--network", "NETWORK", "--network", "NETWORK"], "different names"),
        (["samples", "--network", "NETWORK", "--address", "auto"], "needs --engine ray"),
        (["samples", "--network", "NETWORK", "--scale", "max"], "scale must be shared"),
        (["samples", "--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_use_ends_in_one_sentence_and_status_2(arguments, sentence, network, tmp_path):
    if "--config" in arguments:
        pytest.importorskip("yaml")
    plain = tmp_path / "plain.safetensors"
    save_network(plain, tiny_network(), tiny_architecture())
    paths = {"NETWORK": str(network), "PLAIN": str(plain)}
    arguments = [paths.get(argument, argument) for argument in arguments]
    result = run("export", *arguments, "--out", tmp_path / "out")
    assert_is_wrong_use(result, sentence)
    assert not (tmp_path / "out").exists()


def test_a_dry_run_names_the_files_and_writes_none(photos, network, tmp_path):
    result = run("export", photos, "--network", network, "--dry-run", "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(tmp_path / "out" / f"photo{n}.png") for n in range(3)]
    assert not (tmp_path / "out").exists()
