"""Files that tabs bring: kept once, bounded, gone with their tabs, and safe side by side."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path
from threading import Barrier

import pytest

from nonlocal_lens.app import uploads
from nonlocal_lens.app.settings import Settings
from nonlocal_lens.app.tabs import Tabs
from nonlocal_lens.app.uploads import Shelves, keep, keep_folder, kept_file

SIDE_BY_SIDE = 12


def test_equal_bytes_can_be_kept_by_many_at_once():
    """20 files, each by 12 threads at once: 240 times."""
    failed = []
    barrier = Barrier(SIDE_BY_SIDE)
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        for number in range(20):
            data = bytes([number]) * 300_007

            def bring(_, data=data):
                barrier.wait(30)
                try:
                    return keep(data, "photo.png").read_bytes() == data
                except OSError as error:
                    failed.append(error)

            assert all(threads.map(bring, range(SIDE_BY_SIDE)))
    assert not failed


def test_folders_too():
    files = [(b"one", "1.png"), (b"two", "2.png")]
    with ThreadPoolExecutor(SIDE_BY_SIDE) as threads:
        found = set(threads.map(lambda _: keep_folder(files, "frames"), range(SIDE_BY_SIDE)))
    (folder,) = found
    assert [path.read_bytes() for path in sorted(folder.iterdir())] == [b"one", b"two"]
    assert kept_file(folder.parent.name) == folder


@pytest.fixture
def shelves():
    return Shelves(1000, 600)


def test_what_a_tab_brings_is_bounded_and_told(shelves):
    shelves.keep([("a", bytes(400))], "1" * 16, "tab")
    shelves.keep([("a", bytes(400))], "1" * 16, "tab")
    with pytest.raises(ValueError, match=r"has brought 0\.0004 MB of at most 0\.0006 MB"):
        shelves.keep([("b", bytes(201))], "2" * 16, "tab")
    shelves.keep([("b", bytes(200))], "2" * 16, "tab")
    assert shelves.size == 600
    with pytest.raises(ValueError, match=r"all tabs together have brought 0\.0006 MB"):
        shelves.keep([("c", bytes(401))], "3" * 16, "other")
    shelves.leave("tab")
    assert shelves.size == 0
    shelves.keep([("c", bytes(401))], "3" * 16, "other")


def test_files_go_with_the_last_tab_that_brought_them(shelves):
    folder = shelves.keep([("a", b"abc")], "a" * 16, "one")
    shelves.keep([("a", b"abc")], "a" * 16, "two")
    assert shelves.size == 3, "once on the disk"
    shelves.leave("one")
    assert (folder / "a").read_bytes() == b"abc"
    shelves.leave("nobody")
    shelves.leave("two")
    assert not folder.exists()
    assert shelves.find("a" * 16, "three") is None
    shelves.keep([("a", b"abc")], "a" * 16, "three")
    assert (folder / "a").exists()
    shelves.leave("three")


def test_who_opens_a_link_to_a_file_has_it_too(shelves):
    folder = shelves.keep([("a", b"abc")], "b" * 16, "one")
    assert shelves.find("b" * 16, "two") == folder / "a"
    shelves.leave("one")
    assert folder.exists()
    shelves.leave("two")
    assert not folder.exists()


def test_what_no_tab_brought_stays(shelves):
    folder = shelves.keep([("a", b"abc")], "c" * 16, None)
    shelves.keep([("a", b"abc")], "c" * 16, "tab")
    shelves.leave("tab")
    assert (folder / "a").exists()


def test_no_other_folder_is_found_by_a_token(shelves):
    (uploads._folder().name and shelves).keep([("a", b"abc")], "d" * 16, "one")
    for token in ("..", "file-..", "d" * 15, "d" * 17, "D" * 16, "d" * 16 + "/a", ""):
        assert kept_file(token) is None


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_a_tab_that_comes_back_in_time_has_not_gone():
    clock, here, gone, empty = Clock(), {"a", "b"}, [], []
    tabs = Tabs(here.__contains__, 30, clock)
    tabs.when_one_goes.append(gone.append)
    tabs.when_none_is_left.append(lambda: empty.append(clock.now))
    tabs.saw("a")
    tabs.saw("b")
    here.discard("a")
    clock.now = 29
    assert tabs.look() == []
    here.add("a")
    clock.now = 40
    assert tabs.look() == []
    here.clear()
    clock.now = 69
    assert tabs.look() == []
    clock.now = 70
    assert tabs.look() == ["a", "b"]
    assert gone == ["a", "b"]
    assert empty == [70]
    assert len(tabs) == 0
    clock.now = 1000
    tabs.look()
    assert empty == [70], "memory is given back once"


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"RESULTS_MB": "many"}, "NONLOCAL_LENS_RESULTS_MB must be a whole number from 1 on"),
        ({"RESULTS_MB": "0"}, "got '0'"),
        ({"THREADS": "-1"}, "NONLOCAL_LENS_THREADS must be a whole number from 1 on, got '-1'"),
        ({"METRICS_PORT": "65536"}, "METRICS_PORT must be at most 65535, got 65536"),
        ({"LOG": "xml"}, "NONLOCAL_LENS_LOG must be json or nothing, got 'xml'"),
    ],
)
def test_settings_that_cannot_be_are_told(variables, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings.read({f"NONLOCAL_LENS_{name}": text for name, text in variables.items()})


def test_settings_come_from_the_environment():
    assert Settings.read({}) == Settings()
    found = Settings.read({"NONLOCAL_LENS_HOSTS": "Lens.example.org, localhost,", "OTHER": "7"})
    assert found.host_names == ("lens.example.org", "localhost")
    assert Settings.read({"NONLOCAL_LENS_GRACE_S": "0"}).grace_s == 0


def test_the_documentation_tells_every_setting_with_what_is_usual():
    page = Path(__file__).parents[1] / "docs" / "how-to" / "offer-the-app-to-others.md"
    told = page.read_text(encoding="utf-8")
    for one in fields(Settings):
        usual = "none" if one.default == "" else one.default
        row = f"| `NONLOCAL_LENS_{one.name.upper()}` | {usual} | {one.metadata['meaning']} |"
        assert row in told
