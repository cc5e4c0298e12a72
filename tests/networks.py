"""Tiny networks to test with."""

import torch
from torch import nn

from nonlocal_lens.models.blocks.frame_groups import FrameGroups
from nonlocal_lens.models.networks.architecture import BLOCKS, build_network
from nonlocal_lens.models.networks.description import Architecture, TransformerArchitecture
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess

CLASSES = ("a", "b", "c")


def tiny_architecture(block=None, **options):
    options = {"init": "awake", **options} if block else {}
    return Architecture(CLASSES, block, options, widths=(3, 5, 6, 6), depths=(1, 1, 1, 1))


def tiny_network(block=None, **options):
    """Return a random network of a few hundred weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_network(tiny_architecture(block, **options)).eval()


def tiny_transformer_architecture(registers=0, classes=CLASSES):
    sizes = {"channels": 12, "layers": 2, "heads": 3, "patch": 8, "grid_hw": (5, 7)}
    return TransformerArchitecture(classes, registers=registers, **sizes)


def tiny_transformer(registers=0, classes=CLASSES):
    """Return a random transformer whose attention is far from uniform, in evaluation mode."""
    torch.manual_seed(0)
    network = build_network(tiny_transformer_architecture(registers, classes)).eval()
    for layer in network.backbone.layers:
        nn.init.normal_(layer.attention.qkv.weight, std=0.7)
    return network


class TinyClipNetwork(nn.Module):
    """One convolution per frame and a block that looks over all frames; classifies clips."""

    def __init__(self, block, step, group):
        super().__init__()
        self.stem = nn.Conv3d(3, 6, (step, 8, 8), stride=(step, 8, 8))
        self.block = BLOCKS[block](6, dimension=3, init="awake")
        if group is not None:
            self.block = FrameGroups(self.block, group)
        self.classify = nn.Linear(6, len(CLASSES))
        self.preprocess = ClipPreprocess(Preprocess(long_side=(8, 512)), frames=5)
        self.classes = CLASSES

    def forward(self, x):
        return self.classify(self.block(self.stem(x)).mean(dim=(2, 3, 4)))


def tiny_clip_network(block="non_local", *, step=1, group=None):
    """Return a random network for clips, in evaluation mode.

    Its grid has every `step`-th frame; with a `group` the block sees so many of those at a time.
    """
    torch.manual_seed(0)
    return TinyClipNetwork(block, step, group).eval()
