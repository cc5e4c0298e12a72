import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import tiny_network
from payloads import pack, unpack
from PIL import Image
from records import KEYS, KINDS, QUERIES, random_record
from safetensors.numpy import load

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.capture import Observation, observe
from nonlocal_lens.analysis.render import (
    DIVERGING_PALETTES,
    MAX_SHOWN_SIDE,
    PALETTES,
    indexed_png,
    jpeg,
    palette_table,
)
from nonlocal_lens.app.viewer.payload import (
    Shown,
    color_scale,
    config_of,
    pack_all,
    readable,
    with_view,
)
from nonlocal_lens.app.viewer.view import Query, View, read_view
from nonlocal_lens.models.blocks import Reach


def observation_of(record, output=None):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return Observation(image, torch.zeros(1) if output is None else output, (record,))


EVERY = torch.arange(QUERIES)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
def test_attention_from_the_payload_is_that_of_the_record(generator, coupling):
    record = random_record(generator, coupling)
    config, tensors = unpack(pack(observation_of(record), record, title="t", alt="a"))
    spec = config["records"][0]
    query, key, unary = (
        tensors[f"0.{name}"].astype(np.float64) for name in ("query", "key", "unary")
    )
    pairwise = torch.from_numpy(spec["scale"] * query @ key.T)
    if spec["coupling"] == "coupled":
        whole = (pairwise + torch.from_numpy(unary)).softmax(dim=1)
    else:
        whole = pairwise.softmax(dim=1) + torch.from_numpy(unary).softmax(dim=0)
    expected = terms.attention(record, range(QUERIES))
    assert ((whole - expected).abs() / expected).max() < 1e-2
    assert spec["row_sum"] == round(expected.sum(dim=1).mean().item())
    assert spec["query_grid"]["width"] == 7
    assert spec["key_grid"]["cell_width"] == pytest.approx(56 / 11)


@pytest.mark.parametrize("kind", KINDS)
def test_the_payload_says_what_is_shown_and_in_which_unit(generator, kind):
    record = random_record(generator, **KINDS[kind])
    payload = pack(observation_of(record), record, title="t", alt="a")
    config, tensors = unpack(payload)
    (spec,) = config["records"]
    assert "NaN" not in json.dumps(config), "a browser could not read it"
    assert (spec["form"], spec["coupling"]) == (record.form, record.coupling)
    assert spec["learned"] == (record.unary is not None)
    assert spec["signed"] == ("0.row" in tensors) == (spec["row_sum"] is None)
    assert spec["signed"] == (kind in ("dot_product", "concatenation"))
    assert config["palettes"] == list(PALETTES)
    assert np.array_equal(tensors["palettes"], palette_table(PALETTES))
    assert config["diverging_palettes"] == list(DIVERGING_PALETTES)
    assert np.array_equal(tensors["diverging_palettes"], palette_table(DIVERGING_PALETTES))


def test_logits_get_a_scale_of_their_own_size(generator):
    record = random_record(generator, **KINDS["dot_product"], scale=1e-3)
    values = [terms.attention(record, range(QUERIES), term) * KEYS for term in terms.TERMS]
    assert color_scale(record)["peak"] == readable(torch.cat(values).abs().max().item()) < 0.1
    dead = replace(record, query=torch.zeros_like(record.query))
    assert color_scale(dead) == {"scale_top": 1, "peak": 1}


def test_zero_is_the_light_middle_of_a_diverging_palette():
    for name, table in zip(
        DIVERGING_PALETTES, palette_table(DIVERGING_PALETTES).astype(int), strict=True
    ):
        assert table[127:129].min() > 210, name
        assert table[[0, 255]].min() < 130, name


def test_the_payload_knows_itself_and_its_picture(generator):
    record = random_record(generator)
    first = pack(observation_of(record), record, title="t", alt="a")
    assert first == pack(observation_of(record), record, title="t", alt="a")
    other, _ = unpack(pack(observation_of(random_record(generator)), record, title="u", alt="a"))
    config, tensors = unpack(first)
    assert config["id"] != other["id"]
    assert config["image"]["id"] == other["image"]["id"]
    photo = Image.open(io.BytesIO(tensors["image"].tobytes()))
    assert (photo.format, photo.size) == ("JPEG", (56, 40))
    assert "0.prediction" not in tensors, "what is no segmentation is not shown as one"


def test_a_street_segmentation_travels_as_a_picture_and_per_cell(generator):
    output = torch.zeros(1, 11, 40, 56)
    output[:, 3, :, :24] = 9.0
    output[:, 8, :, 24:] = 9.0
    record = random_record(generator)
    config, tensors = unpack(pack(observation_of(record, output), record, title="t", alt="a"))
    cells = tensors["0.cell_classes"].reshape(5, 7)
    assert (cells[:, :3] == 3).all()
    assert (cells[:, 3:] == 8).all()
    classes = config["records"][0]["classes"]
    shares = {entry["name"]: entry["share"] for entry in classes}
    assert shares["road"] == pytest.approx(24 / 56)
    assert shares["car"] == pytest.approx(32 / 56)
    shown = np.array(Image.open(io.BytesIO(tensors["0.prediction"].tobytes())).convert("RGB"))
    assert shown[0, 0].tolist() == classes[3]["color"]
    assert shown[-1, -1].tolist() == classes[8]["color"]


