"""Video checkpoints in published layouts, made from written-down tables of names and shapes.

Tables have names of their own, such as `layer2.1.conv3`; a function for each layout says what its
authors call the same tensor.
"""

import re

import torch

STEM, WIDTHS, CLASSES = 8, (2, 3, 4, 5), 7
DEPTHS = (1, 2, 2, 1)
SPANS = {
    "i3d": (5, ((3,), (3, 1), (3, 1), (1,))),
    "c2d": (1, ((1,), (1, 1), (1, 1), (1,))),
    "slow": (1, ((1,), (1, 1), (3, 3), (3,))),
}
PLACES = ("layer2.1", "layer3.0")
STATISTICS = ("weight", "bias", "running_mean", "running_var")


def normal(name, channels):
    return {f"{name}.{part}": (channels,) for part in STATISTICS}


def video(kind, form="non_local", *, flat=False):
    """Return the table of a network; `flat` gives it the kernels of an image network."""
    stem, spans = SPANS[kind]

    def kernel(frames, side):
        return (side, side) if flat else (frames, side, side)

    table = {"conv1.weight": (STEM, 3, *kernel(stem, 7)), **normal("bn1", STEM)}
    cin = STEM
    for stage, width in enumerate(WIDTHS, 1):
        for index, span in enumerate(spans[stage - 1]):
            name = f"layer{stage}.{index}"
            shapes = ((width, cin, span, 1), (width, width, 1, 3), (4 * width, width, 1, 1))
            for number, (cout, before, frames, side) in enumerate(shapes, 1):
                table[f"{name}.conv{number}.weight"] = (cout, before, *kernel(frames, side))
                table |= normal(f"{name}.bn{number}", cout)
            if index == 0 and (stage > 1 or cin != 4 * width):
                table[f"{name}.short.weight"] = (4 * width, cin, *kernel(1, 1))
                table |= normal(f"{name}.shortbn", 4 * width)
            cin = 4 * width
            if name in PLACES:
                inner = cin if form == "gaussian" else cin // 2
                layers = ("value",) if form == "gaussian" else ("query", "key", "value")
                for layer in layers:
                    table[f"{name}.nl.{layer}.weight"] = (inner, cin, 1, 1, 1)
                    table[f"{name}.nl.{layer}.bias"] = (inner,)
                table[f"{name}.nl.out.weight"] = (cin, inner, 1, 1, 1)
                table[f"{name}.nl.out.bias"] = (cin,)
                table |= normal(f"{name}.nl.bn", cin)
    return table | {"fc.weight": (CLASSES, cin), "fc.bias": (CLASSES,)}


def drawn(table, generator):
    """Return random tensors of these shapes that keep activations of about unit size."""
    tensors = {}
    for name, shape in table.items():
        if len(shape) == 1:
            tensors[name] = torch.rand(shape, generator=generator) * 0.5 + 0.5
        else:
            fan_in = torch.Size(shape[1:]).numel()
            tensors[name] = torch.randn(shape, generator=generator) * fan_in**-0.5
    return tensors


MMCV = {"query": "theta", "key": "phi.0", "value": "g.0", "out": "conv_out"}


def mmaction2(name, *, shifts=False):
    if match := re.match(r"(layer\d\.\d)\.nl\.(\w+)\.(\w+)", name):
        place, layer, part = match.groups()
        layer = "conv_out.bn" if layer == "bn" else f"{MMCV[layer]}.conv"
        return f"backbone.{place}.non_local_block.{layer}.{part}"
    if name.startswith("fc."):
        return f"cls_head.fc_cls.{name[3:]}"
    name = re.sub(r"\bbn(\d)\.", r"conv\1.bn.", re.sub(r"\bconv(\d)\.", r"conv\1.conv.", name))
    name = name.replace("short.", "downsample.conv.").replace("shortbn.", "downsample.bn.")
    if shifts:
        name = re.sub(r"(layer\d\.\d\.conv1\.conv\.)", r"\1net.", name)
        name = name.replace("layer1.0.conv1.conv.net.", "layer1.0.conv1.conv.net.net.")
        for place in PLACES:
            name = name.replace(f"{place}.", f"{place}.block.")
    return f"backbone.{name}"


def slowfast(name):
    if match := re.match(r"layer(\d)\.(\d)\.nl\.(\w+)\.(\w+)", name):
        stage, index, layer, part = match.groups()
        child = {"query": "conv_theta", "key": "conv_phi", "value": "conv_g", "out": "conv_out"}
        return f"s{int(stage) + 1}.pathway0_nonlocal{index}.{child.get(layer, layer)}.{part}"
    if match := re.match(r"layer(\d)\.(\d)\.(conv|bn)(\d)\.(\w+)", name):
        stage, index, layer, number, part = match.groups()
        letter = "abc"[int(number) - 1] + ("_bn" if layer == "bn" else "")
        return f"s{int(stage) + 1}.pathway0_res{index}.branch2.{letter}.{part}"
    if match := re.match(r"layer(\d)\.(\d)\.short(bn)?\.(\w+)", name):
        stage, index, bn, part = match.groups()
        return f"s{int(stage) + 1}.pathway0_res{index}.branch1{'_bn' if bn else ''}.{part}"
    start = {"conv1": "s1.pathway0_stem.conv", "bn1": "s1.pathway0_stem.bn"}
    layer, _, part = name.partition(".")
    return f"{start.get(layer, 'head.projection')}.{part}"


def caffe2(name):
    short = {"weight": "s", "bias": "b", "running_mean": "rm", "running_var": "riv"}
    layer, _, part = name.rpartition(".")
    if match := re.match(r"layer(\d)\.(\d)\.nl\.(\w+)", layer):
        stage, index, child = match.groups()
        prefix = f"nonlocal_conv{int(stage) + 1}_{index}"
        if child == "bn":
            return f"{prefix}_bn_{short[part]}"
        child = {"query": "theta", "key": "phi", "value": "g", "out": "out"}[child]
        return f"{prefix}_{child}_{part[0]}"
    if match := re.match(r"layer(\d)\.(\d)\.(conv|bn|short)(\d|bn)?", layer):
        stage, index, kind, number = match.groups()
        branch = "branch1" if kind == "short" else "branch2" + "abc"[int(number) - 1]
        end = part[0] if kind == "conv" or layer.endswith("short") else f"bn_{short[part]}"
        return f"res{int(stage) + 1}_{index}_{branch}_{end}"
    if layer == "bn1":
        return f"res_conv1_bn_{short[part]}"
    return f"{'pred' if layer == 'fc' else 'conv1'}_{part[0]}"


def temporal_shift(name):
    if match := re.match(r"(layer\d\.\d)\.nl\.(\w+)\.(\w+)", name):
        place, layer, part = match.groups()
        children = {"query": "theta", "key": "phi.0", "value": "g.0", "out": "W.0", "bn": "W.1"}
        return f"module.base_model.{place}.nl.{children[layer]}.{part}"
    if name.startswith("fc."):
        return f"module.new_{name}"
    name = name.replace("short.", "downsample.0.").replace("shortbn.", "downsample.1.")
    name = re.sub(r"(layer\d\.\d\.conv1\.)", r"\1net.", name)
    for place in PLACES:
        name = name.replace(f"{place}.", f"{place}.block.")
    return f"module.base_model.{name}"
