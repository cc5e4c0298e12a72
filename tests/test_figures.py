import base64
import io
import re
import threading
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from records import QUERIES, random_record

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.figures import Look, Scale, attention_figure, figure_bytes, read_note
from nonlocal_lens.analysis.figures.files import rgb
from nonlocal_lens.analysis.figures.look import STYLES
from nonlocal_lens.analysis.figures.panels import (
    PhotoPanel,
    Scene,
    class_picture,
    mean_row,
    panel_rows,
)
from nonlocal_lens.analysis.figures.paper import maps_of
from nonlocal_lens.analysis.figures.plate import Plate
from nonlocal_lens.analysis.figures.scales import color_ranges
from nonlocal_lens.analysis.figures.sheet import sheet_rows

pytestmark = pytest.mark.slow

HW = (40, 56)
QUERY_POINTS = [(3.0, 5.0), (50.0, 33.0)]
MAPS = ("whole", "pairwise", "unary")


def image():
    return np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)


def records():
    return {
        coupling: random_record(torch.Generator().manual_seed(seed), coupling)
        for seed, coupling in enumerate(("coupled", "disentangled"))
    }


def draw(**options):
    return attention_figure(records(), QUERY_POINTS, **{"image": image(), **options})


def pictures(figure):
    """Return what is drawn on every panel, row by row, without the color bars."""
    return [axes.images[0] for axes in figure.axes if axes.images]


def saved(figure, kind, note=None):
    return figure_bytes(figure, kind, note=note or {})


def test_every_panel_shows_the_attention_of_its_row_and_column_on_one_scale():
    drawn = pictures(draw())
    assert len(drawn) == 2 * (1 + 2 * 3)
    for row, (x, y) in enumerate(QUERY_POINTS):
        assert np.array_equal(drawn[7 * row].get_array(), image())
        for col, one in enumerate(records().values()):
            query = one.query_grid.position(one.query_grid.cell_at(x=x, y=y))
            for index, term in enumerate(MAPS):
                panel = drawn[7 * row + 1 + 3 * col + index]
                expected = terms.attention(one, [query], term)[0] * one.key_grid.positions
                np.testing.assert_array_equal(panel.get_array().ravel(), expected)
    scales = {panel.get_clim() for panel in drawn if panel.get_array().ndim == 2}
    assert len(scales) == 1
    assert next(iter(scales))[0] == 0


def test_differences_from_the_mean_row_vanish_in_the_mean_and_have_a_signed_scale():
    record = records()["coupled"]
    figure = attention_figure(record, range(QUERIES), shown=("difference",))
    total = sum(panel.get_array() for panel in pictures(figure))
    np.testing.assert_allclose(total, 0, atol=1e-9)
    low, high = pictures(figure)[0].get_clim()
    assert low == -high
    torch.testing.assert_close(
        mean_row(record), terms.attention(record, range(QUERIES)).mean(dim=0)
    )


def test_a_nearly_uniform_map_is_not_stretched():
    record = random_record(torch.Generator().manual_seed(0), scale=1e-6)
    (panel,) = pictures(attention_figure(record, [0], shown=("whole",)))
    assert panel.get_clim() == (0, 3)


def test_scales_do_what_their_names_say():
    fixed = pictures(draw(look=Look(scale=Scale.parse("fixed:0.5,2.5"))))
    assert {panel.get_clim() for panel in fixed if panel.get_array().ndim == 2} == {(0.5, 2.5)}
    for panel in pictures(draw(look=Look(scale=Scale.parse("per-map")))):
        if panel.get_array().ndim == 2:
            assert panel.get_clim() == (panel.get_array().min(), panel.get_array().max())
    low, high = pictures(draw(look=Look(scale=Scale.parse("log"))))[1].get_clim()
    assert low == 0.01
    assert high >= 10


@pytest.mark.parametrize("text", ["shared", "per-map", "log", "fixed:-1.5,20"])
def test_scales_are_written_as_they_are_read(text):
    assert str(Scale.parse(text)) == text


