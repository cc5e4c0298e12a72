"""The viewer by itself on an empty page, for the tests of what it computes, draws and saves."""

import base64

import numpy as np
from browser import box_of

from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import Shown, pack_all, with_view

HOSTILE = "<img src=x onerror=alert(1)>.png"


MOUNT = """
async ([code, style, payload]) => {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    window.lens = await import(url);
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.head.append(sheet);
    document.documentElement.lang = "en";
    document.title = "viewer";
    window.told = [];
    window.show = (base64) =>
        lens.mount(document.body, lens.bytesOf(base64), (pinned, view) => told.push(view));
    show(payload);
    window.viewer = document.body.nonlocalLens;
}
"""


def packed(*records, view=None, name=None, output=None):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    shown = [Shown(f"net{index}", record, output) for index, record in enumerate(records)]
    payload = pack_all(image, shown, alt="Noise", name=name)
    return payload if view is None else with_view(payload, view)


def encoded(payload):
    return base64.b64encode(payload).decode()


def mount(page, payload):
    page.evaluate(MOUNT, [viewer_js(), viewer_css(), encoded(payload)])


def stage(page, panel="photo", row=0):
    return page.locator(f'[data-panel="{panel}"][data-row="{row}"] .stage').first


def click(page, x, y, panel="photo", row=0, **options):
    """Click at an image point."""
    box = box_of(stage(page, panel, row))
    at = {"x": x / 56 * box["width"], "y": y / 40 * box["height"]}
    stage(page, panel, row).click(position=at, **options)


def pins(page):
    return page.evaluate("viewer.queries.map(({ points }) => points.map(({ x, y }) => [x, y]))")


def last_told(page):
    """Return the view that the host was told of, once that is how it is."""
    page.wait_for_function("JSON.stringify(told.at(-1)) === JSON.stringify(viewer.describeView())")
    return page.evaluate("told.at(-1)")


def open_menu(page, title):
    page.locator(f'.menu > summary:text-is("{title}")').click()


def saved(page, button):
    open_menu(page, "Save")
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    page.keyboard.press("Escape")
    return download.value
