"""Pictures of one size in one batch: each gives what it gives alone, and batches halve."""

import csv
import json
import warnings
from importlib import import_module

import numpy as np
import pytest
import torch
from batches import saved_network, saved_photos
from networks import tiny_network, tiny_transformer
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from nonlocal_lens.analysis import adapters, terms, together
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.early_exit import observe_blocks, observe_blocks_together
from nonlocal_lens.analysis.figures.files import read_note
from nonlocal_lens.analysis.out_of_memory import in_halves
from nonlocal_lens.analysis.tables.rows import measure_row
from nonlocal_lens.analysis.together import can_go_together, item_of, observe_together
from nonlocal_lens.analysis.vectors import distances_of
from nonlocal_lens.app.batch.engine import WorkerDied, local
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all

IMAGES = list(np.random.default_rng(0).integers(0, 256, (5, 41, 59, 3), dtype=np.uint8))
KINDS = ("non_local", "disentangled", "global_context", "dot_product", "concatenation")


def assert_same(alone, ours):
    assert [(one.block, one.head, one.call) for one in alone] == [
        (one.block, one.head, one.call) for one in ours
    ]
    for one, other in zip(alone, ours, strict=True):
        assert (one.query_axis, one.key_axis) == (other.query_axis, other.key_axis)
        assert (one.form, one.coupling) == (other.form, other.coupling)
        rows = [terms.attention(record, range(len(record.query))) for record in (one, other)]
        torch.testing.assert_close(*rows, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, "transformer"])
def test_what_goes_together_gives_what_each_gives_alone(kind):
    network = tiny_transformer(registers=2) if kind == "transformer" else tiny_network(kind)
    seen = observe_together(network, IMAGES)
    for image, one in zip(IMAGES, seen, strict=True):
        alone = observe(network, image)
        assert alone.records
        assert_same(alone.records, one.records)
        assert np.array_equal(one.image, image)
        torch.testing.assert_close(one.output, alone.output, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [*KINDS, "transformer"])
def test_rows_of_a_batch_are_those_of_single_pictures(kind):
    network = tiny_transformer() if kind == "transformer" else tiny_network(kind)
    for image, ours in zip(IMAGES, observe_blocks_together(network, IMAGES), strict=True):
        alone = observe_blocks(network, image, to_the_end=False)
        assert_same(alone.records, ours.records)
        for one, other in zip(alone.records, ours.records, strict=True):
            rows = [
                measure_row(record, vectors=distances_of(record, of.records, of.vectors), seed=0)
                for record, of in ((one, alone), (other, ours))
            ]
            for name in STATISTICS:
                assert rows[1][name] == pytest.approx(
                    rows[0][name], rel=1e-5, abs=1e-5, nan_ok=True
                )


def test_a_foreign_network_is_taken_apart_by_picture():
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    options = {"img_size": 56, "embed_dim": 24, "depth": 2, "num_heads": 3}
    network = timm.create_model("vit_tiny_patch16_224", **options).eval()
    seen = observe_together(network, IMAGES[:3])
    for image, one in zip(IMAGES, seen, strict=False):
        alone = observe(network, image)
        assert len(alone.records) == 6
        assert_same(alone.records, one.records)


def test_what_cannot_go_together_says_so():
    with pytest.raises(ValueError, match="have one size, got 31x41, 59x41"):
        observe_together(tiny_network("non_local"), [IMAGES[0], IMAGES[1][:, :31]])
    with pytest.raises(ValueError, match=r"shape \(7, 3\) cannot be taken apart .* 5 pictures"):
        item_of(torch.zeros(7, 3), 0, 5)
    both = item_of({"a": torch.arange(5), "b": (torch.arange(10).reshape(5, 2), "c")}, 3, 5)
    assert both["a"].tolist() == [3]
    assert both["b"][0].tolist() == [[6, 7]]
    assert both["b"][1] == "c"


def test_a_block_that_a_reader_speaks_for_goes_alone(monkeypatch):
    network = nn.Sequential(nn.Identity())
    assert can_go_together(network)
    monkeypatch.setattr(together, "reader_for", lambda module: isinstance(module, nn.Identity))
    assert not can_go_together(network)
    assert adapters.reader_for(nn.Identity()) is None


@pytest.mark.parametrize(
    ("most", "sizes"), [(5, [5]), (3, [5, 2, 2, 1]), (1, [5, 2, 1, 1, 1, 1, 1])]
)
def test_a_batch_halves_until_it_fits(most, sizes):
    tried = []

    def compute(some):
        tried.append(len(some))
        if len(some) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return [10 * one for one in some]

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert in_halves(range(5), compute, "A batch for Net") == [0, 10, 20, 30, 40]
    assert tried == sizes
    assert [str(one.message) for one in said] == (
        []
        if most == 5
        else [
            "A batch for Net of 5 does not fit into the device's memory: it goes "
            f"{sizes[1] if most == 3 else 1} at a time"
        ]
    )


def test_where_one_does_not_fit_there_is_nothing_to_halve():
    def compute(some):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_halves(range(5), compute, "A batch for Net")


@pytest.mark.parametrize("look", [observe_together, observe_blocks_together])
def test_a_network_without_memory_for_a_batch_gives_the_same_in_parts(look, monkeypatch):
    network = tiny_network("disentangled")
    whole = look(network, IMAGES)
    passes = []

    def run(network, x):
        passes.append(len(x))
        if len(x) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(x)

    for name in ("capture", "together", "early_exit"):
        monkeypatch.setattr(import_module(f"nonlocal_lens.analysis.{name}"), "run", run)
    with pytest.warns(UserWarning, match="of 5 does not fit .*: it goes 2 at a time"):
        parts = look(network, IMAGES)
    assert passes == [5, 2, 2, 1]
    for one, other in zip(whole, parts, strict=True):
        assert_same(one.records, other.records)