@pytest.mark.parametrize("text", ["", "fixed", "fixed:2", "fixed:3,2", "fixed:0,nan", "linear:0,1"])
def test_other_scales_are_refused(text):
    with pytest.raises(ValueError, match="scale must be shared, per-map, log or fixed:LO,HI"):
        Scale.parse(text)


def test_the_query_is_marked_on_every_panel_and_arrows_end_at_the_strongest_keys():
    figure = draw(shown=("input", "pairwise"), look=Look(arrows=3))
    panels = [axes for axes in figure.axes if axes.images]
    for row, point in enumerate(QUERY_POINTS):
        for axes in panels[3 * row : 3 * row + 3]:
            assert axes.lines[0].get_xydata().tolist() == [list(point)]
            assert len(axes.patches) == 3
    one = records()["coupled"]
    query = one.query_grid.position(one.query_grid.cell_at(x=3, y=5))
    strongest = terms.attention(one, [query], "pairwise")[0].argmax().item()
    center = one.key_grid.center(one.key_grid.cell(strongest))
    assert panels[1].patches[0]._posA_posB[1] == pytest.approx(center)


def test_equal_values_have_equal_colors_wherever_they_are_drawn():
    record = records()["coupled"]
    figure = attention_figure(
        {"one": record, "two": record}, [4, 4], shown=("unary",), look=Look(marker="none")
    )
    pixels = rgb(figure)
    boxes = [axes.bbox for axes in figure.axes if axes.images]
    colors = []
    for box in boxes:
        top, left = round(pixels.shape[0] - box.y1), round(box.x0)
        panel = pixels[top : top + round(box.height), left : left + round(box.width)]
        rows = ((np.arange(3) + 0.5) / 3 * panel.shape[0]).astype(int)
        cols = ((np.arange(11) + 0.5) / 11 * panel.shape[1]).astype(int)
        colors.append(panel[np.ix_(rows, cols)])
    assert len(colors) == 4
    for other in colors[1:]:
        np.testing.assert_array_equal(other, colors[0])
    norm, cmap = pictures(figure)[0].norm, pictures(figure)[0].cmap
    expected = cmap(norm(pictures(figure)[0].get_array()), bytes=True)[..., :3]
    np.testing.assert_array_equal(colors[0], expected)


def test_the_maps_inside_an_svg_have_the_color_bars_colors_and_no_others():
    figure = attention_figure(records()["coupled"], [4], shown=("whole",), look=Look(marker="none"))
    root = ElementTree.fromstring(saved(figure, "svg"))
    data = [
        base64.b64decode(node.get("{http://www.w3.org/1999/xlink}href").partition(",")[2])
        for node in root.iter("{http://www.w3.org/2000/svg}image")
    ]
    pictures_inside = [np.asarray(Image.open(io.BytesIO(one)).convert("RGB")) for one in data]
    largest = max(pictures_inside, key=lambda picture: picture.shape[0])
    (panel,) = pictures(figure)
    expected = panel.cmap(panel.norm(panel.get_array()), bytes=True)[..., :3]
    np.testing.assert_array_equal(colors_of(largest), colors_of(expected))


def colors_of(pixels):
    """Return the colors in a picture, each once, as 0xRRGGBB."""
    return np.unique(pixels.astype(int) @ [1 << 16, 1 << 8, 1])


@pytest.mark.parametrize("scale", ["shared", "per-map"])
def test_a_plate_that_is_shown_again_gives_the_files_of_a_fresh_one(scale, tmp_path):
    look = Look(dpi=80, arrows=2, scale=Scale.parse(scale), backdrop="gray")
    scene = Scene.of_picture(image(), records(), {})
    rows = panel_rows(scene, QUERY_POINTS, ("input", *MAPS), arrows=2)
    ranges = color_ranges(maps_of(rows), look.scale)
    plate = Plate(rows[:1], ranges, look, [image()])
    for row in (rows[0], rows[1], rows[0], rows[1]):
        plate.show([row])
        fresh = Plate([row], ranges, look, [image()])
        for kind in ("png", "svg"):
            assert plate.file(kind, note={}) == fresh.file(kind, note={})
        path = tmp_path / "figure.png"
        path.write_bytes(plate.file("png", note={}))
        np.testing.assert_array_equal(np.asarray(Image.open(path)), rgb(fresh.figure))


