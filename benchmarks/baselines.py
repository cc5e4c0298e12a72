"""The other ways: how one does it without this package, each as plainly and as fairly as we can.

Each is what a competent user writes who knows the library: one forward pass where one is enough, no
gradients where none are needed, and only what is compared.
"""

from collections.abc import Callable
from math import log
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


def materialized(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return attention applied to values, with the matrix held: the block as papers' code has it.

    Shapes are (positions, channels); the weights of all pairs of positions are in memory at once.
    """
    return (query @ key.T).softmax(dim=1) @ value


def entropies_of_heads(attentions: list[Tensor]) -> Tensor:
    """Return entropy and mutual information of every head, in bits, from held attention.

    Args:
        attentions: Per layer (1, heads, queries, keys).
    """
    found = []
    for layer in attentions:
        rows = layer[0].double()
        mean = rows.mean(dim=1)
        entropy = torch.special.entr(rows).sum(dim=2).mean(dim=1) / log(2)
        found.append(torch.stack((entropy, torch.special.entr(mean).sum(dim=1) / log(2) - entropy)))
    return torch.cat(found, dim=1)


def eager_attentions(network: nn.Module, x: Tensor) -> list[Tensor]:
    """Return every layer's attention of a Hugging Face transformer: `output_attentions=True`.

    The network must be loaded with `attn_implementation="eager"`; others return None.
    """
    with torch.inference_mode():
        return list(network(x, output_attentions=True).attentions)


def timm_attentions(name: str, **options: Any) -> Callable[[Tensor], list[Tensor]]:
    """Return what extracts every layer's attention of a timm network by its `AttentionExtract`.

    Fused attention never makes the weights, so it is off, as timm's documentation has it.
    """
    from timm import create_model
    from timm.layers import set_fused_attn
    from timm.utils import AttentionExtract

    set_fused_attn(False)
    network = create_model(name, **options).eval()
    set_fused_attn(True)
    extract = AttentionExtract(network, method="hook")

    def run(x: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            return list(extract(x).values())

    return run


def bertviz_page(attentions: list[Tensor], tokens: list[str]) -> str:
    """Return BertViz's page of all heads: attention as text in the page."""
    from bertviz import head_view

    return head_view(attentions, tokens, html_action="return").data


def figures_in_a_loop(
    image: Any, maps: list[Tensor], folder: Path, *, dpi: int, columns: int
) -> None:
    """Draw maps over a photograph and save them, as one does in a notebook."""
    import matplotlib.pyplot as plt

    rows = -(-len(maps) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(6.75, 6.75 * rows / columns))
    top = max(float(one.max()) for one in maps)
    height, width = image.shape[:2]
    for ax, one in zip(axes.flat, maps, strict=False):
        ax.imshow(image)
        shown = ax.imshow(one, alpha=0.6, vmin=0, vmax=top, extent=(0, width, height, 0))
        ax.set_axis_off()
    figure.colorbar(shown, ax=axes)
    figure.savefig(folder / "loop.png", dpi=dpi)
    plt.close(figure)


def captum_saliency(network: nn.Module, x: Tensor, row: int, column: int) -> Tensor:
    """Return the gradient of the strongest class score at a pixel, by captum alone."""
    from captum.attr import Saliency

    def score(batch: Tensor) -> Tensor:
        return network(batch)[:, :, row, column]

    with torch.no_grad():
        target = int(score(x)[0].argmax())
    return Saliency(score).attribute(x.clone().requires_grad_(), target=target).sum(dim=1)


class AtPixel(nn.Module):
    """A network for images whose classes are those of one pixel: what torch-cam can take."""

    def __init__(self, network: nn.Module, row: int, column: int) -> None:
        super().__init__()
        self.network, self.row, self.column = network, row, column

    def forward(self, x: Tensor) -> Tensor:
        """Return class scores, (images, classes)."""
        scores: Tensor = self.network(x)[:, :, self.row, self.column]
        return scores


def torchcam_grad_cam(network: nn.Module, layer: str, x: Tensor, row: int, column: int) -> Tensor:
    """Return the Grad-CAM of the strongest class score at a pixel, by torch-cam alone."""
    from torchcam.methods import GradCAM

    at_pixel = AtPixel(network, row, column)
    with GradCAM(at_pixel, target_layer=f"network.{layer}") as extractor:
        scores = at_pixel(x.requires_grad_())
        return extractor(int(scores[0].argmax()), scores)[0]
