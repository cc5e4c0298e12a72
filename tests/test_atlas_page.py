"""The page Layers, the notebook's atlas, and the atlas as an export."""

import json

import numpy as np
import pytest
from networks import tiny_network
from PIL import Image
from streamlit.testing.v1 import AppTest
from typer.testing import CliRunner

from nonlocal_lens.analysis.figures.files import read_note
from nonlocal_lens.app.atlas import component
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.notebook import atlas
from nonlocal_lens.app.session import CHOICES

pytestmark = pytest.mark.slow

IMAGE = np.random.default_rng(0).integers(0, 256, (61, 83, 3), dtype=np.uint8)
VIT = "timm:vit_tiny_patch16_224?pretrained=false&depth=2&embed_dim=24&num_heads=3&num_classes=7"


def opened(**params):
    page = AppTest.from_file("../app/screens/layers.py", default_timeout=240)
    for name, text in params.items():
        page.query_params[name] = text
    return page.run()


def test_one_block_is_a_wall_of_one_row_and_says_where_to_see_more():
    page = opened(picture="street-2000030", networks="streets-nl")
    assert not page.exception
    assert not page.error
    said = " ".join(one.value for one in page.caption)
    assert "`streets-nl` has one block of attention" in said
    assert "With random weights, nothing learned" in said
    offered = [button.label for button in page.button]
    assert {"streets-vit", "streets-vit-reg", "vit_b_16, random weights"} <= set(offered)
    next(button for button in page.button if button.label == "streets-vit-reg").click()
    page.run()
    assert not page.exception
    assert page.session_state[CHOICES]["explore-network"] == "streets-vit-reg"


def test_a_link_opens_a_network_by_name_and_the_address_keeps_the_choices():
    pytest.importorskip("timm")
    page = opened(picture="sample-chelsea", networks=VIT, order="lowest", map="mean", size="huge")
    assert not page.exception
    assert page.session_state[CHOICES]["explore-network"] == VIT
    assert page.session_state[CHOICES]["atlas-order"] == "lowest"
    assert page.query_params["networks"] in (VIT, [VIT])
    assert page.query_params["order"] in ("lowest", ["lowest"])
    assert page.query_params["map"] in ("mean", ["mean"])
    (warning,) = page.warning
    assert "size='huge' in the link was ignored" in warning.value.replace("\\", "")


def test_what_is_not_here_is_offered_not_downloaded():
    page = opened(picture="sample-chelsea", networks="torchvision:vit_l_16")
    assert not page.exception
    assert any("is not here" in one.value for one in page.caption)
    assert page.info[0].value == "Choose a network to see what it attends to."


def test_a_notebook_has_the_wall_its_numbers_and_its_files(tmp_path):
    pytest.importorskip("timm")
    wall = atlas(VIT, IMAGE, query=(40, 30), order="layer", shown="mean")
    assert repr(wall) == "vit_tiny_patch16_224: 6 heads in 2 layers"
    assert wall.table["block"].tolist() == ["blocks.0.attn"] * 3 + ["blocks.1.attn"] * 3
    assert wall._repr_html_().startswith(
        '<iframe title="All heads of vit_tiny_patch16_224" srcdoc='
    )
    for kind in ("html", "csv", "png"):
        wall.save(tmp_path / f"wall.{kind}")
    assert b"Random weights" in (tmp_path / "wall.html").read_bytes()
    note = read_note(tmp_path / "wall.png")
    assert note["network"]["random"] is True
    assert note["view"]["query"] == [40.0, 30.0]
    with pytest.raises(ValueError, match=r"saved as html, .* or csv, got .wall\.doc."):
        wall.save(tmp_path / "wall.doc")


@pytest.fixture
def shown(monkeypatch):
    """Return what a page's wall is given, the last one last."""
    given = []

    def show(first, **_):
        given.append(config_of(first))

    monkeypatch.setattr(component, "show_wall", show)
    return given


def test_a_page_shows_the_means_over_several_pictures_and_its_address_says_which(shown):
    page = opened(
        picture="sample-chelsea",
        networks="streets-nl",
        over="rendered-streets",
        first="2000003",
        count="3",
    )
    assert not page.exception
    assert not page.warning
    assert page.session_state[CHOICES]["atlas-numbers-of"] == "Rendered streets"
    assert page.query_params["over"] in ("rendered-streets", ["rendered-streets"])
    assert page.query_params["count"] in ("3", ["3"])
    assert shown[-1]["means"]["counted"] == "3 pictures"
    assert shown[-1]["means"]["said"] == (
        "Numbers are means over 3 pictures. Their grids differ, so that maps have no mean: those "
        "that you see are of chelsea."
    )
    (numbers,) = [box for box in page.selectbox if box.label == "Numbers"]
    numbers.set_value("This picture").run()
    assert not page.exception
    assert shown[-1]["means"] is None
    assert page.query_params["over"] in ("this-picture", ["this-picture"])


