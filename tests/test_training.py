import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from networks import tiny_architecture
from trainings import killed_and_resumed, weights
from typer.testing import CliRunner

from nonlocal_lens.models import evaluate as evaluate_command
from nonlocal_lens.models import train as train_command
from nonlocal_lens.models.blocks import PairwiseNonLocalBlock, attention_blocks
from nonlocal_lens.models.checkpoint import load_network
from nonlocal_lens.models.networks.architecture import build_network
from nonlocal_lens.models.training import data, loop, streets
from nonlocal_lens.models.training.augment import random_view
from nonlocal_lens.models.training.data import Dataset, read_samples
from nonlocal_lens.models.training.evaluation import (
    accuracy,
    class_accuracy,
    class_iou,
    confusion_matrix,
    mean_iou,
)
from nonlocal_lens.models.training.identity_dropout import drop_identity
from nonlocal_lens.models.training.recipe import (
    AS_IT_IS,
    CLIP_RECIPES,
    RECIPES,
    STREET_RECIPES,
    StreetRecipe,
    Variant,
    read_recipes,
)
from nonlocal_lens.models.zoo import NETWORKS, NetworkSpec
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

pytestmark = pytest.mark.slow

HW = (40, 56)


def sample(seed):
    """Return an image whose halves, blue and red, are classes 0 and 1; a void strip between."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(HW, np.uint8)
    labels[:, 28:] = 1
    labels[:, 27] = VOID
    image = np.where(labels[..., None] == 1, (220, 40, 40), (30, 60, 200)) + rng.integers(
        -9, 10, (*HW, 3)
    )
    return image.astype(np.uint8), labels


@pytest.fixture
def tiny_recipes(monkeypatch):
    """Make two recipes of three and four epochs on a tiny network, one starting from the other."""
    fields = {"batch_size": 2, "crop_hw": (32, 40), "scales": (0.8, 1.3), "warmup_steps": 2}
    fields["rendered_share"] = 0.4
    trunk = StreetRecipe("tiny", epochs=3, **fields)
    block = StreetRecipe("tiny-block", epochs=4, start_from="tiny-trunk", **fields)
    for recipes in (RECIPES, STREET_RECIPES):
        monkeypatch.setitem(recipes, "tiny-trunk", trunk)
        monkeypatch.setitem(recipes, "tiny-block", block)
    for name, block in (("tiny", None), ("tiny-block", "disentangled")):
        architecture = replace(tiny_architecture(block), classes=tuple(STREET_CLASSES))
        monkeypatch.setitem(NETWORKS, name, NetworkSpec(name, "", architecture))
    monkeypatch.setattr(data, "RENDERED_SCENES", {"train": 2, "val": 2})


@pytest.fixture
def root(tmp_path):
    """Write a data set in CamVid's layout."""
    for split, seeds in {"train": range(5), "val": range(5, 7)}.items():
        for kind in ("images", "labels"):
            (tmp_path / "data" / split / kind).mkdir(parents=True)
        for seed in seeds:
            image, labels = sample(seed)
            cv2.imwrite(str(tmp_path / "data" / split / "images" / f"{seed}.png"), image[..., ::-1])
            cv2.imwrite(str(tmp_path / "data" / split / "labels" / f"{seed}.png"), labels)
    return tmp_path / "data"


def run(folder, name="tiny-block"):
    real, rendered = ([sample(seed) for seed in seeds] for seeds in (range(5), range(20, 23)))
    return streets.train_streets(name, real, rendered, [sample(9)], folder)


