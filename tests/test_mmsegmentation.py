import pytest
import torch
from networks import tiny_architecture, tiny_network
from published_files import CLASSES, HEAD, INNER, STEM, drawn, mmsegmentation, sssegmentation
from safetensors.torch import save_file
from torch.nn import functional as F

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.checkpoints.datasets import CLASSES as DATASETS
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.fcn_head import FCNHead
from nonlocal_lens.models.networks.resnet_v1c import ResNetV1c

pytestmark = pytest.mark.slow

KINDS = {
    "nl_block": "NonLocalBlock",
    "dnl_block": "DisentangledNonLocalBlock",
    "gc_block": "GlobalContextBlock",
    "gaussian": "GaussianNonLocalBlock",
    "concatenation": "ConcatenationNonLocalBlock",
}


@pytest.fixture
def write(tmp_path, generator):
    """Return a function that writes a checkpoint as mmsegmentation does, and what is in it."""

    def written(kind, depths="r50", change=None, **beside):
        tensors = drawn(mmsegmentation(kind, depths), generator)
        if change is not None:
            change(tensors)
        path = tmp_path / f"{kind}.pth"
        torch.save({"meta": {"mmseg_version": "0.5"}, "state_dict": tensors, **beside}, path)
        return path, tensors

    return written


class Reference:
    """mmsegmentation's forward, written as plain functions of the checkpoint's own names."""

    def __init__(self, tensors, *, align_corners=False):
        self.tensors = tensors
        self.align_corners = align_corners

    def conv(self, x, name, **options):
        return F.conv2d(
            x, self.tensors[f"{name}.weight"], self.tensors.get(f"{name}.bias"), **options
        )

    def norm(self, x, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(self.tensors[f"{name}.{part}"] for part in parts))

    def conv_module(self, x, name, padding=1):
        return self.norm(self.conv(x, f"{name}.conv", padding=padding), f"{name}.bn")

    def residual(self, x, name, stride, dilation):
        spread = {"stride": stride, "dilation": dilation, "padding": dilation}
        shortcut = x
        if f"{name}.downsample.0.weight" in self.tensors:
            shortcut = self.norm(
                self.conv(x, f"{name}.downsample.0", stride=stride), f"{name}.downsample.1"
            )
        if f"{name}.conv3.weight" in self.tensors:
            x = self.norm(self.conv(x, f"{name}.conv1"), f"{name}.bn1").relu()
            x = self.norm(self.conv(x, f"{name}.conv2", **spread), f"{name}.bn2").relu()
            x = self.norm(self.conv(x, f"{name}.conv3"), f"{name}.bn3")
        else:
            x = self.norm(self.conv(x, f"{name}.conv1", **spread), f"{name}.bn1").relu()
            x = self.norm(self.conv(x, f"{name}.conv2", padding=1), f"{name}.bn2")
        return (x + shortcut).relu()

    def backbone(self, x):
        for index, stride in ((0, 2), (3, 1), (6, 1)):
            x = self.conv(x, f"backbone.stem.{index}", stride=stride, padding=1)
            x = self.norm(x, f"backbone.stem.{index + 1}").relu()
        x = F.max_pool2d(x, 3, 2, 1)
        plans = {1: (1, 1, 1), 2: (2, 1, 1), 3: (1, 1, 2), 4: (1, 2, 4)}
        for stage, (stride, first, rest) in plans.items():
            block = 0
            while f"backbone.layer{stage}.{block}.conv1.weight" in self.tensors:
                name = f"backbone.layer{stage}.{block}"
                x = self.residual(x, name, stride if block == 0 else 1, rest if block else first)
                block += 1
        return x

    def context(self, x, name):
        weights = self.conv(x, f"{name}.conv_mask").flatten(2).softmax(2)
        context = (x.flatten(2) @ weights.transpose(1, 2)).unsqueeze(3)
        context = self.conv(context, f"{name}.channel_add_conv.0")
        gain, bias = (
            self.tensors[f"{name}.channel_add_conv.1.{part}"] for part in ("weight", "bias")
        )
        context = F.layer_norm(context, gain.shape, gain, bias).relu()
        return x + self.conv(context, f"{name}.channel_add_conv.3")

    def attended(self, x, kind, name):
        value = self.conv(x, f"{name}.g.conv").flatten(2).transpose(1, 2)
        query = key = x.flatten(2).transpose(1, 2)
        if kind != "gaussian":
            query = self.conv(x, f"{name}.theta.conv").flatten(2).transpose(1, 2)
            key = self.conv(x, f"{name}.phi.conv").flatten(2).transpose(1, 2)
        if kind == "dnl_block":
            query, key = query - query.mean(1, keepdim=True), key - key.mean(1, keepdim=True)
            logits = query @ key.transpose(1, 2) / query.shape[2] ** 0.5 / 0.05
            unary = self.conv(x, f"{name}.conv_mask").flatten(2).softmax(2)
            weights = logits.softmax(2) + unary
        elif kind == "concatenation":
            positions = query.shape[1]
            pairs = torch.cat(
                (
                    query.unsqueeze(2).expand(-1, -1, positions, -1),
                    key.unsqueeze(1).expand(-1, positions, -1, -1),
                ),
                dim=3,
            )
            weight = self.tensors[f"{name}.concat_project.conv.weight"].flatten()
            weights = (pairs @ weight).relu() / positions
        elif kind == "dot_product":
            weights = query @ key.transpose(1, 2) / key.shape[1]
        else:
            scale = 1 if kind == "gaussian" else query.shape[2] ** -0.5
            weights = (query @ key.transpose(1, 2) * scale).softmax(2)
        y = (weights @ value).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + self.conv_module(y, f"{name}.conv_out", padding=0), weights

    def __call__(self, image, kind):
        x = self.backbone(image)
        out = self.conv_module(x, "decode_head.convs.0").relu()
        weights = None
        if kind == "gc_block":
            out = self.context(out, "decode_head.gc_block")
        else:
            name = "decode_head.dnl_block" if kind == "dnl_block" else "decode_head.nl_block"
            out, weights = self.attended(out, kind, name)
        out = self.conv_module(out, "decode_head.convs.1").relu()
        out = self.conv_module(torch.cat((x, out), 1), "decode_head.conv_cat").relu()
        out = self.conv(out, "decode_head.conv_seg")
        size = image.shape[2:]
        scores = F.interpolate(out, size, mode="bilinear", align_corners=self.align_corners)
        return scores, weights


