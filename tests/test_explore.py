"""The Explore page, driven without a browser."""

import re
from functools import cache

import numpy as np
import pytest
import torch
from batches import loaded
from networks import tiny_network
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_images import encoded
from torch import nn

from nonlocal_lens.analysis.degeneracy import HEADLINES, STATISTICS
from nonlocal_lens.analysis.interventions import CONTROLS, INTERVENTIONS
from nonlocal_lens.app.components import network_picker, picture_picker
from nonlocal_lens.app.pictures import SAMPLES, Picture, rendered_picture, sample_picture
from nonlocal_lens.models.networks.description import Architecture
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

pytestmark = pytest.mark.slow


@pytest.fixture
def page():
    return AppTest.from_file("../app/main.py", default_timeout=120).run()


def statistics(page):
    """Return the values of all statistics, as the page shows them; none of them twice."""
    assert not page.exception
    cards = [html.proto.body for html in page.get("html") if "nl-statistic" in html.proto.body]
    found = re.findall(r"<span>([^<]+)</span><b>([^<]+)</b>", "".join(cards))
    assert len({name for name, _ in found}) == len(found), "shown twice"
    return dict(found)


def test_the_page_opens_on_a_sample_with_numbers_and_no_question(page):
    assert not page.exception
    assert not page.error
    assert page.selectbox(key="explore-picture").value == "Rendered street"
    shown = statistics(page)
    assert {STATISTICS[name].label for name in HEADLINES} <= set(shown)
    assert "degenerate" in page.markdown[0].value.lower()


def test_another_network_gives_other_numbers(page):
    before = statistics(page)
    page.selectbox(key="explore-network").set_value("streets-nl").run()
    assert not page.exception
    assert statistics(page) != before


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_can_be_opened(page, name):
    page.selectbox(key="explore-picture").set_value(name).run()
    assert not page.exception
    assert len(statistics(page)) > 20


def test_a_rendered_street_is_shown_and_another_number_is_another_street(page):
    page.selectbox(key="explore-picture").set_value("Rendered street").run()
    assert not page.exception
    before = statistics(page)
    page.number_input(key="explore-street").set_value(17).run()
    assert not page.exception
    assert len(before) == len(statistics(page))
    assert statistics(page) != before


def test_a_rendered_street_has_labels_and_says_what_it_shows():
    street = rendered_picture(17)
    assert street.image.shape == (*street.labels.shape, 3)
    values, counts = np.unique(street.labels, return_counts=True)
    for value, count in zip(values, counts, strict=True):
        if value != VOID and count > 200:
            assert list(STREET_CLASSES)[value] in street.alt
    assert sample_picture("coffee").labels is None


@pytest.mark.parametrize("number", [-1, 3_000_000])
def test_a_street_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"unknown street {number}; available: 0 to 2999999"):
        rendered_picture(number)


def upload(page, name, data):
    page.selectbox(key="explore-picture").set_value("Your own picture…").run()
    page.file_uploader[0].set_value((name, data, "image/png")).run()
    return page


def test_an_uploaded_picture_is_shown(page):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    upload(page, "noise.png", encoded(Image.fromarray(noise)))
    assert not page.exception
    assert not page.error
    assert len(statistics(page)) > 20


def test_a_picture_that_is_open_leaves_one_place_for_the_next(page):
    upload(page, "first.png", encoded(Image.effect_noise((99, 67), 50).convert("RGB")))
    assert "Open: first.png" in [caption.value for caption in page.caption]
    assert not page.file_uploader, "the shelf takes the next one"
    page.selectbox(key="explore-picture").set_value("coffee").run()
    page.selectbox(key="explore-picture").set_value("Your own picture…").run()
    assert "Open: first.png" in [caption.value for caption in page.caption]


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"nothing like a picture", "not an image in a known format"),
        (encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels"),
        (encoded(Image.new("1", (20_000, 20_000))), "megapixels"),
        (encoded(Image.effect_noise((99, 99), 50))[:900], "damaged or incomplete"),
    ],
    ids=["text", "tiny", "huge", "truncated"],
)
def test_a_bad_upload_ends_in_one_sentence_and_the_app_lives_on(page, data, sentence):
    upload(page, "bad.png", data)
    assert not page.exception
    assert sentence in page.error[0].value
    page.selectbox(key="explore-picture").set_value("coffee").run()
    assert not page.error
    assert len(statistics(page)) > 20