@pytest.mark.parametrize("style", STYLES)
def test_figures_are_as_wide_as_asked_and_nothing_leaves_them(style):
    figure = draw(look=Look(style=style, dpi=200), caption="Where blocks look. " * 20)
    assert figure.get_size_inches()[0] == pytest.approx(STYLES[style].width_in, abs=0.02)
    figure.canvas.draw()
    box = figure.bbox
    for text in figure.texts:
        extent = text.get_window_extent()
        assert extent.x0 >= box.x0 - 1, text.get_text()
        assert extent.x1 <= box.x1 + 1, text.get_text()
        assert extent.y0 >= box.y0 - 1, text.get_text()
        assert extent.y1 <= box.y1 + 1, text.get_text()


def test_names_are_never_read_as_mathematics_and_are_cut_where_they_do_not_fit():
    title = "$\\undefined{" + "long" * 90
    figure = attention_figure({title: records()["coupled"]}, [0], shown=("whole",))
    rgb(figure)
    assert any(text.get_text().startswith("$\\undef") for text in figure.texts)


def test_a_given_figure_or_sub_figure_is_drawn_in_and_returned():
    whole = Figure(figsize=(7, 4), dpi=60)
    left, right = whole.subfigures(1, 2)
    assert attention_figure(records(), [0], shown=("whole",), fig=left) is whole
    assert len(left.axes) == 3
    assert not right.axes
    assert whole.get_size_inches().tolist() == [7, 4]


def test_given_axes_are_drawn_on_and_nothing_else():
    figure = Figure(figsize=(4, 3))
    axes = figure.subplots(2, 2)
    assert attention_figure(records(), [0, 1], shown=("whole",), ax=axes) is figure
    assert len(figure.axes) == 4
    assert not figure.texts
    with pytest.raises(ValueError, match="2 queries with 2 panels each need 4 axes, got 2"):
        attention_figure(records(), [0, 1], shown=("whole",), ax=axes[0])


