"""Tiny networks to test with."""

import torch

from models.networks.architecture import Architecture, build_network

CLASSES = ("a", "b", "c")


def tiny_architecture(block=None, **options):
    options = {"init": "awake", **options} if block else {}
    return Architecture(CLASSES, block, options, widths=(3, 5, 6, 6), depths=(1, 1, 1, 1))


def tiny_network(block=None, **options):
    """Return a random network of a few hundred weights, in evaluation mode."""
    torch.manual_seed(0)
    return build_network(tiny_architecture(block, **options)).eval()
