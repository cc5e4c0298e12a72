"""Tables of a tiny network: what their rows hold, and that nothing changes their bytes."""

import csv
import json
import signal
import subprocess
import sys
import time
from math import isfinite, isnan
from pathlib import Path

import numpy as np
import pytest
from batches import assert_is_wrong_use, saved_network, saved_photos
from networks import tiny_architecture, tiny_network
from PIL import Image
from typer.testing import CliRunner

from nonlocal_lens.analysis import capture, consistency, degeneracy
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.image_independence import image_independence
from nonlocal_lens.analysis.vectors import vector_distances
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.stats import cells
from nonlocal_lens.app.stats.columns import columns
from nonlocal_lens.app.stats.job import measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all
from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.networks.architecture import build_network

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


@pytest.fixture
def network(tmp_path):
    return saved_network(tmp_path)


@pytest.fixture
def photos(tmp_path):
    return saved_photos(tmp_path)


@pytest.fixture
def labels(tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    stripes = np.repeat(np.arange(4, dtype=np.uint8), 14)[None].repeat(40, axis=0)
    for number in range(3):
        Image.fromarray(np.roll(stripes, 5 * number, axis=1)).save(folder / f"photo{number}.png")
    return folder


def options(photos, network, **more):
    return Options(**{"inputs": (str(photos),), "networks": (str(network),), **more})


def run(*arguments):
    return CliRunner().invoke(cli, [str(argument) for argument in arguments])


def rows_of(path):
    if path.suffix == ".json":
        return json.loads(path.read_text(), parse_constant=pytest.fail)
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.read_table(path).to_pylist()
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_row_holds_what_measure_says_and_where_it_comes_from(photos, network, tmp_path):
    out = tmp_path / "stats.json"
    summary = measure_all(options(photos, network, baselines=True), out, jobs=1)
    assert (summary.inputs, summary.rows, summary.errors) == (3, 3, 0)
    module = load_network(network)
    for number, row in enumerate(rows_of(out)):
        path = photos / f"photo{number}.png"
        with vector_distances(module) as vectors:
            (record,) = capture(module, path)
        report = degeneracy.measure(record, vectors=vectors["head.block"])
        for name in degeneracy.STATISTICS:
            value = getattr(report, name)
            expected = None if isnan(value) else pytest.approx(value, rel=1e-6)
            assert row[name] == expected, name
        assert row["entropy_bits_q50"] == pytest.approx(report.entropy_bits_quantiles[2])
        shuffled = report.baselines["effective_rank"].shuffled
        assert row["effective_rank_shuffled"] == pytest.approx(shuffled, rel=1e-6)
        assert row["unary_share_uniform"] is None, "undefined is null"
        assert row["verdict"] == report.verdict
        assert row["input"] == str(path)
        assert row["input_sha256"] == file_sha256(path)
        assert row["network_sha256"] == file_sha256(network)
        assert (row["network"], row["block"], row["head"]) == ("tiny", "head.block", None)
        assert (row["width"], row["height"]) == (56, 40)
        assert row["version"].startswith("Nonlocal Lens ")


def test_the_version_of_torch_is_read_once_and_not_for_every_row(photos, network, monkeypatch):
    read = []
    monkeypatch.setattr(cells.metadata, "version", lambda name: read.append(name) or "1.2.3")
    cells._torch_version.cache_clear()
    try:
        done = [
            measure_input(Source(name, str(photos / f"{name}.png")), options(photos, network))
            for name in ("photo0", "photo1")
        ]
    finally:
        cells._torch_version.cache_clear()
    assert [row["torch_version"] for one in done for row in one.rows] == ["1.2.3"] * 2
    assert read == ["torch"]


def test_without_baselines_nothing_else_changes(photos, network):
    source = Source("photo0", str(photos / "photo0.png"))
    (lean,) = measure_input(source, options(photos, network)).rows
    (full,) = measure_input(source, options(photos, network, baselines=True)).rows
    assert lean.items() < full.items()


def test_rows_have_the_columns_that_are_announced(photos, labels, network):
    for more in (
        {},
        {"baselines": True},
        {"interventions": True},
        {"interventions": True, "labels": str(labels)},
    ):
        chosen = options(photos, network, **more)
        (row,) = measure_input(Source("photo0", str(photos / "photo0.png")), chosen).rows
        names = [column.name for column in columns(chosen)]
        assert len(set(names)) == len(names)
        expected = {name for name in names if not name.endswith("_miou")}
        assert {name for name in row if not name.endswith("_miou")} == expected
        for column in columns(chosen):
            cell = row.get(column.name)
            assert cell is None or type(cell) is column.kind, column


def test_the_summary_says_how_far_unary_maps_are_the_same_in_every_picture(
    photos, network, tmp_path
):
    out = tmp_path / "a" / "stats.csv"
    arguments = ["stats", photos, "--network", network, "--image-independence", "--jobs", "1"]
    result = run(*arguments, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    (group,) = json.loads(result.stdout)["summary"]
    images = [photos / f"photo{number}.png" for number in range(3)]
    expected = image_independence(load_network(network), images).iloc[0]
    found = group["statistics"]["image_independence"]
    assert (found["mean"], found["low"], found["high"], found["numbers"]) == pytest.approx(
        (expected["image_independence"], expected["low"], expected["high"], 3)
    )
    plain = tmp_path / "b" / "stats.csv"
    result = run("stats", photos, "--network", network, "--jobs", "1", "--out", plain)
    assert result.exit_code == 0, result.output
    assert plain.read_bytes() == out.read_bytes(), "the table itself stays as it is"

    Image.new("RGB", (80, 40)).save(photos / "wide.png")
    result = run(*arguments, "--out", tmp_path / "c" / "stats.csv")
    assert "only images of one size have the same places" in result.stderr
    assert "image_independence" not in result.stdout


def test_labels_and_interventions_are_those_of_the_library(photos, labels, network, tmp_path):
    out = tmp_path / "stats.json"
    chosen = options(photos, network, labels=str(labels), interventions=True)
    measure_all(chosen, out, jobs=1)
    row = rows_of(out)[1]
    module = load_network(network)
    image, truth = photos / "photo1.png", np.asarray(Image.open(labels / "photo1.png"))
    (record,) = capture(module, image)
    for term, prefix in (("whole", ""), ("pairwise", "pairwise_"), ("unary", "unary_")):
        found = consistency.measure(record, truth, 11, term=term)
        assert row[f"{prefix}own_category_lift"] == pytest.approx(found.own_category.lift)
        assert row[f"{prefix}boundary_mass"] == pytest.approx(found.boundary.mass)
    another = row["another_input"]
    assert another == str(photos / "photo2.png"), "half of the list away"
    for how, change in effects(module, image, another=another).items():
        if how != "on":
            assert row[f"{how}_kl_nats"] == pytest.approx(change.mean_kl_nats, abs=1e-9)
            assert row[f"{how}_flipped_share"] == pytest.approx(change.flipped_share)
    assert row["on_miou"] is None, "three classes are not those of the labels"


def test_rendered_streets_bring_their_labels_and_miou(tmp_path):
    from dataclasses import replace

    from nonlocal_lens.streets.classes import STREET_CLASSES

    path = tmp_path / "streets.safetensors"
    architecture = replace(tiny_architecture("non_local"), classes=tuple(STREET_CLASSES))
    save_network(path, build_network(architecture).eval(), architecture)
    chosen = Options(
        inputs=("rendered:3", "samples:coffee"),
        networks=(str(path),),
        labels="own",
        interventions=True,
    )
    out = tmp_path / "stats.json"
    measure_all(chosen, out, jobs=1)
    street, photograph = rows_of(out)
    assert 0 <= street["own_category_mass"] <= 1
    assert 0 <= street["off_miou"] <= 1
    assert photograph["own_category_mass"] is None
    assert photograph["off_flipped_share"] is not None


def test_every_format_holds_the_same_cells_in_the_order_of_the_inputs(photos, network, tmp_path):
    found = {}
    for suffix in ("csv", "parquet", "json"):
        measure_all(options(photos, network), tmp_path / f"stats.{suffix}", jobs=1)
        found[suffix] = rows_of(tmp_path / f"stats.{suffix}")
    assert found["parquet"] == found["json"]
    assert [Path(row["input"]).stem for row in found["json"]] == ["photo0", "photo1", "photo2"]
    for text, row in zip(found["csv"], found["json"], strict=True):
        assert list(text) == list(row)
        for name, cell in row.items():
            assert text[name] == ("" if cell is None else str(cell)), name


def test_the_summary_is_means_with_intervals_seeded(photos, network, tmp_path):
    arguments = ["stats", photos, "--network", network, "--jobs", 1]
    result = run(*arguments, "--json", "--out", tmp_path / "a.csv")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    (group,) = found["summary"]
    assert (group["network"], group["block"], group["head"]) == ("tiny", "head.block", None)
    values = [float(row["entropy_bits"]) for row in rows_of(tmp_path / "a.csv")]
    interval = group["statistics"]["entropy_bits"]
    assert interval["mean"] == pytest.approx(np.mean(values))
    assert min(values) <= interval["low"] < interval["mean"] < interval["high"] <= max(values)
    assert interval["numbers"] == 3
    told = run(*arguments, "--out", tmp_path / "b.csv").stdout
    assert told == run(*arguments, "--out", tmp_path / "c.csv").stdout
    assert "tiny head.block" in told.splitlines()[0]
    assert any(
        line.startswith("unary_share ") and line.endswith("(3)") for line in told.splitlines()
    )


def test_a_broken_input_is_a_row_in_errors_csv_and_the_rest_goes_on(photos, network, tmp_path):
    (photos / "photo1.png").write_bytes(b"no picture")
    (photos / "=cmd().png").write_bytes(b"")
    out = tmp_path / "out" / "stats.csv"
    result = run("stats", photos, "--network", network, "--jobs", 1, "--out", out)
    assert result.exit_code == 1
    assert "2 failures, see" in result.stderr
    errors = {row["input"]: row["error"] for row in rows_of(out.parent / "errors.csv")}
    assert set(errors) == {str(photos / "photo1.png"), str(photos / "=cmd().png")}
    assert "not an image in a known format" in errors[str(photos / "photo1.png")]
    assert [Path(row["input"]).stem for row in rows_of(out)] == ["photo0", "photo2"]
    assert {path.name for path in out.parent.iterdir()} == {"stats.csv", "errors.csv"}


def test_a_network_that_fails_on_an_input_does_not_take_others_along(
    photos, network, tmp_path, monkeypatch
):
    other = tmp_path / "other.safetensors"
    save_network(other, tiny_network("non_local"), tiny_architecture("non_local"))
    original = cells.observe_blocks

    def failing(module, image, **more):
        if module.head.block.coupling == "coupled":
            raise RuntimeError("block 'head.block' has NaN")
        return original(module, image, **more)

    monkeypatch.setattr(cells, "observe_blocks", failing)
    chosen = options(photos, network, networks=(str(other), str(network)))
    done = measure_input(Source("photo0", str(photos / "photo0.png")), chosen)
    assert [row["network"] for row in done.rows] == ["tiny"]
    assert [error["network"] for error in done.errors] == ["other"]


class StopError(Exception):
    """Stands for a crash."""


def stop_after(count):
    def progress(done, total):
        if done == count:
            raise StopError

    return progress


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_an_interrupted_run_resumes_to_the_same_bytes(suffix, photos, network, tmp_path):
    (photos / "photo2.png").write_bytes(b"")
    chosen, name = options(photos, network), f"stats.{suffix}"
    measure_all(chosen, tmp_path / "whole" / name, jobs=1)
    out = tmp_path / "out" / name
    with pytest.raises(StopError):
        measure_all(chosen, out, jobs=1, progress=stop_after(1))
    assert [path.name for path in out.parent.iterdir()] == [f".{name}.journal"]
    with pytest.raises(FileExistsError, match="is unfinished; --resume goes on"):
        measure_all(chosen, out, jobs=1)
    with pytest.raises(ValueError, match="unfinished run of other inputs or options"):
        measure_all(options(photos, network, seed=1), out, jobs=1, resume=True)
    assert measure_all(chosen, out, jobs=1, resume=True).skipped == 1
    for path in (tmp_path / "whole").iterdir():
        assert (out.parent / path.name).read_bytes() == path.read_bytes()


def children_of(process_id):
    """Return the processes that a process has started; none where the system does not tell."""
    try:
        return Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    except OSError:
        return []


def test_a_killed_run_with_workers_resumes_to_the_bytes_of_one_process(photos, network, tmp_path):
    chosen = options(photos, network)
    measure_all(chosen, tmp_path / "whole.parquet", jobs=1)
    out = tmp_path / "stats.parquet"
    command = [sys.executable, "-m", "app", "stats", photos, "--network", network, "--jobs", "2"]
    command = [str(word) for word in [*command, "--out", out]]
    journal = tmp_path / ".stats.parquet.journal"
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 300
        while process.poll() is None and not (
            journal.exists() and journal.read_bytes().count(b"\n") > 1
        ):
            assert time.monotonic() < deadline
            time.sleep(0.005)
        workers = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
    while any(Path(f"/proc/{worker}/cmdline").exists() for worker in workers):
        assert time.monotonic() < deadline, "workers outlive the run that they work for"
        time.sleep(0.05)
    measure_all(chosen, out, jobs=1, resume=journal.exists(), force=True)
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()


def test_nothing_is_overwritten_without_force(photos, network, tmp_path):
    out = tmp_path / "stats.csv"
    out.write_text("mine")
    with pytest.raises(FileExistsError, match=r"stats\.csv exists already; --force replaces"):
        measure_all(options(photos, network), out, jobs=1)
    nothing = r"stats\.csv exists already; --force replaces, .*; no run for it is unfinished"
    with pytest.raises(FileExistsError, match=nothing):
        measure_all(options(photos, network), out, jobs=1, resume=True)
    assert out.read_text() == "mine"
    measure_all(options(photos, network), out, jobs=1, force=True)
    assert len(rows_of(out)) == 3
    (tmp_path / "errors.csv").write_text("of another run")
    with pytest.raises(FileExistsError, match=r"errors\.csv exists already"):
        measure_all(options(photos, network), tmp_path / "other.csv", jobs=1)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["samples:coffee"], "at least one network must be given"),
        (["--network", "streets-nl"], "at least one input must be given"),
        (["nowhere", "--network", "NETWORK"], "there is no input 'nowhere'"),
        (["samples", "--network", "resnet"], "unknown network 'resnet'"),
        (["samples", "--network", "PLAIN"], "has no attention block to measure"),
        (["samples", "--network", "NETWORK", "--block", "neck"], "has no block 'neck'"),
        (["samples", "--network", "NETWORK", "--network", "NETWORK"], "can be given once"),
        (["samples", "--network", "NETWORK", "--labels", "gone"], "no folder of labels gone"),
        (["samples", "--network", "NETWORK", "--address", "here"], "needs --engine ray"),
        (["samples", "--network", "NETWORK", "--frames", "0"], "frames must be from 1 to 512"),
        (["samples", "--network", "NETWORK", "--stride", "0"], "stride must be at least 1, got 0"),
        (
            ["rendered:1", "--network", "NETWORK", "--labels", "own", "--frames", "2"],
            "clips have no labels",
        ),
        (
            ["rendered:1", "--network", "NETWORK", "--image-independence", "--frames", "2"],
            "--image-independence is over pictures",
        ),
        (["samples", "--network", "NETWORK", "--out", "OUT.xlsx"], "*.csv, *.parquet, *.json"),
    ],
)
def test_wrong_use_ends_in_one_sentence_and_status_2(arguments, sentence, network, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_network(plain, tiny_network(), tiny_architecture())
    paths = {"NETWORK": network, "PLAIN": plain, "OUT.xlsx": tmp_path / "out" / "stats.xlsx"}
    arguments = [paths.get(argument, argument) for argument in arguments]
    out = [] if "--out" in arguments else ["--out", tmp_path / "out" / "stats.csv"]
    result = run("stats", *arguments, *out)
    assert_is_wrong_use(result, sentence)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_made_is_named(photos, network, tmp_path):
    (tmp_path / "out").write_text("")
    result = run("stats", photos, "--network", network, "--out", tmp_path / "out" / "a.csv")
    assert result.exit_code == 3
    assert result.stderr.startswith("error: the folder ")


def test_all_numbers_in_the_journal_and_the_table_are_finite(photos, network):
    for row in measure_input(
        Source("a", str(photos / "photo0.png")), options(photos, network)
    ).rows:
        assert all(isfinite(cell) for cell in row.values() if isinstance(cell, float))
