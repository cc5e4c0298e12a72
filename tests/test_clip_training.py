import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from clips import (
    made_up_clips,
    tiny_clip_architecture,
    tiny_clip_network,
    tiny_hybrid_architecture,
)
from networks import tiny_architecture, tiny_network
from trainings import killed_and_resumed, weights
from typer.testing import CliRunner

from nonlocal_lens.models import evaluate as evaluate_command
from nonlocal_lens.models import train as train_command
from nonlocal_lens.models.bundled import ModelCard, list_networks
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.networks.clip_network import CellScores, framewise
from nonlocal_lens.models.training import clip_data, clips
from nonlocal_lens.models.training.cells import (
    CAR,
    PEDESTRIAN,
    cell_loss,
    cells_of,
    crops,
    random_crop,
)
from nonlocal_lens.models.training.clip_data import rendered_clips
from nonlocal_lens.models.training.evaluation import clip_confusion_matrix
from nonlocal_lens.models.training.recipe import CLIP_RECIPES, RECIPES, ClipRecipe
from nonlocal_lens.models.zoo import NETWORKS, NetworkSpec
from nonlocal_lens.streets import CLIP_LABELS, MIRRORED, render_clip, split_seeds
from nonlocal_lens.streets.classes import VOID

pytestmark = pytest.mark.slow


@pytest.fixture
def tiny_recipes(monkeypatch):
    """Make two recipes of two and three epochs on a tiny network, one starting from the other."""
    fields = {"learning_rate": 0.01, "batch_size": 4, "warmup_steps": 2}
    trunk = ClipRecipe("tiny", epochs=2, crop_hw=(16, 24), **fields)
    block = ClipRecipe("tiny-block", epochs=3, start_from="tiny-trunk", **fields)
    for recipes in (RECIPES, CLIP_RECIPES):
        monkeypatch.setitem(recipes, "tiny-trunk", trunk)
        monkeypatch.setitem(recipes, "tiny-block", block)
    for name, kind in (("tiny", None), ("tiny-block", "disentangled")):
        monkeypatch.setitem(NETWORKS, name, NetworkSpec(name, "", tiny_clip_architecture(kind)))


@pytest.fixture
def few_rendered(monkeypatch):
    """Let every split hold a few small clips."""
    monkeypatch.setattr(clip_data, "RENDERED_CLIPS", {"train": 5, "val": 4})
    monkeypatch.setattr(clip_data, "FRAMES", 3)
    monkeypatch.setattr(clip_data, "SIZE_HW", (32, 40))


def run(folder, name="tiny-block"):
    return clips.train_clips(name, made_up_clips(13), made_up_clips(5, seed=1), folder)


def test_training_learns_resumes_and_repeats_bit_for_bit(tiny_recipes, tmp_path, monkeypatch):
    whole = run(tmp_path / "whole")
    log = [
        json.loads(line)
        for line in (tmp_path / "whole/tiny-block/log.jsonl").read_text().splitlines()
    ]
    assert [line["epoch"] for line in log] == [1, 2, 3]
    assert log[-1]["loss"] < log[0]["loss"]
    assert 0 <= log[-1]["val_accuracy"] <= 1

    resumed, saves = killed_and_resumed(
        lambda: run(tmp_path / "pieces"),
        monkeypatch,
        after=(1, 4),  # in the trunk, and in what starts from it
    )
    assert len(saves) == 5, "nothing was trained twice"
    assert torch.equal(weights(resumed), weights(whole))


def test_the_backbone_learns_first_and_then_stays(tiny_recipes, tmp_path):
    network = run(tmp_path)
    trunk = clips.train_clips("tiny-trunk", made_up_clips(13), made_up_clips(5, seed=1), tmp_path)
    for part in ("backbone", "cells"):
        ours, first = getattr(network, part).state_dict(), getattr(trunk, part).state_dict()
        assert all(torch.equal(ours[name], first[name]) for name in ours)
    assert not torch.equal(network.head.conv_out[0].weight, trunk.head.conv_out[0].weight)
    (line, *_) = (tmp_path / "tiny-trunk/log.jsonl").read_text().splitlines()[-1:]
    assert 0 <= json.loads(line)["val_pedestrian_f1"] <= 1