def test_drawing_leaves_matplotlibs_settings_alone():
    before = dict(matplotlib.rcParams)
    figure = draw()
    assert dict(matplotlib.rcParams) == before
    threads = [threading.Thread(target=saved, args=(figure, "svg")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert dict(matplotlib.rcParams) == before


def test_pdf_embeds_outlines_even_by_matplotlibs_own_way_of_saving(tmp_path):
    draw().savefig(tmp_path / "figure.pdf")
    for data in (saved(draw(), "pdf"), (tmp_path / "figure.pdf").read_bytes()):
        assert b"/CIDFontType2" in data
        assert b"/Subtype /Type3" not in data
        assert b"/FontFile2" in data


def test_text_in_svg_is_text():
    root = ElementTree.fromstring(saved(draw(caption="Look here."), "svg"))
    words = {node.text for node in root.iter("{http://www.w3.org/2000/svg}text")}
    assert {"input", "whole", "coupled", "Look here.", "attention (multiples of uniform)"} <= words


@pytest.mark.parametrize("kind", ["png", "pdf", "svg"])
def test_equal_figures_give_equal_bytes_and_keep_their_note(kind, tmp_path):
    note = {"text": 'é "quoted" (round) \\ back\nline', "number": 0.1, "list": [1, {"a": None}]}
    first, second = (saved(draw(), kind, note) for _ in range(2))
    assert first == second
    path = tmp_path / f"figure.{kind}"
    path.write_bytes(first)
    assert read_note(path) == note


def test_a_png_has_the_size_and_resolution_asked_for():
    picture = Image.open(io.BytesIO(saved(draw(look=Look(width_in=3.25, dpi=200)), "png")))
    assert picture.width == 650
    assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.01)


def test_files_without_a_note_are_refused_in_one_sentence(tmp_path):
    plain = tmp_path / "plain.png"
    Image.fromarray(image()).save(plain)
    with pytest.raises(ValueError, match=r"plain.png does not say how it was made"):
        read_note(plain)
    torn = tmp_path / "torn.png"
    torn.write_bytes(saved(draw(), "png")[:2000])
    with pytest.raises(ValueError, match=r"torn.png is damaged or incomplete"):
        read_note(torn)
    other = tmp_path / "other.txt"
    other.write_text("words")
    with pytest.raises(ValueError, match="not a PNG, PDF or SVG file"):
        read_note(other)


def test_class_pictures_and_their_legend_name_the_classes_that_are_there():
    labels = np.full(HW, 3, np.uint8)
    labels[:, :20] = 200
    figure = draw(shown=("input", "labels"), labels=labels)
    assert {"road", "void"} == {text.get_text() for text in figure.texts} - {"input", "labels"}
    assert class_picture(labels)[0, 0].tolist() == [0, 0, 0]
    assert class_picture(labels)[0, -1].tolist() == [120, 94, 140]
    with pytest.raises(ValueError, match="there are no labels"):
        draw(shown=("labels",))
    with pytest.raises(ValueError, match="network 'coupled' predicts no classes"):
        draw(shown=("prediction",))


def test_a_sheet_has_a_row_per_image_and_a_column_per_query():
    scene = Scene.of_picture(image(), records(), {})
    panels = panel_rows(scene, QUERY_POINTS, ("input", "whole"))
    (row, _) = sheet_rows([panels, panels])
    assert [panel.title for panel in row] == ["input", *["query 1", "query 2"] * 2]
    assert isinstance(row[0], PhotoPanel)
    assert row[0].query is None
    np.testing.assert_array_equal(row[2].values, panels[1][1].values)
    np.testing.assert_array_equal(row[3].values, panels[0][2].values)
    with pytest.raises(ValueError, match="equally many queries, got 1 and 2"):
        sheet_rows([panels, panels[:1]])


def test_what_cannot_be_drawn_is_said():
    with pytest.raises(ValueError, match=r"at least one query and one of input, .* got 0 queries"):
        attention_figure(records(), [], image=image())
    with pytest.raises(ValueError, match="at least one network's record, got none"):
        attention_figure({}, [0])
    with pytest.raises(
        ValueError, match=r"record of 'coupled' must be of the image's size \(40, 50\)"
    ):
        attention_figure(records(), QUERY_POINTS, image=image()[:, :50])
    with pytest.raises(ValueError, match=r"pixel \(x=56.0, y=3.0\) is outside the image"):
        attention_figure(records(), [(56.0, 3.0)], image=image())
    with pytest.raises(ValueError, match="image must be given to show the input"):
        attention_figure(records(), [0], shown=("input",))
    with pytest.raises(ValueError, match="records of equal blocks need titles"):
        attention_figure(list(records().values()), [0])
    with pytest.raises(ValueError, match="inches is too small for 7 columns"):
        draw(fig=Figure(figsize=(0.3, 0.3)))


@pytest.mark.usefixtures("as_users_run")
def test_the_old_spelling_of_a_backdrop_is_read():
    assert Look(backdrop="grey") == Look(backdrop="gray")


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    ("choice", "sentence"),
    [
        ({"style": "comic"}, "style must be one of paper, slides, poster, got 'comic'"),
        ({"backdrop": "sky"}, "backdrop must be one of photo, gray, none"),
        ({"marker": "star"}, "marker must be one of plus, cross"),
        ({"colormap": "heat"}, "unknown colormap 'heat'"),
        ({"opacity": 1.5}, "opacity must be from 0 to 1, got 1.5"),
        ({"dpi": 5}, "dpi must be from 50 to 1200, got 5"),
        ({"width_in": float("nan")}, "width_in must be from 1.0 to 60.0, got nan"),
        ({"font": "No Such Font"}, "font 'No Such Font' is not installed; available: "),
    ],
)
def test_looks_that_do_not_exist_are_refused(choice, sentence):
    with pytest.raises(ValueError, match=re.escape(sentence)):
        Look(**choice)
