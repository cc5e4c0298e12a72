"""The exported page: the live viewer, offline, under a policy that lets nothing else in."""

import base64
import hashlib
import re

import numpy as np
import pytest
from networks import tiny_architecture, tiny_network
from PIL import Image

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.provenance import read_note
from nonlocal_lens.app.export.replay import replay
from nonlocal_lens.app.export.run import export
from nonlocal_lens.models.checkpoint import load_network, save_network
from nonlocal_lens.models.file_hash import file_sha256


@pytest.fixture
def networks(tmp_path):
    paths = []
    for name, block in (("one", "disentangled"), ("two", "non_local")):
        paths.append(tmp_path / f"{name}.safetensors")
        save_network(paths[-1], tiny_network(block), tiny_architecture(block))
    return paths


@pytest.fixture
def page(tmp_path, networks):
    """Return the path of an exported page of two networks and two queries."""
    pixels = np.random.default_rng(0).integers(0, 256, (80, 112, 3), dtype=np.uint8)
    photo = tmp_path / "<b>photo & co.png"
    Image.fromarray(pixels).save(photo)
    options = Options.build(
        {
            "inputs": [str(photo)],
            "networks": [str(path) for path in networks],
            "queries": ["grid:1x2"],
            "formats": "html",
        }
    )
    export(options, tmp_path / "out")
    return tmp_path / "out" / "b_photo_co.html"


def test_the_policy_lets_in_this_script_and_this_style_and_no_request(page):
    text = page.read_text(encoding="utf-8")
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)[1]
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    for kind, pattern in (
        ("script", r'<script type="module">(.*?)</script>'),
        ("style", r"<style>(.*?)</style>"),
    ):
        (content,) = re.findall(pattern, text, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_names_are_text_and_the_page_says_how_it_was_made(page, tmp_path):
    text = page.read_text(encoding="utf-8")
    assert "<b>photo" not in text
    note = read_note(page)
    assert note["inputs"][0]["location"].endswith("<b>photo & co.png")
    assert [network["title"] for network in note["networks"]] == ["one", "two"]
    again = replay(page, tmp_path / "again.html").path
    assert again.read_bytes() == page.read_bytes()


def test_the_page_says_where_its_maps_come_from(page, networks):
    text = page.read_text(encoding="utf-8")
    for path in networks:
        assert re.search(rf"<li>{path.stem} · [\w.]+ · embedded_gaussian, ", text)
        assert f"sha256 {file_sha256(path)}" in text
    assert "shared scale up to" in text
    assert PRODUCT in text


@pytest.mark.browser
def test_the_page_is_the_live_viewer_offline(page, networks, chromium):
    problems = []
    opened = chromium.new_page(viewport={"width": 1200, "height": 1000})
    opened.on("console", lambda entry: problems.append(entry.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on(
        "request",
        lambda request: (
            problems.append(request.url) if not request.url.startswith(("file:", "blob:")) else None
        ),
    )
    opened.goto(page.as_uri())
    assert opened.get_by_role("list", name="Pinned queries").get_by_role("listitem").count() == 2
    values = opened.locator('[data-row="1"] output[data-value]')
    names = values.evaluate_all("nodes => nodes.map(node => node.dataset.value)")
    shown = values.evaluate_all("nodes => nodes.map(node => +node.dataset.exact)")
    assert not problems
    image = np.random.default_rng(0).integers(0, 256, (80, 112, 3), dtype=np.uint8)
    expected = {}
    for network in networks:  # opened at the second query, on its own pixel
        (record,) = capture(load_network(network), image)
        grid = record.query_grid
        query = grid.position(grid.cell_at(x=84, y=40))
        for term in terms.TERMS:
            row = terms.attention(record, [query], term)[0] * record.key_grid.positions
            expected.setdefault(term, []).append(row[query].item())
    assert names == ["photo", *(term for term in terms.TERMS for _ in networks)]
    assert shown[1:] == pytest.approx(
        [value for row in expected.values() for value in row], rel=0.01
    )
