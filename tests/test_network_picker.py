"""Choosing a network on a page: bundled, published, from a file."""

import hashlib

import pytest
import torch
from networks import tiny_architecture, tiny_network
from streamlit.testing.v1 import AppTest

from nonlocal_lens.app import networks
from nonlocal_lens.app.address import is_linkable, token_of
from nonlocal_lens.app.components import network_picker, network_search
from nonlocal_lens.app.session import CHOICES
from nonlocal_lens.app.uploads import keep, user_message
from nonlocal_lens.models import download
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.published import PUBLISHED

pytestmark = pytest.mark.slow

NAME = "dnl_r50-d8_512x1024_40k_bdd100k"  # its file name carries no hash


def picker():
    from nonlocal_lens.app.components.network_picker import choose_network

    chosen = choose_network("test")
    import streamlit as st

    st.text(f"chosen: {chosen}")


@pytest.fixture
def page(tmp_path, monkeypatch):
    monkeypatch.setenv(download.CACHE_VARIABLE, str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "torch"))
    network_search._labels.clear()
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
    assert options[-2:] == ["Search all networks…", "Open a file…"]
    assert chosen(page) == "streets-dnl"
    page.selectbox(key="test-network").set_value(network_picker.SEARCH_ENTRY).run()
    assert chosen(page) == "None"
    every = page.selectbox(key="test-search").options
    published = every[: len(PUBLISHED)]
    assert published[0] == "↓ 200 MB · Non-local, R50, Cityscapes, 512x1024, 40k · Apache-2.0"
    assert "↓ 142 MB or more · I3D (SlowFast), R50, 8 frames, every 8, Kinetics-400" in " ".join(
        published
    )
    assert len(set(published)) == len(published)  # none looks like another
    page.selectbox(key="test-search").set_value("nonlocal_r50-d8_512x1024_40k_cityscapes").run()
    assert chosen(page) == "None"
    assert "License: Apache-2.0" in page.caption[0].value
    assert page.caption[1].value.startswith("About 200 MB from download.openmmlab.com, kept in")


def test_what_is_downloaded_comes_first_with_its_size(tmp_path, page):
    (tmp_path / PUBLISHED[NAME].file_name).write_bytes(bytes(3_000_000))
    page.selectbox(key="test-network").set_value(network_picker.SEARCH_ENTRY).run()
    assert page.selectbox(key="test-search").options[0].startswith("✓ 3 MB · ")
    assert networks.size_mb(NAME) == 3


def test_offline_ends_in_one_sentence_with_the_address_and_the_place(tmp_path, page, monkeypatch):
    def offline(request, timeout):
        raise OSError("network is unreachable")

    monkeypatch.setattr(download, "urlopen", offline)
    page.selectbox(key="test-network").set_value(network_picker.SEARCH_ENTRY).run()
    page.selectbox(key="test-search").set_value(NAME).run()
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
    assert user_message(f"{path} is bad") == f"{path.name} is bad"


def search(page, name):
    page.selectbox(key="test-network").set_value(network_picker.SEARCH_ENTRY).run()
    return page.selectbox(key="test-search").set_value(name).run()


def press(page, label):
    return next(one for one in page.button if one.label == label).click().run()


def test_all_libraries_are_searched_by_name(page):
    pytest.importorskip("timm")
    page.selectbox(key="test-network").set_value(network_picker.SEARCH_ENTRY).run()
    options = page.selectbox(key="test-search").options
    assert "torchvision:vit_b_16" in options
    assert any(one.startswith("timm:vit_base_patch16_224.") for one in options)
    assert "timm:vit_base_patch16_224.augreg_in21k · apache-2.0" in options
    assert "hf:vit · random weights" in options


def test_what_is_not_here_is_offered_with_its_size_and_license_and_opens_without_weights(page):
    search(page, "torchvision:vit_b_32")
    assert chosen(page) == "None"
    (said,) = [one.value for one in page.caption if "is not here" in one.value]
    assert "about 337 MB" in said
    assert "from download.pytorch.org" in said
    assert "BSD-3-Clause" in said
    press(page, "Open with random weights")
    name = "torchvision:vit_b_32?pretrained=false"
    assert chosen(page) == name
    assert "random weights" in page.markdown[0].value
    box = page.selectbox(key="test-network")
    assert box.value == name
    assert box.options[0] == "vit_b_32 (torchvision, random weights)"
    box.set_value("streets-nl").run()
    assert page.selectbox(key="test-network").options[0] == box.options[0]  # recent ones first


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ("torchvision:vit_b_61", "has no network 'vit\\_b\\_61'; did you mean"),
        ("timm:vit_tiny?a", "options of timm"),
        ("hf:nobody/nothing?pretrained=false", "neither a folder nor in the hub's cache"),
    ],
)
def test_what_cannot_be_opened_ends_in_one_sentence(page, typed, sentence):
    pytest.importorskip("timm")
    page = AppTest.from_function(picker, default_timeout=120)
    page.session_state[CHOICES] = {"test-network": typed}
    page.run()
    assert chosen(page) == "None"
    (error,) = page.error
    plain = error.value.replace("\\", "")
    assert sentence.replace("\\", "") in plain


def test_a_download_that_fails_ends_in_one_sentence(page):
    pytest.importorskip("timm")
    search(page, "timm:vit_tiny_patch16_224.augreg_in21k")
    press(page, "Download and open")
    assert chosen(page) == "None"
    (error,) = page.error
    assert "could not be downloaded" in error.value


def test_what_is_no_name_ends_in_one_sentence(tmp_path):
    def typed():
        from nonlocal_lens.app.components.network_search import full_name, ready

        ready(full_name("no such thing"), "test")

    (error,) = AppTest.from_function(typed).run().error
    assert error.value.startswith("There is no network no such thing: choose one of the list")


def test_a_part_of_a_name_finds_all_that_hold_it():
    labels = {"timm:vit_a.x": "timm:vit_a.x · MIT", "hf:swin": "hf:swin · random weights"}
    assert network_search.names_with("VIT mit", labels) == ["timm:vit_a.x"]
    assert network_search.names_with("i", labels) == [*labels]
    assert network_search.names_with("vit swin", labels) == []


def test_an_id_of_the_hub_needs_no_prefix():
    assert network_search.full_name("google/vit-base") == "hf:google/vit-base"
    assert network_search.full_name(" timm:a/b ") == "timm:a/b"
    assert network_search.full_name("a/b/c") == "a/b/c"


@pytest.mark.parametrize(
    ("name", "linkable"),
    [
        ("timm:vit_tiny_patch16_224.augreg_in21k?pretrained=false&depth=2", True),
        ("hf:google/vit-base-patch16-224", True),
        ("torchvision:vit_b_16?weights=none", True),
        ("hf:/etc", False),
        ("hf:..", False),
        ("timm:vit_tiny?file=a.pth", False),
        ("timm:vit_tiny?depth=100000", False),
        ("timm:local-dir:/etc", False),
        ("streets-nl", False),
        ("timm:a~b", False),
    ],
)
def test_links_open_names_but_neither_files_nor_whatever_somebody_wrote(name, linkable):
    assert is_linkable(name) is linkable
    assert token_of(name) == (name if linkable or name == "streets-nl" else None)
