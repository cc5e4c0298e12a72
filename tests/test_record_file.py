"""Anybody's tensors: a file's attention is the record's, or a sentence names the field."""

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from records import KINDS, QUERIES, QUERY_HW, random_record
from safetensors.torch import save as save_safetensors
from typer.testing import CliRunner

from nonlocal_lens.analysis import degeneracy, record_file, terms
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.notebook import explore_file
from nonlocal_lens.models.file_hash import file_sha256

RNG = np.random.default_rng(0)
ROWS, COLUMNS, CHANNELS = 5, 7, 13


def npz(**fields):
    buffer = io.BytesIO()
    np.savez(buffer, **fields)
    return buffer.getvalue()


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_record_comes_back(generator, kind, tmp_path):
    record = random_record(generator, **KINDS[kind])
    record.save(tmp_path / "mine.safetensors")
    held = record_file.read(tmp_path / "mine.safetensors")
    (again,) = held.records
    assert held.name == "mine"
    assert held.image.shape == (40, 56, 3)
    torch.testing.assert_close(
        terms.attention(again, range(QUERIES)), terms.attention(record, range(QUERIES))
    )


@pytest.mark.parametrize("flat", [False, True])
def test_queries_and_keys_are_taken_as_they_are(flat):
    query, key, unary = floats(5, 7, 13), floats(3, 11, 13), floats(3, 11)
    image = RNG.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    fields = {"query": query, "key": key, "unary": unary}
    if flat:
        fields = {
            "query": query.reshape(-1, 13),
            "key": key.reshape(-1, 13),
            "unary": unary.ravel(),
            "query_grid": np.array([5, 7]),
            "key_grid": np.array([3, 11]),
        }
    data = npz(**fields, image=image, scale=0.3, coupling="disentangled", block="mine")
    held = record_file.read_bytes(data, "a.b.npz")
    (record,) = held.records
    assert np.array_equal(held.image, image)
    assert (record.block, record.coupling, record.scale) == ("mine", "disentangled", 0.3)
    assert record.query_grid.shape == (1, 5, 7)
    assert record.key_grid.shape == (1, 3, 11)
    assert torch.equal(record.query, torch.from_numpy(query).flatten(0, 1))
    assert torch.equal(record.unary, torch.from_numpy(unary).flatten())


def test_labels_say_which_keys_a_query_looks_at():
    window = np.arange(35).reshape(5, 7) // 12
    fields = {"query": floats(5, 7, 13), "key": floats(5, 7, 13), "reach": "window"}
    labels = {"query_labels": window.ravel(), "key_labels": window.ravel()}
    (record,) = record_file.read_bytes(npz(**fields, **labels), "a.npz").records
    assert record.reach.kind == "window"
    seen = torch.from_numpy(window.ravel() == window[2, 3])
    assert torch.equal(terms.attention(record, [17])[0] > 0, seen)


@pytest.mark.parametrize("coupling", ["coupled", "pairwise"])
def test_a_whole_attention_is_factored_into_few_channels(generator, coupling):
    record = random_record(generator, coupling, dtype=torch.float32)
    attention = terms.attention(record, range(QUERIES))
    data = npz(attention=attention.numpy(), query_grid="5x7", key_grid="3, 11")
    ((again,)) = record_file.read_bytes(data, "attention.npz").records
    assert again.query.shape[1] <= 15
    torch.testing.assert_close(
        terms.attention(again, range(QUERIES)), attention, atol=1e-6, rtol=1e-3
    )
    assert again.query_grid.shape[1:] == QUERY_HW


def test_any_attention_is_kept_though_its_rank_is_full_and_zeros_are_in_it():
    attention = RNG.dirichlet(np.full(77, 0.05), size=35).astype(np.float32)
    attention[attention < 1e-6] = 0
    attention /= attention.sum(axis=1, keepdims=True)
    data = npz(attention=attention, query_grid=[5, 7], key_grid=[7, 11])
    (record,) = record_file.read_bytes(data, "attention.npz").records
    np.testing.assert_allclose(terms.attention(record, range(35)), attention, atol=1e-6, rtol=1e-4)


