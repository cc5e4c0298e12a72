"""Figures of records with tokens that are no places, and with places that are no whole grid."""

from html import unescape

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from test_tokens import CELLS, GRID, NAMES, record_of

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.figures import Look, Scale, attention_figure
from nonlocal_lens.analysis.figures.panels import MapPanel, panel_rows
from nonlocal_lens.analysis.figures.paper import maps_of
from nonlocal_lens.analysis.figures.plate import Plate
from nonlocal_lens.analysis.figures.scales import color_ranges
from nonlocal_lens.analysis.figures.single import panel_figure
from nonlocal_lens.analysis.figures.token_lines import MOST_LINES, shown_lines
from nonlocal_lens.analysis.scene import Place, Scene
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.export.layouts import noted
from nonlocal_lens.app.export.page import page_bytes
from nonlocal_lens.app.export.scene import Subject

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8)
WHOLE = Axis(GRID, None, NAMES)
SOME = Axis(GRID, CELLS, ("class",))
SHOWN = ("input", "whole", "pairwise", "unary", "difference")


def words_of(figure):
    return [text.get_text() for text in figure.texts]


def panels_of(record, *queries, shown=SHOWN):
    return panel_rows(Scene.of_picture(IMAGE, {"net": record}), queries, shown)


def test_a_map_and_its_tokens_are_the_whole_row(generator):
    record = record_of(generator, WHOLE, WHOLE)
    (row,) = panels_of(record, "class")
    for panel in maps_of([row])[:3]:
        expected = terms.attention(record, [35], panel.title)[0]
        np.testing.assert_allclose(panel.values.ravel(), expected[:35] * 38)
        assert [token.name for token in panel.tokens] == [*NAMES]
        assert [token.share for token in panel.tokens] == pytest.approx(expected[35:].tolist())
        assert [token.value for token in panel.tokens] == pytest.approx(
            (38 * expected[35:]).tolist()
        )
    assert all(token.share is None for token in row[-1].tokens)  # differences are no shares


def test_a_query_that_is_no_place_is_named_and_not_marked(generator):
    (row,) = panels_of(record_of(generator, WHOLE, WHOLE), "class")
    assert all(panel.token == "class" and panel.query is None for panel in row)
    figure = attention_figure(
        {"net": record_of(generator, WHOLE, WHOLE)}, ["class", (20, 20)], image=IMAGE
    )
    named = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert named.count("query: class") == 4  # in its row, and not in the other


def test_the_strip_names_every_token_with_its_share(generator):
    record = record_of(generator, WHOLE, WHOLE)
    figure = attention_figure(record, [(20.0, 20.0)], image=IMAGE, shown=("input", "whole"))
    row = terms.attention(record, [record.query_axis.under(20, 20)])[0]
    for name, share in zip(NAMES, row[35:].tolist(), strict=True):
        assert name in words_of(figure)
        assert f"{100 * share:.1f} %" in words_of(figure)


def test_of_many_tokens_the_last_line_tells_what_all_others_have(generator):
    axis = Axis(GRID, None, tuple(f"word {i}" for i in range(77)))
    (row,) = panels_of(record_of(generator, axis, axis), (20, 20), shown=("whole",))
    lines = shown_lines(row[0].tokens)
    assert len(lines) == MOST_LINES
    assert lines[-1].name == "72 more"
    total = sum(token.share for token in row[0].tokens)
    assert sum(line.share for line in lines) == pytest.approx(total)


def test_cells_that_are_no_token_stay_empty_where_they_are(generator):
    record = record_of(generator, SOME, SOME)
    (row,) = panels_of(record, GRID.center(GRID.cell(17)), shown=("whole",))
    (panel,) = row
    there = np.zeros(35, bool)
    there[CELLS] = True
    assert (panel.missing.ravel() == ~there).all()
    assert np.isfinite(panel.values.ravel()[there]).all()
    assert np.isnan(panel.values.ravel()[~there]).all()
    look = Look(dpi=100, marker="none")
    figure = panel_figure(panel, color_ranges([panel], look.scale), look, IMAGE, 0.56)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:40, :56, :3]
    middles = pixels[4::8, 4::8].reshape(35, 3)
    assert (middles[~there] == 255).all()  # the paper
    assert (middles[there] != 255).any(axis=1).all()


