"""Degeneracy, Explore and Export in real Chromium, on pictures small enough to be quick."""

import io
import os

import browser as host
import numpy as np
import pytest
from PIL import Image
from test_images import encoded

from analysis.figures.files import read_note

pytestmark = pytest.mark.browser

PATIENCE = 90_000  # milliseconds


@pytest.fixture(scope="module")
def chromium():
    path = host.find_chromium()
    if path is None:
        reason = "no Chromium: install it (Debian: apt-get install chromium)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with host.chromium(path) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(chromium):
    with host.running_app() as address:
        yield address


@pytest.fixture
def page(chromium, address):
    """Open the Degeneracy page; fail afterwards if it logged an error."""
    page = chromium.new_page(viewport={"width": 1440, "height": 1000})
    page.set_default_timeout(PATIENCE)
    problems = []
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on("console", lambda entry: problems.append(entry.text) if is_problem(entry) else None)
    page.goto(f"{address}/degeneracy")
    page.get_by_role("button", name="Measure 5 pictures").wait_for()
    yield page
    page.close()
    assert not problems


def is_problem(entry):
    """Streamlit first looks for its server below the page's own path; that is no error of ours."""
    return entry.type == "error" and "/_stcore/" not in entry.location["url"]


def file(name, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = b"broken" if seed is None else encoded(Image.fromarray(noise))
    return {"name": name, "mimeType": "image/png", "buffer": data}


def go_to(page, name):
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name).wait_for()


def measure(page, files):
    page.get_by_role("radio", name="Your own").or_(page.get_by_text("Your own")).first.click()
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_role("button", name=f"Measure {len(files)} pictures").click()
    page.get_by_text("Every picture").wait_for()
    page.get_by_role("button", name="Cancel").wait_for(state="detached")


def test_from_pictures_to_numbers_to_explore_to_a_figure(page):
    measure(page, [file("a.png", 0), file("broken.png", None), file("b.png", 1)])
    page.get_by_text("2 could not be measured").or_(
        page.get_by_text("1 could not be measured")
    ).wait_for()
    page.locator('[data-testid="stVegaLiteChart"]').nth(2).wait_for()

    go_to(page, "Export")  # nothing was explored: the first sample would run; do not wait for it
    go_to(page, "Degeneracy")
    page.get_by_text("Every picture").wait_for()  # it survived
    page.get_by_role("button", name="Parquet").wait_for()  # it stands below the last table
    page.wait_for_timeout(1000)
    rows = page.locator('[data-testid="stDataFrame"]').last
    rows.scroll_into_view_if_needed()
    box = rows.bounding_box()
    page.mouse.click(box["x"] + 14, box["y"] + 35 + 17)  # the first row's mark
    page.get_by_text("Still open: a.png").wait_for()
    page.locator(".panels").first.wait_for()
    page.get_by_role("tab", name="Query dependence").click()
    page.get_by_role("button", name="The two most different queries").click()
    page.get_by_text("Queries at x").wait_for()

    go_to(page, "Export")
    page.get_by_text("a.png through streets-dnl").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download a.png").click()
    path = waiting.value.path()
    assert Image.open(io.BytesIO(path.read_bytes())).format == "PNG"
    assert read_note(path)["networks"][0]["name"] == "streets-dnl"
    command = page.locator("pre code").last.inner_text()
    assert "export a.png --network streets-dnl" in command


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [420, 800])
def test_no_page_is_wider_than_the_window(chromium, address, width, scheme):
    page = chromium.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(PATIENCE)
    for name, sign in [("degeneracy", "Measure 5 pictures"), ("export", "The same in the shell")]:
        page.goto(f"{address}/{name}")
        page.get_by_text(sign).first.wait_for()
        wide = page.evaluate(
            "() => { const main = document.querySelector('[data-testid=stMain]');"
            " return main.scrollWidth - main.clientWidth; }"
        )
        assert wide <= 1, name
    page.close()
