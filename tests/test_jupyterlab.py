"""The viewer in a real JupyterLab, in real Chromium."""

import os
import re
import socket
import subprocess
import sys
from ast import literal_eval
from contextlib import contextmanager

import browser as host
import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from nbconvert import HTMLExporter
from networks import tiny_architecture, tiny_network
from PIL import Image
from playwright.sync_api import expect

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models.checkpoint import save_network

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PATIENCE = 240_000  # milliseconds: a kernel imports torch first
SHOW = """
from nonlocal_lens.app.notebook import explore
lens = explore("one.safetensors", "photo.png", compare=["two.safetensors"])
lens
"""
OTHER = """
other = explore("two.safetensors", "photo.png", queries=[(30, 30)])
other
"""
FILM = """
import numpy as np
frames = np.random.default_rng(1).integers(0, 256, (3, 200, 280, 3), dtype=np.uint8)
film = explore("two.safetensors", frames, compare=["one.safetensors"], queries=[(1, 30, 30)])
film
"""
RUN = """
async (number) => {
    const notebook = window.jupyterapp.shell.currentWidget;
    notebook.content.activeCellIndex = number;
    await window.jupyterapp.commands.execute("notebook:run-cell");
}
"""
IDLE = """
() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.status === "idle"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("lab")
    for name, block in (("one", "disentangled"), ("two", "non_local")):
        save_network(path / f"{name}.safetensors", tiny_network(block), tiny_architecture(block))
    pixels = np.random.default_rng(0).integers(0, 256, (200, 280, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path / "photo.png")
    book = nbformat.v4.new_notebook()
    book.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    cells = (
        SHOW,
        OTHER,
        "print('queries', lens.queries, other.queries)",
        "lens.queries = [38]",
        FILM,
        "print([tuple(map(int, query)) for query in film.queries])",
        "film.queries = [(0, 70, 12)]",
    )
    book.cells = [nbformat.v4.new_code_cell(code.strip()) for code in cells]
    nbformat.write(book, path / "book.ipynb")
    return path


@pytest.fixture(scope="module")
def rows(folder):
    """Return a function from network and query to the values that torch says, at its own cell."""

    def of(name, query):
        from nonlocal_lens.models import load_network

        (record,) = capture(load_network(folder / f"{name}.safetensors"), folder / "photo.png")
        keys = record.key_grid.positions
        return [
            terms.attention(record, [query], term)[0, query].item() * keys for term in terms.TERMS
        ]

    return of


def environment(folder):
    """Return an environment in which nothing of the user's own Jupyter is read or written."""
    own = ("CONFIG", "RUNTIME", "DATA")
    return {
        **os.environ,
        **{f"JUPYTER_{kind}_DIR": str(folder / ".jupyter" / kind) for kind in own},
        "JUPYTERLAB_SETTINGS_DIR": str(folder / ".jupyter" / "settings"),
        "JUPYTERLAB_WORKSPACES_DIR": str(folder / ".jupyter" / "workspaces"),
        "IPYTHONDIR": str(folder / ".jupyter" / "ipython"),
        "PYTHONPATH": str(host.ROOT),
    }