def test_before_a_file_is_chosen_the_page_says_what_to_do(page):
    page.selectbox(key="explore-picture").set_value("Your own picture…").run()
    assert "Choose a file" in page.info[0].value


def test_samples_are_photographs_and_unknown_ones_are_refused():
    for name in SAMPLES:
        assert sample_picture(name).image.dtype == np.uint8
        assert sample_picture(name).image.shape[2] == 3
    with pytest.raises(ValueError, match="unknown sample 'lena'; available: motorcycle"):
        sample_picture("lena")


class Classifier(nn.Module):
    """A network that names the whole picture: it scores no pixel."""

    def __init__(self, network):
        super().__init__()
        self.inner, self.preprocess = network, network.preprocess

    def forward(self, x):
        return self.inner(x).mean(dim=(2, 3))


class Outputs(nn.Module):
    """Attention of a foreign kind in a network that scores pixels."""

    classes = ("a", "b", "c")

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 8, 8)
        self.attend = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        cells = self.patch(x)
        tokens = cells.flatten(2).transpose(1, 2)
        attended = self.attend(tokens, tokens, tokens, need_weights=False)[0]
        return attended.transpose(1, 2).unflatten(2, cells.shape[2:])[:, :3]


NETWORKS = {
    "streets": lambda: _streets_network(),
    "classifier": lambda: Classifier(tiny_network("non_local")),
    "heads": Outputs,
}


def _streets_network():
    from nonlocal_lens.models.networks.architecture import build_network

    torch.manual_seed(0)
    options = {"init": "awake"}
    classes = tuple(STREET_CLASSES)
    network = build_network(
        Architecture(classes, "non_local", options, widths=(3, 5, 6, 6), depths=(1, 1, 1, 1))
    ).eval()
    for parameter in network.head.block.out.parameters():  # so that its attention matters
        parameter.data *= 100
    return network


@pytest.fixture
def open_tab(monkeypatch):
    """Open a tab of Explore on a small picture, with a small network; nothing else is run."""
    known = cache(lambda name: loaded(name, NETWORKS[name](), "0" * 64))
    monkeypatch.setattr("nonlocal_lens.app.cache.load", known)
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    labels = np.repeat(np.repeat(rng.integers(0, 11, (5, 7), dtype=np.uint8), 8, 0), 8, 1)

    def open_tab(network, tab):
        page = AppTest.from_file("../app/screens/explore.py", default_timeout=120)
        page.session_state["explore-network"] = network_picker.FILE_ENTRY
        page.session_state[network_picker.OPENED] = network
        page.session_state["explore-picture"] = picture_picker.UPLOAD
        page.session_state[picture_picker.OPENED] = Picture(
            f"noise for {network}", image, "Noise", "noise.png", labels
        )
        page.session_state["explore-tab"] = tab
        page.run()
        assert not page.exception
        assert not page.error
        return page

    return open_tab


def captions(page):
    return " ".join(caption.value for caption in page.caption)


def test_the_address_of_a_file_names_the_picture_alone_and_says_so(open_tab):
    page = open_tab("streets", "Strongest keys")
    assert page.query_params == {"picture": "noise for streets"}
    assert "but not `streets`" in captions(page)


def test_the_map_of_queries_says_its_unit_and_a_button_finds_a_pair(open_tab):
    page = open_tab("streets", "Query dependence")
    assert any("bits from the mean row" in html.proto.body for html in page.get("html"))
    assert "Queries at" not in captions(page)
    page.button[0].click().run()
    assert not page.exception
    assert "Queries at x" in captions(page)


def test_attribution_is_computed_when_asked_for_and_answers_with_a_number(open_tab):
    page = open_tab("streets", "Attribution")
    assert not page.metric
    assert "No query is pinned" in captions(page)
    page.get("button_group")[-1].set_value(["grad_cam", "saliency", "occlusion"]).run()
    page.button[0].click().run()
    assert not page.exception
    (metric,) = page.metric
    assert metric.label.startswith("Is attention an explanation of")
    assert -10 < float(metric.value) <= 1
    (table,) = (frame.value for frame in page.dataframe)
    assert list(table["Attribution"]) == ["Layer Grad-CAM", "Saliency", "Occlusion"]
    assert table.filter(like="overlap").to_numpy().max() <= 1


