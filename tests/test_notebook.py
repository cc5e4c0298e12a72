"""`explore` without a browser: what it takes, what it gives, what it lets go of."""

import gc
import io
import weakref

import numpy as np
import pytest
import torch
from networks import tiny_architecture, tiny_network
from PIL import Image
from torch import nn

from nonlocal_lens.analysis import AttentionRecord, capture, degeneracy
from nonlocal_lens.app.notebook import explore
from nonlocal_lens.app.viewer.payload import Shown, config_of, pack_all
from nonlocal_lens.models.bundled import WEIGHTS
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.file_hash import file_sha256

pytestmark = pytest.mark.slow

HW = (80, 112)
PIXELS = np.random.default_rng(0).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def network():
    return tiny_network("disentangled")


@pytest.fixture
def lens(network):
    with_two = explore(network, PIXELS, compare=[tiny_network("non_local")])
    yield with_two
    with_two.close()


def png():
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "PNG")
    return file.getvalue()


def test_images_of_every_kind_give_the_same_record(network, tmp_path):
    path = tmp_path / "image.png"
    path.write_bytes(png())
    sources = [
        path,
        str(path),
        png(),
        Image.fromarray(PIXELS),
        PIXELS,
        torch.from_numpy(PIXELS).permute(2, 0, 1),
    ]
    expected = capture(network, PIXELS)[0]
    for source in sources:
        found = explore(network, source)
        assert torch.equal(found.records[0].query, expected.query), type(source)
        found.close()


def test_networks_are_names_files_or_modules(network, tmp_path):
    path = tmp_path / "mine.safetensors"
    save_network(path, network, tiny_architecture("disentangled"))
    lens = explore("streets-nl", PIXELS, compare=[path, network, network])
    assert list(lens.report()["network"]) == [
        "streets-nl",
        "mine",
        "SegmentationNetwork",
        "SegmentationNetwork (2)",
    ]
    lens.close()


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("nope", PIXELS), {}, ValueError, "unknown network 'nope'"),
        ((nn.Conv2d(3, 2, 1), PIXELS), {}, ValueError, "Conv2d has no attention block"),
        (("streets-nl", "nowhere.png"), {}, FileNotFoundError, "there is no image file"),
        (("streets-nl", PIXELS), {"block": "x"}, ValueError, "no block 'x'; available: head.block"),
        (("streets-nl", PIXELS), {"queries": [(200, 3)]}, ValueError, "outside the image"),
        (("streets-nl", PIXELS), {"queries": ["a"]}, ValueError, "no token is called 'a'"),
        (("streets-nl", PIXELS), {"queries": [None]}, ValueError, "must be a point"),
    ],
)
def test_what_cannot_be_shown_is_said(arguments, options, error, message):
    with pytest.raises(error, match=message):
        explore(*arguments, **options)


def test_the_payload_is_the_one_of_the_app(network):
    from nonlocal_lens.analysis.capture import observe

    seen = observe(network, PIXELS)
    shown = Shown("SegmentationNetwork", seen.records[0], seen.output)
    lens = explore(network, PIXELS)
    assert lens.payload == pack_all(PIXELS, [shown], alt="The image image", name="image")
    lens.close()


def test_queries_are_positions_and_tell_their_observers(lens):
    grid = lens.records[0].query_grid
    heard = []
    lens.observe(lambda change: heard.append(change["new"]), names="queries")
    position = grid.position(grid.cell_at(x=30, y=50))
    lens.queries = [(30, 50), 2]
    assert lens.queries == [position, 2]
    lens.set_state({"queries": [5]})  # as the browser does
    assert lens.queries == [5]
    assert heard == [[position, 2], [5]]
    with pytest.raises(ValueError, match="position must be in"):
        lens.queries = [grid.positions]
    assert lens.queries == [5]


def test_the_report_is_what_the_statistics_say(lens):
    report = lens.report()
    for (_, row), record in zip(report.iterrows(), lens.records, strict=True):
        measured = degeneracy.measure(record)
        assert row["unary_share"] == measured.unary_share
        assert row["verdict"] == measured.verdict
        assert 0 <= row["output_cosine_distance"] <= 0.5


def test_the_still_picture_has_the_numbers_and_runs_nothing(lens):
    html = lens._repr_html_()
    assert html.count('<img alt="Attention of SegmentationNetwork') == 1
    assert "<script" not in html
    assert "http" not in html.replace("data:image/png;base64", "")
    share = lens.report()["unary_share"][0]
    assert f"<td>{share:.3g}<br>" in html


def test_names_are_text(network, tmp_path):
    path = tmp_path / "<img src=x onerror=alert(1)>.png"
    path.write_bytes(png())
    lens = explore(network, path)
    assert "<img src=x" not in lens._repr_html_()
    assert "<img src=x" not in lens.to_html(tmp_path / "page.html").read_text()
    lens.close()


def test_the_folder_holds_all_there_is(lens, tmp_path):
    paths = lens.save(tmp_path / "new" / "folder")
    names = [path.name for path in paths]
    assert names == [
        "SegmentationNetwork.safetensors",
        "SegmentationNetwork_2.safetensors",
        "report.csv",
        "figure.pdf",
        "figure.png",
        "viewer.html",
    ]
    assert sorted(path.name for path in paths[0].parent.iterdir()) == sorted(names)
    loaded = AttentionRecord.load(paths[0])
    assert torch.equal(loaded.query, lens.records[0].query)
    assert "Content-Security-Policy" in paths[-1].read_text()


def test_the_page_says_which_weights_a_named_network_has(tmp_path):
    lens = explore("streets-dnl", PIXELS)
    digest = file_sha256(WEIGHTS / "streets-dnl.safetensors")
    (record,) = config_of(lens.payload)["records"]
    assert record["about"].endswith(f"sha256 {digest}")
    lens.to_html(tmp_path / "page.html")
    assert f"sha256 {digest}</li>" in (tmp_path / "page.html").read_text()


def test_several_do_not_share_anything(network):
    one, two = explore(network, PIXELS), explore(network, PIXELS)
    one.queries = [3]
    assert two.queries == []
    assert one.static_class != two.static_class
    one.close()
    assert len(two.records) == 1
    two.close()


def test_closing_lets_go_of_everything(network):
    lens = explore(network, PIXELS)
    lens.report()
    record = weakref.ref(lens.records[0])
    lens.close()
    gc.collect()
    assert record() is None
    assert lens.payload == b""
    with pytest.raises(ValueError, match="this exploration was closed: call explore again"):
        lens.report()


def test_an_output_that_is_no_tensor_does_not_matter(as_users_run):
    class Wrapped(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = tiny_network("non_local")

        def forward(self, x):
            return {"out": self.inner(x)}

    explore(Wrapped(), PIXELS).close()
