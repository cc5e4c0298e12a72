"""The Video page, driven without a browser."""

import numpy as np
import pytest
from clips import tiny_clip_architecture, tiny_clip_network
from streamlit.testing.v1 import AppTest
from videos import write_video

from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.app.cache import Shelf
from nonlocal_lens.app.components import network_picker, network_search
from nonlocal_lens.app.shown import LATEST, SHOWN_CLIP
from nonlocal_lens.app.uploads import keep_folder, user_message
from nonlocal_lens.app.video_clips import rendered_reel, uploaded_frames, uploaded_reel
from nonlocal_lens.app.viewer.view import Query, View
from nonlocal_lens.models import download
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.published import PUBLISHED

pytestmark = pytest.mark.slow


@pytest.fixture
def page():
    return AppTest.from_file("../app/screens/video.py", default_timeout=300)


def test_the_page_opens_on_a_rendered_clip_and_takes_fewer_frames(page):
    page.run()
    frames = next(box for box in page.number_input if box.label == "Frames")
    frames.set_value(2).run()
    assert not page.exception
    assert not page.error
    assert "2 frames of rendered:" in page.caption[-1].value


def test_an_uploaded_video_that_is_broken_ends_in_one_sentence(page):
    page.run()
    page.selectbox(key="video_clip").set_value("Your own video…").run()
    assert "Choose a file" in page.info[0].value
    page.file_uploader(key="video_file").set_value(("a.mp4", b"nothing", "video/mp4")).run()
    assert not page.exception
    assert "This clip cannot be used" in page.error[0].value


def test_a_pin_is_known_to_the_export_page(page, monkeypatch):
    view = View(queries=(Query(((60.04, 40.0),), frame=1),))
    monkeypatch.setattr("nonlocal_lens.app.viewer.show.show_viewer", lambda payload, key: view)
    page.session_state["video_tabs"] = "As files"
    page.run()
    frames = next(box for box in page.number_input if box.label == "Frames")
    frames.set_value(2).run()
    assert not page.exception
    shown = page.session_state[SHOWN_CLIP]
    assert shown.queries == ((1, 60.0, 40.0),)
    assert dict(shown.chosen) == {"start": 0, "stride": None, "frames": 2}
    assert page.session_state[LATEST] == SHOWN_CLIP
    assert "--query 1,60,40 " in page.code[0].value


def test_frames_of_one_name_and_hostile_names_stay_apart(tmp_path):
    files = [(b"1", "../a.png"), (b"2", "a.png"), (b"3", "é .png")]
    folder = keep_folder(files, "frames")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "a.png": b"1",
        "a-2.png": b"2",
        "é .png": b"3",
    }
    assert keep_folder(files, "frames") == folder
    assert keep_folder(files[:2], "frames") != folder
    assert user_message(f"no {folder}/x and {tmp_path}") == f"no frames/x and {tmp_path}"


class File:
    file_id, name = "1", "../b.png"

    def __init__(self, data, name="a.mp4"):
        self.data, self.name, self.file_id = data, name, name

    def getvalue(self):
        return self.data


def test_uploads_become_clips(tmp_path):
    data = write_video(tmp_path / "a.mp4").read_bytes()
    reel = uploaded_reel(File(data))
    assert len(reel.read(frames=3)) == 3
    assert reel.name == "a.mp4"
    still = tmp_path / "a.png"
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(image).save(still)
    files = [File(still.read_bytes(), name) for name in ("../10.png", "2.png")]
    reel = uploaded_frames(files)
    assert reel.name == "frames"
    clip = reel.read(progress=lambda done, total: None)
    assert len(clip) == 2
    assert np.array_equal(clip.frames[1], image)


def test_rendered_clips_are_numbered():
    assert np.array_equal(
        rendered_reel(2).read(frames=2).frames,
        read_clip(rendered_reel(2).location, frames=2).frames,
    )
    with pytest.raises(ValueError, match="unknown clip 3000000; available: 0 to 2999999"):
        rendered_reel(3_000_000)


def test_a_shelf_keeps_what_was_made_apart_from_other_shelves():
    shelf, made = Shelf("one"), []

    def make(key):
        return shelf.get(key, lambda: made.append(key) or key)

    for key in ("a", "b", "a"):
        assert make(key) == key
    assert made == ["a", "b"]
    assert Shelf("other").get("a", lambda: "other") == "other"
    with pytest.raises(RuntimeError):
        shelf.get("d", lambda: (_ for _ in ()).throw(RuntimeError))
    assert "d" not in shelf


def test_a_checkpoint_of_the_user_is_watched_like_a_bundled_network(page, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_network(path, tiny_clip_network("disentangled"), tiny_clip_architecture("disentangled"))
    page.session_state["video-network"] = network_picker.FILE_ENTRY
    page.session_state[network_picker.OPENED] = str(path)
    page.run()
    assert not page.exception
    assert not page.error
    assert "of `mine.safetensors`: 3 ×" in page.caption[-1].value, "three frames, as it was built"


def test_published_networks_for_videos_come_first(page, tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path))
    network_search._labels.clear()
    page.session_state["video-network"] = network_picker.SEARCH_ENTRY
    page.run()
    assert not page.exception
    assert page.info[-1].value.startswith("Choose a network")
    of_videos = [n for n, spec in PUBLISHED.items() if spec.dataset == network_search.VIDEOS]
    first = page.selectbox(key="video-search").options[0]
    assert first in map(network_search.published_label, of_videos)
