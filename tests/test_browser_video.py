"""The viewer of a clip in real Chromium: what it shows is what torch computes."""

import numpy as np
import pytest
import torch
from axe import assert_nothing_is_found
from browser import box_of
from networks import tiny_clip_network, tiny_network

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import capture_frames
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.over_time import row_over_time, strongest_arrows, temporal_mass
from nonlocal_lens.analysis.scene import Place, Records, Scene
from nonlocal_lens.analysis.tracking import cell_flow
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.export.movie_files import mp4_bytes
from nonlocal_lens.app.export.page import page_bytes
from nonlocal_lens.app.export.scene import Subject
from nonlocal_lens.streets import render_clip

pytestmark = pytest.mark.browser

FRAMES = 5
MIDDLE = Place(2, 90.0, 60.0)
CLIP = read_clip(render_clip(3, FRAMES, (120, 168)).images, stride=1, fps=5)


@pytest.fixture
def page(blank):
    return blank((1300, 1100))


def open_strip(page, tmp_path, records, flow=None, place=MIDDLE, name="walk"):
    of_clips = records[0].query_grid.frames > 1
    over = Records(len(CLIP), tuple(records), of_clips)
    seen = Subject(
        Source(name, "walk.mp4"),
        CLIP,
        Scene(CLIP.frames, CLIP.times, {"tiny": over}, flow=flow),
        [place],
        {},
    )
    path = tmp_path / "walk.html"
    path.write_bytes(page_bytes(seen, {"command": "nonlocal-lens export walk.mp4"}))
    page.goto(path.as_uri())
    page.locator(".lens .strip").wait_for()
    settle(page)


AT_FRAME = """
async (frame) => {
    const { nonlocalLens: viewer } = document.querySelector(".host");
    while (viewer.frame !== frame) await new Promise(requestAnimationFrame);
}
"""


def settle(page):
    """Wait until what was asked for is painted."""
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def point(page, panel, x, y):
    """Return the page's point at an image point, as a panel shows it."""
    box = box_of(page.locator(f"{panel} :is(.picture, .stage)"))
    height, width = CLIP.frames.shape[1:3]
    return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]


def shown(page, term):
    return float(page.locator(f'.panel output[data-value="{term}"]').get_attribute("data-exact"))


@pytest.fixture(scope="module")
def records():
    network = tiny_clip_network("disentangled")
    with torch.no_grad():
        network.block.query.weight.mul_(9)
        network.block.mask.weight.mul_(99)
    return capture(network, CLIP)


def test_values_and_masses_are_torchs_in_every_frame(page, tmp_path, records):
    open_strip(page, tmp_path, records)
    (record,) = records
    grid, keys = record.query_grid, record.key_grid.positions
    page.locator(".panels").press("Escape")  # the first query is pinned: let it go
    for frame, row, col in [(0, 3, 5), (2, 11, 17), (4, 14, 2), (1, 0, 20)]:
        cell = Cell(row, col, frame)
        page.mouse.move(*point(page, f'[data-frame="{frame}"]', *grid.center(cell)))
        settle(page)
        query = grid.position(cell)
        for term in terms.TERMS:
            expected = terms.attention(record, [query], term)[0, query].item() * keys
            assert shown(page, term) == pytest.approx(expected, rel=1e-2)
        mass = temporal_mass(record, [query])[0] / 2
        found = [
            float(page.locator(f'output[data-mass="{t}"]').get_attribute("data-exact"))
            for t in range(FRAMES)
        ]
        assert sum(found) == pytest.approx(1, abs=1e-6)
        assert found == pytest.approx(mass.tolist(), rel=5e-3)


def test_a_click_pins_and_arrows_point_to_the_strongest_keys(page, tmp_path, records):
    open_strip(page, tmp_path, records)
    (record,) = records
    grid = record.query_grid
    cell = Cell(7, 9, 3)
    page.mouse.click(*point(page, '[data-frame="3"]', *grid.center(cell)))
    settle(page)
    assert "pinned" in page.locator('output[data-value="photo"]').inner_text()
    assert page.locator(".frame.current").get_attribute("data-frame") == "3"
    assert page.locator(".frame.queried").count() == 1
    keys = {int(tip.get_attribute("data-key")) for tip in page.locator(".tip").all()}
    expected = [arrow.key for arrow in strongest_arrows(record, grid.position(cell), 23)]
    assert len(keys) == 20
    assert len(keys & set(expected)) >= 19  # half precision may swap neighbors in rank
    page.mouse.move(*point(page, '[data-panel="whole"]', 3, 3))  # pinned: the query stays
    settle(page)
    assert "row 7, column 9" in page.locator('dd[data-field="query"]').inner_text()
    page.locator('input[data-choice="timeArrows"]').uncheck()
    settle(page)
    assert page.locator(".tip").count() == 0


def test_keys_move_the_query_and_the_time(page, tmp_path, records):
    open_strip(page, tmp_path, records)
    desk = page.locator(".panels")

    def field():
        settle(page)
        return page.locator('dd[data-field="query"]').inner_text()

    def current():
        settle(page)
        return int(page.locator(".frame.current").get_attribute("data-frame"))

    assert "frame 3" in field(), "counted as people do"
    assert current() == 2
    desk.press("Escape")
    before = field()
    desk.press("ArrowRight")
    desk.press("Shift+ArrowDown")
    assert "row 12, column 12" in field() != before
    desk.press("End")
    assert current() == 4
    desk.press(",")
    assert current() == 3
    assert "frame 3" in field()  # time goes on, the query stays
    desk.press("Enter")
    assert "frame 4" in field()
    desk.press("Home")
    desk.press(" ")
    page.evaluate(AT_FRAME, 3)  # in the page: whoever looks now and then may never see it
    desk.press(" ")
    stopped = current()
    page.wait_for_timeout(500)
    assert current() == stopped