@contextmanager
def running_lab(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = {
        "IdentityProvider.token": "",
        "ServerApp.ip": "127.0.0.1",
        "ServerApp.port": port,
        "ServerApp.open_browser": False,
        "ServerApp.allow_root": True,
        "ServerApp.root_dir": str(folder),
        "LabApp.expose_app_in_browser": True,
        "LabApp.news_url": None,
    }
    command = [sys.executable, "-m", "jupyterlab"]
    command += [f"--{name}={value}" for name, value in options.items()]
    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment(folder),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            host.wait_until_healthy(f"http://127.0.0.1:{port}/api", 240)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def page(folder):
    path = host.find_chromium()
    if path is None:
        reason = "no Chromium: install it (Debian: apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with running_lab(folder) as address, host.chromium(path) as browser:
        opened = browser.new_page(viewport={"width": 1300, "height": 1700})
        opened.set_default_timeout(PATIENCE)
        opened.problems = []
        opened.on("pageerror", lambda error: opened.problems.append(str(error)))
        opened.on(
            "request",
            lambda request: (
                None
                if request.url.startswith(
                    (address, address.replace("http", "ws"), "blob:", "data:")
                )
                else opened.problems.append(request.url)
            ),
        )
        opened.goto(f"{address}/lab/tree/book.ipynb")
        opened.wait_for_function(IDLE)
        yield opened


def cell(page, number):
    return page.locator(".jp-CodeCell").nth(number)


def run(page, number):
    page.evaluate(RUN, number)
    page.wait_for_function(IDLE)


def shown(viewers):
    return viewers.locator("output[data-value]").evaluate_all(
        "nodes => nodes.filter(node => node.dataset.exact).map(node => +node.dataset.exact)"
    )


def point(page, viewers, x, y, click=False):
    stage = viewers.locator('[data-panel="photo"] .stage').first
    stage.scroll_into_view_if_needed()
    box = host.box_of(stage)
    at = box["x"] + x / 280 * box["width"], box["y"] + y / 200 * box["height"]
    page.mouse.move(*at)
    if click:
        page.mouse.click(*at)


TOLD = """
node => {
    const viewer = node.parentNode.nonlocalLens;
    return viewer && viewer.told === JSON.stringify(viewer.describeView());
}
"""


def wait_until_told(page, viewers):
    """Wait until Python was sent what the viewer of a cell shows."""
    node = viewers.locator(".lens").element_handle()
    page.wait_for_function(TOLD, arg=node)


def queries(page):
    run(page, 2)
    text = cell(page, 2).locator(".jp-OutputArea-output").inner_text()
    return re.search(r"queries (.*)", text)[1]


def test_it_lives_in_jupyterlab(page, rows):
    run(page, 0)
    lens = cell(page, 0)
    lens.locator("canvas.map").nth(1).wait_for()

    # the still picture makes way, whether it comes before the viewer or after it
    lens.locator("img[alt^='Attention of']").wait_for(state="hidden")

    # hovering: what the viewer says is what torch says
    grid_columns = 35
    point(page, lens, 84, 44)
    query = 5 * grid_columns + 10
    whole = [rows("one", query)[0], rows("two", query)[0]]
    assert shown(lens) == pytest.approx(whole, rel=0.01)

    # clicking pins, and Python hears of it
    point(page, lens, 84, 44, click=True)
    wait_until_told(page, lens)
    point(page, lens, 84, 44)
    assert shown(lens) == pytest.approx(whole, rel=0.01)

    # a second widget opens with its own query and leaves the first one alone
    run(page, 1)
    other = cell(page, 1)
    other.locator(".stage canvas").nth(2).wait_for()
    position = 3 * grid_columns + 3
    assert queries(page) == f"[{query}] [{position}]"
    page.mouse.move(0, 0)

    # Python pins, the viewer follows
    run(page, 3)
    expect(lens.locator('[data-field="query"]').first).to_contain_text("row 1, column 3")
    expect(other.locator('[data-field="query"]').first).to_contain_text("row 3, column 3")

    # keys are the viewer's, not those of the notebook's command mode
    cells = page.locator(".jp-CodeCell").count()
    other.locator(".panels").focus()
    for key in ("ArrowDown", "a", "b", "d", "d", "x", "Enter"):
        page.keyboard.press(key)
    wait_until_told(page, other)
    assert queries(page) == f"[38] [{position + grid_columns}]"
    assert page.locator(".jp-CodeCell").count() == cells

    # the kernel goes: the viewer still answers, and running the cells again makes it whole
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
    )
    page.wait_for_function(IDLE)
    point(page, other, 12, 70)
    old = other.locator(".lens").element_handle()
    run(page, 0)
    run(page, 1)
    page.wait_for_function("node => !node.isConnected", arg=old)
    other.locator(".stage canvas").nth(2).wait_for()
    point(page, other, 60, 20, click=True)
    wait_until_told(page, other)
    assert queries(page) == f"[] [{2 * grid_columns + 7}]"

    # closing takes it away, and the still picture is back
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({ code: 'lens.close()' }).done"
    )
    lens.locator(".stage").first.wait_for(state="detached")
    lens.locator("img[alt^='Attention of']").wait_for()
    assert not page.problems


def test_a_clip_lives_in_jupyterlab(page):
    run(page, 4)
    film = cell(page, 4)
    film.locator(".lens .strip").wait_for()
    film.locator("img[alt^='Attention of']").wait_for(state="hidden")

    def says(text):
        expect(film.locator('dd[data-field="query"]').first).to_contain_text(text)
        assert all(
            text in words for words in film.locator('dd[data-field="query"]').all_inner_texts()
        )

    says("frame 2 (0.10 s) · x ")

    picture = film.locator('.lens [data-frame="2"] .picture')
    picture.scroll_into_view_if_needed()
    box = host.box_of(picture)
    picture.click(position={"x": 0.25 * box["width"], "y": 0.75 * box["height"]})
    wait_until_told(page, film)
    run(page, 5)
    ((frame, x, y),) = literal_eval(cell(page, 5).locator(".jp-OutputArea-output").inner_text())
    assert frame == 2
    assert (x, y) == pytest.approx((70, 150), abs=3)
    says(f"frame 3 (0.20 s) · x {int(x)}, y {int(y)}")

    run(page, 6)
    says("frame 1 (0.00 s) · x ")
    page.evaluate(
        "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        ".requestExecute({ code: 'film.close()' }).done"
    )
    film.locator(".lens").first.wait_for(state="detached")
    film.locator("img[alt^='Attention of']").wait_for()
    assert not page.problems


def test_exported_pages_show_the_still_picture_offline(folder, monkeypatch):
    for name, value in environment(folder).items():
        monkeypatch.setenv(name, value)
    book = nbformat.read(folder / "book.ipynb", as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(book, timeout=600, kernel_name="python3", resources=resources).execute()
    exporter = HTMLExporter(embed_images=True)
    with_state, _ = exporter.from_notebook_node(book)
    del book.metadata["widgets"]  # as JupyterLab stores notebooks
    without_state, _ = exporter.from_notebook_node(book)
    for page in (with_state, without_state):
        assert len(re.findall(r'<img alt="Attention of [^>]*src="data:image/png;base64', page)) == 3
        assert "Query information (bits)" in page
