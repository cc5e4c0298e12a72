"""Choosing a network on a page: bundled, published, from a file."""

import hashlib

import pytest
from networks import tiny_architecture, tiny_network
from streamlit.testing.v1 import AppTest

from app import networks
from app.components import network_picker
from app.uploads import in_users_words, keep
from models.checkpoint import save_network
from models.checkpoints import download
from models.published import PUBLISHED

NAME = "dnl_r50-d8_512x1024_40k_bdd100k"  # its file name carries no hash


def picker():
    from app.components.network_picker import choose_network

    chosen = choose_network("test")
    import streamlit as st

    st.text(f"chosen: {chosen}")


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path))
    return AppTest.from_function(picker, default_timeout=120).run()


def chosen(page):
    assert not page.exception
    return page.text[0].value.removeprefix("chosen: ")


def open_file(page, name, data):
    page.selectbox(key="test-network").set_value(network_picker.FILE_ENTRY).run()
    return page.file_uploader(key="network-file").set_value((name, data, "")).run()


def test_bundled_networks_come_first_then_published_ones_then_a_file(page):
    options = page.selectbox(key="test-network").options
    assert options[0] == "Streets, disentangled non-local"
    assert options[-2:] == ["Published network…", "Open a file…"]
    assert chosen(page) == "streets-dnl"
    page.selectbox(key="test-network").set_value(network_picker.PUBLISHED_ENTRY).run()
    assert chosen(page) == "None"
    published = page.selectbox(key="test-published").options
    assert len(published) == len(PUBLISHED)
    assert published[0] == "↓ 200 MB · Non-local, R50, Cityscapes, 512x1024, 40k · Apache-2.0"
    assert "↓ 142 MB or more · I3D (SlowFast), R50, 8 frames, every 8, Kinetics-400" in " ".join(
        published
    )
    assert len(set(published)) == len(published)  # none looks like another
    assert "License: Apache-2.0" in page.caption[0].value
    assert page.caption[1].value.startswith("About 200 MB from download.openmmlab.com, kept in")


def test_what_is_downloaded_comes_first_with_its_size(tmp_path, page):
    (tmp_path / PUBLISHED[NAME].file_name).write_bytes(bytes(3_000_000))
    page.selectbox(key="test-network").set_value(network_picker.PUBLISHED_ENTRY).run()
    assert page.selectbox(key="test-published").options[0].startswith("✓ 3 MB · ")
    assert networks.size_mb(NAME) == 3


def test_offline_ends_in_one_sentence_with_the_address_and_the_place(tmp_path, page, monkeypatch):
    def offline(request, timeout):
        raise OSError("network is unreachable")

    monkeypatch.setattr(download, "urlopen", offline)
    page.selectbox(key="test-network").set_value(network_picker.PUBLISHED_ENTRY).run()
    page.selectbox(key="test-published").set_value(NAME).run()
    page.button[0].click().run()
    assert chosen(page) == "None"
    (error,) = page.error
    assert PUBLISHED[NAME].url in error.value
    assert str(tmp_path / PUBLISHED[NAME].file_name) in error.value
    assert not list(tmp_path.glob("*.pth"))


def test_a_file_is_opened_and_stays_open(tmp_path, page):
    path = tmp_path / "mine.safetensors"
    architecture = tiny_architecture("non_local")
    save_network(path, tiny_network("non_local"), architecture)
    open_file(page, "mine.safetensors", path.read_bytes())
    assert not page.error
    assert chosen(page).endswith("/mine.safetensors")
    page.file_uploader(key="network-file").set_value([]).run()
    assert chosen(page).endswith("/mine.safetensors")


def test_a_refused_file_is_one_sentence_in_the_users_words(page):
    open_file(page, "my model.pth", b"nothing like weights")
    assert chosen(page) == "None"
    (error,) = page.error
    assert error.value.startswith(
        "This network cannot be used: my_model.pth is not a readable safetensors file"
    )


@pytest.mark.parametrize("name", ["../../x.pth", "a/b.pth", "..", "", "x" * 300 + ".pth", "é\0.pt"])
def test_kept_files_stay_in_their_folder_whatever_they_are_called(name):
    path = keep(b"content", name)
    assert path.read_bytes() == b"content"
    assert path.parent.name == hashlib.sha256(b"content").hexdigest()[:16]
    assert ".." not in path.parts
    assert keep(b"content", name) == path
    assert in_users_words(f"{path} is bad") == f"{path.name} is bad"
