from copy import deepcopy

import pytest
import torch
from torch import nn
from torchvision.models import resnet18, resnet50
from torchvision.models.video import mc3_18, r2plus1d_18, r3d_18

from nonlocal_lens.analysis.capture import attention_blocks, capture, recording
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.inflate import inflate
from nonlocal_lens.models.networks.insert import insert_blocks, spread

VIDEO = {"r3d": r3d_18, "mc3": mc3_18, "r2plus1d": r2plus1d_18}
PLACES = ("res2", "res4")


def seeded(build, **options):
    torch.manual_seed(0)
    return build(**options).eval()


@pytest.fixture(scope="module")
def untouched():
    return seeded(resnet18)


@pytest.fixture
def network(untouched):
    """Return a ResNet-18 of one's own: a copy is made faster than a new one."""
    return deepcopy(untouched)


def meta(build):
    with torch.device("meta"):
        return build()


@pytest.mark.parametrize("block", BLOCKS)
def test_inserting_into_an_image_network_changes_nothing_bit_for_bit(network, block):
    x = torch.randn(2, 3, 37, 53)
    with torch.no_grad():
        before = network(x)
        names = insert_blocks(network, PLACES, block)
        assert torch.equal(network(x), before)
    assert names == tuple(f"layer{stage}.0_{block}" for stage in (1, 3))
    assert tuple(attention_blocks(network)) == names


@pytest.mark.parametrize("build", VIDEO.values(), ids=VIDEO)
def test_inserting_into_a_video_network_changes_nothing_bit_for_bit(build):
    network = seeded(build)
    clip = torch.randn(1, 3, 5, 29, 31)
    with torch.no_grad():
        before = network(clip)
        names = insert_blocks(network, ["layer2.1", "res4"], "disentangled", subsample=True)
        with recording(network, (29, 31)) as records:
            assert torch.equal(network(clip), before)
    assert names == ("layer2.1_disentangled", "layer3.0_disentangled")
    assert names == tuple(record.block for record in records)
    assert records[0].query_grid.frames > 1


def test_capture_finds_an_awake_block_by_its_name(network, generator):
    insert_blocks(network, "res4", init="awake")
    image = torch.randint(0, 256, (64, 96, 3), generator=generator, dtype=torch.uint8).numpy()
    (record,) = capture(network, image)
    assert record.block == "layer3.0_non_local"
    assert record.query.shape[1] == 128


def test_weights_of_the_plain_network_still_load(network, untouched):
    insert_blocks(network, ["layer3.0", "layer3.1"])
    missing, unexpected = network.load_state_dict(untouched.state_dict(), strict=False)
    assert not unexpected
    assert {name.split(".")[1] for name in missing} == {"0_non_local", "1_non_local"}


def test_a_block_runs_after_its_residual_block_and_before_the_next(network):
    insert_blocks(network, ["layer3.0"])
    order = []
    for name, module in network.layer3.named_children():
        module.register_forward_hook(lambda *_, name=name: order.append(name))
    network(torch.randn(1, 3, 32, 32))
    assert order == ["0", "0_non_local", "1"]


@pytest.mark.parametrize(
    ("count", "places"),
    [
        (1, ["layer3.4"]),
        (5, ["layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5"]),
        (10, [f"layer2.{i}" for i in range(4)] + [f"layer3.{i}" for i in range(6)]),
    ],
)
def test_the_papers_numbers_in_a_resnet_50(count, places):
    network = meta(resnet50)
    assert spread(network, count) == places
    names = insert_blocks(network, count, subsample=True)
    assert names == tuple(f"{place}_non_local" for place in places)
    assert [block.query.in_channels for block in attention_blocks(network).values()] == [
        512 if place.startswith("layer2") else 1024 for place in places
    ]


def test_mode_and_precision_are_the_networks(network):
    network.double().train()
    (name,) = insert_blocks(network, "res2")
    block = network.get_submodule(name)
    assert block.training
    assert block.query.weight.dtype == torch.float64
    insert_blocks(network.eval(), "res3")
    assert not attention_blocks(network)["layer2.0_non_local"].training


@pytest.mark.parametrize(
    ("where", "block", "message"),
    [
        (["layer3.7"], "non_local", r"no residual block 'layer3\.7'; available: layer1\.0, .*res5"),
        (["layer9"], "non_local", "no residual block 'layer9'"),
        (3, "non_local", "must be one of 1, 5, 10, got 3"),
        (5, "non_local", r"res4 \(layer3\) must have at least 3 residual blocks .*, got 2"),
        ("res4", "local", "unknown block 'local'; available: non_local"),
        (["res4", "layer3.0"], "non_local", r"at a place, got another layer3\.0_non_local"),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_is_changed(where, block, message):
    network = meta(resnet18)
    before = [name for name, _ in network.named_modules()]
    with pytest.raises(ValueError, match=message):
        insert_blocks(network, where, block)
    assert [name for name, _ in network.named_modules()] == before


def test_a_place_that_is_taken_is_refused_and_another_kind_is_not():
    network = meta(resnet18)
    insert_blocks(network, "res4")
    with pytest.raises(ValueError, match="got another"):
        insert_blocks(network, "res4")
    insert_blocks(network, "res4", "global_context")
    assert len(attention_blocks(network)) == 2


def tiny_bottlenecks():
    from torchvision.models.resnet import Bottleneck, ResNet

    return seeded(ResNet, block=Bottleneck, layers=[1, 2, 2, 1], width_per_group=4).double()


def test_a_clip_of_equal_frames_is_scored_like_the_image():
    network = tiny_bottlenecks()
    x = torch.randn(1, 3, 33, 37, dtype=torch.float64)
    clip = x.unsqueeze(2).expand(-1, -1, 11, -1, -1)
    with torch.no_grad():
        assert (inflate(network)(clip) - network(x)).abs().max() < 1e-12


@pytest.mark.parametrize("kernel", ["3x1x1", "3x3x3"])
def test_kernels_along_time_sum_to_those_of_the_image(kernel):
    network = tiny_bottlenecks()
    inflated = inflate(network, kernel)
    wide = {
        name: module
        for name, module in inflated.named_modules()
        if isinstance(module, nn.Conv3d) and module.kernel_size[0] > 1
    }
    conv = {"3x1x1": "conv1", "3x3x3": "conv2"}[kernel]
    assert list(wide) == ["conv1", *(f"layer{stage}.0.{conv}" for stage in (1, 2, 3, 4))]
    for name, module in wide.items():
        expected = network.get_submodule(name).weight
        assert (module.weight.sum(dim=2) - expected).abs().max() < 1e-12
    scores = inflated(torch.randn(1, 3, 11, 33, 37, dtype=torch.float64))
    assert scores.shape == (1, 1000)


def test_inflation_leaves_its_argument_alone_and_says_what_it_cannot_do():
    network = tiny_bottlenecks()
    inflate(network, "3x3x3")
    assert network(torch.randn(1, 3, 33, 37, dtype=torch.float64)).shape == (1, 1000)
    with pytest.raises(ValueError, match="must be made of bottlenecks"):
        inflate(meta(resnet18))


@pytest.mark.usefixtures("as_users_run")
def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="unknown kernel '5x5x5'; available: 1x1x1, 3x1x1, 3x3x3"):
        inflate(meta(resnet50), "5x5x5")
