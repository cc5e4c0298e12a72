"""Nothing that a person chose is dropped by going elsewhere: pages, back and forward, reload."""

import io
from urllib.parse import quote

import pytest
from browser import box_of, comes_true, emptied
from PIL import Image
from playwright.sync_api import expect

from nonlocal_lens.app.viewer.bundle import VIEWER, joined, viewer_css

pytestmark = pytest.mark.browser

HOW_MANY = (
    "() => { window.most = 0; const count = (root) => [...root.querySelectorAll('*')].reduce("
    "(sum, node) => sum + node.classList.contains('lens') + (node.shadowRoot ? "
    "count(node.shadowRoot) : 0), 0); const look = () => { window.most = Math.max(window.most, "
    "count(document)); requestAnimationFrame(look); }; look(); }"
)


@pytest.fixture
def page(blank, address):
    page = blank((1440, 900), home=address)
    page.base = address
    return page


def noise(size=(96, 64)):
    buffer = io.BytesIO()
    Image.effect_noise(size, 60).convert("RGB").save(buffer, "PNG")
    return {"name": "noise.png", "mimeType": "image/png", "buffer": buffer.getvalue()}


def go_to(page, name):
    page.get_by_test_id("stTopNavLink").filter(has_text=name).click()
    path = "/" if name == "Explore" else f"/{name.lower()}"
    page.wait_for_function("path => location.pathname === path", arg=path)


def stage(page):
    return page.locator('[data-panel="photo"] .stage').first


def pin(page, right, down):
    """Click once the page is done: what it is about to draw anew keeps no click."""
    settle(page)
    box = box_of(stage(page))
    page.mouse.click(box["x"] + right * box["width"], box["y"] + down * box["height"])


def params(page, *names):
    """Return what the address says, once it says all of these names."""
    page.wait_for_function(
        "names => names.every(name => new URLSearchParams(location.search).has(name))",
        arg=list(names),
    )
    return page.evaluate("() => Object.fromEntries(new URLSearchParams(location.search))")


def wait_for(page, **expected):
    """Wait until the address says this; None is what it must not say."""
    page.wait_for_function(
        "expected => Object.entries(expected).every("
        "([name, text]) => new URLSearchParams(location.search).get(name) === text)",
        arg=expected,
    )


def settle(page):
    """Wait until the page's run is over."""
    page.get_by_test_id("stApp").and_(
        page.locator('[data-test-script-state="notRunning"]')
    ).wait_for()


def wait_for_photo(page, alt):
    """Wait until the viewer shows the picture of this description."""
    photo = page.locator('[data-panel="photo"] img').first
    comes_true(lambda: photo.get_attribute("alt"), alt)


def test_picture_network_and_pins_follow_to_every_page_and_back(page):
    page.goto(f"{page.base}/?picture=sample-coffee&networks=streets-nl")
    stage(page).wait_for()
    pin(page, 0.3, 0.6)
    q = params(page, "q")["q"]
    go_to(page, "Compare")
    wait_for(page, picture="sample-coffee", q=q)
    assert "streets-nl" in params(page, "networks")["networks"].split("~")
    assert page.get_by_role("list", name="Pinned queries").count() == 0, "one pin is no list"
    go_to(page, "Export")
    wait_for(page, picture="sample-coffee", q=q)
    page.get_by_text("coffee through").first.wait_for()
    go_to(page, "Video")
    params(page, "clip")
    go_to(page, "Degeneracy")
    page.get_by_role("button", name="Measure").wait_for()
    go_to(page, "Explore")
    wait_for(page, picture="sample-coffee", networks="streets-nl", q=q)
    wait_for_photo(page, "A cup of coffee on a wooden table")