def test_several_blocks_are_named_before_the_dot_and_share_the_rest():
    tensors = {
        f"{name}.{side}": torch.randn(36, 3) for name in ("one", "two") for side in ("query", "key")
    }
    data = save_safetensors(tensors, metadata={"scale": "0.5", "format": "pt"})
    held = record_file.read_bytes(data, "two.safetensors")
    assert [record.block for record in held.records] == ["one", "two"]
    assert [record.scale for record in held.records] == [0.5, 0.5]
    assert held.records[0].query_grid.shape == (1, 6, 6)
    assert (held.image == 128).all()


@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_values_tell_of_what_kind_a_sink_is(flat, whole):
    key, value = np.zeros((5, 7, 3), np.float32), floats(5, 7, 11)
    key[2, 3, 0] = 30
    query = np.ones((35, 3), np.float32)
    value /= np.linalg.norm(value, axis=2, keepdims=True)
    fields = {"query": query, "key": key, "value": value, "query_grid": [5, 7]}
    if flat or whole:
        fields |= {"value": value.reshape(35, 11), "key": key.reshape(35, 3), "key_grid": [5, 7]}
    if whole:
        logits = query @ fields.pop("key").T
        weights = np.exp(logits - logits.max())
        fields["attention"] = weights / weights.sum(axis=1, keepdims=True)
        del fields["query"]
    for length, kind in ((3.0, "broadcast"), (0.1, "no-operation")):
        fields["value"] = fields["value"].copy()
        fields["value"].reshape(35, 11)[17] = length * value.reshape(35, 11)[17]
        (record,) = record_file.read_bytes(npz(**fields), "mine.npz").records
        np.testing.assert_array_equal(record.value, fields["value"].reshape(35, 11))
        report = degeneracy.measure(record, shuffles=False)
        assert (report.sink_cell[:2], report.sink_kind) == ((2, 3), kind)


def test_values_go_with_keys_that_stand_in_another_order():
    value = floats(5, 11)
    names = {"key_names": "class,,,,", "query_names": "class,,,,"}
    data = npz(query=floats(5, 3), key=floats(5, 3), value=value, **names)
    (record,) = record_file.read_bytes(data, "mine.npz").records
    assert record.key_axis.names == ("class",)
    np.testing.assert_array_equal(record.value, value[[1, 2, 3, 4, 0]])


def test_values_that_make_too_large_an_update_are_refused(generator, monkeypatch, tmp_path):
    record = random_record(generator)
    positions = len(record.query) + len(record.key)
    record = replace(record, value=torch.randn(len(record.key), 11, generator=generator))
    record.save(tmp_path / "mine.safetensors")
    monkeypatch.setattr(record_file, "MOST_RECORD_NUMBERS", 11 * positions)
    assert record_file.read(tmp_path / "mine.safetensors").records[0].value.shape[1] == 11
    monkeypatch.setattr(record_file, "MOST_RECORD_NUMBERS", 11 * positions - 1)
    with pytest.raises(ValueError, match=f"has 11 channels.* and 10 for {positions} queries and"):
        record_file.read(tmp_path / "mine.safetensors")


def test_grids_follow_the_shape_of_the_image():
    image = np.zeros((300, 400, 3), np.uint8)
    data = npz(query=floats(12, 3), key=floats(12, 3), image=image)
    (record,) = record_file.read_bytes(data, "x.npz").records
    assert record.query_grid.shape == (1, 3, 4)
    assert record.query_grid.image_hw == (300, 400)


