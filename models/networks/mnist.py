"""A small classifier of handwritten digits with two attention blocks: AlexHex7's demonstration."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.preprocess import FixedSize

POOLED = 3  # cells along either side of the last features of a 28 x 28 image


DIGITS = FixedSize(mean=(0.0,), std=(1.0,), size=(28, 28))
"""Preprocessing for digits as in MNIST: gray, 28 x 28 pixels, white on black, in [0, 1].

An image of another size is stretched; a dark digit on light paper should be inverted before.
"""


class MNISTNetwork(nn.Module):
    """Three convolutions, an attention block between each two, and two linear layers.

    Parameters have the names of the repository's `lib/network.py`.

    Args:
        widths: Channels of the three convolutions.
        hidden: Width of the layer before the last.
        blocks: What follows the first and the second convolution.
        classes: Class names, in the order of the output.

    Attributes:
        decisions: What was decided on loading that the weights alone do not tell, in sentences.
    """

    decisions: tuple[str, ...] = ()

    def __init__(
        self,
        widths: Sequence[int],
        hidden: int,
        blocks: Sequence[AttentionBlock],
        classes: tuple[str, ...],
    ) -> None:
        super().__init__()
        self.classes = classes
        self.preprocess = DIGITS
        for index, (cin, cout) in enumerate(zip((1, *widths), widths, strict=False), start=1):
            layers = nn.Conv2d(cin, cout, 3, padding=1), nn.BatchNorm2d(cout)
            self.add_module(f"conv_{index}", nn.Sequential(*layers, nn.ReLU(), nn.MaxPool2d(2)))
        self.nl_1, self.nl_2 = blocks
        self.fc = nn.Sequential(
            nn.Linear(widths[-1] * POOLED**2, hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(hidden, len(classes)),
        )

    def forward(self, x: Float[Tensor, "batch 1 28 28"]) -> Float[Tensor, "batch classes"]:
        """Return class scores (logits)."""
        for index, attend in enumerate((self.nl_1, self.nl_2), start=1):
            x = attend(self.get_submodule(f"conv_{index}")(x))
        scores: Tensor = self.fc(self.get_submodule("conv_3")(x).flatten(1))
        return scores