def test_training_learns_resumes_and_repeats_bit_for_bit(tiny_recipes, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    log = [
        json.loads(line)
        for line in (tmp_path / "whole/tiny-block/log.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in log] == [1, 2, 3, 4]
    assert log[-1]["loss"] < log[0]["loss"]
    assert "val_miou" in log[-1]

    resumed, saves = killed_and_resumed(
        lambda: run(tmp_path / "pieces"),
        monkeypatch,
        after=(2, 5),  # in the trunk, and in what starts from it
    )
    assert len(saves) == 7, "nothing was trained twice"
    assert torch.equal(weights(resumed), weights(whole))


def test_a_finished_training_is_not_repeated(tiny_recipes, tmp_path, monkeypatch):
    first = run(tmp_path, "tiny-trunk")
    monkeypatch.setattr(streets, "batches", lambda *_: pytest.fail("trained again"))
    assert torch.equal(weights(run(tmp_path, "tiny-trunk")), weights(first))


def test_only_the_block_may_be_missing_from_the_trunk(tiny_recipes):
    trunk, other = (
        build_network(tiny_architecture(block)) for block in ("disentangled", "non_local")
    )
    loop.start_from(other, trunk)
    assert torch.equal(other.head.fuse[0].weight, trunk.head.fuse[0].weight)
    assert torch.equal(other.head.block.value.weight, trunk.head.block.value.weight)
    plain = build_network(tiny_architecture())
    loop.start_from(plain, trunk)
    loop.start_from(trunk, plain)
    plain.head.fuse[0] = torch.nn.Conv2d(12, 3, 1)
    with pytest.raises(
        ValueError, match=r"fit this network: head\.fuse\.0\.bias, head\.fuse\.0\.w"
    ):
        loop.start_from(plain, trunk)


def test_weight_decay_spares_gains_biases_and_what_decides_where_a_block_looks():
    network = build_network(tiny_architecture("disentangled"))
    recipe = StreetRecipe("tiny", epochs=1, learning_rate=0.1, weight_decay=0.5, looking_rate=3.0)
    groups = loop.parameter_groups(network, recipe)
    assert [group["weight_decay"] for group in groups] == [0.5, 0.0, 0.0]
    assert [group.get("lr") for group in groups] == [None, None, pytest.approx(0.3)]
    name_of = {id(parameter): name for name, parameter in network.named_parameters()}
    decayed, undecayed, looking = (
        {name_of[id(parameter)] for parameter in group["params"]} for group in groups
    )
    assert looking == {
        f"head.block.{layer}.{kind}"
        for layer in ("query", "key", "mask")
        for kind in ("weight", "bias")
    }
    assert "head.block.value.weight" in decayed
    assert {"head.block.out.1.weight", "head.classify.bias"} <= undecayed
    assert len(decayed) + len(undecayed) + len(looking) == len(name_of)


def test_rare_classes_weigh_more_and_the_mean_over_pixels_is_one():
    labels = np.full(HW, 0, np.uint8)
    labels[0] = 1
    weight = streets.class_weights([(sample(0)[0], labels)], 2, balance=0.5)
    share = torch.tensor([39 / 40, 1 / 40])
    assert (weight * share).sum() == pytest.approx(1)
    assert weight[1] / weight[0] == pytest.approx(39**0.5)


def test_an_epoch_sees_every_real_image_and_rendered_scenes_in_turn():
    real, rendered = [sample(0)] * 5, [sample(1)] * 3
    recipe = StreetRecipe("tiny", epochs=3, rendered_share=0.4)
    orders = [streets.epoch_order(real, rendered, recipe, epoch) for epoch in range(3)]
    assert [sorted(order) for order in orders] == [
        [0, 1, 2, 3, 4, 5, 6],
        [0, 1, 2, 3, 4, 5, 7],
        [0, 1, 2, 3, 4, 6, 7],
    ]
    assert list(orders[0]) != sorted(orders[0])
    assert sorted(streets.epoch_order(real, [], recipe, 0)) == [0, 1, 2, 3, 4]


def test_recipes_are_read_over_what_they_share(tmp_path):
    path = tmp_path / "recipes.toml"
    path.write_text(
        "[shared]\nepochs = 7\nscales = [0.5, 2.0]\n[one]\n[two]\nnetwork = 'one'\nepochs = 9\n"
    )
    assert read_recipes(path, StreetRecipe) == {
        "one": StreetRecipe("one", epochs=7, scales=(0.5, 2.0)),
        "two": StreetRecipe("one", epochs=9, scales=(0.5, 2.0)),
    }
    path.write_text("[one]\nepochs = 7\nepoch = 7\n")
    with pytest.raises(ValueError, match=r"recipes.toml, recipe 'one': .*'epoch'"):
        read_recipes(path, StreetRecipe)


def test_every_bundled_network_has_a_recipe_and_every_recipe_a_network():
    assert set(NETWORKS) <= set(RECIPES)
    for task, recipes in {"segmentation": STREET_RECIPES, "clips": CLIP_RECIPES}.items():
        for recipe in recipes.values():
            assert NETWORKS[recipe.network].task == task
            assert not recipe.start_from or recipe.start_from in recipes


def test_a_random_view_keeps_image_and_labels_together():
    for seed in range(20):
        image, labels = random_view(
            *sample(seed), np.random.default_rng(seed), crop_hw=(31, 37), scales=(0.5, 1.5)
        )
        assert image.shape == (31, 37, 3)
        assert labels.shape == (31, 37)
        red = image[..., 0].astype(int) > image[..., 2]
        assert (red == (labels == 1))[labels != VOID].mean() > 0.95


def test_every_label_above_the_classes_is_read_as_void(tmp_path):
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    cv2.imwrite(str(tmp_path / "images" / "a.png"), np.zeros((2, 3, 3), np.uint8))
    cv2.imwrite(
        str(tmp_path / "labels" / "a.png"), np.array([[0, 10, 11], [12, 31, 255]], np.uint8)
    )
    ((_, labels),) = read_samples(Dataset.folder, tmp_path, "val")
    assert labels.tolist() == [[0, 10, VOID], [VOID, VOID, VOID]]


def test_padding_is_void():
    _, labels = random_view(
        *sample(0), np.random.default_rng(0), crop_hw=(80, 90), scales=(1.0, 1.0)
    )
    assert (labels[40:] == VOID).all()


def test_iou_worked_by_hand():
    confusion = torch.tensor([[3, 1, 0], [2, 4, 0], [0, 0, 0]])
    assert class_iou(confusion)[:2].tolist() == pytest.approx([3 / 6, 4 / 7])
    assert class_iou(confusion)[2].isnan()
    assert mean_iou(confusion) == pytest.approx((3 / 6 + 4 / 7) / 2)
    assert accuracy(confusion) == pytest.approx(7 / 10)
    assert class_accuracy(confusion)[:2].tolist() == pytest.approx([3 / 4, 4 / 6])
    assert class_accuracy(confusion)[2].isnan()


def test_the_confusion_matrix_counts_every_labeled_pixel_once():
    network = build_network(tiny_architecture())
    counts = confusion_matrix(network, [sample(0), sample(1)])
    assert counts.shape == (3, 3)
    assert counts.sum(dim=1).tolist() == [2 * 40 * 27, 2 * 40 * 28, 0], (
        "rows are the truth, void is left out"
    )


def test_the_commands_train_write_a_card_and_evaluate(tiny_recipes, root, tmp_path):
    arguments = [
        "tiny-block",
        "--root",
        str(root),
        "--runs",
        str(tmp_path / "runs"),
        "--out",
        str(tmp_path),
    ]
    result = CliRunner().invoke(train_command.cli, arguments)
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "tiny-block.json").read_text())
    assert card["epochs"] == 7
    assert card["sha256"] in result.output
    path = tmp_path / "tiny-block.safetensors"
    assert load_network(path).classes == tuple(STREET_CLASSES)

    result = CliRunner().invoke(evaluate_command.cli, [str(path), "--root", str(root), "--json"])
    figures = json.loads(result.stdout)
    assert figures["images"] == 2
    assert figures["miou"] == pytest.approx(card["val_miou"], abs=1e-4)
    assert list(figures["class_iou"]) == list(STREET_CLASSES)

    picture = tmp_path / "confusion.png"
    arguments = [str(path), "--data", "folder", "--root", str(root / "val")]
    result = CliRunner().invoke(evaluate_command.cli, [*arguments, "--confusion", str(picture)])
    assert f"on 2 images of folder val: mIoU {figures['miou']:.4f}" in result.stdout
    assert cv2.imread(str(picture)).shape[0] > 500
    result = CliRunner().invoke(evaluate_command.cli, [*arguments, "--confusion", "matrix.doc"])
    assert (result.exit_code, "must end in one of .png, .pdf, .svg" in result.stderr) == (2, True)


def test_a_variant_trains_another_block_from_another_seed_for_fewer_epochs(
    tiny_recipes, root, tmp_path
):
    arguments = ["tiny-block", "--root", str(root), "--runs", str(tmp_path / "runs")]
    arguments += ["--out", str(tmp_path / "out"), "--seed", "5", "--shorten", "3"]
    result = CliRunner().invoke(train_command.cli, [*arguments, "--block", "pairwise"])
    assert result.exit_code == 0, result.output
    name = "tiny-block-seed-5-block-pairwise-shortened-3"
    card = json.loads((tmp_path / f"out/{name}.json").read_text())
    assert (card["seed"], card["epochs"]) == (5, 1 + 1)
    assert card["recipe"].endswith("--seed 5 --block pairwise --shorten 3")
    (block,) = attention_blocks(load_network(tmp_path / f"out/{name}.safetensors")).values()
    assert isinstance(block, PairwiseNonLocalBlock)
    assert (tmp_path / "runs/seed-5-block-pairwise-shortened-3/tiny-trunk/last.pt").exists()

    for options, sentence in (
        (["--block", "pair"], "unknown block 'pair'; available: non_local,"),
        (["--shorten", "0"], "greater than or equal to 1"),
        (["--crop", "24", "56"], "crop must be at least 32 pixels a side, got 24 x 56"),
    ):
        result = CliRunner().invoke(train_command.cli, ["tiny-block", *options])
        assert (result.exit_code, sentence in result.stderr) == (2, True), result.stderr
    result = CliRunner().invoke(train_command.cli, ["clips-nl", "--seed", "1"])
    assert (result.exit_code, "only street networks have variants" in result.stderr) == (2, True)


def test_a_variant_trains_on_views_of_another_size(tiny_recipes, root, tmp_path, monkeypatch):
    seen = set()

    def noting(image, labels, rng, *, crop_hw, scales):
        seen.add(crop_hw)
        return random_view(image, labels, rng, crop_hw=crop_hw, scales=scales)

    monkeypatch.setattr(streets, "random_view", noting)
    arguments = ["tiny-block", "--root", str(root), "--runs", str(tmp_path / "runs")]
    arguments += ["--out", str(tmp_path / "out"), "--shorten", "9", "--crop", "32", "48"]
    result = CliRunner().invoke(train_command.cli, arguments)
    assert result.exit_code == 0, result.output
    assert seen == {(32, 48)}
    card = json.loads((tmp_path / "out/tiny-block-shortened-9-crop-32x48.json").read_text())
    assert card["recipe"].endswith("--shorten 9 --crop 32 48")


def test_a_variant_that_changes_nothing_is_the_recipe():
    for recipe in STREET_RECIPES.values():
        assert AS_IT_IS.of(recipe) == recipe
    assert AS_IT_IS.name == ""
    with pytest.raises(ValueError, match="shorten must be at least 1, got 0"):
        Variant(shorten=0)


def test_reading_samples_says_what_is_wrong(root):
    with pytest.raises(ValueError, match=r"no images in .*test.images; \*\.jpg or"):
        list(read_samples(Dataset.camvid, root, "test"))
    label = root / "val/labels/5.png"
    cv2.imwrite(str(label), np.zeros((9, 9), np.uint8))
    with pytest.raises(ValueError, match=r"must have size \(40, 56\), got \(9, 9\)"):
        list(read_samples(Dataset.camvid, root, "val"))
    label.unlink()
    with pytest.raises(ValueError, match="missing or not a readable image"):
        list(read_samples(Dataset.camvid, root, "val"))
    (root / "val/images/5.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"5\.png is not a readable image"):
        list(read_samples(Dataset.camvid, root, "val"))


def test_rendered_scenes_need_no_folder_and_their_splits_differ(monkeypatch):
    monkeypatch.setattr(data, "RENDERED_SCENES", {"train": 2, "val": 2})
    train, val = (list(read_samples(Dataset.rendered, None, split)) for split in ("train", "val"))
    assert train[0][0].shape == (360, 480, 3)
    assert not np.array_equal(train[0][0], val[0][0])
    with pytest.raises(ValueError, match="unknown split 'valid'; available: train, val"):
        list(read_samples(Dataset.rendered, None, "valid"))
    with pytest.raises(ValueError, match="data 'camvid' needs a root folder"):
        list(read_samples(Dataset.camvid, None, "val"))


def test_unknown_names_and_folders_end_in_one_sentence(tmp_path):
    runner = CliRunner()
    result = runner.invoke(train_command.cli, ["nets", "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "error: unknown network 'nets'; available: streets-dnl" in result.stderr
    result = runner.invoke(train_command.cli, ["streets-nl", "--root", str(tmp_path)])
    assert (result.exit_code, "no images in" in result.stderr) == (2, True)
    result = runner.invoke(evaluate_command.cli, ["nets", "--root", str(tmp_path)])
    assert (result.exit_code, "unknown network 'nets'" in result.stderr) == (2, True)


def test_identity_dropout_leaves_the_input_out_of_whole_items_in_training_only():
    network = build_network(tiny_architecture("disentangled"))
    block = network.head.block
    x = torch.randn(40, 6, 5, 7)
    torch.manual_seed(0)
    expected = block.train()(x)
    handle = drop_identity(block, 0.25)
    dropped = (expected - block(x)).flatten(1)
    without = dropped.abs().amax(dim=1) > 0
    assert 0 < without.sum() < 20
    torch.testing.assert_close(dropped[without], x.flatten(1)[without])
    block.eval()
    assert torch.equal(block(x), block(x))
    handle.remove()
    in_use = block(x)
    drop_identity(block, 1.0)
    assert torch.equal(block(x), in_use)
    with pytest.raises(ValueError, match=r"share must be from 0 to 1, got 1\.5"):
        drop_identity(block, 1.5)