def config_of(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["config"])


def test_a_notebook_has_the_means_over_a_folder_a_list_or_an_iterator(tmp_path):
    pytest.importorskip("timm")
    images = [np.roll(IMAGE, shift, axis=1) for shift in (0, 17, 31)]
    folder = tmp_path / "photos"
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "broken.png").write_bytes(b"no picture")
    with pytest.warns(UserWarning, match=r"left out: broken.png"):
        of_folder = atlas(VIT, folder)
    tables = [atlas(VIT, one).table for one in images]
    for wall in (of_folder, atlas(VIT, images), atlas(VIT, iter(images))):
        for name in ("unary_information_share", "jsd_nats"):
            expected = np.mean([table[name] for table in tables], axis=0)
            np.testing.assert_allclose(wall.table[name], expected, rtol=1e-9)
        rows = [atlas(VIT, one).heads[4].mean.numpy() for one in images]
        np.testing.assert_allclose(wall.heads[4].mean.numpy(), np.mean(rows, axis=0), rtol=1e-9)
    of_folder.save(tmp_path / "wall.svg")
    assert read_note(tmp_path / "wall.svg")["means"]["which"] == "the folder photos"
    assert read_note(tmp_path / "wall.svg")["means"]["count"] == 3
    assert atlas(VIT, images[:1])._subject.means.counted == "1 picture"
    with pytest.raises(ValueError, match="there is no image to look at"):
        atlas(VIT, [])


def test_a_module_of_ones_own_has_a_wall_and_one_without_attention_says_so():
    wall = atlas(tiny_network("non_local"), IMAGE)
    assert len(wall.heads) == 1
    with pytest.raises(ValueError, match="has no attention block with places in the picture"):
        atlas(tiny_network(None), IMAGE)
    with pytest.raises(ValueError, match="unknown statistic 'beauty'; available"):
        atlas(tiny_network("non_local"), IMAGE, statistic="beauty")


def test_an_export_draws_a_sheet_for_every_network_and_query(tmp_path):
    pytest.importorskip("timm")
    Image.fromarray(IMAGE).save(tmp_path / "a.png")
    out = tmp_path / "figures"
    given = ["export", str(tmp_path / "a.png"), "--network", VIT, "--layout", "atlas"]
    given += ["--query", "40,30", "--query", "10,50", "--out", str(out), "--jobs", "1"]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 0, result.stderr
    names = sorted(path.name for path in out.glob("*.png"))
    title = "vit_tiny_patch16_224"
    assert names == [f"a.q01.{title}.atlas.png", f"a.q02.{title}.atlas.png"]
    note = read_note(out / names[1])
    assert note["queries"] == [[10.0, 50.0]]
    assert note["wall"]["statistic"] == "unary_information_share"
    planned = CliRunner().invoke(cli, [*given, "--dry-run"])
    assert [line.rpartition("/")[2] for line in planned.stdout.split()] == names
    again = CliRunner().invoke(cli, ["replay", str(out / names[1])])
    assert again.exit_code == 0, again.stderr
    replayed = np.asarray(Image.open(out / f"a.q02.{title}.atlas.replay.png"))
    assert np.array_equal(replayed, np.asarray(Image.open(out / names[1])))
    json.dumps(note)


def test_an_export_draws_one_sheet_of_the_means_over_all_inputs(tmp_path):
    pytest.importorskip("timm")
    folder, out = tmp_path / "photos", tmp_path / "figures"
    folder.mkdir()
    images = [np.roll(IMAGE, shift, axis=1) for shift in (0, 17, 31)]
    for number, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{number}.png")
    (folder / "2.5.png").write_bytes(b"no picture")
    given = ["export", str(folder), "--network", VIT, "--layout", "atlas-means"]
    given += ["--out", str(out), "--jobs", "1"]
    result = CliRunner().invoke(cli, given)
    assert result.exit_code == 1, "one of them is no picture"
    assert "2.5.png" in (out / "errors.csv").read_text()
    name = "atlas-means.vit_tiny_patch16_224.png"
    assert [path.name for path in out.glob("*.png")] == [name]
    note = read_note(out / name)
    assert note["means"]["count"] == len(note["inputs"]) == 3
    assert note["wall"]["shown"] == "mean"
    planned = CliRunner().invoke(cli, [*given, "--dry-run"])
    assert [line.rpartition("/")[2] for line in planned.stdout.split()] == [name]
    again = CliRunner().invoke(cli, ["replay", str(out / name)])
    assert again.exit_code == 0, again.stderr
    replayed = np.asarray(Image.open(out / name.replace(".png", ".replay.png")))
    assert np.array_equal(replayed, np.asarray(Image.open(out / name)))
    (folder / "2.5.png").unlink()
    alone = CliRunner().invoke(cli, [*given, "--force", "--terms", "pairwise"])
    assert alone.exit_code == 2
    assert "atlas-means shows the mean row" in alone.stderr
