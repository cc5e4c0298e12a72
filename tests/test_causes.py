"""Interventions over images, beside their controls."""

import numpy as np
import pytest
import torch
from networks import tiny_network
from PIL import Image
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis.causes import ROLES, causes, with_another
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.interventions import INTERVENTIONS
from nonlocal_lens.models.preprocess import Preprocess

CHANGED = [how for how in INTERVENTIONS if how != "on"]


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (40, 56, 3), np.uint8) for _ in range(3)]


class TwoHeads(nn.Module):
    """Names a picture by two heads; the class is decided by the second one alone."""

    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.patch, self.qkv = nn.Conv2d(3, 8, 8, 8), nn.Linear(8, 24)
        nn.init.normal_(self.qkv.weight, std=2)
        self.out = nn.Linear(8, 5)
        self.out.weight.data[:, :4] = 0

    def forward(self, x):
        tokens = self.patch(x).flatten(2).mT
        q, k, v = self.qkv(tokens).unflatten(2, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(y[:, 3])


def test_means_are_those_of_the_effects_of_each_image_beside_another(images):
    network = tiny_network("disentangled")
    table = causes(network, images)
    assert list(table["intervention"]) == CHANGED
    assert list(table["role"]) == [ROLES[how] for how in CHANGED]
    assert table["block"].isna().all()
    assert set(table["images"]) == {3}
    alone = [
        effects(network, image, another=images[(number + 1) % 3])
        for number, image in enumerate(images)
    ]
    for _, row in table.iterrows():
        mean = np.mean([one[row["intervention"]].mean_kl_nats for one in alone])
        assert row["kl_nats"] == pytest.approx(mean, rel=1e-6)
        assert row["kl_nats_low"] <= row["kl_nats"] <= row["kl_nats_high"]


def test_a_head_that_decides_nothing_has_no_effect(images):
    table = causes(TwoHeads(), images, of="head").set_index(["head", "intervention"])
    assert set(table.index) == {(head, how) for head in (0, 1) for how in CHANGED}
    for how in CHANGED:
        assert table.loc[(0, how), "kl_nats"] == pytest.approx(0, abs=1e-6)
        assert table.loc[(1, how), "kl_nats"] > 1e-2


def test_a_network_of_one_head_is_the_same_by_network_block_and_head(images):
    network = tiny_network("non_local")
    whole, block, head = (
        causes(network, images[:2], of=of).drop(columns=["block"])
        for of in ("network", "block", "head")
    )
    assert whole.equals(block)
    assert whole.equals(head)


def test_the_other_image_is_half_the_list_away():
    assert [*with_another("abcd")] == [*zip("abcd", "cdab", strict=True)]
    assert [*with_another("abc")] == [*zip("abc", "bca", strict=True)]
    assert [*with_another("a")] == [("a", None)]


def test_an_unknown_part_is_refused_by_name(images, as_users_run):
    with pytest.raises(ValueError, match="unknown part 'layer'; available: network, block, head"):
        causes(tiny_network("non_local"), images, of="layer")


def test_a_folder_is_read_and_what_cannot_be_is_said(images, tmp_path):
    network = tiny_network("non_local")
    for number, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").write_text("no picture")
    assert causes(network, tmp_path).equals(causes(network, images))
    with pytest.raises(ValueError, match="no images to measure"):
        causes(network, [])
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        causes(network, tmp_path / "nothing")
    with pytest.raises(ValueError, match="no attention that can be changed"):
        causes(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3)), images)