def test_an_upload_is_there_on_every_page_and_after_a_reload(page):
    page.goto(page.base)
    stage(page).wait_for()
    choose_upload(page, noise())
    page.wait_for_function("() => /picture=[0-9a-f]{64}/.test(location.search)")
    wait_for_photo(page, "The uploaded picture")
    pin(page, 0.5, 0.5)
    said = params(page, "picture", "q")
    go_to(page, "Compare")
    wait_for(page, picture=said["picture"], q=said["q"])
    go_to(page, "Explore")
    wait_for(page, picture=said["picture"], q=said["q"])
    wait_for_photo(page, "The uploaded picture")
    page.reload()
    wait_for_photo(page, "The uploaded picture")
    wait_for(page, picture=said["picture"], q=said["q"])


def choose_upload(page, file):
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Your own picture…").click()
    page.locator('input[type="file"]').first.set_input_files(file)


def test_back_and_forward_go_through_what_was_shown(page):
    page.goto(f"{page.base}/?picture=sample-coffee&networks=streets-nl")
    stage(page).wait_for()
    pin(page, 0.3, 0.6)
    q = params(page, "q")["q"]
    go_to(page, "Compare")
    wait_for(page, picture="sample-coffee", q=q)
    stage(page).wait_for()
    pin(page, 0.7, 0.2)
    page.wait_for_function("q => new URLSearchParams(location.search).get('q') !== q", arg=q)
    other = params(page, "q")["q"]
    for path in ("/compare", "/compare", "/"):  # the page is opened, then says what it shows
        page.go_back()
        page.wait_for_function("path => location.pathname === path", arg=path)
        wait_for(page, picture="sample-coffee", q=q)
        settle(page)
    assert params(page, "networks")["networks"] == "streets-nl"
    for expected in (q, q, other):
        page.go_forward()
        page.wait_for_function("() => location.pathname === '/compare'")
        wait_for(page, picture="sample-coffee", q=expected)
        settle(page)


def test_what_was_chosen_for_a_survey_an_export_and_a_clip_stays_and_is_in_the_address(page):
    page.goto(f"{page.base}/degeneracy?pictures=rendered-streets&count=17&networks=streets-nl")
    page.get_by_role("button", name="Measure 17 pictures").wait_for()
    go_to(page, "Export")
    page.get_by_label("Style").first.wait_for()
    page.get_by_role("spinbutton", name="Arrows").fill("7")
    page.keyboard.press("Enter")
    wait_for(page, **{"figure-arrows": "7"})
    go_to(page, "Video")
    params(page, "clip")
    page.get_by_role("button", name="Frames").click()
    page.get_by_role("spinbutton", name="Frames").fill("3")
    page.keyboard.press("Enter")
    wait_for(page, frames="3")
    go_to(page, "Degeneracy")
    page.get_by_role("button", name="Measure 17 pictures").wait_for()
    wait_for(page, count="17", networks="streets-nl")
    go_to(page, "Export")
    wait_for(page, **{"figure-arrows": "7"})
    go_to(page, "Video")
    wait_for(page, frames="3")
    page.reload()
    wait_for(page, frames="3")
    page.get_by_role("button", name="Frames").click()
    expect(page.get_by_role("spinbutton", name="Frames")).to_have_value("3")


def test_a_pin_in_a_clip_follows(page):
    page.goto(f"{page.base}/video?clip=street-2000000&frames=2&network=streets-nl")
    stage(page).wait_for()
    pin(page, 0.3, 0.7)
    q = params(page, "q")["q"]
    go_to(page, "Degeneracy")
    page.get_by_role("button", name="Measure").wait_for()
    go_to(page, "Video")
    wait_for(page, clip="street-2000000", frames="2", network="streets-nl", q=q)
    stage(page).wait_for()
    page.reload()
    stage(page).wait_for()
    wait_for(page, clip="street-2000000", frames="2", network="streets-nl", q=q)


def test_there_are_never_two_viewers_even_if_one_chooses_while_the_page_runs(page):
    page.goto(page.base)
    page.evaluate(HOW_MANY)
    for name in ("Astronaut", "Chelsea", "Rocket"):
        page.get_by_role("combobox", name="Picture").click()
        page.get_by_role("option", name=name).click()
    page.locator('img[alt="A rocket on its launch pad by the sea"]').first.wait_for()
    page.wait_for_timeout(500)
    assert page.evaluate("most") == 1


