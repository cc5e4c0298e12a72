"""All heads of a network: their order, their parts, what a browser is given, and the sheet."""

import json
import shutil
import subprocess
from dataclasses import replace
from math import isfinite, nan

import numpy as np
import pytest
import torch
from records import CHANNELS, KEY_HW, KEYS, QUERIES, random_record
from safetensors.numpy import load

from nonlocal_lens.analysis import atlas, terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.figures.atlas import Wall, atlas_figure
from nonlocal_lens.analysis.figures.files import read_note
from nonlocal_lens.app.atlas import payload, taken
from nonlocal_lens.app.atlas.bundle import HERE
from nonlocal_lens.app.atlas.choices import FIELDS, USUAL

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
FIRST = atlas.HEAD_STATISTICS[0]


def record(seed, block="blocks.0.attn", head=0, call=0, **options):
    made = random_record(torch.Generator().manual_seed(seed), dtype=torch.float32, **options)
    return replace(made, block=block, head=head, call=call)


RECORDS = tuple(
    record(7 * layer + head, f"blocks.{layer}.attn", head)
    for layer in range(3)
    for head in range(5)
)


@pytest.fixture(scope="module")
def heads():
    return atlas.measure_heads(RECORDS)


@pytest.fixture(scope="module")
def subject():
    return payload.Subject("vit <b>", IMAGE, "noise", "Noise", RECORDS, "abc", random=True)


def test_layers_are_counted_as_blocks_ran():
    again = [record(0, "a"), record(1, "a", 1), record(2, "b"), record(3, "a", call=1)]
    assert atlas.layers(again) == [0, 0, 1, 2]
    assert [atlas.head_title(one) for one in again[1:]] == ["a.head1", "b.head0", "a.call1.head0"]
    assert atlas.head_title(record(0, "a", None)) == "a"


def test_measured_in_parts_or_at_once_heads_are_the_same(heads):
    begun = atlas.measure_heads(RECORDS[:5])
    rest = atlas.measure_heads(RECORDS[5:], earlier=begun, first_layer=1)
    for one, other in zip(heads, [*begun, *rest], strict=True):
        assert (one.layer, one.twin, one.title) == (other.layer, other.twin, other.title)
        assert getattr(one.report, FIRST) == getattr(other.report, FIRST)


def changed(heads, values):
    """Return heads with other numbers of the first statistic."""
    return [
        head._replace(report=replace(head.report, **{FIRST: value}))
        for head, value in zip(heads, values, strict=True)
    ]


VALUES = [0.5, nan, 0.5, 0.1, 0.9, 0.3, 0.3, nan, 1.0, 0.0, 0.2, 0.7, 0.6, 0.4, 0.8]


def brute_force(values, layers, order, grouped):
    """Return the wall by repeatedly taking the best that is left."""
    rows = []
    for wanted in sorted(set(layers)) if grouped else [None]:
        left = [n for n in range(len(values)) if wanted in (None, layers[n])]
        row = []
        while left:
            best = left[0]
            for one in left[1:]:
                better = (
                    values[one] > values[best] if order == "highest" else values[one] < values[best]
                )
                if order != "layer" and (
                    better or (not isfinite(values[best]) and isfinite(values[one]))
                ):
                    best = one
            row.append(best)
            left.remove(best)
        rows.append(row)
    return rows


@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("order", atlas.ORDERS)
def test_the_order_of_the_wall_is_that_of_brute_force(heads, order, grouped):
    wall = changed(heads, VALUES)
    expected = brute_force(VALUES, [head.layer for head in wall], order, grouped)
    assert atlas.arranged(wall, order=order, grouped=grouped) == expected
    with pytest.raises(ValueError, match="unknown statistic 'beauty'; available"):
        atlas.arranged(wall, statistic="beauty")


SCRIPT = """
import { groupsOf } from "./order.mjs";
const { heads, views } = JSON.parse(process.argv[2]);
const numbers = (group) => group.heads.map(({ index }) => index);
console.log(JSON.stringify(views.map((view) => groupsOf(heads, view).map(numbers))));
"""


