"""The first screen: the picture, its three maps, their scale and the bits, without scrolling."""

import pytest
from axe import assert_nothing_is_found
from browser import box_of
from test_browser_session import noise, wait_for

from nonlocal_lens.analysis.terms import TERMS

pytestmark = pytest.mark.browser


def opened(blank, address, size, scheme="light"):
    page = blank(size, scheme, address)
    page.goto(address)
    page.locator('[data-panel="photo"] .stage').first.wait_for()
    page.locator(".nl-bits").first.wait_for()
    return page


@pytest.mark.parametrize(("size", "scheme"), [((1440, 900), "light"), ((1280, 720), "dark")])
def test_photo_maps_scale_and_bits_are_inside_the_window(blank, address, size, scheme):
    page = opened(blank, address, size, scheme)
    parts = {
        "sentence": page.locator(".nl-sentence"),
        "bits": page.locator(".nl-bits .bar"),
        "scale": page.locator(".common-bar"),
        **{panel: page.locator(f'[data-panel="{panel}"] .stage') for panel in ("photo", *TERMS)},
    }
    boxes = {name: box_of(part.first) for name, part in parts.items()}
    for name, box in boxes.items():
        assert box["y"] >= 0, name
        assert box["y"] + box["height"] <= size[1], name
        assert box["x"] + box["width"] <= size[0], name
    tops = [boxes[panel]["y"] for panel in ("photo", *TERMS)]
    assert max(tops) - min(tops) <= 1, "in one row"
    assert_nothing_is_found(page)


def test_it_opens_on_a_street_with_a_lamp_post_and_the_road_pinned(blank, address):
    page = opened(blank, address, (1440, 900))
    assert "pole" in page.locator(".nl-sentence").inner_text()
    wait_for(page, picture="street-2000030", q="1370-1200_2400-3000")
    assert page.get_by_role("list", name="Pinned queries").get_by_role("listitem").count() == 2
    place = page.locator('[data-panel="photo"] .title').first.inner_text()
    said = page.locator('[data-panel="whole"] .value').first.get_attribute("title")
    assert said.startswith("The value under the cursor"), "no number without a word"
    assert f"① {place} (" in page.locator(".nl-place").inner_text(), "one place, one name"
    bar = page.locator(".nl-bits .bar").first.get_attribute("aria-label")
    assert "the same from everywhere" in bar


def test_what_is_old_stays_and_is_dimmed_in_one_step(blank, address):
    """A fade paints the page anew at every frame, beside what computes the new."""
    page = opened(blank, address, (1440, 900))
    page.evaluate(
        """() => {
            window.fading = new Set();
            window.missing = new Set();
            const parts = [".nl-sentence", ".nl-bits .bar", ".stBidiComponent"];
            const look = () => parts.filter((part) => !document.querySelector(part));
            setInterval(() => look().forEach((part) => window.missing.add(part)), 20);
            setInterval(() => document.getAnimations().forEach(({ transitionProperty, effect }) => {
                const { duration } = effect.getTiming();
                if (transitionProperty === "opacity" && effect.target.closest(".stMain"))
                    window.fading.add(`${duration} ms: ${effect.target.outerHTML.slice(0, 99)}`);
            }), 20);
        }"""
    )
    page.get_by_role("button", name="The face of a tabby cat").click()
    wait_for(page, picture="sample-chelsea")
    page.locator(".nl-sentence").wait_for()
    fading = page.evaluate("() => [...window.fading]")
    assert [one for one in fading if float(one.split()[0]) > 300] == []
    assert page.evaluate("() => [...window.missing]") == []


def test_pictures_are_chosen_by_thumbnails_and_dropped_or_pasted(blank, address):
    page = opened(blank, address, (1440, 900))
    shelf = page.get_by_role("group", name="Pictures")
    shelf.get_by_role("button", name="The face of a tabby cat").click()
    wait_for(page, picture="sample-chelsea")
    page.get_by_text("trained on streets").wait_for()
    pressed = shelf.get_by_role("button", pressed=True)
    assert pressed.get_attribute("data-picture") == "sample-chelsea"
    page.evaluate(
        """bytes => {
            const files = new DataTransfer();
            files.items.add(new File([new Uint8Array(bytes)], "a.png", { type: "image/png" }));
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: files, bubbles: true }));
        }""",
        list(noise()["buffer"]),
    )
    page.wait_for_function("() => /picture=[0-9a-f]{64}/.test(location.search)")
    page.locator('img[alt="The uploaded picture"]').first.wait_for()


def test_a_phone_shows_photo_and_map_together_a_finger_swipes_the_maps_and_so_do_keys(
    blank, address
):
    page = opened(blank, address, (390, 844), "dark")
    for panel in ("photo", "whole"):
        box = box_of(page.locator(f'[data-panel="{panel}"] .stage').first)
        assert box["y"] >= 0
        assert box["y"] + box["height"] <= 844, panel
    maps = page.get_by_role("group", name="Maps of this photo").first
    maps.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("maps => maps.scrollLeft > 0", arg=maps.element_handle())
    assert_nothing_is_found(page)
    bar = box_of(page.locator(".common-bar"))
    second = box_of(page.locator('[data-panel="photo"]').nth(1))
    assert bar["y"] < second["y"], "the scale stands below the maps that come first"


def test_compare_shows_photo_two_networks_and_their_difference_in_one_row(blank, address):
    page = blank((1280, 720), home=address)
    page.goto(f"{address}/compare")
    page.locator('[data-panel="difference"] .stage').first.wait_for()
    page.locator(".nl-bits .row").nth(1).wait_for()
    names = page.locator(".nl-bits .row .name").all_inner_texts()
    assert names == ["streets-nl", "streets-dnl"]
    boxes = [
        box_of(page.locator(f'[data-panel="{panel}"] .stage').nth(index))
        for panel, index in (("photo", 0), ("whole", 0), ("whole", 1), ("difference", 0))
    ]
    assert max(box["y"] for box in boxes) - min(box["y"] for box in boxes) <= 1
    assert all(box["y"] + box["height"] <= 720 for box in boxes)
    scale = box_of(page.locator(".common-bar"))
    assert scale["y"] + scale["height"] <= 720, "the scale of what comes first is in the window"
    assert scale["x"] + scale["width"] <= boxes[3]["x"], "the difference has its own"
    page.locator(".nl-column").nth(1).wait_for()
    assert page.locator(".nl-column").count() == 2, "a column of numbers for each"