def test_a_transformer_starts_from_the_backbone_with_a_head_of_its_own(
    tiny_recipes, tmp_path, monkeypatch
):
    fields = vars(CLIP_RECIPES["tiny-block"]) | {"network": "tiny-vit", "bfloat16": False}
    monkeypatch.setitem(CLIP_RECIPES, "tiny-vit", ClipRecipe(**fields))
    monkeypatch.setitem(NETWORKS, "tiny-vit", NetworkSpec("", "", tiny_hybrid_architecture()))
    network, trunk = run(tmp_path, "tiny-vit"), run(tmp_path, "tiny-trunk")
    for part in ("backbone", "cells"):
        ours, first = getattr(network, part).state_dict(), getattr(trunk, part).state_dict()
        assert all(torch.equal(ours[name], first[name]) for name in ours)
    log = (tmp_path / "tiny-vit/log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["loss"] < json.loads(log[0])["loss"]


def test_a_block_in_the_head_needs_the_rest_of_the_trunk(tiny_recipes, tmp_path, monkeypatch):
    other = replace(tiny_clip_architecture("disentangled"), classes=("one", "two"))
    monkeypatch.setitem(NETWORKS, "tiny-block", NetworkSpec("", "", other))
    with pytest.raises(ValueError, match=r"fit this network: head\.classify\.2\.bias, head"):
        run(tmp_path)


@torch.no_grad()
def test_features_are_those_of_the_clips_and_of_their_mirror_images():
    network, images = tiny_clip_network(), made_up_clips(11).images
    features = clips.features_of(network, images)
    assert features.shape == (2, 11, 6, 3, 3, 5)
    for flip, found in zip((1, -1), features, strict=True):
        clip = np.ascontiguousarray(images[9, :, :, ::flip])
        expected = framewise(network.features, network.preprocess(clip))[0]
        torch.testing.assert_close(found[9].float(), expected, rtol=0.05, atol=0.05)


def test_who_walks_left_walks_right_in_the_mirror():
    labels = np.array([0, 1, 2, 3, 4, 5] * 4)
    recipe = ClipRecipe("tiny", epochs=2, batch_size=5)
    batches = list(clips.views(labels, recipe, 0))
    assert len(batches) == 4, "a last, shorter batch is left out"
    mirrored, chosen, truth = (torch.cat(part) for part in zip(*batches, strict=True))
    assert len(chosen.unique()) == 20
    assert 0 < mirrored.sum() < 20
    for flip, clip, label in zip(mirrored.tolist(), chosen.tolist(), truth.tolist(), strict=True):
        assert label == (MIRRORED[labels[clip]] if flip else labels[clip])
    again, later = list(clips.views(labels, recipe, 0)), list(clips.views(labels, recipe, 1))
    assert all(map(torch.equal, again[2], batches[2]))
    assert not torch.equal(later[0][1], batches[0][1])


def test_a_crop_depends_on_seed_epoch_and_index_alone():
    recipe = ClipRecipe("tiny", epochs=2, batch_size=4, crop_hw=(16, 24))
    data = made_up_clips(5)
    first, again, later = (list(crops(data, recipe, epoch)) for epoch in (0, 0, 1))
    assert len(first) == 3, "15 frames; a last, shorter batch is left out"
    for one, other in zip(first, again, strict=True):
        assert all(map(np.array_equal, one, other))
    assert not np.array_equal(first[0][0], later[0][0])
    assert (first[0][0].shape, first[0][1].shape) == ((4, 16, 24, 3), (4, 16, 24))


def test_most_crops_show_somebody_and_labels_stay_with_their_pixels():
    image = np.full((48, 64, 3), 100, np.uint8)
    labels = np.full((48, 64), 3, np.uint8)
    image[40:44, 2:5], labels[40:44, 2:5] = (250, 10, 10), PEDESTRIAN
    shown = 0
    for seed in range(60):
        crop, crop_labels = random_crop(image, labels, np.random.default_rng(seed), (16, 24))
        assert crop.shape == (16, 24, 3)
        red = crop[..., 0].astype(int) > crop[..., 2] + 40
        assert np.array_equal(red, crop_labels == PEDESTRIAN)
        shown += red.any()
    assert 30 <= shown < 60
    small = random_crop(image[:9, :9], labels[:9, :9], np.random.default_rng(0), (16, 24))
    assert small[1].shape == (9, 9)


def test_cells_worked_by_hand():
    labels = torch.full((1, 8, 12), 3, dtype=torch.uint8)
    labels[0, 1, 9:11] = PEDESTRIAN
    labels[0, 4:, :4] = VOID  # nothing is there
    labels[0, 4, 4] = CAR
    images = torch.zeros(1, 3, 8, 12, dtype=torch.uint8)
    images[0, :, 1, 9], images[0, :, 1, 10] = torch.tensor([[255, 0, 0], [0, 0, 255]]).byte()
    cells = cells_of(images, labels, 4)
    assert cells.classes[0, 3].tolist() == [[1, 1, 1], [0, 1, 1]]
    assert cells.classes[0, PEDESTRIAN].tolist() == [[0, 0, 1], [0, 0, 0]]
    assert cells.classes[0, CAR].tolist() == [[0, 0, 0], [0, 1, 0]], "1 of 16 pixels is enough"
    assert cells.classes.sum() == 7
    assert cells.color[0, :, 0, 2].tolist() == [0.5, 0.0, 0.5]
    assert cells.color.sum() == 1
    certain = CellScores(cells.classes * 60 - 30, cells.color)
    assert cell_loss(certain, cells) == pytest.approx(0, abs=1e-6)
    pale = certain._replace(color=cells.color + 0.25)
    assert cell_loss(pale, cells) == pytest.approx(0.5 * 0.25, abs=1e-6)


def test_clips_are_drawn_once_and_then_read(few_rendered, tmp_path, monkeypatch):
    drawn = rendered_clips("val", tmp_path)
    expected = render_clip(split_seeds("val", 4)[2], 3, (32, 40))
    assert np.array_equal(drawn.images[2], expected.images)
    assert np.array_equal(drawn.frame_labels[2], expected.labels)
    assert drawn.labels[2] == expected.label
    monkeypatch.setattr(clip_data, "render_clip", lambda *_: pytest.fail("drawn again"))
    again = rendered_clips("val", tmp_path)
    assert all(map(np.array_equal, again, drawn))
    assert [path.name for path in tmp_path.iterdir()] == ["clips-val-4x3x32x40.npz"]
    with pytest.raises(ValueError, match="unknown split 'valid'; available: train, val"):
        rendered_clips("valid", tmp_path)


def test_the_confusion_matrix_counts_every_clip_once():
    network = load_network_of(tiny_clip_architecture())
    data = made_up_clips(7)
    counts = clip_confusion_matrix(network, data)
    assert counts.sum(dim=1)[:2].tolist() == np.bincount(data.labels, minlength=2).tolist()
    assert counts.sum() == 7


def load_network_of(architecture):
    from nonlocal_lens.models.networks.architecture import build_clip_network

    torch.manual_seed(0)
    return build_clip_network(architecture)


def test_the_commands_train_write_a_card_and_evaluate(tiny_recipes, few_rendered, tmp_path):
    arguments = ["--runs", str(tmp_path / "runs"), "--out", str(tmp_path)]
    result = CliRunner().invoke(train_command.cli, ["tiny-block", *arguments])
    assert result.exit_code == 0, result.output
    card = json.loads((tmp_path / "tiny-block.json").read_text())
    assert card["epochs"] == 5
    assert "val_miou" not in card
    assert card["sha256"] in result.output
    path = str(tmp_path / "tiny-block.safetensors")

    result = CliRunner().invoke(evaluate_command.cli, [path, "--data", "rendered", "--json"])
    figures = json.loads(result.stdout)
    assert figures["clips"] == 4
    assert figures["accuracy"] == pytest.approx(card["accuracy"], abs=1e-4)
    assert list(figures["class_accuracy"]) == list(CLIP_LABELS)

    picture = tmp_path / "confusion.png"
    result = CliRunner().invoke(evaluate_command.cli, [path, "--confusion", str(picture)])
    assert f"on 4 clips of rendered val: accuracy {figures['accuracy']:.4f}" in result.stdout
    assert cv2.imread(str(picture)).shape[0] > 500

    result = CliRunner().invoke(evaluate_command.cli, [path, path])
    header, rule, row = result.stdout.splitlines()
    assert header.startswith("| network | parameters | accuracy | walks left |")
    assert set(rule) == set("| -")
    assert f"| {figures['accuracy']:.3f} |" in row


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["FILE", "--data", "camvid"], "labeled clips are rendered: data must be 'rendered', got"),
        (["FILE", "IMAGES"], "segments images and cannot be compared with others on clips"),
        (["FILE", "--split", "valid"], "unknown split 'valid'; available: train, val"),
        (["FILE", "IMAGES", "--confusion", "a.png"], "draws one network's matrix, got 2 networks"),
    ],
)
def test_what_does_not_go_together_ends_in_one_sentence(arguments, sentence, tmp_path):
    files = {"FILE": tmp_path / "clips.safetensors", "IMAGES": tmp_path / "images.safetensors"}
    architecture = tiny_clip_architecture()
    save_network(files["FILE"], load_network_of(architecture), architecture)
    save_network(files["IMAGES"], tiny_network(), tiny_architecture())
    given = [str(files.get(argument, argument)) for argument in arguments]
    result = CliRunner().invoke(evaluate_command.cli, given)
    assert result.exit_code == 2
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_networks_for_clips_are_trained_on_rendered_clips_only(tmp_path):
    result = CliRunner().invoke(train_command.cli, ["clips-nl", "--data", "camvid"])
    assert result.exit_code == 2
    assert "clips-nl is trained on rendered clips: data must be 'rendered', got" in result.stderr


def test_networks_are_listed_by_task():
    streets, of_clips = list_networks("segmentation"), list_networks("clips")
    assert set(list_networks()) == {*streets, *of_clips}
    assert all(name.startswith("streets-") for name in streets)
    assert all(name.startswith("clips-") for name in of_clips)


def test_cards_hold_what_applies_and_say_it(tmp_path):
    fields = dict.fromkeys(("title", "sha256", "data", "recipe", "trained_on", "license"), "x")
    card = ModelCard(**fields, parameters=1, epochs=1, seed=0, accuracy=0.875)
    card.write(tmp_path / "a.json")
    assert ModelCard(**json.loads((tmp_path / "a.json").read_text())) == card
    assert card.figure == "clips val accuracy 0.875"
    assert ModelCard.read("streets-dnl").figure.startswith("CamVid val mIoU 0.")