def in_browser_order(tmp_path, heads, views):
    node = shutil.which("node")
    if node is None:
        pytest.skip("no Node.js")
    (tmp_path / "order.mjs").write_text((HERE / "order.js").read_text())
    (tmp_path / "run.mjs").write_text(SCRIPT)
    given = json.dumps({"heads": heads, "views": views})
    done = subprocess.run(
        [node, tmp_path / "run.mjs", given], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def test_the_browser_orders_and_filters_as_brute_force(tmp_path, heads):
    layers = [head.layer for head in heads]
    given = [
        {
            "index": n,
            "layer": layers[n],
            "block": heads[n].record.block,
            "title": heads[n].title,
            "statistics": {FIRST: VALUES[n] if isfinite(VALUES[n]) else None},
            "twin": {"head": 0, "bits": 0} if n in (3, 8) else None,
        }
        for n in range(len(VALUES))
    ]
    usual = {"statistic": FIRST, "filter": "", "twins": "all"}
    views = [
        {**usual, "order": order, "grouped": grouped}
        for order in atlas.ORDERS
        for grouped in (True, False)
    ]
    found = in_browser_order(tmp_path, given, views)
    for view, rows in zip(views, found, strict=True):
        assert rows == brute_force(VALUES, layers, view["order"], view["grouped"]), view

    by_layer = {**usual, "order": "layer", "grouped": False}
    filters = {
        "> 0.5": [n for n, value in enumerate(VALUES) if value > 0.5],
        "<0.3": [n for n, value in enumerate(VALUES) if value < 0.3],
        "BLOCKS.1 head3": [8],
        "> .2 blocks.0": [0, 2, 4],
        "nothing": [],
    }
    found = in_browser_order(tmp_path, given, [{**by_layer, "filter": one} for one in filters])
    assert [rows[0] if rows else [] for rows in found] == list(filters.values())
    found = in_browser_order(
        tmp_path, given, [{**by_layer, "twins": one} for one in ("only", "without")]
    )
    assert found[0] == [[3, 8]]
    assert found[1] == [[n for n in range(15) if n not in (3, 8)]]


def test_parts_are_whole_begin_with_one_layer_and_stay_below_the_limit(monkeypatch):
    many = [record(0, f"blocks.{layer}", head) for layer in range(11) for head in range(7)]
    own = 2 * (QUERIES + KEYS) * CHANNELS
    monkeypatch.setattr(payload, "PART_BYTES", 10 * own)
    found = payload.parts(many)
    assert [number for part in found for number in part] == list(range(77))
    assert found[0] == range(7)
    assert all(len(part) <= 10 for part in found)
    monkeypatch.setattr(payload, "PART_BYTES", 1)
    assert all(len(part) == 1 for part in payload.parts(many)), "always a head"
    assert payload.parts([]) == []


def test_of_a_large_network_so_many_parts_come_unasked_as_fit():
    own = payload.part_bytes(RECORDS, range(1))
    assert own == 2 * (QUERIES + KEYS) * CHANNELS
    every = payload.parts(RECORDS)
    assert every == [range(5), range(5, 15)]
    assert payload.parts_within(RECORDS, 15 * own) == 2
    assert payload.parts_within(RECORDS, 15 * own - 1) == 1
    assert payload.parts_within(RECORDS, 0) == 1, "always a part"


def config_of(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])


def test_a_browser_is_given_what_was_recorded_and_measured(subject, heads):
    first = config_of(payload.first_part(subject))
    assert [one["title"] for one in first["heads"]] == [head.title for head in heads]
    assert first["random"] is True
    every = payload.parts(RECORDS)
    assert first["parts"] == 1 + len(every)
    for number, indices in enumerate(every):
        data = payload.part(subject, number, [heads[index] for index in indices])
        config, tensors = config_of(data), load(data)
        assert (config["id"], config["part"]) == (first["id"], number + 1)
        for index in indices:
            one = RECORDS[index]
            query, key = tensors[f"{index}.query"], tensors[f"{index}.key"]
            logits = one.scale * query.astype(np.float64) @ key.astype(np.float64).T
            expected = terms.pairwise_logits(one, range(QUERIES)).numpy()
            np.testing.assert_allclose(logits, expected, atol=0.01 * np.abs(expected).max())
            mean = terms.attention(one, range(QUERIES)).mean(dim=0).numpy() * KEYS
            np.testing.assert_allclose(tensors[f"{index}.mean"], mean, rtol=1e-5)
            numbers = config["numbers"][str(index)]["statistics"]
            assert numbers[FIRST] == pytest.approx(getattr(heads[index].report, FIRST))


