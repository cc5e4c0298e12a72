"""The wall of means: what is averaged over pictures equals brute force over all their records."""

import gc
import json
import weakref
from dataclasses import replace
from functools import cache
from math import isfinite, nan

import numpy as np
import pytest
import torch
from records import KEY_HW, KEYS, PARTS, QUERIES, random_record
from safetensors.numpy import load

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.atlas import HEAD_STATISTICS, heads_table, measure_heads
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.figures.atlas import Wall, atlas_figure
from nonlocal_lens.analysis.figures.files import read_note
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.head_means import HeadMeans, sentence_of_means
from nonlocal_lens.analysis.intervals import mean_interval
from nonlocal_lens.app.atlas import payload, taken
from nonlocal_lens.app.atlas.means import means_of

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
FIRST = HEAD_STATISTICS[0]
LAYERS, HEADS, PICTURES = 2, 3, 5


def picture(number, **options):
    """Return what a network of two layers of three heads did on one picture."""
    return tuple(
        replace(
            random_record(
                torch.Generator().manual_seed(100 * number + 10 * layer + head),
                learned=True,
                **options,
            ),
            block=f"blocks.{layer}",
            head=head,
        )
        for layer in range(LAYERS)
        for head in range(HEADS)
    )


ALL = [picture(number) for number in range(PICTURES)]


@pytest.fixture(scope="module")
def means():
    found = HeadMeans()
    for records in ALL:
        found.add(records)
    return found


@pytest.fixture(scope="module")
def heads(means):
    return means.over(measure_heads(ALL[0]))


@cache
def report_of(record):
    return degeneracy.measure(record, shuffles=False)


def number_of(record, statistic):
    return float(getattr(report_of(record), statistic))


def test_numbers_and_maps_are_the_means_over_all_pictures(heads):
    for n, head in enumerate(heads):
        same = [records[n] for records in ALL]
        for statistic in HEAD_STATISTICS:
            values = [number_of(record, statistic) for record in same]
            known = [value for value in values if isfinite(value)]
            found = getattr(head.report, statistic)
            assert found == pytest.approx(np.mean(known) if known else nan, nan_ok=True)
        rows = [terms.attention(record, range(QUERIES)).mean(dim=0) for record in same]
        torch.testing.assert_close(head.mean, torch.stack(rows).mean(dim=0), rtol=1e-9, atol=1e-12)
        maps = [terms.attention(record, [3], "unary")[0] for record in same]
        expected = torch.stack(maps).mean(dim=0) * KEYS
        np.testing.assert_allclose(
            head.values("unary", 3), expected.reshape(KEY_HW).float(), rtol=1e-6
        )
        own = terms.attention(ALL[0][n], [3])[0] * KEYS
        np.testing.assert_allclose(head.values("whole", 3), own.reshape(KEY_HW).float(), rtol=1e-6)
        assert head.record is ALL[0][n], "what is pointed at is the first picture"


def test_intervals_by_depth_are_over_pictures_of_the_mean_over_heads(means):
    for statistic in (FIRST, "jsd_nats"):
        found = means.by_depth(statistic)
        assert sorted(found) == [0, 1]
        for layer, interval in found.items():
            values = [
                np.mean([number_of(records[HEADS * layer + head], statistic) for head in range(3)])
                for records in ALL
            ]
            assert interval == pytest.approx(mean_interval(values), rel=1e-9)


def test_undefined_numbers_are_left_out_of_means():
    flat = [
        replace(record, query=torch.zeros_like(record.query), unary=torch.zeros(KEYS).double())
        for record in ALL[1]
    ]
    assert not isfinite(number_of(flat[0], FIRST)), "uniform attention selects nothing"
    found = HeadMeans()
    for records in (ALL[0], flat):
        found.add(records)
    head = found.over(measure_heads(ALL[0]))[4]
    assert getattr(head.report, FIRST) == pytest.approx(number_of(ALL[0][4], FIRST))
    assert found.by_depth(FIRST)[1].numbers == 1


def test_other_grids_have_means_of_numbers_and_none_of_maps():
    grid = Grid.tiling((44, 56), *KEY_HW)
    larger = [replace(record, key_grid=grid, key_axis=Axis(grid, None)) for record in ALL[1]]
    found = HeadMeans()
    for records in (ALL[0], larger):
        found.add(records)
    heads = found.over(measure_heads(ALL[0]))
    for n, head in enumerate(heads):
        own, other = (number_of(records[n], FIRST) for records in (ALL[0], larger))
        assert getattr(head.report, FIRST) == pytest.approx((own + other) / 2)
        assert head.unary is None
        torch.testing.assert_close(
            head.mean, terms.attention(ALL[0][n], range(QUERIES)).mean(dim=0)
        )
    assert sentence_of_means(2, heads, "a.png") == (
        "Numbers are means over 2 pictures. Their grids differ, so that maps have no mean: those "
        "that you see are of a.png."
    )