GOOD = {"query": floats(36, 3), "key": floats(36, 3)}


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"query": GOOD["query"]}, "field 'key' is missing"),
        ({**GOOD, "key": floats(36, 5)}, "field 'key' must have as many channels as 'query', 3"),
        ({**GOOD, "query": floats(36)}, "field 'query' must have 2 or 3 dimensions"),
        ({**GOOD, "query": np.zeros((36, 3), int)}, "field 'query' must hold floating-point"),
        ({**GOOD, "key": np.full((36, 3), np.nan)}, "field 'key' must be finite"),
        ({**GOOD, "unary": floats(35)}, "field 'unary' must have one number for each of the 36"),
        (
            {**GOOD, "value": floats(35, 5)},
            "field 'value' must have one vector for each of the 36 keys, got 35",
        ),
        ({**GOOD, "value": floats(36)}, "field 'value' must have 2 or 3 dimensions"),
        ({**GOOD, "value": np.full((36, 5), np.inf)}, "field 'value' must be finite"),
        ({**GOOD, "value": np.zeros((36, 5), int)}, "field 'value' must hold floating-point"),
        (
            {**GOOD, "value": floats(36, 4099)},
            "field 'value' has 4099 channels; at most 4096 can be measured",
        ),
        ({**GOOD, "query_grid": [5, 7]}, "field 'query_grid' must have as many cells"),
        ({**GOOD, "query_grid": "six"}, "field 'query_grid' must be rows, columns"),
        ({**GOOD, "scale": "big"}, "field 'scale' must be one number"),
        ({**GOOD, "image": floats(9, 9, 3)}, "field 'image': an image array must be uint8"),
        ({**GOOD, "qery": floats(3)}, "unknown field 'qery'; available: query, key"),
        ({**GOOD, "key_labels": np.zeros(35, int)}, "'key_labels' must not be given without the"),
        (
            {**GOOD, "query_labels": floats(35), "key_labels": np.zeros(35, int)},
            "field 'query_labels' must hold one or more integers for every position, got",
        ),
        (
            {**GOOD, "query_labels": np.zeros(5, int), "key_labels": np.zeros(35, int)},
            "reach must have labels for 36 queries and 36 keys, got 5 and 35",
        ),
        ({**GOOD, "coupling": "loose"}, "unknown coupling 'loose'; available"),
        ({**GOOD, "attention": floats(3, 3)}, "field 'query' must not be given beside"),
        ({"attention": np.full((9, 9), 0.2)}, "rows that sum to 1, row 0 sums to 1.8"),
        ({"attention": np.full((9, 9), -1 / 9)}, "field 'attention' must not be negative"),
        ({"query": floats(35, 3), "key": floats(35, 3)}, "field 'query_grid' is missing"),
        ({**GOOD, "block": 3.0}, "field 'block' must be text"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(fields, sentence):
    with pytest.raises(ValueError, match=r"x\.npz is no record file: ") as caught:
        record_file.read_bytes(npz(**fields), "x.npz")
    assert sentence in str(caught.value)


def test_objects_are_never_unpickled():
    data = npz(query=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="Python objects, which are never loaded"):
        record_file.read_bytes(data, "x.npz")


@pytest.mark.parametrize("name", ["x.npz", "x.safetensors"])
@pytest.mark.parametrize("data", [b"", b"nothing of the kind", npz(**GOOD)[:500]])
def test_damaged_files_are_a_sentence(name, data):
    with pytest.raises(ValueError, match=r"^x\.\w+ is not a readable"):
        record_file.read_bytes(data, name)


def test_other_endings_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .safetensors or .npz, got 'x.pth'"):
        record_file.read_bytes(b"", "x.pth")
    with pytest.raises(FileNotFoundError):
        record_file.read(tmp_path / "none.npz")


def test_a_file_opens_in_the_notebook_and_on_the_command_line(tmp_path):
    path = tmp_path / "<b>own.npz"
    image = np.zeros((40, 56, 3), np.uint8)
    path.write_bytes(npz(query=floats(5, 7, 3), key=floats(5, 7, 3), image=image))
    lens = explore_file(path, queries=[(4, 4)])
    assert lens.queries == [0]
    assert list(lens.report()["network"]) == ["<b>own"]
    done = CliRunner().invoke(cli, ["view", str(path)])
    assert done.exit_code == 0, done.output
    page = path.with_suffix(".html").read_text()
    assert f"sha256 {file_sha256(path)}" in page
    assert "<b>own" not in page


def test_what_is_wrong_with_a_file_is_a_sentence_on_the_command_line(tmp_path):
    path = tmp_path / "own.npz"
    path.write_bytes(npz(query=floats(5, 7, 3), image=np.zeros((40, 56, 3), np.uint8)))
    done = CliRunner().invoke(cli, ["view", str(path)])
    assert done.exit_code == 1
    assert "field 'key' is missing" in done.stderr
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(ValueError, match="field 'key' is missing"):
        explore_file(path)


def test_named_tokens_go_behind_the_places_wherever_they_stand():
    query, key, unary = floats(37, 13), floats(37, 13), floats(37)
    names = np.array(["class", *[""] * 20, "register 1", *[""] * 15])
    fields = {"query": query, "key": key, "unary": unary, "query_grid": np.array([5, 7])}
    (record,) = record_file.read_bytes(
        npz(**fields, query_names=names, key_names=names), "a.npz"
    ).records
    assert record.query_axis == record.key_axis
    assert (record.key_axis.placed, record.key_axis.names) == (35, ("class", "register 1"))
    # learned unary logits are those of blocks that take the means of queries and keys out
    whitened = (query - query.mean(axis=0)) @ (key - key.mean(axis=0)).T
    logits = torch.from_numpy(whitened + unary)
    order = [i for i in range(37) if i not in (0, 21)] + [0, 21]
    expected = logits.softmax(dim=1)[order][:, order]
    torch.testing.assert_close(terms.attention(record, range(37)), expected, atol=1e-5, rtol=1e-4)


def test_fewer_names_are_those_of_the_last_tokens():
    attention = np.random.default_rng(0).dirichlet(np.ones(37), 35).astype(np.float32)
    data = npz(attention=attention, query_grid=[5, 7], key_names="class, register 1")
    (record,) = record_file.read_bytes(data, "a.npz").records
    assert record.key_axis.names == ("class", "register 1")
    assert record.query_axis.is_whole_grid
    torch.testing.assert_close(
        terms.attention(record, range(35)), torch.from_numpy(attention), atol=1e-5, rtol=1e-3
    )


def test_cells_of_a_grid_and_queries_that_are_no_places():
    fields = {"query": floats(2, 13), "key": floats(4, 13)}
    data = npz(
        **fields, query_names=["query 1", "query 2"], key_grid=[5, 7], key_cells=[0, 3, 9, 34]
    )
    held = record_file.read_bytes(data, "a.npz")
    (record,) = held.records
    assert (record.query_grid, record.query_axis.names) == (None, ("query 1", "query 2"))
    assert record.key_axis.all_cells.tolist() == [0, 3, 9, 34]
    assert held.image.shape == (80, 112, 3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"key_names": ["class"] * 38}, "must have at most 37 names"),
        ({"key_names": ["", "class"]}, "must have 37 names where some are empty"),
        ({"key_names": "class, class"}, "must have each name once"),
        ({"key_names": np.array([3.0])}, "'key_names' must hold names, got float64"),
        ({"key_names": "class", "key_grid": [5, 7]}, "as many cells as 'key' has positions, 36"),
        ({"query_cells": [1, 2]}, "'query_cells' must hold an integer for each of the 35 places"),
        ({"query_cells": [*range(1, 36)]}, r"'query_cells': cells must be in \[0, 35\)"),
        ({"query_grid": [10**5, 10**5], "query_cells": [*range(35)]}, "at least one cell and at"),
    ],
)
def test_names_and_cells_that_do_not_fit_are_refused(fields, message):
    given = {"query": floats(35, 13), "key": floats(37, 13), "query_grid": [5, 7], **fields}
    with pytest.raises(ValueError, match=message):
        record_file.read_bytes(npz(**given), "a.npz")


