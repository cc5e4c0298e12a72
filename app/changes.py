"""What a network says about a picture when its attention is changed."""

from math import log, nan
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import nn

from analysis.capture import evaluating
from analysis.effects import effect
from analysis.interventions import INTERVENTIONS, Intervention, intervene
from app.pictures import Picture
from models.networks.segmentation import upsample
from models.preprocess import Preprocess
from models.streets import STREET_CLASSES
from models.training.evaluation import best_class, count_pixels, mean_iou

INTERVENTION_WORDS: dict[Intervention, str] = {
    "on": "nothing is changed",
    "off": "no attention: the block passes its input through",
    "mean_row": "every query attends like the mean over all queries",
    "uniform": "every query attends to all keys alike",
    "unary_only": "the unary term alone: what every query looks at",
    "pairwise_only": "the pairwise term alone: what depends on the query",
}


class Change(NamedTuple):
    """The output under one intervention, against the output without."""

    classes: UInt8[np.ndarray, "rows cols"]  # the most likely ones, at the size that is shown
    flipped: Bool[np.ndarray, "rows cols"]  # where they are others than without
    flipped_share: float  # 0 to 1
    kl_bits: float  # mean over pixels of KL(without || with)
    miou: float  # NaN without labels of the network's classes


@torch.inference_mode()
def changes(
    network: nn.Module, picture: Picture, shown_hw: tuple[int, int]
) -> dict[Intervention, Change]:
    """Run a network on a picture under every intervention.

    Args:
        network: A module that scores every pixel for each of its `classes`.
        picture: What it looks at.
        shown_hw: Height and width of the class pictures to return.
    """
    x = (getattr(network, "preprocess", None) or Preprocess())(picture.image)
    knows_labels = getattr(network, "classes", None) == tuple(STREET_CLASSES)
    aligned = getattr(network, "align_corners", False)
    found: dict[Intervention, Change] = {}
    before = None
    with evaluating(network):
        for how in INTERVENTIONS:
            with intervene(network, how):
                scores = network(x)
            before = scores if before is None else before
            change = effect(before, scores)
            miou = nan
            if picture.labels is not None and knows_labels:
                miou = mean_iou(count_pixels(scores, picture.labels))
            shown = best_class(upsample(scores, shown_hw, align_corners=aligned))
            classes = shown.to(torch.uint8).numpy()
            found[how] = Change(
                classes,
                classes != (found["on"].classes if found else classes),
                change.flipped_share,
                change.mean_kl_nats / log(2),
                miou,
            )
    return found