def test_what_is_a_mean_is_said(heads):
    assert sentence_of_means(PICTURES, heads, "a.png") == (
        "Numbers, mean rows and unary maps are means over 5 pictures; whole and pairwise maps are "
        "of a.png."
    )
    in_parts = HeadMeans()
    in_parts.add(picture(0, reach=PARTS))
    only_parts = in_parts.over(measure_heads(picture(0, reach=PARTS)))
    assert all(head.unary is None for head in only_parts), "it differs from query to query"
    assert sentence_of_means(1, only_parts, "a.png") == (
        "Numbers and mean rows are means over 1 picture; all other maps are of a.png."
    )
    assert "but for the unary maps of 6 heads" in sentence_of_means(
        1, [*only_parts, heads[0]._replace(maps_of=1)], "a.png"
    )


def test_heads_are_redundant_by_the_rows_of_all_pictures():
    def twins(records):
        return (*records[:5], replace(records[0], block="blocks.1", head=2))

    found = HeadMeans()
    for records in map(twins, ALL):
        found.add(records)
    *_, last = found.over(measure_heads(twins(ALL[0])))
    assert last.twin is not None
    assert last.twin.head == 0
    assert last.twin.bits == pytest.approx(0, abs=1e-9)


def test_no_record_is_kept():
    found = HeadMeans()
    records = picture(7)
    seen = [weakref.ref(record) for record in records]
    seen += [weakref.ref(record.key) for record in records]
    found.add(records)
    del records
    gc.collect()
    assert not any(one() for one in seen)
    with pytest.raises(ValueError, match="no attention with places"):
        found.add(())
    assert found.pictures == 1


@pytest.fixture
def subject(means, heads):
    said = means_of(means, heads, "the folder photos", "a.png")
    return payload.Subject("vit", IMAGE, "a.png", "Noise", ALL[0], "abc", means=said)


def config_of(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])


def test_a_browser_is_given_the_means_and_what_is_said_of_them(subject, means, heads):
    first = config_of(payload.first_part(subject))
    assert first["means"]["counted"] == "5 pictures"
    assert first["means"]["said"].endswith("whole and pairwise maps are of a.png.")
    interval = means.by_depth(FIRST)[1]
    assert first["means"]["depth"][FIRST][1] == pytest.approx([1, *interval[:3]])
    alone = subject._replace(means=None)
    assert config_of(payload.first_part(alone))["means"] is None
    assert payload.wall_id(alone) != payload.wall_id(subject), "it is another wall"
    every = payload.parts(subject.records)
    for number, indices in enumerate(every):
        tensors = load(payload.part(subject, number, [heads[index] for index in indices]))
        for index in indices:
            expected = heads[index].values("unary", 0).ravel()
            np.testing.assert_allclose(tensors[f"{index}.unary_mean"], expected, rtol=1e-6)


def test_one_picture_has_no_interval_and_json_no_nan():
    found = HeadMeans()
    found.add(ALL[0])
    heads = found.over(measure_heads(ALL[0]))
    said = means_of(found, heads, "one", "a.png")
    assert said.counted == "1 picture"
    assert said.depth[FIRST][0][2:] == [None, None]
    assert isfinite(said.depth[FIRST][0][1])


def test_files_say_how_many_pictures_there_are(tmp_path, subject, heads):
    for kind in ("png", "svg", "pdf"):
        path = tmp_path / f"a.{kind}"
        point = taken.point_of(subject, {})
        path.write_bytes(taken.figure_file(subject, heads, {"map": "mean"}, point, kind))
        note = read_note(path)["means"]
        assert (note["count"], note["which"]) == (5, "the folder photos")
        assert "means over 5 pictures" in note["said"]
    others = [
        payload.part(subject, number, [heads[index] for index in indices])
        for number, indices in enumerate(payload.parts(subject.records))
    ]
    page = taken.html_page(subject, [payload.first_part(subject), *others], {}).decode()
    assert "<h1>All heads of vit on 5 pictures</h1>" in page
    assert "Means over 5 pictures: the folder photos" in page
    lines = taken.table_csv(subject, heads).decode().splitlines()
    assert lines[0].startswith("network,pictures,layer,block,call,head,")
    assert lines[1].startswith("vit,5,0,blocks.0,0,")
    assert heads_table(heads)[FIRST].tolist() == pytest.approx(
        [getattr(head.report, FIRST) for head in heads]
    )


@pytest.mark.parametrize("shown", ["mean", "unary"])
def test_a_sheet_of_means_needs_no_query(heads, shown):
    figure = atlas_figure(
        heads, IMAGE, None, title="vit", said="Of 5 pictures.", wall=Wall(shown=shown)
    )
    assert len(figure.axes[-1].images) == len(heads)
    assert any("5 pictures" in one.get_text() for one in figure.texts)
    photo = figure.axes[0]
    assert not photo.lines, "no place is marked"
    whole = atlas_figure(heads, IMAGE, None, title="vit", wall=Wall(shown="pairwise"))
    assert not whole.axes[-1].images, "which are of a query"
