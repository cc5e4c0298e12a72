"""What an intervention does to a network's output: class probabilities, pixel by pixel."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from analysis.capture import evaluating, prepared
from analysis.clips import ClipSource
from analysis.images import ImageSource
from analysis.interventions import INTERVENTIONS, Intervention, intervene
from models.training.evaluation import best_class


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


@torch.inference_mode()
def effects(network: nn.Module, image: ImageSource | ClipSource) -> dict[Intervention, Effect]:
    """Return what every intervention does to the output of a network for one image or clip.

    Args:
        network: A module whose output is class scores, (1, classes, ...).
        image: An image or, for a network that looks at clips, a clip: as for `capture`.

    Raises:
        ValueError: The image or clip cannot be used.
    """
    _, x = prepared(network, image)
    outputs = {}
    with evaluating(network):
        for how in INTERVENTIONS:
            with intervene(network, how):
                outputs[how] = network(x)
    return {how: effect(outputs["on"], output) for how, output in outputs.items()}