def test_interventions_are_compared_and_doing_nothing_changes_nothing(open_tab):
    page = open_tab("streets", "Intervention")
    (table,) = (frame.value for frame in page.dataframe)
    unchanged = table[table["Attention"] == "on"].iloc[0]
    assert unchanged["Flipped pixels, %"] == unchanged["KL per pixel, bits"] == 0
    assert unchanged["mIoU change"] == 0
    assert list(table["Attention"]) == [how.replace("_", " ") for how in INTERVENTIONS]
    assert table["KL per pixel, bits"].max() > 0
    kinds = dict(zip(table["Attention"], table["What it is"], strict=True))
    assert kinds["off"] == "takes attention away"
    assert [name for name, kind in kinds.items() if kind == "control"] == [
        how.replace("_", " ") for how in CONTROLS
    ]
    assert "Read “off” beside its controls" in captions(page)


def test_interventions_in_a_classifier_say_what_it_names(open_tab):
    page = open_tab("classifier", "Intervention")
    (table,) = (frame.value for frame in page.dataframe)
    (named,) = (name for name in table.columns if name.startswith("Probability of class"))
    unchanged = table[table["Attention"] == "on"].iloc[0]
    assert unchanged["Class named"] == named.removeprefix("Probability of ")
    assert 0 < unchanged[named] < 1
    assert unchanged["KL, bits"] == 0
    assert not any("ixel" in name for name in table.columns)


def test_one_head_of_a_foreign_network_is_changed(open_tab):
    page = open_tab("heads", "Intervention")
    (whole,) = (frame.value for frame in page.dataframe)
    parts = next(group for group in page.get("button_group") if "this head" in group.options)
    parts.set_value("this head").run()
    assert not page.exception
    (head,) = (frame.value for frame in page.dataframe)
    at = list(whole["Attention"]).index("off")
    assert 0 < head["KL per pixel, bits"][at] != whole["KL per pixel, bits"][at] > 0


@pytest.mark.parametrize("network", ["classifier", "heads"])
@pytest.mark.parametrize(
    "tab", ["Strongest keys", "Query dependence", "Attribution", "Intervention"]
)
def test_every_tab_opens_with_a_foreign_network(open_tab, network, tab):
    page = open_tab(network, tab)
    assert len(page.selectbox) == (3 if network == "heads" else 2), "a choice of heads"


@pytest.mark.parametrize("network", ["classifier", "heads"])
def test_the_score_of_a_foreign_network_is_attributed_by_every_method_but_grad_cam(
    open_tab, network
):
    page = open_tab(network, "Attribution")
    assert "Of the most likely class" in captions(page)
    page.get("button_group")[-1].set_value(["saliency"]).run()
    page.button[0].click().run()
    assert not page.exception
    (metric,) = page.metric
    assert -10 < float(metric.value) <= 1
    (table,) = (frame.value for frame in page.dataframe)
    assert list(table["Attribution"]) == ["Saliency"]


def test_tabs_that_are_not_open_compute_nothing(open_tab, monkeypatch):
    for name in ("query_map", "most_different", "attribution", "changes"):
        monkeypatch.setattr(
            f"nonlocal_lens.app.cache.{name}", lambda *args: pytest.fail("computed")
        )
    open_tab("streets", "Strongest keys")


def test_a_link_opens_what_it_names_and_the_address_keeps_it():
    page = AppTest.from_file("../app/screens/explore.py", default_timeout=240)
    page.query_params.update(
        picture="sample-coffee", networks="streets-nl", q="1200-800", scale="log", opacity="7"
    )
    page.run()
    assert not page.exception
    assert page.selectbox(key="explore-picture").value == "coffee"
    assert page.selectbox(key="explore-network").value == "streets-nl"
    (notice,) = (warning.value for warning in page.warning)
    assert notice.startswith("opacity='7' in the link was ignored")
    kept = {name: page.query_params[name] for name in ("picture", "networks", "q", "scale")}
    assert kept == {
        "picture": "sample-coffee",
        "networks": "streets-nl",
        "q": "1200-800",
        "scale": "log",
    }
    assert page.query_params["block"] == "head.block"
    page.selectbox(key="explore-picture").set_value("chelsea").run()
    assert not page.exception
    assert page.query_params["picture"] == "sample-chelsea"
    assert "q" not in page.query_params


def test_a_link_to_an_upload_asks_for_the_file():
    page = AppTest.from_file("../app/screens/explore.py", default_timeout=240)
    page.query_params.update(picture="0" * 64, networks="streets-nl")
    page.run()
    assert not page.exception
    assert "choose the same file again" in page.info[0].value