def test_statistics_go_to_the_processor_where_a_device_has_no_memory(monkeypatch):
    asked = []

    def fall_back(network, x, compute):
        asked.append(len(x))
        return compute(x)

    monkeypatch.setattr("nonlocal_lens.analysis.early_exit.or_on_processor", fall_back)
    observe_blocks(tiny_network("disentangled"), IMAGES[0])
    assert asked == [1]


def rows_of(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.fixture
def photos(tmp_path):
    """Return a folder of five pictures of one size, one of another, and one that is none."""
    folder = saved_photos(tmp_path, 5)
    Image.fromarray(IMAGES[0]).save(folder / "photo1.5.png")
    (folder / "photo2.5.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def network(tmp_path):
    return saved_network(tmp_path)


def test_a_table_of_batches_is_that_of_single_pictures_and_says_so(photos, network, tmp_path):
    given = ["stats", str(photos), "--network", str(network), "--jobs", "1", "--out"]
    for name, more in {"alone.csv": [], "together.csv": ["--batch", "3"]}.items():
        result = CliRunner().invoke(cli, [*given, str(tmp_path / name), "--force", *more])
        assert result.exit_code == 1, result.stderr
        assert "photo2.5.png" in (tmp_path / "errors.csv").read_text()
    alone, ours = rows_of(tmp_path / "alone.csv"), rows_of(tmp_path / "together.csv")
    assert len(alone) == len(ours) == 6
    assert "batch" not in alone[0]
    for one, other in zip(alone, ours, strict=True):
        assert other.pop("batch") == "3"
        assert one.keys() == other.keys()
        for name, cell in one.items():
            if name in STATISTICS and cell:
                assert float(other[name]) == pytest.approx(float(cell), rel=1e-5, abs=1e-5)
            elif name not in STATISTICS and not cell.replace(".", "").lstrip("-").isdigit():
                assert other[name] == cell


def test_networks_run_once_for_a_batch(photos, network, tmp_path, monkeypatch):
    passes = []
    original = together.run

    def run(module, x):
        passes.append(len(x))
        return original(module, x)

    monkeypatch.setattr("nonlocal_lens.analysis.early_exit.run", run)
    chosen = Options((str(photos),), (str(network),), batch=4)
    measure_all(chosen, tmp_path / "a.csv", jobs=1)
    # photo0, 1.5, 1 and 2.5, which is no picture; then 2, 3 and 4
    assert passes == [2, 1, 3]


class StoppedError(Exception):
    pass


@pytest.mark.parametrize("jobs", [1, 2])
def test_an_interrupted_table_of_batches_resumes_to_the_same_bytes(photos, network, tmp_path, jobs):
    chosen = Options((str(photos),), (str(network),), batch=2)
    whole, stopped = tmp_path / "a" / "whole.csv", tmp_path / "b" / "whole.csv"
    measure_all(chosen, whole, jobs=jobs)

    def stop(done, total):
        if done == 3:  # in the middle of a batch
            raise StoppedError

    with pytest.raises(StoppedError):
        measure_all(chosen, stopped, jobs=1, progress=stop)
    assert measure_all(chosen, stopped, jobs=1, resume=True).skipped == 2, "whole batches"
    assert stopped.read_bytes() == whole.read_bytes()


def test_pictures_whose_worker_died_together_are_done_alone(photos, network, tmp_path):
    chosen = Options((str(photos),), (str(network),), batch=3)

    def dying(work, jobs, workers):
        for job in jobs:
            died = isinstance(job, tuple) and not hasattr(job, "_fields")
            yield job, WorkerDied() if died else work(job)

    summary = measure_all(chosen, tmp_path / "a.csv", jobs=1, engine=dying)
    assert (summary.rows, summary.errors) == (6, 1)
    assert local is not dying


def test_batches_are_at_least_one_and_interventions_go_alone():
    with pytest.raises(ValueError, match="batch must be at least 1, got 0"):
        Options(("a",), ("b",), batch=0)
    with pytest.raises(ValueError, match="they need --batch 1"):
        Options(("a",), ("b",), batch=2, interventions=True)


def test_an_export_of_batches_draws_the_same_and_its_notes_say_so(photos, network, tmp_path):
    given = ["export", str(photos), "--network", str(network), "--query", "30,20", "--jobs", "1"]
    for folder, more in {"alone": [], "together": ["--batch", "4"]}.items():
        out = tmp_path / folder
        result = CliRunner().invoke(cli, [*given, "--out", str(out), *more])
        assert result.exit_code == 1, result.stderr
    alone, ours = (sorted((tmp_path / folder).glob("*.png")) for folder in ("alone", "together"))
    assert [one.name for one in alone] == [one.name for one in ours]
    assert len(ours) == 6
    for one, other in zip(alone, ours, strict=True):
        pixels = [np.asarray(Image.open(path)).astype(int) for path in (one, other)]
        assert np.abs(pixels[0] - pixels[1]).max() <= 2
        assert "batch" not in read_note(one)["options"]
        assert read_note(other)["options"]["batch"] == 4
        assert "--batch 4" in read_note(other)["command"]
    again = CliRunner().invoke(cli, ["replay", str(ours[0])])
    assert again.exit_code == 0, again.stderr
    assert "drawn in batches of 4" in again.stderr
    json.dumps(read_note(ours[0]))