@pytest.mark.parametrize("depths", ["r18", "r50"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_network_computes_what_its_authors_code_computes(write, generator, kind, depths):
    path, tensors = write(kind, depths)
    network = load_network(path)
    x = torch.randn(1, 3, 56, 88, generator=generator)
    expected, _ = Reference(tensors)(x, kind)
    assert type(network.head.block).__name__ == KINDS[kind]
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)


def test_options_say_what_no_tensor_tells(write, generator):
    x = torch.randn(1, 3, 57, 89, generator=generator)
    path, tensors = write("nl_block")
    network = load_network(path, form="dot_product", align_corners=True, long_side=769)
    network.head.block.scale = 1.0  # not a choice of the layout, but the reference has none
    expected, _ = Reference(tensors, align_corners=True)(x, "dot_product")
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    assert network.preprocess.long_side == (256, 769)

    path, _ = write("dnl_block")
    assert load_network(path, temperature=0.1).head.block.scale * 2 == pytest.approx(
        load_network(path).head.block.scale
    )


@pytest.mark.parametrize("kind", ["nl_block", "dnl_block"])
def test_captured_attention_is_the_authors(write, kind):
    path, tensors = write(kind)
    network = load_network(path)
    image = torch.rand(3, 256, 264)
    (record,) = capture(network, image)
    x = network.preprocess((image.permute(1, 2, 0) * 255).round().byte().numpy())
    _, weights = Reference(tensors)(x, kind)
    rows = terms.attention(record, [0, 40, 1055])
    torch.testing.assert_close(rows, weights[0, [0, 40, 1055]], rtol=1e-4, atol=1e-6)
    assert record.query_grid.shape == (1, 32, 33)


def test_a_disentangled_head_without_a_scale_keeps_its_temperature(write):
    path, _ = write("dnl_block")
    assert load_network(path).head.block.scale == pytest.approx(20 * INNER**-0.5)
    unscaled = load_network(path, use_scale=False, temperature=0.2)
    assert unscaled.head.block.scale == pytest.approx(5)


@pytest.mark.parametrize("kind", ["nl_block", "dnl_block", "gc_block"])
def test_sssegmentation_has_the_same_networks_by_other_names(write, tmp_path, generator, kind):
    path, tensors = write(kind)
    table = sssegmentation(kind)
    theirs = dict(zip(table, tensors.values(), strict=True))
    torch.save({"model": theirs, "epoch": 60}, tmp_path / "ssseg.pth")
    network = load_network(tmp_path / "ssseg.pth")
    assert network.decisions[0] == "layout of sssegmentation"
    x = torch.randn(1, 3, 65, 41, generator=generator)
    torch.testing.assert_close(network(x), load_network(path)(x))

    coarse = load_network(tmp_path / "ssseg.pth", output_stride=16)
    assert (coarse.backbone.stride, coarse.preprocess.stride) == (16, 16)
    assert coarse.backbone(x)[0].shape[2:] == (5, 3)
    dilations = [block.conv2.dilation[0] for block in coarse.backbone.layer4]
    assert dilations == [1, 2, 2]
    assert {block.conv2.dilation[0] for block in coarse.backbone.layer3} == {1}

    del theirs["decoder.4.bias"]
    torch.save(theirs, tmp_path / "ssseg.pth")
    with pytest.raises(ValueError, match=r"head\.classify\.bias is missing"):
        load_network(tmp_path / "ssseg.pth")
    with pytest.raises(ValueError, match="output stride must be 8 or 16, got 32"):
        load_network(path, output_stride=32)


def test_sizes_are_read_from_the_tensors_and_decisions_are_told(write):
    network = load_network(write("dnl_block")[0])
    assert network.backbone.stem[0].out_channels == STEM[0]
    assert network.head.block.query.in_channels == HEAD
    assert [len(getattr(network.backbone, f"layer{stage}")) for stage in (1, 2, 3, 4)] == [
        3,
        4,
        6,
        3,
    ]
    assert network.classes == tuple(f"class {index}" for index in range(CLASSES))
    said = "; ".join(network.decisions)
    for decision in ("mmsegmentation", "no names for its 13", "temperature 0.05", "auxiliary"):
        assert decision in said
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(tensor.is_meta for tensor in network.state_dict().values())


def test_class_names_are_the_files_own_if_it_has_them(write, tmp_path):
    names = [f"kind {index}" for index in range(CLASSES)]
    path, tensors = write("nl_block")
    torch.save({"meta": {"CLASSES": names}, "state_dict": tensors}, path)
    assert load_network(path).classes == tuple(names)
    assert load_network(path, classes=names[::-1]).classes == tuple(names[::-1])


@pytest.mark.parametrize("container", ["bare", "data parallel", "old format", "safetensors"])
def test_the_container_does_not_matter(write, tmp_path, container):
    path, tensors = write("gc_block")
    expected = load_network(path).state_dict()
    path = tmp_path / ("again.safetensors" if container == "safetensors" else "again.pth")
    if container == "safetensors":
        save_file(tensors, path)
    elif container == "old format":
        torch.save(tensors, path, _use_new_zipfile_serialization=False)
    else:
        prefix = "module." if container == "data parallel" else ""
        torch.save({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, path)
    found = load_network(path).state_dict()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("decode_head.convs.1.bn.bias"), r"head\.conv_out\.1\.bias is missing"),
        (lambda t: t.update(extra=torch.ones(2)), "extra is not used"),
        (
            lambda t: t.update({"decode_head.dnl_block.theta.conv.bias": torch.ones(7)}),
            r"theta\.conv\.bias must have shape \(5,\), got \(7,\)",
        ),
        (
            lambda t: t["decode_head.dnl_block.g.conv.bias"].fill_(float("nan")),
            r"g\.conv\.bias holds NaN",
        ),
        (lambda t: t.pop("backbone.stem.3.weight"), r"stem\.3\.weight is missing"),
        (
            lambda t: t.update({"decode_head.conv_seg.weight": torch.ones(13)}),
            r"conv_seg\.weight must have 4 sides of at least 1, got shape \(13,\)",
        ),
        (
            lambda t: t.update({"decode_head.convs.0.conv.weight": torch.ones(11, 9, 3, 3)}),
            "for features of 9 channels, but the backbone's have 28",
        ),
        (lambda t: [t.pop(name) for name in list(t) if "layer3.4" in name], "and 12 more"),
    ],
)
def test_leftovers_and_gaps_are_named_in_one_sentence(write, change, message):
    path, _ = write("dnl_block", change=change)
    with pytest.raises(ValueError, match=message):
        load_network(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"temprature": 1.0},
            "mmsegmentation has no option 'temprature'; available: classes, temp",
        ),
        ({"classes": ("a", "b")}, "classes must be 13 names, got 2"),
        ({"form": "gaussian"}, "must be one of non_local, dot_product, got 'gaussian'"),
        ({"temperature": 0.1}, "temperature belongs to disentangled blocks"),
    ],
)
def test_options_that_do_not_fit_are_refused(write, options, message):
    path, _ = write("nl_block")
    with pytest.raises(ValueError, match=message):
        load_network(path, **options)