def test_the_bar_never_has_a_thing_twice_or_not_at_all(page):
    """A street has a number beside it, a photograph has none: what follows keeps its place."""
    page.goto(page.base)
    settle(page)
    page.evaluate(
        "() => { window.seen = new Set(); const look = () => { seen.add(document.querySelectorAll("
        "'.st-key-bar [data-testid=stPopover]').length); requestAnimationFrame(look); }; look(); }"
    )
    for name, alt in (("Rocket", "A rocket on its launch pad by the sea"), ("Rendered street", "")):
        page.get_by_role("combobox", name="Picture").click()
        page.get_by_role("option", name=name).click()
        if alt:
            wait_for_photo(page, alt)
        else:
            page.get_by_role("spinbutton", name="Street number").wait_for()
        settle(page)
    assert page.evaluate("[...seen]") == [1]


def test_a_viewer_that_opens_takes_the_place_of_another_one_on_the_page(tab):
    """A host that was not told to go (its run was interrupted) stands beside the new one."""
    import torch
    from records import random_record
    from viewing import encoded, packed

    generator = torch.Generator().manual_seed(0)
    code = joined((*VIEWER, VIEWER[0].parent / "streamlit.js"))
    page = emptied(tab, (1100, 1000), "light")
    page.set_content("<div id=old></div><div id=new></div>")
    first, second = (encoded(packed(random_record(generator))) for _ in range(2))
    counts = page.evaluate(
        """async ([code, first, second]) => {
            const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
            const lens = await import(url);
            const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const [old, fresh] = ["old", "new"].map((id) => document.getElementById(id));
            const show = (host, data) =>
                lens.default({ parentElement: host, data: bytes(data), setStateValue() {} });
            const away = show(old, first);
            show(fresh, second);
            const counts = [document.querySelectorAll(".lens").length, fresh.children.length];
            show(fresh, second);
            away();
            return [...counts, document.querySelectorAll(".lens").length];
        }""",
        [code, first, second],
    )
    assert viewer_css()
    assert counts == [1, 1, 1]


def test_the_class_token_is_asked_pinned_linked_and_taken_to_export(page, address):
    name = "timm:vit_tiny_patch16_224?pretrained=false&depth=2"
    page.goto(f"{address}/?picture=sample-coffee&networks={quote(name, safe='')}")
    token = page.locator('[data-panel="photo"] .token', has_text="class")
    token.wait_for()
    token.click()
    page.wait_for_url("**q=*", timeout=30_000)
    assert "class" in page.locator(".readout").inner_text()
    page.reload()
    pinned = page.locator('[data-panel="photo"] .token.pinned', has_text="class")
    pinned.wait_for(timeout=60_000)
    page.get_by_role("link", name="Export").first.click()
    page.get_by_text("--query class").wait_for(timeout=60_000)


@pytest.mark.parametrize("street", [None, 7])
def test_a_picture_and_a_network_follow_to_every_page_and_back(page, street):
    page.goto(page.base)
    if street is None:
        expected = {"picture": "street-2000030", "networks": "streets-dnl"}
    else:
        expected = {"picture": f"street-{street}", "networks": "streets-gc"}
        page.goto(f"{page.base}/?picture={expected['picture']}&networks={expected['networks']}")
    wait_for(page, **expected)
    settle(page)
    for name in ("Layers", "Explore", "Compare", "Layers", "Compare", "Explore", "Layers"):
        go_to(page, name)
        settle(page)
        said = params(page, "picture", "networks")
        assert said["picture"] == expected["picture"], name
        if name != "Compare":  # it shows several
            assert said["networks"] == expected["networks"], name
        shown = page.get_by_test_id("stNumberInput").locator("input").first
        assert shown.input_value() == expected["picture"].removeprefix("street-"), name