def test_undefined_numbers_are_none_for_json_has_no_nan(subject, heads):
    flat = changed(heads, [nan] * len(heads))
    data = payload.part(subject, 0, [flat[index] for index in payload.parts(RECORDS)[0]])
    assert b"NaN" not in data[:20000]
    assert config_of(data)["numbers"]["0"]["statistics"][FIRST] is None


def test_places_of_cells_travel_where_some_are_missing():
    whole = record(0)
    axis = Axis(whole.key_grid, np.delete(np.arange(KEYS), [4, 9]), ("class", "register 1"))
    (head,) = atlas.measure_heads([replace(whole, key_axis=axis)])
    values = head.values("whole", 3)
    assert values.shape == KEY_HW
    assert np.isnan(values.ravel()[[4, 9]]).all()
    assert np.isfinite(np.delete(values.ravel(), [4, 9])).all()
    expected = terms.attention(head.record, [3])[0] * KEYS
    assert values.ravel()[10] == pytest.approx(expected[8].item())
    one = payload.Subject("a", IMAGE, "b", "c", (head.record,))
    assert load(payload.part(one, 0, [head]))["0.key_cells"].tolist() == axis.cells.tolist()


def test_what_has_no_place_is_not_on_the_wall():
    nowhere = replace(
        record(0), key_grid=None, key_axis=Axis(None, None, tuple(map(str, range(KEYS))))
    )
    assert atlas.placed([nowhere, RECORDS[0]]) == (RECORDS[0],)
    with pytest.raises(ValueError, match="a has no attention block with places"):
        payload.first_part(payload.Subject("a", IMAGE, "b", "c", ()))


def test_files_say_how_they_were_made(tmp_path, subject, heads):
    view = {"order": "lowest", "map": "mean", "query": [3.0, 5.0]}
    point = taken.point_of(subject, view)
    assert point == (3.0, 5.0)
    for kind in ("png", "svg", "pdf"):
        path = tmp_path / f"a.{kind}"
        path.write_bytes(taken.figure_file(subject, heads, view, point, kind))
        note = read_note(path)
        assert note["network"] == {"title": "vit <b>", "sha256": "abc", "random": True}
        assert note["view"]["order"] == "lowest"
    others = [
        payload.part(subject, number, [heads[index] for index in indices])
        for number, indices in enumerate(payload.parts(RECORDS))
    ]
    page = taken.html_page(subject, [payload.first_part(subject), *others], view).decode()
    assert "<h1>All heads of vit &lt;b&gt; on noise</h1>" in page
    assert "Random weights: nothing in it was learned" in page
    assert "connect-src" not in page
    assert "default-src 'none'" in page


def test_the_table_has_a_row_for_every_head(subject, heads):
    table = atlas.heads_table(heads)
    assert len(table) == len(RECORDS)
    assert table["head"].tolist() == [0, 1, 2, 3, 4] * 3
    lines = taken.table_csv(subject, heads).decode().splitlines()
    assert lines[0].startswith("network,picture,layer,block,call,head,queries,keys,redundant_with")
    assert len(lines) == 16


@pytest.mark.parametrize("shown", atlas.HEAD_MAPS)
@pytest.mark.parametrize("grouped", [True, False])
def test_the_sheet_shows_every_head_in_the_order_of_the_wall(heads, shown, grouped):
    wall = Wall(shown=shown, grouped=grouped, order="highest")
    figure = atlas_figure(heads, IMAGE, (20.0, 20.0), title="vit", wall=wall)
    pictures = figure.axes[-1].images
    assert len(pictures) == len(heads)
    numbers = [n for row in atlas.arranged(heads, grouped=grouped) for n in row]
    query = heads[0].record.query_axis.under(20, 20)
    for number, picture in zip(numbers, pictures, strict=True):
        np.testing.assert_allclose(picture.get_array(), heads[number].values(shown, query))
    with pytest.raises(ValueError, match="there is no head"):
        atlas_figure([], IMAGE, (0, 0), title="vit")


def test_choices_survive_the_address_and_nothing_else_does():
    values = {
        "statistic": "unary_share",
        "order": "lowest",
        "grouped": False,
        "picked": ["a.head1"],
    }
    for field, name in zip(FIELDS, [*USUAL, "filter", "picked"], strict=True):
        if name in values:
            assert field.read(field.write(values[name])) == values[name]
        with pytest.raises(ValueError, match=r"^$"):
            field.read("\0<script>")