def test_a_file_of_this_project_takes_no_option(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network(), tiny_architecture())
    with pytest.raises(ValueError, match="says all about its network itself; it takes no 'temp"):
        load_network(path, temperature=1.0)


def test_a_deep_stage_dilates_by_half_in_its_first_block():
    with torch.device("meta"):
        backbone = ResNetV1c((2, 2, 2), (2, 2, 2, 2), (1, 1, 3, 3), bottleneck=True)
    dilations = [block.conv2.dilation[0] for block in (*backbone.layer3, *backbone.layer4)]
    assert dilations == [1, 2, 2, 2, 4, 4]


@pytest.mark.parametrize(("dataset", "count"), [("Cityscapes", 19), ("ADE20K", 150)])
def test_data_sets_have_their_number_of_distinct_classes(dataset, count):
    assert len(set(DATASETS[dataset])) == count


@pytest.mark.parametrize(
    ("block", "options", "depth", "millions"),
    [
        ("non_local", {}, 6, 50.02),
        ("disentangled", {}, 6, 50.02),
        ("global_context", {"ratio": 1 / 4}, 6, 49.63),
        ("disentangled", {}, 23, 69.02),
    ],
)
def test_networks_of_published_sizes_have_as_many_parameters(block, options, depth, millions):
    with torch.device("meta"):
        backbone = ResNetV1c((32, 32, 64), (64, 128, 256, 512), (3, 4, depth, 3), bottleneck=True)
        head = FCNHead(2048, 512, 19, BLOCKS[block](512, **options))
    auxiliary = 9 * 1024 * 256 + 2 * 256 + 19 * 256 + 19  # convolution, normalization, classifier
    count = sum(p.numel() for module in (backbone, head) for p in module.parameters())
    assert (count + auxiliary) / 1e6 == pytest.approx(millions, abs=0.005)