def test_pictures_are_exchanged_with_their_tokens(generator):
    record = record_of(generator, WHOLE, WHOLE)
    rows = panels_of(record, "class", (20, 20))
    ranges = color_ranges(maps_of(rows), Scale())
    plate = Plate([rows[0]], ranges, Look(dpi=100), [IMAGE])
    first = plate.file("png", note={})
    plate.show([rows[1]])
    assert plate.file("png", note={}) == Plate([rows[1]], ranges, Look(dpi=100), [IMAGE]).file(
        "png", note={}
    )
    plate.show([rows[0]])
    assert plate.file("png", note={}) == first


def test_a_token_that_takes_all_leaves_the_maps_readable_and_the_bar_tells(generator):
    record = record_of(generator, WHOLE, WHOLE)
    record.key[35] = 40 * record.query[:35].mean(dim=0)
    (row,) = panels_of(record, (20, 20), shown=("whole",))
    (panel,) = row
    assert panel.tokens[0].share > 0.9
    (found,) = color_ranges([panel], Scale()).values()
    assert found.norm.vmax < panel.tokens[0].value
    assert found.extend == "max"


def test_keys_that_are_no_places_have_no_map(generator):
    words = Axis(None, None, ("a", "dog"))
    record = record_of(generator, Axis(GRID), words)
    with pytest.raises(ValueError, match=r"keys of net are no places of the image.*\(a, dog\)"):
        panels_of(record, (20, 20))


def test_object_queries_are_drawn_by_name(generator):
    record = record_of(generator, Axis(None, None, ("query 1", "query 2")), Axis(GRID))
    figure = attention_figure(record, ["query 2", 0], image=IMAGE)
    named = {text.get_text() for ax in figure.axes for text in ax.texts}
    assert named == {"query: query 1", "query: query 2"}
    assert isinstance(panels_of(record, "query 1")[0][1], MapPanel)
    with pytest.raises(ValueError, match="no token is called 'query 9'"):
        attention_figure(record, ["query 9"], image=IMAGE)


def test_arrows_point_at_places_alone(generator):
    record = record_of(generator, WHOLE, WHOLE)
    record.key[35:] += 30 * torch.sign(record.query[:35].mean(dim=0))
    (row,) = panel_rows(Scene.of_picture(IMAGE, {"net": record}), [(20, 20)], ("whole",), arrows=3)
    assert len(row[0].strongest) == 3


def test_the_view_on_the_picture_is_a_choice_that_the_figure_says(generator):
    record = record_of(generator, WHOLE, WHOLE)
    figure = attention_figure(record, ["class"], image=IMAGE, on_picture=True)
    assert not {*NAMES} & {*words_of(figure)}
    labels = [ax.get_xlabel() for ax in figure.axes]
    assert "attention (multiples of uniform), of what falls on the picture" in labels
    scene = Scene.of_picture(IMAGE, {"net": record}, on_picture=True)
    (row,) = panel_rows(scene, ["class"], SHOWN)
    whole = terms.attention(record, [35])[0, :35]
    np.testing.assert_allclose(row[1].values.ravel(), 35 * whole / whole.sum())
    assert all(panel.tokens == () for panel in row[1:])


def test_the_view_changes_and_says_nothing_where_all_keys_are_places(generator):
    record = record_of(generator, WHOLE, Axis(GRID))
    labels = [
        [
            ax.get_xlabel()
            for ax in attention_figure(record, [(20, 20)], image=IMAGE, on_picture=on_picture).axes
        ]
        for on_picture in (False, True)
    ]
    assert labels[0] == labels[1]


@pytest.mark.parametrize("on_picture", [False, True])
def test_a_page_opens_at_the_tokens_that_were_asked_for(generator, on_picture):
    record = record_of(generator, WHOLE, WHOLE)
    scene = Scene.of_picture(IMAGE, {"net": record}, on_picture=on_picture)
    clip = Clip(IMAGE[None], np.zeros(1), (0,), 1.0, "a.png", "", "")
    places = [Place.of("class"), Place.of((20.0, 12.0))]
    data = page_bytes(Subject(Source("a", "a.png"), clip, scene, places, {}), {})
    config = unescape(data.decode())
    assert '"token": "class"' in config or '"token":"class"' in config
    assert ('"onPicture": true' in config or '"onPicture":true' in config) == on_picture


def test_what_is_noted_of_a_token_is_its_name():
    assert [noted(place.query) for place in (Place.of("class"), Place.of((3.0, 4.0)))] == [
        "class",
        [3.0, 4.0],
    ]
    assert (Place.of("class").words, Place(0, 3.2, 4.9).words) == ("class", "x 3, y 5")
    assert (Place.of("class").point, Place(0, 3.2, 4.9).point) == (None, (3.2, 4.9))
