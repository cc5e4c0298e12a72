"""The wall of heads in real Chromium: each follows the pointer and shows what torch computes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from browser import box_of, comes_true
from records import OVERLAPPING, PARTS, random_record

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.atlas import measure_heads
from nonlocal_lens.analysis.head_means import HeadMeans
from nonlocal_lens.app.atlas import payload, taken
from nonlocal_lens.app.atlas.means import means_of

pytestmark = pytest.mark.browser

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
KINDS = (
    {},
    {"reach": PARTS},
    {"reach": OVERLAPPING},
    {"coupling": "disentangled"},
    {"coupling": "pairwise"},
    {"coupling": "unary"},
    {"coupling": "unnormalized"},
    {"coupling": "unnormalized", "form": "concatenation"},
)
"""One head of each: the wall has every kind of row that there is."""

VALUES = """
([index, map, x, y]) => {
    const wall = document.querySelector(".host").nonlocalAtlas;
    const values = wall.heads[index].values(map, { x, y });
    return values && [...values];
}
"""


@pytest.fixture(scope="module")
def records():
    made = []
    for number, options in enumerate(KINDS):
        generator = torch.Generator().manual_seed(number)
        record = random_record(generator, dtype=torch.float32, **options)
        made.append(replace(record, block=f"blocks.{number // 4}", head=number % 4))
    return tuple(made)


@pytest.fixture(scope="module")
def wall(records, tmp_path_factory):
    """Return where the wall is, as a page of its own."""
    subject = payload.Subject("every kind", IMAGE, "noise", "Noise", records, "abc", random=True)
    return page_of(subject, measure_heads(records), tmp_path_factory.mktemp("atlas"))


def page_of(subject, heads, folder):
    """Write a wall as a page of its own; return where it is."""
    others = [
        payload.part(subject, number, [heads[index] for index in indices])
        for number, indices in enumerate(payload.parts(subject.records))
    ]
    path = folder / "wall.html"
    parts = [payload.first_part(subject), *others]
    path.write_bytes(taken.html_page(subject, parts, {"order": "layer"}))
    return path.as_uri()


@pytest.fixture
def page(blank, wall):
    return opened(blank((1280, 720)), wall)


def opened(page, wall):
    page.goto(wall)
    page.locator(".cell").first.wait_for()
    return page


@pytest.mark.parametrize("shown", ["whole", "pairwise", "unary"])
def test_every_kind_of_head_shows_what_torch_computes(page, records, shown):
    for index, record in enumerate(records):
        for x, y in [(3.0, 5.0), (30.0, 20.0), (55.0, 39.0)]:
            found = np.array(page.evaluate(VALUES, [index, shown, x, y]))
            query = record.query_axis.under(x, y)
            expected = terms.attention(record, [query], shown)[0].numpy() * len(record.key)
            most = np.abs(expected).max()
            np.testing.assert_allclose(found, expected, atol=0.02 * most, err_msg=KINDS[index])


def pixels(page):
    return page.evaluate(
        "() => [...document.querySelectorAll('canvas.map')].map((canvas) => canvas.toDataURL())"
    )


def test_all_heads_follow_the_pointer_over_the_picture_and_over_any_map(page):
    page.wait_for_timeout(300)
    before = pixels(page)
    box = box_of(page.locator(".picture"))
    page.mouse.move(box["x"] + 0.1 * box["width"], box["y"] + 0.1 * box["height"])
    there = pixels(page)
    same = [one == other for one, other in zip(before, there, strict=True)]
    assert same == [kind.get("coupling") == "unary" for kind in KINDS]
    cell = box_of(page.locator(".cell .stage").nth(3))
    page.mouse.move(cell["x"] + 0.9 * cell["width"], cell["y"] + 0.9 * cell["height"])
    elsewhere = pixels(page)
    assert elsewhere != there
    cell = box_of(page.locator(".cell .stage").nth(6))
    page.mouse.move(cell["x"] + 0.9 * cell["width"], cell["y"] + 0.9 * cell["height"])
    assert pixels(page) == elsewhere, "the same place in another map is the same query"


def test_everything_is_done_from_the_keyboard_and_said(page):
    picture = page.locator(".picture")
    picture.focus()
    before = pixels(page)
    page.keyboard.press("ArrowLeft")
    assert pixels(page) != before
    assert page.locator(".atlas [role=status]").last.inner_text().startswith("Query at x")
    first = page.locator(".cell").first
    first.focus()
    page.keyboard.press("ArrowRight")
    label = page.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith("blocks.0.head1: Same for every query ")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "blocks.1."
    )
    page.keyboard.press(" ")
    assert page.evaluate("document.activeElement.getAttribute('aria-selected')") == "true"
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')").startswith(
        "blocks.0."
    )


def test_names_roles_and_numbers_are_there_for_those_who_do_not_see(page):
    grid = page.get_by_role("grid", name="Heads of every kind")
    assert grid.get_by_role("row").count() == 2
    cells = grid.get_by_role("gridcell")
    assert cells.count() == len(KINDS)
    assert all(cells.nth(n).get_attribute("aria-label") for n in range(len(KINDS)))
    assert page.locator(".cell[tabindex='0']").count() == 1, "one stop of the tab key"
    curve = page.locator(".depth")
    assert "mean over heads by layer: layer 0 " in curve.get_attribute("aria-label")
    for box in page.locator(".atlas select, .atlas input").all():
        named = box.get_attribute("aria-label") or box.evaluate(
            "(node) => node.closest('label')?.textContent"
        )
        assert named


def test_choices_arrange_the_wall(page):
    def names():  # cells out of view are not rendered: they have text, but no inner text
        return page.locator(".cell .name").all_text_contents()

    comes_true(names, ["0.0", "0.1", "0.2", "0.3", "1.0", "1.1", "1.2", "1.3"])
    page.get_by_role("checkbox", name="By layer").uncheck()
    page.locator("[data-choice=order]").select_option("highest")
    told = page.locator(".numeral").all_text_contents()
    numbers = [float(text) for text in told if text.isascii()]
    assert numbers == sorted(numbers, reverse=True)
    assert names() != sorted(names())
    page.get_by_role("textbox", name="Filter").fill("blocks.1")
    comes_true(lambda: sorted(names()), ["1.0", "1.1", "1.2", "1.3"])
    page.get_by_role("textbox", name="Filter").fill("nothing like that")
    page.get_by_text("No head passes the filter.").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_nothing_is_wider_than_the_window(blank, wall, width, scheme):
    page = opened(blank((width, 844), scheme), wall)
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


@pytest.mark.parametrize("few", [False, True])
def test_large_maps_are_larger_than_medium_ones_however_few(page, few):
    page.evaluate("few => document.querySelector('.atlas').classList.toggle('few', few)", few)
    widths = []
    for size in ("small", "medium", "large"):
        page.locator("[data-choice=size]").select_option(size)
        cell = "getComputedStyle(document.querySelector('.atlas')).getPropertyValue('--cell')"
        widths.append(float(page.evaluate(cell).removesuffix("px")))
    assert widths == sorted(set(widths))


def test_a_wall_of_means_shows_and_says_them(blank, records, tmp_path):
    flipped = [replace(one, query=one.query.flip(0), key=one.key.flip(0)) for one in records]
    found = HeadMeans()
    for several in (records, flipped):
        found.add(several)
    heads = found.over(measure_heads(records))
    means = means_of(found, heads, "two", "noise")
    subject = payload.Subject("every kind", IMAGE, "noise", "Noise", records, means=means)
    page = opened(blank((1280, 720)), page_of(subject, heads, tmp_path))
    assert page.locator(".said-of-means").inner_text() == means.said
    for index, head in enumerate(heads):
        for shown in ("mean", *(["unary"] if head.unary is not None else [])):
            values = page.evaluate(VALUES, [index, shown, 3.0, 5.0])
            expected = head.values(shown, 0).ravel()
            np.testing.assert_allclose(values, expected, rtol=1e-5, err_msg=KINDS[index])
    (statistic, *_) = means.depth
    mean = means.depth[statistic][1][1]
    spoken = page.locator(".depth").get_attribute("aria-label")
    assert float(spoken.rpartition("layer 1 ")[2]) == pytest.approx(mean, rel=0.01)
    assert "over 2 pictures" in page.locator(".depths figcaption").inner_text()
    assert ", the mean over 2 pictures." in page.locator(".cell").first.get_attribute("aria-label")
