"""What a network says about a picture when its attention is changed."""

from math import log, nan
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.effects import effect, scores_under
from nonlocal_lens.analysis.interventions import Intervention, Where
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.app.capabilities import class_name
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.models.networks.segmentation import upsample
from nonlocal_lens.models.training.evaluation import best_class, count_pixels, mean_iou
from nonlocal_lens.models.wrappers import unwrapped
from nonlocal_lens.streets.classes import STREET_CLASSES

HALVES = "a block with a softmax for each term then adds half as much in total"
"""What one term alone changes besides: rows of a disentangled block sum to 2, of a term to 1."""

INTERVENTION_WORDS: dict[Intervention, str] = {
    "on": "nothing is changed",
    "off": "no attention at all: what is behind it gets what it has never seen, so that this "
    "overstates what attention is worth; the controls beside it say by how much",
    "mean_row": "every query attends like the mean over all queries",
    "uniform": "every query attends to all keys alike",
    "another_image": "every query attends as it does in another picture, a rendered street",
    "noise": "every row keeps its weights, on keys that are drawn by lot",
    "unary_only": f"the unary term alone: what every query looks at; {HALVES}",
    "pairwise_only": f"the pairwise term alone: what depends on the query; {HALVES}",
}


class Change(NamedTuple):
    """The output under one intervention, against the output without."""

    classes: UInt8[np.ndarray, "rows cols"] | None  # the most likely ones, at the size shown
    flipped: Bool[np.ndarray, "rows cols"] | None  # where they are others than without
    flipped_share: float  # 0 to 1
    kl_bits: float  # mean over pixels of KL(without || with)
    miou: float  # NaN without labels of the network's classes
    best: str  # of a network that names one class for the picture: which
    probability: float  # there: of the class that it names without; NaN for others


@torch.inference_mode()
def changes(
    network: nn.Module, picture: Picture, shown_hw: tuple[int, int], where: Where | None = None
) -> dict[Intervention, Change]:
    """Run a network on a picture under every intervention.

    Args:
        network: A module that gives class scores, of every pixel or of the whole picture.
        picture: What it looks at.
        shown_hw: Height and width of the class pictures to return.
        where: Which blocks and heads are changed; all if None.
    """
    network = unwrapped(network)
    pixels, x = prepared(network, picture.image)
    scores = scores_under(Changing(network, x, prepared_another(network, pixels)), where)
    found: dict[Intervention, Change] = {}
    for how, changed in scores.items():
        change = effect(scores["on"], changed)
        of_pixels = changed.ndim == 4
        classes = _classes(network, changed, shown_hw) if of_pixels else None
        before = found["on"].classes if found else classes
        whole = None if of_pixels else (scores["on"], changed)
        found[how] = Change(
            classes,
            None if classes is None or before is None else classes != before,
            change.flipped_share,
            change.mean_kl_nats / log(2),
            _miou(network, picture, changed),
            *(("", nan) if whole is None else _named(network, *whole)),
        )
    return found


def _classes(
    network: nn.Module, scores: Tensor, shown_hw: tuple[int, int]
) -> UInt8[np.ndarray, "rows cols"]:
    aligned = getattr(network, "align_corners", False)
    shown = best_class(upsample(scores, shown_hw, align_corners=aligned))
    return shown.to(torch.uint8).numpy()


def _miou(network: nn.Module, picture: Picture, scores: Tensor) -> float:
    if picture.labels is None or getattr(network, "classes", None) != tuple(STREET_CLASSES):
        return nan
    return mean_iou(count_pixels(scores, picture.labels))


def _named(network: nn.Module, before: Tensor, after: Tensor) -> tuple[str, float]:
    """Return the class that is named for the whole picture, and how likely that of before is."""
    best, named = (int(scores[0].flatten().argmax()) for scores in (after, before))
    return class_name(network, best), after[0].flatten().softmax(dim=0)[named].item()