def test_a_networks_own_observation_can_be_packed():
    network = tiny_network("disentangled", subsample=True)
    seen = observe(network, np.zeros((264, 312, 3), np.uint8))
    _, tensors = unpack(pack(seen, seen.records[0], title="t", alt="a"))
    assert tensors["0.query"].shape == (33 * 39, 3)
    assert tensors["0.key"].shape == (16 * 19, 3)
    assert tensors["0.query"].dtype == np.float16


def test_the_color_scale_is_shared_by_all_queries_and_readable(generator):
    record = random_record(generator, scale=2.0)
    scale = color_scale(record)
    values = torch.cat(
        [terms.attention(record, range(QUERIES), term) * KEYS for term in terms.TERMS]
    )
    assert scale["peak"] == readable(values.max().item())
    assert 3 <= scale["scale_top"] <= scale["peak"]
    assert (values > scale["scale_top"]).float().mean() < 0.02


def test_tokens_off_the_picture_take_no_part_in_the_scale(generator):
    grid = random_record(generator).query_grid
    axis = Axis(grid, None, ("class",))
    query, key = torch.zeros(2, QUERIES + 1, 3, dtype=torch.float64)
    unary = torch.zeros(QUERIES + 1, dtype=torch.float64)
    unary[-1] = 5.0  # nearly all is on the class token: 0.81 of every row
    record = replace(
        random_record(generator, "unary"),
        query=query[:, :0],
        key=key[:, :0],
        unary=unary,
        query_grid=grid,
        key_grid=grid,
        query_axis=axis,
        key_axis=axis,
    )
    on_it = 1 / (QUERIES + np.exp(5)) * (QUERIES + 1)
    assert on_it < 0.2
    expected = {"scale_top": 3, "peak": 3, "picture_scale_top": 3, "picture_peak": 3}
    assert color_scale(record) == expected, "places are far below uniform, and alone just uniform"
    raised = replace(record, unary=unary.clone().index_fill(0, torch.tensor([4]), 5.0))
    assert color_scale(raised)["peak"] == readable(np.exp(5) / (34 + 2 * np.exp(5)) * 36)
    assert color_scale(raised)["picture_peak"] == readable(np.exp(5) / (34 + np.exp(5)) * 35)


def test_keys_out_of_reach_take_no_part_in_the_scale(generator):
    pairs = torch.arange(QUERIES)[:, None] // 2  # the last query is alone
    record = random_record(generator)
    uniform = replace(
        record,
        key=torch.ones_like(record.query),
        key_grid=record.query_grid,
        reach=Reach("pair", pairs, pairs),
    )
    assert color_scale(uniform) == {"scale_top": 20, "peak": 40}, "of 17.5, and a single 35"


def test_a_nearly_uniform_map_gets_no_stretched_scale(generator):
    assert color_scale(random_record(generator, scale=1e-6))["scale_top"] == 3


@pytest.mark.parametrize(
    ("value", "rounded"), [(3.0, 3), (3.01, 4), (9.5, 10), (11, 15), (0.012, 0.015)]
)
def test_readable_rounds_up(value, rounded):
    assert readable(value) == pytest.approx(rounded)


def test_palettes_are_matplotlibs():
    table = palette_table()
    assert table.shape == (len(PALETTES), 256, 3)
    assert table[0, 0].tolist() == [68, 1, 84], "viridis begins in #440154"
    assert table[0, 255].tolist() == [253, 231, 37]
    assert table[-1, 128].tolist() == [128, 128, 128]


def test_large_photographs_are_reduced_for_the_screen():
    photo = Image.open(io.BytesIO(jpeg(np.zeros((100, 4000, 3), np.uint8))))
    assert photo.size == (MAX_SHOWN_SIDE, 40)


def test_an_indexed_picture_keeps_its_indices():
    labels = np.array([[0, 2], [1, 0]], np.uint8)
    picture = Image.open(io.BytesIO(indexed_png(labels, np.eye(3, dtype=np.uint8) * 200)))
    assert picture.mode == "P"
    assert np.array_equal(np.array(picture), labels)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "unnormalized" not in str(KINDS[kind])])
def test_columns_can_be_built_from_the_payload(generator, kind):
    record = random_record(generator, **KINDS[kind])
    _, tensors = unpack(pack(observation_of(record), record, title="t", alt="a"))
    query, key, unary = (
        tensors[f"0.{name}"].astype(np.float64) for name in ("query", "key", "unary")
    )
    logits = record.scale * query @ key.T
    seen = np.ones_like(logits) if record.reach is None else record.reach.sees(EVERY).numpy()
    unary_norm = tensors.get("0.unary_norm", np.log(np.exp(unary).sum(keepdims=True)))
    pairwise = seen * np.exp(logits - tensors["0.pairwise_norm"][:, None])
    if record.coupling == "disentangled":
        whole = pairwise + seen * np.exp(unary - unary_norm[:, None])
        assert "0.whole_norm" not in tensors
    else:
        whole = seen * np.exp(logits + unary - tensors["0.whole_norm"][:, None])
    every = range(QUERIES)
    for shown, term in ((whole, "whole"), (pairwise, "pairwise")):
        expected = terms.attention(record, every, term).numpy()
        np.testing.assert_allclose(shown, expected, rtol=1e-2)


