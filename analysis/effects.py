"""What an intervention does to a network's output: class probabilities, pixel by pixel."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.clips import ClipSource
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.interventions import INTERVENTIONS, Intervention, Where
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.models.training.evaluation import best_class
from nonlocal_lens.models.wrappers import unwrapped


@dataclass(frozen=True, eq=False)
class Effect:
    """How far changed class scores are from those before."""

    kl_nats: Float[Tensor, "*pixels"]  # divergence of the changed probabilities, 0 to infinity
    flipped: Bool[Tensor, "*pixels"]  # where another class has the highest score now

    @property
    def mean_kl_nats(self) -> float:
        """Mean divergence over pixels: what the change would add to a cross-entropy loss."""
        return self.kl_nats.mean().item()

    @property
    def flipped_share(self) -> float:
        """Share of pixels with another class, 0 to 1."""
        return self.flipped.double().mean().item()


def effect(
    before: Float[Tensor, "1 classes *pixels"], after: Float[Tensor, "1 classes *pixels"]
) -> Effect:
    """Compare class scores (logits): KL(softmax(before) || softmax(after)) and the best class."""
    log_before, log_after = before[0].log_softmax(dim=0), after[0].log_softmax(dim=0)
    kl = (log_before.exp() * (log_before - log_after)).sum(dim=0)
    return Effect(kl.clamp_min(0), best_class(before) != best_class(after))


def scores_of(output: Any) -> Float[Tensor, "1 classes *pixels"]:
    """Return the class scores in what a network gives: a tensor, or where libraries put it.

    Raises:
        ValueError: There are none.
    """
    found = output
    for name in ("logits", "out"):
        if isinstance(output, Mapping) and name in output:
            found = output[name]
        elif not isinstance(output, Tensor) and isinstance(getattr(output, name, None), Tensor):
            found = getattr(output, name)
    if not isinstance(found, Tensor) or found.ndim < 2 or not found.is_floating_point():
        names = f" with {', '.join(map(str, output))}" if isinstance(output, Mapping) else ""
        raise ValueError(
            f"the network gives {type(output).__name__}{names}, and effects are of class scores: a "
            "tensor (1, classes, ...)"
        )
    return found


def scores_under(
    changing: Changing, where: Where | None = None
) -> dict[Intervention, Float[Tensor, "1 classes *pixels"]]:
    """Return a network's class scores under every intervention, "on" first, on the CPU.

    Raises:
        ValueError: The output is no class scores, or a block cannot be changed.
    """
    return {
        how: scores_of(changing.output(how, where)).cpu()
        for how in INTERVENTIONS
        if how != "another_image" or changing.has_another
    }


@torch.inference_mode()
def effects(
    network: nn.Module,
    image: ImageSource | ClipSource,
    *,
    another: ImageSource | ClipSource | None = None,
    where: Where | None = None,
) -> dict[Intervention, Effect]:
    """Return what every intervention does to the output of a network for one image or clip.

    Over many images, with intervals: `analysis.causes`.

    Args:
        network: A module whose output is class scores, (1, classes, ...), or holds them as `logits`
            or `out`.
        image: An image or, for a network that looks at clips, a clip: as for `capture`.
        another: The other image, or clip, of `another_image`; a rendered street if None, which is
            scaled to the size of this one. A network that does not look at colors has none then.
        where: Blocks and heads, (name, head), a head of None for all of a block; None changes all.

    Raises:
        ValueError: The image or clip cannot be used, the output is no class scores, or a block of
            the network cannot be changed.
    """
    network = unwrapped(network)
    pixels, x = prepared(network, image)
    scores = scores_under(Changing(network, x, prepared_another(network, pixels, another)), where)
    return {how: effect(scores["on"], changed) for how, changed in scores.items()}
