"""Checkpoints in published layouts, made from written-down tables of names and shapes."""

import torch

STEM, WIDTHS, HEAD, CLASSES = (3, 3, 5), (2, 3, 5, 7), 11, 13
INNER, BOTTLENECK, AUXILIARY = 5, 3, 3
DEPTHS = {"r18": (2, 2, 2, 2), "r50": (3, 4, 6, 3), "r101": (3, 4, 23, 3)}


def batch_norm(name, channels):
    table = {f"{name}.{part}": (channels,) for part in ("weight", "bias")}
    table |= {f"{name}.{part}": (channels,) for part in ("running_mean", "running_var")}
    return table | {f"{name}.num_batches_tracked": ()}


def conv_module(name, cout, cin, kernel):
    return {f"{name}.conv.weight": (cout, cin, kernel, kernel), **batch_norm(f"{name}.bn", cout)}


def biased(name, cout, cin, dimension=2):
    return {f"{name}.weight": (cout, cin, *(1,) * dimension), f"{name}.bias": (cout,)}


def resnet_v1c(depths="r50"):
    table, cin = {}, 3
    for index, cout in zip((0, 3, 6), STEM, strict=True):
        table[f"stem.{index}.weight"] = (cout, cin, 3, 3)
        table |= batch_norm(f"stem.{index + 1}", cout)
        cin = cout
    expansion = 1 if depths == "r18" else 4
    for stage, (width, depth) in enumerate(zip(WIDTHS, DEPTHS[depths], strict=True), start=1):
        for block in range(depth):
            name = f"layer{stage}.{block}"
            kernels = (3, 3) if depths == "r18" else (1, 3, 1)
            for index, kernel in enumerate(kernels, start=1):
                cout = width * expansion if index == len(kernels) else width
                before = cin if index == 1 else width
                table[f"{name}.conv{index}.weight"] = (cout, before, kernel, kernel)
                table |= batch_norm(f"{name}.bn{index}", cout)
            if block == 0 and (stage > 1 or cin != width * expansion):
                table[f"{name}.downsample.0.weight"] = (width * expansion, cin, 1, 1)
                table |= batch_norm(f"{name}.downsample.1", width * expansion)
            cin = width * expansion
    return {f"backbone.{name}": shape for name, shape in table.items()}, cin


def attention_block(kind, channels=HEAD):
    if kind == "gc_block":
        return {
            **biased("conv_mask", 1, channels),
            **biased("channel_add_conv.0", BOTTLENECK, channels),
            "channel_add_conv.1.weight": (BOTTLENECK, 1, 1),
            "channel_add_conv.1.bias": (BOTTLENECK, 1, 1),
            **biased("channel_add_conv.3", channels, BOTTLENECK),
        }
    table = biased("g.conv", INNER, channels)
    if kind != "gaussian":
        table |= biased("theta.conv", INNER, channels) | biased("phi.conv", INNER, channels)
    if kind == "concatenation":
        table["concat_project.conv.weight"] = (1, 2 * INNER, 1, 1)
    if kind == "dnl_block":
        table |= biased("conv_mask", 1, channels)
    return table | conv_module("conv_out", channels, INNER, 1)


def mmsegmentation(kind, depths="r50"):
    """Return the table of a whole network; `kind` is the head's block."""
    table, features = resnet_v1c(depths)
    prefix = kind if kind in ("nl_block", "dnl_block", "gc_block") else "nl_block"
    width = HEAD if kind != "gaussian" else INNER
    block = attention_block(kind, width)
    head = {
        **conv_module("convs.0", width, features, 3),
        **conv_module("convs.1", width, width, 3),
        **conv_module("conv_cat", width, features + width, 3),
        **biased("conv_seg", CLASSES, width),
        **{f"{prefix}.{name}": shape for name, shape in block.items()},
    }
    auxiliary = conv_module("convs.0", AUXILIARY, WIDTHS[2] * 4, 3)
    auxiliary |= biased("conv_seg", CLASSES, AUXILIARY)
    table |= {f"decode_head.{name}": shape for name, shape in head.items()}
    return table | {f"auxiliary_head.{name}": shape for name, shape in auxiliary.items()}


def sssegmentation(kind, depths="r50"):
    """Return the table of a whole network by the names of that code."""
    short = {"nl_block": "nl", "dnl_block": "dnl", "gc_block": "cb"}[kind]
    parts = {
        "backbone": "backbone_net",
        "decode_head.convs.0.conv": f"conv_before_{short}.0",
        "decode_head.convs.0.bn": f"conv_before_{short}.1",
        "decode_head.convs.1.conv": f"conv_after_{short}.0",
        "decode_head.convs.1.bn": f"conv_after_{short}.1",
        "decode_head.conv_cat.conv": "decoder.0",
        "decode_head.conv_cat.bn": "decoder.1",
        "decode_head.conv_seg": "decoder.4",
        "decode_head.gc_block": "contextblock_net",
        **{f"decode_head.{kind}.{name}.conv": f"{kind}.{name}.0" for name in ("theta", "phi", "g")},
        f"decode_head.{kind}.conv_out.conv": f"{kind}.conv_out.0",
        f"decode_head.{kind}.conv_out.bn": f"{kind}.conv_out.1",
        f"decode_head.{kind}.conv_mask": f"{kind}.conv_mask",
        "auxiliary_head": "auxiliary_decoder",
    }
    table = {}
    for name, shape in mmsegmentation(kind, depths).items():
        start = next(part for part in parts if name.startswith(f"{part}."))
        table[parts[start] + name.removeprefix(start)] = shape
    return table


def drawn(table, generator):
    """Return random tensors of these shapes that keep activations of about unit size."""
    tensors = {}
    for name, shape in table.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.tensor(7)
        elif name.endswith(("running_var", "bn.weight")) or len(shape) == 1:
            tensors[name] = torch.rand(shape, generator=generator) + 0.5
        else:
            fan_in = max(1, torch.Size(shape)[1:].numel())
            tensors[name] = torch.randn(shape, generator=generator) * fan_in**-0.5
    return tensors
