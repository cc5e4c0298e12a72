import json
from dataclasses import asdict, fields, replace

import pytest
import torch
from records import KEYS, KINDS, PARTS, QUERIES, random_record
from safetensors.torch import save_file

from nonlocal_lens.analysis import AttentionRecord
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import HEADER_KEY
from nonlocal_lens.models.blocks import Reach


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_record_comes_back_as_it_was(generator, tmp_path, kind):
    record = replace(random_record(generator, dtype=torch.float32, **KINDS[kind]), head=3)
    record.save(tmp_path / "record.safetensors")
    loaded = AttentionRecord.load(tmp_path / "record.safetensors")
    for field in fields(record):
        before, after = getattr(record, field.name), getattr(loaded, field.name)
        if isinstance(before, Reach):
            assert before.kind == after.kind
            assert torch.equal(before.query, after.query)
            assert torch.equal(before.key, after.key)
            continue
        same = torch.equal(before, after) if isinstance(before, torch.Tensor) else before == after
        assert same, field.name
    assert [path.name for path in tmp_path.iterdir()] == ["record.safetensors"]


def test_a_gain_and_an_offset_are_saved(generator, tmp_path):
    record = random_record(generator, "disentangled")
    grid = replace(record.query_grid, offset=(-3.5, 1.25))
    record = replace(record, pairwise_gain=-0.3, whitened=False, query_grid=grid)
    record.save(tmp_path / "record.safetensors")
    loaded = AttentionRecord.load(tmp_path / "record.safetensors")
    assert (loaded.pairwise_gain, loaded.whitened) == (-0.3, False)
    assert loaded.query_grid == grid
    assert loaded.row_sum == 0.7


def test_a_failed_save_leaves_nothing_behind(generator, tmp_path):
    (tmp_path / "record.safetensors").mkdir()
    with pytest.raises(OSError, match="record"):
        random_record(generator).save(tmp_path / "record.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["record.safetensors"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"coupling": "tangled"}, "unknown coupling 'tangled'; available: coupled, disentangled"),
        (
            {"form": "bilinear"},
            "unknown form 'bilinear'; available: gaussian, embedded_gaussian, dot_product",
        ),
        (
            {"form": "dot_product"},
            "coupling of form 'dot_product' must be one of unnormalized, got 'coupled'",
        ),
        (
            {"coupling": "unnormalized"},
            "one of coupled, disentangled, pairwise, unary, got 'unnormalized'",
        ),
        (
            {"coupling": "pairwise", "unary": torch.zeros(KEYS, dtype=torch.float64)},
            "no part in the coupling 'pairwise': unary must be None",
        ),
        (
            {"form": "query_independent", "coupling": "unary"},
            "all that the form 'query_independent' has: unary must be given",
        ),
        (
            {"form": "concatenation", "coupling": "unnormalized"},
            "of the form 'concatenation' must have 1 channels, got 13",
        ),
        ({"pairwise_gain": 2.0}, "'coupled' has one softmax at most: pairwise_gain must be 1"),
        ({"whitened": False}, "must be 1 and whitened True, got 1.0 and False"),
        (
            {"coupling": "disentangled", "pairwise_gain": float("nan")},
            "pairwise_gain must be finite, got nan",
        ),
        ({"coupling": "disentangled", "whitened": False}, "unary must be given where whitened is"),
        ({"key": torch.zeros(KEYS, 2, dtype=torch.float64)}, "equally many channels, got 13 and 2"),
        (
            {"query_grid": Grid.tiling((40, 56), 2, 2)},
            rf"each of the 4 positions .*, got {QUERIES}",
        ),
        ({"key_grid": Grid.tiling((40, 56), 2, 2)}, rf"each of the 4 positions .*, got {KEYS}"),
        (
            {"form": "dot_product", "coupling": "unnormalized", "reach": PARTS},
            "only the weights of a softmax can be 0 out of reach",
        ),
        (
            {"reach": Reach("part", PARTS.query[:5], PARTS.key)},
            f"labels for {QUERIES} queries and {KEYS} keys, got 5 and {KEYS}",
        ),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_a_record_that_contradicts_itself_is_refused(generator, change, message):
    with pytest.raises(ValueError, match=message):
        replace(random_record(generator), **change)


@pytest.mark.parametrize(
    ("query", "key", "message"),
    [
        ([0, 1], [[0], [1]], r"at least one for every position, got \(2,\) and \(2, 1\)"),
        ([[0, 1]], [[0], [1]], "equally many labels, got 2 and 1"),
        ([[0], [3], [1]], [[0], [1]], "must reach a key, query 1 has no label of any"),
        ([[0, 5], [3, 0]], [[0, 2], [1, 3]], "must reach a key, query 1 has no label of any"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_a_reach_that_reaches_nothing_is_refused(query, key, message):
    with pytest.raises(ValueError, match=message):
        Reach("part", torch.tensor(query), torch.tensor(key))


def header_of(record):
    return {
        "schema_version": 1,
        "block": "b",
        "form": "embedded_gaussian",
        "coupling": "coupled",
        "scale": 1.0,
        "head": None,
        "query_grid": asdict(record.query_grid),
        "key_grid": asdict(record.key_grid),
    }


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda header, tensors: header.pop("scale"), "scale"),
        (
            lambda header, tensors: header.pop("key_grid"),
            "not a complete record: key_grid is missing",
        ),
        (lambda header, tensors: tensors.pop("key"), "not a complete record: key is missing"),
        (
            lambda header, tensors: header.update(schema_version=9),
            "schema_version must be one of 1, 2, 3, 4, 5, 6, 7, got 9",
        ),
        (lambda header, tensors: header.update(coupling="x"), "unknown coupling 'x'"),
    ],
)
@pytest.mark.usefixtures("as_users_run")
def test_a_file_that_is_no_record_is_refused(generator, tmp_path, damage, message):
    record = random_record(generator)
    header, tensors = header_of(record), {"query": record.query, "key": record.key}
    damage(header, tensors)
    path = tmp_path / "other.safetensors"
    save_file(tensors, path, metadata={HEADER_KEY: json.dumps(header)})
    with pytest.raises(ValueError, match=message):
        AttentionRecord.load(path)


def test_files_that_are_not_ours_are_refused(generator, tmp_path):
    plain = tmp_path / "plain.safetensors"
    save_file({"query": torch.zeros(1)}, plain)
    with pytest.raises(ValueError, match="its header has no"):
        AttentionRecord.load(plain)
    plain.write_bytes(b"no safetensors at all")
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        AttentionRecord.load(plain)
    with pytest.raises(FileNotFoundError):
        AttentionRecord.load(tmp_path / "missing.safetensors")


def test_the_couplings_of_an_older_file_are_still_read(generator, tmp_path):
    record = random_record(generator)
    path = tmp_path / "old.safetensors"
    tensors = {"query": record.query, "key": record.key}
    header = header_of(record)
    for grid in ("query_grid", "key_grid"):
        del header[grid]["offset"]
    save_file(tensors, path, metadata={HEADER_KEY: json.dumps(header)})
    loaded = AttentionRecord.load(path)
    assert torch.equal(loaded.query, record.query)
    assert loaded.query_grid == record.query_grid
    assert (loaded.pairwise_gain, loaded.whitened) == (1, True)
