"""`explore` on clips: what it takes, what it gives, what it lets go of; and its widget, clicked."""

import base64
import gc
import weakref

import numpy as np
import pytest
import torch
from browser import box_of
from networks import tiny_clip_network, tiny_network
from payloads import unpack
from PIL import Image
from videos import write_video

from nonlocal_lens.analysis import AttentionRecord, capture, degeneracy
from nonlocal_lens.analysis.capture import capture_frames
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.over_time import degeneracy_over_time, frame_degeneracy
from nonlocal_lens.app.notebook import explore

pytestmark = pytest.mark.slow

HW = (40, 56)
FRAMES = np.random.default_rng(0).integers(0, 256, (5, *HW, 3), dtype=np.uint8)
FILM, STILLS = "TinyClipNetwork", "SegmentationNetwork"  # what the networks are called


@pytest.fixture(scope="module")
def network():
    return tiny_clip_network("disentangled")


@pytest.fixture
def film(network):
    with_two = explore(network, FRAMES, compare=[tiny_network("non_local")])
    yield with_two
    with_two.close()


def config(payload):
    return unpack(payload)[0]


def save_gif(path, frames=FRAMES):
    first, *rest = [Image.fromarray(frame) for frame in frames]
    first.save(path, save_all=True, append_images=rest, duration=100)
    return path


def test_clips_of_every_kind_give_the_same_record(network, tmp_path):
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    sources = [
        FRAMES,
        torch.from_numpy(FRAMES).permute(0, 3, 1, 2),
        read_clip(FRAMES),
        tmp_path,
        str(tmp_path),
    ]
    (expected,) = capture(network, FRAMES)
    for source in sources:
        found = explore(network, source)
        assert found.is_clip
        (record,) = found.records[FILM]
        assert torch.equal(record.query, expected.query), type(source)
        found.close()


def test_the_frames_that_are_looked_at_are_those_chosen(network, tmp_path):
    video = write_video(tmp_path / "street.mp4", frames=12)
    for source, options, indices in [
        (video, {}, (0, 3, 6, 9)),  # 5 at most, evenly spread: the network looks at so many
        (video, {"start": 1, "stride": 2}, (1, 3, 5, 7, 9)),
        (video, {"frames": 3, "stride": 1}, (0, 1, 2)),
        ("rendered:3", {"frames": 2}, (0, 1)),
        (read_clip(np.tile(FRAMES, (2, 1, 1, 1)), stride=1), {}, tuple(range(10))),
        (read_clip(FRAMES), {"start": 1, "stride": 3}, (1, 4)),
    ]:
        found = explore(network, source, **options)
        assert found.clip.indices == indices
        assert found.frames == len(indices)
        found.close()


def test_what_does_not_move_by_its_kind_is_a_picture_unless_a_clip_is_asked_for(tmp_path):
    gif = save_gif(tmp_path / "walk.gif")
    for source in (gif, gif.read_bytes()):
        for options, kind in [({}, False), ({"frames": 3}, True)]:
            found = explore(tiny_network("non_local"), source, **options)
            assert found.is_clip == kind
            found.close()
        found = explore(tiny_clip_network(), source)
        assert len(found.clip) == 5
        found.close()


def png(tmp_path):
    path = tmp_path / "photo.png"
    Image.fromarray(FRAMES[0]).save(path)
    return path


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (FRAMES[0], {}, r"^TinyClipNetwork looks at clips, and this is a single image: give a vid"),
        (Image.fromarray(FRAMES[0]), {}, "looks at clips, and this is a single image"),
        (png, {}, "looks at clips, and photo.png is a single image"),
        (FRAMES, {"queries": [(1, 2, 3)] * 17}, "at most 16 queries can be pinned, got 17"),
        (
            FRAMES,
            {"queries": [(2, 3)]},
            r"must be \(frame, x, y\) or \(frame, token\), got \(2, 3\)",
        ),
        (FRAMES, {"queries": ["abc"]}, r"must be \(frame, x, y\) or \(frame, token\), got 'abc'"),
        (
            FRAMES,
            {"queries": [(1, "a", 2)]},
            r"must be \(frame, x, y\) or \(frame, token\), got \(1, 'a', 2\)",
        ),
        (FRAMES, {"queries": [(5, 2, 3)]}, r"frame must be in \[0, 5\) of the clip, got 5"),
        (FRAMES, {"queries": [(1, 99, 3)]}, "outside the image"),
        (FRAMES, {"block": "x"}, "no block 'x'; available: block"),
        (FRAMES, {"start": 7}, "start must be below the 5 frames"),
        (FRAMES.astype(float), {}, "a clip array must be uint8"),
        (FRAMES, {"compare": [torch.nn.Conv2d(3, 2, 1)]}, "Conv2d has no attention block"),
    ],
)
def test_what_cannot_be_shown_is_said(network, tmp_path, source, options, message):
    source = source(tmp_path) if callable(source) else source
    with pytest.raises(ValueError, match=message):
        explore(network, source, **options)


