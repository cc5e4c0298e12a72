"""The Video page, driven without a browser."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from videos import write_video

from analysis.clips import read_clip
from app.cache import Shelf
from app.video_clips import rendered_reel, uploaded_frames, uploaded_reel


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
    assert reel.location == "a.mp4"
    still = tmp_path / "a.png"
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (16, 24, 3), dtype=np.uint8)
    Image.fromarray(image).save(still)
    files = [File(still.read_bytes(), name) for name in ("../10.png", "2.png")]
    clip = uploaded_frames(files).read(progress=lambda done, total: None)
    assert len(clip) == 2
    assert np.array_equal(clip.frames[1], image)


def test_rendered_clips_are_numbered():
    assert np.array_equal(
        rendered_reel(2).read(frames=2).frames,
        read_clip(rendered_reel(2).location, frames=2).frames,
    )
    with pytest.raises(ValueError, match="unknown clip 1000; available: 0 to 999"):
        rendered_reel(1000)


def test_a_shelf_keeps_the_last_few():
    shelf, made = Shelf(2), []

    def make(key):
        return shelf.get(key, lambda: made.append(key) or key)

    for key in ("a", "b", "a", "c", "a", "b"):
        assert make(key) == key
    assert made == ["a", "b", "c", "b"]
    with pytest.raises(RuntimeError):
        shelf.get("d", lambda: (_ for _ in ()).throw(RuntimeError))
    assert "d" not in shelf