def test_what_does_not_fill_an_image_may_have_tokens_that_are_no_places():
    with pytest.raises(ValueError, match=r"197 positions do not .* no places \('query_names'\)"):
        record_file.read_bytes(npz(query=floats(197, 3), key=floats(197, 3)), "a.npz")


def test_records_whose_weights_would_take_too_long_are_refused():
    side = 32_769  # its square is just above 2^30
    zeros = np.zeros((side, 1), np.float16)
    grids = {"query_grid": [331, 99], "key_grid": [331, 99]}
    with pytest.raises(ValueError, match=r"1073807361 weights in all.* at most 1073741824"):
        record_file.read_bytes(npz(query=zeros, key=zeros, **grids), "a.npz")
    heads = {f"{head}.{side}": zeros[:24_000] for head in "ab" for side in ("query", "key")}
    with pytest.raises(ValueError, match="1152000000 weights in all"):
        record_file.read_bytes(npz(**heads, query_grid=[240, 100], key_grid=[240, 100]), "a.npz")


def test_so_are_those_of_a_record_that_was_saved(generator, monkeypatch, tmp_path):
    record = random_record(generator)
    record.save(tmp_path / "mine.safetensors")
    weights = len(record.query) * len(record.key)
    monkeypatch.setattr(record_file, "MOST_RECORD_WEIGHTS", weights)
    assert record_file.read(tmp_path / "mine.safetensors").records
    monkeypatch.setattr(record_file, "MOST_RECORD_WEIGHTS", weights - 1)
    with pytest.raises(ValueError, match=f"{weights} weights in all"):
        record_file.read(tmp_path / "mine.safetensors")