def test_a_unary_block_has_no_pairwise_term_whatever_it_computes(generator):
    record = random_record(generator, "unary", form="embedded_gaussian")
    _, tensors = unpack(pack(observation_of(record), record, title="t", alt="a"))
    assert tensors["0.query"].shape == (QUERIES, 0)
    assert tensors["0.key"].shape == (KEYS, 0)


def test_several_records_share_one_picture(generator):
    first, second = random_record(generator), random_record(generator, "disentangled")
    image = observation_of(first).image
    shown = [Shown("one", first, sha256="ab12"), Shown("two", replace(second, head=3))]
    config, tensors = unpack(pack_all(image, shown, alt="a", name="<b>.png"))
    assert [spec["title"] for spec in config["records"]] == ["one", "two"]
    assert config["records"][0]["about"].endswith("coupled · sha256 ab12")
    assert "head 3" in config["records"][1]["about"]
    assert config["name"] == "<b>.png"
    assert {"0.query", "1.query", "image"} <= set(tensors)
    with pytest.raises(ValueError, match="at least one record"):
        pack_all(image, [], alt="a")
    with pytest.raises(ValueError, match=r"must lie on the image shown, .* \(39, 56\)"):
        pack_all(image[1:], shown, alt="a")


def test_a_view_is_added_without_touching_what_is_shown(generator):
    record = random_record(generator)
    payload = pack(observation_of(record), record, title="t", alt="a")
    seen = with_view(payload, View(queries=(Query(((1.0, 2.0),), "here"),), scale="log"))
    config = config_of(seen)
    assert config["view"] == {"queries": [{"points": [[1.0, 2.0]], "name": "here"}], "scale": "log"}
    assert config["id"] == config_of(payload)["id"]
    before, after = load(payload), load(seen)
    assert all(np.array_equal(before[name], after[name]) for name in before)


def test_a_views_query_is_a_token_of_an_axis(generator):
    grid = random_record(generator).query_grid
    axis = Axis(grid, np.array([0, 17, 34]), ("class", "word"))
    assert Query(((55.9, 39.9),)).index(Axis(grid)) == QUERIES - 1
    assert Query(((0.0, 0.0), (56.0, 40.0))).index(Axis(grid)) == QUERIES // 2
    assert Query(((99.0, 0.0),)).index(Axis(grid)) is None
    assert Query(((28.0, 20.0),)).index(axis) == 1
    assert Query(((12.0, 4.0),)).index(axis) is None, "no token is there"
    assert Query.at("word").index(axis) == 4
    assert Query.at("register 1").index(axis) is None
    assert Query.at((28.0, 20.0)).index(Axis(None, None, ("class",))) is None
    assert [Query.at(spot).spot for spot in ("class", (1.0, 2.0))] == ["class", (1.0, 2.0)]


def test_what_the_browser_says_is_checked():
    said = {
        "query": 3,
        "queries": [
            {"points": [[1, 2.5]], "name": "x" * 99},
            {"points": [[1, float("nan")]]},
            {"points": [[1, True]]},
            {"points": [[1]]},
            {"points": []},
            "nothing",
            {"points": [[0, 0], [9, 9]]},
            {"token": "register 1", "name": "mine"},
            {"token": ""},
            {"token": "x" * 81},
            {"token": "a\nb"},
            {"token": 3},
        ],
        "onPicture": True,
        "active": 3.5,
        "scale": "<script>",
        "fixed": float("inf"),
        "signedPalette": "PuOr_r",
        "smooth": "yes",
        "gray": False,
        "arrows": True,
        "arrowCount": 7,
        "boxCount": 10_000,
        "exclude": -1,
        "palette": "inferno",
        "opacity": 7,
        "terms": ["unary", "evil", "whole"],
        "shown": [1, -1, "a", True, 0],
    }
    view = read_view(said)
    assert view.query == 3
    places = (Query(((1, 2.5),), "x" * 40), Query(((0, 0), (9, 9))))
    assert view.queries == (*places, Query((), "mine", token="register 1"))
    assert view.on_picture is True
    assert (view.scale, view.palette, view.opacity) == (None, "inferno", None)
    assert (view.active, view.fixed, view.smooth, view.gray) == (None, None, None, False)
    assert (view.arrows, view.arrow_count, view.box_count, view.exclude) == (True, 7, None, None)
    assert view.as_json()["signedPalette"] == view.signed_palette == "PuOr_r"
    assert view.terms == ("whole", "unary")
    assert view.shown == (1, 0)
    for nothing in (None, 3, [], "view", {"query": -1}, {"query": True}, {"queries": {}}):
        assert read_view(nothing) == View()
