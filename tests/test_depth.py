from dataclasses import replace

import numpy as np
import pytest
import torch
from records import random_record
from timm.models.vision_transformer import VisionTransformer

from nonlocal_lens.analysis import capture, degeneracy, terms
from nonlocal_lens.analysis.depth import depth_profile, rollout
from nonlocal_lens.analysis.grid import Grid

GRID = Grid.tiling((40, 56), 5, 7)


def layers(generator, heads, depth=3):
    """Return the records of some layers, all on one grid, with sharp rows that differ."""
    records = []
    for layer in range(depth):
        for head in range(heads):
            query, key = (
                torch.randn(35, 13, generator=generator, dtype=torch.float64) for _ in range(2)
            )
            record = random_record(generator)
            records.append(
                replace(
                    record,
                    **{"block": f"layer{layer}", "head": head, "query": query, "key": key},
                    **{"query_grid": GRID, "key_grid": GRID, "scale": 1.0},
                )
            )
    return records


@pytest.mark.parametrize("heads", [1, 3])
@pytest.mark.parametrize("residual", [0.0, 0.5, 1.0])
def test_rollout_equals_the_product_of_all_matrices(generator, heads, residual):
    records = layers(generator, heads)
    product = torch.eye(35, dtype=torch.float64)
    for layer in range(3):
        of_layer = records[layer * heads : (layer + 1) * heads]
        attention = torch.stack([terms.attention(record, range(35)) for record in of_layer])
        mixed = residual * torch.eye(35) + (1 - residual) * attention.mean(dim=0)
        product = mixed @ product
    for query in (0, 17, 34):
        row = rollout(records, query, residual=residual)
        assert torch.allclose(row, product[query], atol=1e-12)
        assert row.sum().item() == pytest.approx(1)


def test_rollout_refuses_what_it_cannot_pass_on(generator):
    records = layers(generator, 1)
    other = replace(records[0], query_grid=Grid.tiling((40, 56), 7, 5))
    with pytest.raises(ValueError, match="are not the tokens"):
        rollout([records[1], other], 3)
    with pytest.raises(ValueError, match="weights of any sign"):
        rollout([random_record(generator, "unnormalized")], 3)
    with pytest.raises(ValueError, match="no record"):
        rollout([], 3)
    with pytest.raises(ValueError, match=r"residual must be in \[0, 1\], got 2"):
        rollout(records, 3, residual=2)
    with pytest.raises(ValueError, match="35"):
        rollout(records, 35)


def test_a_profile_has_every_statistic_of_every_layer_and_head():
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 12, "depth": 2, "num_heads": 3}
    network = VisionTransformer(**sizes, num_classes=0).eval()
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    frame = depth_profile(network, [image, image])
    assert len(frame) == 2 * 2 * 3 * len(degeneracy.STATISTICS)
    assert frame["layer"].unique().tolist() == [0, 1]
    records = capture(network, image)
    entropy = frame[(frame["statistic"] == "entropy_bits") & (frame["image"] == "0")]
    expected = [degeneracy.measure(record).entropy_bits for record in records]
    assert entropy["value"].tolist() == pytest.approx(expected)
    assert entropy["block"].tolist() == [record.block for record in records]