def test_what_is_not_there_or_no_clip_is_said(network, tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no video or folder of frames"):
        explore(network, tmp_path / "nowhere.mp4")
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match=r"broken\.mp4 is not a video that can be decoded"):
        explore(network, tmp_path / "broken.mp4")
    with pytest.raises(ValueError, match=r"^start, stride and frames are of clips, and this is a"):
        explore(tiny_network("non_local"), FRAMES[0], stride=2)


def test_networks_for_clips_have_one_record_and_those_for_images_one_per_frame(film, network):
    assert {title: len(records) for title, records in film.records.items()} == {FILM: 1, STILLS: 5}
    for found, (expected,) in zip(
        film.records[STILLS], capture_frames(tiny_network("non_local"), FRAMES), strict=True
    ):
        assert torch.equal(found.query, expected.query)
    records = config(film.payload)["records"]
    assert [one["title"] for one in records] == [FILM, STILLS]
    assert [one.get("spacetime", False) for one in records] == [True, False]


def test_the_query_is_a_place_and_tells_its_observers(film):
    heard = []
    film.observe(lambda change: heard.append(change["new"]), names="queries")
    film.queries = [(1, 30, 20.5)]
    assert film.queries == [(1, 30, 20.5)]
    film.set_state({"queries": [[3, 7.25, 4]]})  # as the browser does
    assert film.queries == [(3, 7.25, 4)]
    assert film.queries[0].frame == 3
    film.queries = []
    assert heard == [[(1, 30, 20.5)], [(3, 7.25, 4)], []]
    with pytest.raises(ValueError, match="frame must be in"):
        film.queries = [(9, 1, 1)]
    assert film.queries == []


def test_the_report_is_what_the_statistics_say(film):
    report = film.report()
    assert report["network"].tolist() == [FILM] + [STILLS] * 5
    assert report["frame"].isna().tolist() == [True] + [False] * 5
    assert report["frame"].tolist()[1:] == [0, 1, 2, 3, 4]
    records = [record for found in film.records.values() for record in found]
    for (_, row), record in zip(report.iterrows(), records, strict=True):
        measured = degeneracy.measure(record)
        assert row["unary_share"] == measured.unary_share
        assert row["verdict"] == measured.verdict
        assert 0 <= row["output_cosine_distance"] <= 0.5


def test_numbers_over_time_are_those_of_the_frames(film):
    table = film.over_time()
    assert table["frame"].tolist() == [0, 1, 2, 3, 4] * 2
    assert table["time_s"].tolist() == pytest.approx(film.clip.times.tolist() * 2)
    assert table["drift_nats"].isna().tolist() == [True, *[False] * 4] * 2
    whole = degeneracy_over_time(film.records[FILM][0])
    expected = [*whole.frames, *map(frame_degeneracy, film.records[STILLS])]
    for (_, row), frame in zip(table.iterrows(), expected, strict=True):
        assert row["unary_share"] == frame.unary_share
        assert row["query_information_bits"] == frame.query_information_bits
        assert row["cosine_distance"] == frame.cosine_distance
    assert table["drift_nats"].tolist()[1:5] == whole.drift_nats.tolist()


def test_the_figure_is_of_the_query(film):
    film.queries = [(4, 30, 20)]
    words = "\n".join(text.get_text() for text in film.figure().texts)
    assert "query in frame 4 (0.40 s) at x 30, y 20" in words
    assert "followed by optical flow" in film.figure(track=True).texts[-1].get_text()
    with pytest.raises(ValueError, match="unknown term of clips 'prediction'"):
        film.figure(shown=("prediction",))


def test_only_queries_of_images_are_tracked(network):
    film = explore(network, FRAMES)
    with pytest.raises(ValueError, match="track is for networks that look at images"):
        film.figure(track=True)
    film.close()


def test_the_still_picture_has_the_numbers_and_runs_nothing(film):
    film.queries = [(1, 30, 20)]
    html = film._repr_html_()
    assert html.count(f'<img alt="Attention of {FILM}, {STILLS}, frame 1 for the queries') == 1
    assert "<script" not in html
    assert "http" not in html.replace("data:image/png;base64", "")
    for share in film.report()["unary_share"][[0, 2]]:
        assert f"<td>{share:.3g}<br>" in html


def test_names_are_text(network, tmp_path):
    gif = save_gif(tmp_path / "<img src=x onerror=alert(1)>.gif")
    film = explore(network, gif)
    assert "<img src=x" not in film._repr_html_()
    assert "<img src=x" not in film.to_html(tmp_path / "page.html").read_text()
    film.close()


