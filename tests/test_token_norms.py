import numpy as np
import pytest
import torch
from networks import tiny_network
from timm.models.vision_transformer import VisionTransformer

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.token_norms import TokenNorms, token_norms

IMAGE = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)


@pytest.fixture
def transformer():
    torch.manual_seed(0)
    sizes = {"img_size": (40, 56), "patch_size": 8, "embed_dim": 22, "depth": 3, "num_heads": 2}
    network = VisionTransformer(**sizes, reg_tokens=2, num_classes=0).eval()
    with torch.no_grad():
        network.reg_token[0, 1] += 50  # a register as long as those of trained networks
    return network


def test_lengths_are_those_of_the_residual_stream_in_the_order_of_the_keys(transformer):
    seen = []
    for block in transformer.blocks:
        block.register_forward_pre_hook(lambda _, args: seen.append(args[0][0].detach().double()))
    found = token_norms(transformer, IMAGE)
    assert [(one.record.block, one.record.head) for one in found] == [
        (f"blocks.{layer}.attn", head) for layer in range(3) for head in range(2)
    ]
    for layer in range(3):
        own = seen[layer].norm(dim=1)  # class, two registers, then 5 x 7 places
        for one in found[2 * layer : 2 * layer + 2]:
            assert one.record.key_axis.names == ("class", "register 1", "register 2")
            torch.testing.assert_close(one.lengths, torch.cat((own[3:], own[:3])))
            assert one.longest == one.record.key_axis.index("register 2")
            assert one.outlier > 10
            torch.testing.assert_close(one.unary, terms.unary_logits(one.record).double())


@pytest.mark.parametrize("kind", ["non_local", "disentangled"])
def test_of_a_block_of_this_package_they_are_those_of_its_input(kind):
    network = tiny_network(kind)
    seen = []
    network.head.block.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
    (found,) = token_norms(network, IMAGE)
    torch.testing.assert_close(found.lengths, seen[0][0].flatten(1).double().norm(dim=0))
    (record,) = capture(network, IMAGE)
    assert found.record.key_axis == record.key_axis
    expected = terms.unary_logits(record).double()
    torch.testing.assert_close(found.unary, expected, atol=1e-4, rtol=1e-4)
    assert len(network.head.block._forward_pre_hooks) == 1, "that of this test"


def test_the_correlation_is_of_ranks_and_shares_those_of_ties(generator):
    def correlation(lengths, unary):
        tensors = (torch.tensor(values, dtype=torch.float64) for values in (lengths, unary))
        return TokenNorms(None, *tensors).correlation

    assert correlation([1, 2, 30, 4], [0, 1, 9, 2]) == pytest.approx(1)
    assert correlation([1, 2, 3], [5, 0, -5]) == pytest.approx(-1)
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4
    assert correlation([1, 2, 2, 3], [1, 2, 3, 4]) == pytest.approx(4.5 / (4.5 * 5) ** 0.5)
    assert np.isnan(correlation([1, 1], [1, 2]))


def test_without_a_norm_before_it_a_block_has_none(transformer):
    transformer.blocks[0].norm1 = torch.nn.Identity()
    found = token_norms(transformer, IMAGE)
    assert {one.record.block for one in found} == {"blocks.1.attn", "blocks.2.attn"}