def test_one_scale_holds_for_all_frames(page, tmp_path, records):
    open_strip(page, tmp_path, records)
    colors = page.evaluate(
        """() => {
          const viewer = document.querySelector(".host").nonlocalLens;
          const { high } = viewer.panels[1].range;
          return viewer.timeline.strip.map(({ frame, canvas }) => {
            const { whole } = viewer.timeline.rows.at(frame);
            const { width, height } = canvas;
            const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
            return [...new Uint32Array(data.buffer)].every((word, j) => {
              const level = Math.min(255, Math.floor((whole[j] / high) * 255 + 0.5));
              return word === viewer.palettes.viridis[level];
            });
          });
        }"""
    )
    assert colors == [True] * FRAMES
    ends = page.locator(".panel .ticks span:last-child").all_inner_texts()
    assert len(set(ends)) == 1, "and for all maps"


def test_networks_for_images_have_a_row_in_every_frame_and_queries_are_followed(page, tmp_path):
    network = tiny_network("non_local")
    frames = tuple(one for (one,) in capture_frames(network, CLIP))
    grid = frames[0].query_grid
    flow = cell_flow(CLIP.frames, grid)
    start = next(  # a place that moves and is never lost
        grid.center(Cell(row, col))
        for row in range(grid.height)
        for col in range(grid.width)
        if None not in (path := flow.follow(*grid.center(Cell(row, col)), 2))
        and abs(path[0][0] - path[-1][0]) > 4
    )
    open_strip(page, tmp_path, frames, flow, Place(2, *start))
    paths = {
        "stays": [start] * FRAMES,
        "follows": flow.follow(*start, 2),
    }
    for way, path in paths.items():
        if way == "follows":
            page.locator('input[data-choice="follow"]').check()
            settle(page)
        numbers = page.evaluate("document.querySelector('.host').nonlocalLens.timeline.numbers")
        places = page.evaluate("document.querySelector('.host').nonlocalLens.timeline.rows.places")
        expected = row_over_time(frames, path)
        assert [one["entropy"] for one in numbers] == pytest.approx(
            [row.entropy_bits for row in expected], rel=1e-3
        )
        assert [one["pairwiseShare"] for one in numbers] == pytest.approx(
            [row.pairwise_share for row in expected], rel=2e-2
        )
        np.testing.assert_allclose([[p["x"], p["y"]] for (p,) in places], path, atol=1e-3)
    assert page.locator(".chart").count() == 2


def test_the_share_of_a_restricted_row_is_of_the_logits_that_its_softmax_sees(page, tmp_path):
    records = capture(tiny_clip_network("space_only"), CLIP)
    open_strip(page, tmp_path, records)
    assert "look at their own frame only" in page.locator(".timeline p.none").inner_text()
    (record,) = records
    cells = record.query_grid.positions // FRAMES
    own = slice(2 * cells, 3 * cells)
    cell = record.query_grid.cell_at(x=MIDDLE.x, y=MIDDLE.y, frame=MIDDLE.frame)
    query = record.query_grid.position(cell)
    squares = [
        (logits - logits.mean()).square().sum().item()
        for logits in (
            terms.pairwise_logits(record, [query])[0, own],
            terms.unary_logits(record)[own],
        )
    ]
    numbers = page.evaluate(
        """() => {
            const { timeline, leading } = document.querySelector('.host').nonlocalLens;
            return leading.attention.statistics(timeline.rows.row(2));
        }"""
    )
    assert numbers["pairwiseShare"] == pytest.approx(squares[0] / sum(squares), rel=2e-2)


def test_a_hostile_name_is_shown_as_text(page, tmp_path, records):
    name = "<img src=x onerror=alert(1)>"
    open_strip(page, tmp_path, records, name=name)
    assert page.locator("h1").inner_text() == name


def test_an_exported_mp4_plays(page, tmp_path):
    images = CLIP.frames
    (tmp_path / "a.mp4").write_bytes(mp4_bytes(images, CLIP.times.tolist(), CLIP.fps, comment=""))
    (tmp_path / "a.html").write_text("<video src='a.mp4' muted></video>")
    page.goto((tmp_path / "a.html").as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 2")
    size = page.evaluate(
        "(({ videoWidth, videoHeight, duration }) => [videoWidth, videoHeight, duration])"
        "(document.querySelector('video'))"
    )
    assert size == pytest.approx([168, 120, 1.0], abs=0.02)
    page.evaluate("document.querySelector('video').play()")
    page.wait_for_function("document.querySelector('video').ended")


def test_the_video_page_shows_a_rendered_clip_and_a_pins_numbers(blank, address):
    page = blank((1440, 1400), home=address)
    page.goto(address)
    page.get_by_role("link", name="Video").click()
    page.locator(".lens .strip").wait_for()
    page.locator('[data-frame="3"] .picture').click(position={"x": 40, "y": 40})
    page.get_by_text("Pinned query").last.wait_for()
    page.get_by_text("in frame 4").or_(page.get_by_text("of frame 4")).first.wait_for()
    assert page.locator(".stException").count() == 0
    assert page.locator(".nl-skeleton").count() == 0, "it went when the maps came"
    assert_nothing_is_found(page)