def test_the_folder_holds_all_there_is(film, tmp_path):
    paths = film.save(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == [
        f"{FILM}.safetensors",
        *(f"{STILLS}.f00{frame}.safetensors" for frame in range(5)),
        "report.csv",
        "over_time.csv",
        "figure.pdf",
        "figure.png",
        "viewer.html",
    ]
    assert len(list(paths[0].parent.iterdir())) == len(paths)
    loaded = AttentionRecord.load(paths[0])
    assert torch.equal(loaded.query, film.records[FILM][0].query)
    assert "Content-Security-Policy" in paths[-1].read_text()


def test_several_do_not_share_anything_and_closing_lets_go(network):
    one, two = explore(network, FRAMES), explore(network, FRAMES, queries=[(1, 2, 3)])
    one.queries = [(2, 3, 4)]
    assert two.queries == [(1, 2, 3)]
    assert one.static_class != two.static_class
    one.report()
    one.figure()
    held = weakref.ref(one.records[FILM][0]), weakref.ref(one.clip)
    one.close()
    gc.collect()
    assert [part() for part in held] == [None, None]
    assert one.payload == b""
    for gone in (one.report, one.figure, lambda: one.to_html("nowhere.html")):
        with pytest.raises(ValueError, match="this exploration was closed: call explore again"):
            gone()
    assert len(two.records) == 1
    two.close()


# ---------------------------------------------------------------- in a browser

MOUNT = """
async ([code, state]) => {
  const module = await import(URL.createObjectURL(new Blob([code], { type: "text/javascript" })));
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const heard = {};
  const values = { ...state, payload: new DataView(bytes(state.payload).buffer) };
  window.saved = [];
  window.model = {
    get: (name) => values[name],
    set(name, value) {
      values[name] = value;
      for (const hear of heard[`change:${name}`] ?? []) hear();
    },
    save_changes: () => window.saved.push(values.queries),
    on: (event, hear) => (heard[event] ??= []).push(hear),
    off: (event, hear) => (heard[event] = heard[event].filter((other) => other !== hear)),
  };
  const el = document.querySelector("#cell");
  window.leave = module.default.render({ model: window.model, el });
}
"""
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.mark.browser
def test_a_click_sets_the_query_and_the_query_moves_the_pins(blank, film):
    page = blank((1100, 1500))
    page.set_content(f'<div class="{film.static_class}">still</div><div id="cell"></div>')
    state = {
        "payload": base64.b64encode(film.payload).decode(),
        "queries": [[1, 30.0, 20.0]],
        "static_class": film.static_class,
    }
    page.evaluate(MOUNT, [film._esm, state])
    page.locator(".lens .strip").wait_for()

    def queries():
        page.evaluate(PAINTED)
        return page.locator('dd[data-field="query"]').all_inner_texts()

    titles = page.locator('[data-panel="whole"] .title').all_inner_texts()
    assert titles == [FILM, STILLS], "side by side"
    assert not page.get_by_text("still", exact=True).is_visible()
    for words in queries():
        assert words.startswith("frame 2 (0.10 s) · x 28, y 20"), "the middle of its cell"
    assert page.evaluate("window.saved") == []  # who sets it knows

    picture = page.locator('.lens [data-frame="3"] .picture')
    box = box_of(picture)
    picture.click(position={"x": 0.25 * box["width"], "y": 0.5 * box["height"]})
    page.wait_for_function("window.saved.length === 1")
    ((frame, x, y),) = page.evaluate("window.saved")[0]
    assert frame == 3
    assert (x, y) == pytest.approx((0.25 * HW[1], 0.5 * HW[0]), abs=4), "the middle of its cell"
    for words in queries():
        assert words.startswith(f"frame 4 (0.30 s) · x {int(x)}, y {int(y)}")
    film.set_state({"queries": page.evaluate("window.saved")[0]})
    assert film.queries == [(3, x, y)]

    page.evaluate("window.model.set('queries', [[4, 50, 6]])")  # as Python does
    for words in queries():
        assert words.startswith("frame 5 (0.40 s) · x 52, y 4"), "the middle of its cell"
    mark = page.locator('.lens [data-frame="4"].queried .mark')
    assert mark.evaluate("(mark) => mark.style.left") == f"{100 * 50 / HW[1]:.4f}%"
    page.evaluate("window.model.set('queries', [])")
    page.evaluate(PAINTED)
    assert "pinned" not in page.locator('.panel output[data-value="photo"]').first.inner_text()
    assert len(page.evaluate("window.saved")) == 1

    page.evaluate("window.model.set('payload', new DataView(new ArrayBuffer(0)))")  # it was closed
    assert page.locator(".lens").count() == 0
    page.evaluate("window.leave()")
    assert page.get_by_text("still", exact=True).is_visible()
