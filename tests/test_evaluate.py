import json

import cv2
import numpy as np
import pytest
import torch
from networks import tiny_architecture, tiny_network
from typer.testing import CliRunner

from nonlocal_lens.analysis import consistency, degeneracy, evaluate
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.interventions import INTERVENTIONS, intervene
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.models.checkpoint import load_network, save_network
from nonlocal_lens.models.training.evaluation import confusion_matrix, mean_iou

pytestmark = pytest.mark.slow


@pytest.fixture
def weights(tmp_path):
    """Return the path of a tiny network's weights."""
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network("disentangled"), tiny_architecture("disentangled"))
    return path


@pytest.fixture
def samples():
    """Return two noisy images with three classes in blocks of labels."""
    random = np.random.default_rng(0)
    images = random.integers(0, 255, (2, 256, 264, 3), np.uint8)
    labels = random.integers(0, 3, (2, 8, 11), np.uint8).repeat(32, axis=1).repeat(24, axis=2)
    return list(zip(images, labels, strict=True))


def test_figures_are_those_of_the_single_measurements(weights, samples):
    network = load_network(weights)
    found = evaluate.evaluate(network, iter(samples))
    assert found["images"] == 2
    for how in set(INTERVENTIONS) - {"another_image"}:  # which is another one for every image
        with intervene(network, how):
            assert found["miou"][how] == mean_iou(confusion_matrix(network, samples)), how
    records = [capture(network, image)[0] for image, _ in samples]
    figures = found["blocks"]["head.block"]
    for term in TERMS:
        measured = [
            consistency.measure(record, labels, 3, term=term)
            for record, (_, labels) in zip(records, samples, strict=True)
        ]
        for region in ("own_category", "boundary"):
            means = {
                field: np.mean([getattr(getattr(one, region), field) for one in measured])
                for field in ("mass", "chance", "precision", "precision_chance")
            }
            expected = {**means, "lift": means["mass"] / means["chance"]}
            assert figures[region][term] == pytest.approx(expected, abs=1e-5), (term, region)
        mass = np.mean([one.by_class[2].mass for one in measured])
        assert figures["by_class"]["c"][term]["mass"] == pytest.approx(mass, abs=1e-5)
    reports = [degeneracy.measure(record) for record in records]
    entropy = np.mean([report.entropy_bits for report in reports])
    assert figures["degeneracy"]["entropy_bits"] == pytest.approx(entropy, abs=1e-5)
    shuffled = np.mean([report.baselines["cosine_distance"].shuffled for report in reports])
    assert figures["baselines"]["cosine_distance"]["shuffled"] == pytest.approx(shuffled, abs=1e-5)
    assert 0 < figures["degeneracy"]["output_cosine_distance"] < 0.5
    flipped = np.mean([effects(network, image)["uniform"].flipped_share for image, _ in samples])
    assert found["effects"]["uniform"]["flipped_share"] == pytest.approx(flipped, abs=1e-5)


def test_controls_take_the_image_half_the_list_away_and_changes_have_intervals(weights, samples):
    network = load_network(weights)
    found = evaluate.evaluate(network, samples)
    one, other = (image for image, _ in samples)
    shares = [
        effects(network, *pair[:1], another=pair[1])["another_image"].flipped_share
        for pair in ((one, other), (other, one))
    ]
    assert found["effects"]["another_image"]["flipped_share"] == pytest.approx(np.mean(shares))
    for how, change in found["miou_change"].items():
        assert change["mean"] == pytest.approx(found["miou"][how] - found["miou"]["on"])
        assert change["low"] <= change["high"]
    assert found["miou_change"]["on"] == {"mean": 0, "low": 0, "high": 0}
    block = found["blocks"]["head.block"]
    for name in ("selectivity_bits", "unary_share"):
        assert block["low"][name] <= block["degeneracy"][name] <= block["high"][name]


def test_an_interval_of_a_change_in_miou_by_hand():
    right, wrong = torch.tensor([[4, 0], [0, 4]]), torch.tensor([[2, 2], [2, 2]])
    same = evaluate.miou_change(right.expand(5, 2, 2), wrong.expand(5, 2, 2))
    assert same == pytest.approx(dict.fromkeys(("mean", "low", "high"), 1 / 3 - 1))
    some = evaluate.miou_change(torch.stack([right] * 4), torch.stack([right, wrong] * 2))
    assert some["mean"] == pytest.approx(6 / 10 - 1)
    assert some["low"] < some["mean"] < some["high"] <= 0
    alone = evaluate.miou_change(right[None], wrong[None])
    assert alone["mean"] == pytest.approx(1 / 3 - 1)
    assert alone["low"] != alone["low"]


def test_the_command_prints_a_table_or_json(weights, samples, tmp_path):
    for number, (image, labels) in enumerate(samples):
        for kind, pixels in {"images": image, "labels": labels}.items():
            (tmp_path / "val" / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / "val" / kind / f"{number}.png"), pixels)
    arguments = [str(weights), "--root", str(tmp_path)]
    printed = CliRunner().invoke(evaluate.cli, arguments)
    assert printed.exit_code == 0, printed.output
    assert f"{weights} on 2 images of val" in printed.stdout
    for row in (*INTERVENTIONS, "head.block, boundary", "unary_share", "a"):
        assert f"\n  {row} " in printed.stdout
    as_json = CliRunner().invoke(evaluate.cli, [*arguments, "--limit", "1", "--json"])
    assert as_json.exit_code == 0, as_json.output
    figures = json.loads(as_json.stdout)
    assert figures["images"] == 1
    assert set(figures["miou"]) == set(INTERVENTIONS)


def test_what_is_undefined_is_null_in_json_and_left_out_of_averages():
    nan = float("nan")
    rows = [{"a": nan}, {"a": 2.0, "b": 5.0}, {"a": 4.0}]
    assert evaluate.average(rows) == {"a": 3.0, "b": 5.0}
    assert evaluate.average([nan, nan]) != evaluate.average([nan, nan])
    assert json.dumps(evaluate.null_for_nan({"a": {"b": nan}})) == '{"a": {"b": null}}'
    assert evaluate.row("a", nan, 1.0).split() == ["a", "-", "1.0000"]
    lifted = evaluate.average([{"mass": 0.2, "chance": 0.1}, {"mass": 0.4, "chance": 0.3}])
    assert lifted["lift"] == pytest.approx(1.5)


def test_a_network_without_attention_and_a_folder_without_images_are_refused(tmp_path, weights):
    path = tmp_path / "base.safetensors"
    save_network(path, tiny_network(), tiny_architecture())
    result = CliRunner().invoke(evaluate.cli, [str(path), "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "has no attention block" in result.stderr
    result = CliRunner().invoke(evaluate.cli, [str(weights), "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "no images in" in result.stderr
    with pytest.raises(ValueError, match="no images to evaluate on"):
        evaluate.evaluate(tiny_network(), [])
