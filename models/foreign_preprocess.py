"""How an image becomes the input of a network that does not say so in this package's way.

Size, channels, mean, deviation and interpolation are looked for where each library keeps them:
timm in the network's `pretrained_cfg`, torchvision with the published weights of its builders,
Hugging Face in the processor's file beside the weights or in the processor of the model's family.
What nothing tells is assumed, and the preprocessing's `decisions` say so.
"""

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakSet

from torch import nn

from nonlocal_lens.models.preprocess import FixedSize, Interpolation, Preprocess
from nonlocal_lens.models.wrappers import unwrapped

IMAGENET = (Preprocess.mean, Preprocess.std)
OTHERWISE = "another is set by network.preprocess = Preprocess(mean=..., std=...)"
PROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
RESAMPLING: dict[int, Interpolation] = {0: "nearest-exact", 2: "bilinear", 3: "bicubic"}
"""Pillow's numbers, as processors write them."""

LOG = logging.getLogger("nonlocal_lens")
_told: WeakSet[nn.Module] = WeakSet()


class Values(NamedTuple):
    """What a library tells of the pictures that a network was trained on."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    source: str  # where both are from
    size: tuple[int, int] | None = None  # height and width
    scale: float = 1 / 255
    interpolation: Interpolation = "bilinear"
    more: tuple[str, ...] = ()  # further decisions


def foreign_preprocess(network: nn.Module) -> Preprocess:
    """Return what a network and its library tell: size, channels, mean and deviation.

    Sizes are `image_size` (torchvision), `patch_embed.img_size` and a `pretrained_cfg` of one size
    (timm), `config.image_size` (Hugging Face), else the processor's. A network that takes one
    channel gets the mean over colors of what is known for three; one that takes another number gets
    values in [0, 1]. Where nothing tells a mean and a deviation, that is logged once per network.
    """
    network = unwrapped(network)
    found = _timm(network) or _hugging_face(network) or _torchvision(network)
    channels = channels_of(network)
    decisions = () if found is None else found.more
    if channels not in (1, 3):
        mean, std, scale = (0.0,) * channels, (1.0,) * channels, 1 / 255
        decisions = (f"values of its {channels} channels in [0, 1], as nothing tells; {OTHERWISE}",)
    elif found is None and channels == 1:
        mean, std, scale = (0.0,), (1.0,), 1 / 255
        decisions = (f"gray values in [0, 1], as nothing tells; {OTHERWISE}",)
    elif found is None:
        (mean, std), scale = IMAGENET, 1 / 255
        decisions = (f"ImageNet's mean and deviation, as nothing tells its own; {OTHERWISE}",)
    else:
        mean, std, scale = found.mean, found.std, found.scale
        decisions = (
            f"mean {_listed(mean)} and deviation {_listed(std)}, {found.source}; {OTHERWISE}",
            *decisions,
        )
        if channels == 1 and len(mean) != 1:
            mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
            decisions += (f"of its one channel, their means {mean[0]:.4g} and {std[0]:.4g}",)
    if found is None and network not in _told:
        _told.add(network)
        LOG.warning("%s: %s", type(network).__name__, decisions[0])
    if channels == 1:
        decisions += ("its one channel: colors become gray (BT.601), gray values stay",)
    size = _own_size(network) or (None if found is None else found.size)
    interpolation: Interpolation = "bilinear" if found is None else found.interpolation
    if size is None:
        return Preprocess(mean, std, scale=scale, interpolation=interpolation, decisions=decisions)
    stretched = (
        f"pictures are stretched to its {size[0]} x {size[1]} pixels, none is cropped; crop them "
        "before for what its library shows it"
    )
    return FixedSize(
        mean,
        std,
        scale=scale,
        interpolation=interpolation,
        decisions=(*decisions, stretched),
        size=size,
    )


def channels_of(network: nn.Module) -> int:
    """Return how many channels a network takes: as it says, else as its first convolution does."""
    config = _vision_config(network)
    for owner, name in ((config, "num_channels"), (network, "in_chans"), (network, "in_channels")):
        value = getattr(owner, name, None)
        if isinstance(value, int) and value > 0:
            return value
    convolutions = (
        module.in_channels
        for module in network.modules()
        if isinstance(module, nn.Conv2d | nn.Conv3d)
    )
    return next(convolutions, 3)


def _own_size(network: nn.Module) -> tuple[int, int] | None:
    """Return the height and width that a network is built for, if it is for one size only."""
    published = getattr(network, "pretrained_cfg", None) or {}
    given = published.get("input_size") if published.get("fixed_input_size") else None
    candidates = (
        getattr(network, "image_size", None),
        getattr(getattr(network, "patch_embed", None), "img_size", None),
        getattr(network, "img_size", None),
        getattr(_vision_config(network), "image_size", None),
        None if given is None else given[-2:],  # after the number of channels
    )
    return next((size for each in candidates if (size := _pair(each)) is not None), None)


def _pair(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int) and not isinstance(size, bool) and size > 0:
        return size, size
    if isinstance(size, Sequence) and len(size) == 2 and all(isinstance(s, int) for s in size):
        return int(size[0]), int(size[1])
    return None


def _timm(network: nn.Module) -> Values | None:
    config = getattr(network, "config", None)  # of Hugging Face's wrapper around timm's networks
    published = getattr(network, "pretrained_cfg", None) or getattr(config, "pretrained_cfg", None)
    if not isinstance(published, Mapping) or not (published.get("mean") and published.get("std")):
        return None
    interpolation = published.get("interpolation")
    return Values(
        tuple(published["mean"]),
        tuple(published["std"]),
        "as its pretrained_cfg says",
        interpolation="bicubic" if interpolation == "bicubic" else "bilinear",
    )


def _torchvision(network: nn.Module) -> Values | None:
    module = type(network).__module__
    if not module.startswith("torchvision.models."):
        return None
    known, sizes = _published_by_torchvision(module)
    if len(known) != 1:
        return None
    ((mean, std),) = known
    size = next(iter(sizes)) if len(sizes) == 1 else None
    return Values(mean, std, "of all weights that torchvision has for its kind", size=size)


Triples = set[tuple[tuple[float, ...], tuple[float, ...]]]


@lru_cache
def _published_by_torchvision(module: str) -> tuple[Triples, set[tuple[int, int]]]:
    """Return mean and deviation of all weights for the networks of one file of torchvision.

    Returns:
        Means and deviations, and the sizes that pictures must have at least where these are the
        sizes that they are given in: such networks take no other.
    """
    from torchvision.models import get_model_builder, get_model_weights, list_models

    known: Triples = set()
    sizes: set[tuple[int, int]] = set()
    for name in list_models():
        if get_model_builder(name).__module__ == module:
            for weights in get_model_weights(name):
                shown = weights.transforms()
                mean, std = (getattr(shown, each, None) for each in ("mean", "std"))
                if mean is not None and std is not None:
                    known.add((tuple(mean), tuple(std)))
                least, given = weights.meta.get("min_size"), getattr(shown, "crop_size", None)
                if least is not None and given is not None and least[0] == max(given):
                    sizes.add((least[0], least[1]))
    return known, sizes


def _hugging_face(network: nn.Module) -> Values | None:
    config = getattr(network, "config", None)
    kind = getattr(config, "model_type", None)
    if not isinstance(kind, str) or not kind:
        return None
    for folder in _folders(network):
        for name in PROCESSOR_FILES:
            path = folder / name
            if path.is_file():
                return processor_values(path)
    return _of_family(kind)


def _folders(network: nn.Module) -> list[Path]:
    """Return where the files of a Hugging Face model may lie: its folder, or the cache's."""
    name = getattr(network, "name_or_path", "") or getattr(network.config, "_name_or_path", "")
    if not isinstance(name, str) or not name:
        return []
    if Path(name).is_dir():
        return [Path(name)]
    hub = sys.modules.get("huggingface_hub")
    if hub is None or Path(name).is_absolute() or name.count("/") > 1:
        return []
    revision = getattr(network.config, "_commit_hash", None)
    found = [hub.try_to_load_from_cache(name, file, revision=revision) for file in PROCESSOR_FILES]
    return [Path(path).parent for path in found if isinstance(path, str)]


def processor_values(path: Path) -> Values | None:
    """Return what a Hugging Face processor's file says; None if it is of no picture.

    Raises:
        ValueError: The file is no processor's.
    """
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} is no readable JSON: {error}") from error
    if isinstance(said, dict):
        said = said.get("image_processor", said)
    if not isinstance(said, dict) or not {"image_mean", "do_normalize", "size"} & set(said):
        return None
    name = said.get("image_processor_type") or said.get("feature_extractor_type")
    return _values_of(said, _processor(name), f"as {path} says")


def _of_family(kind: str) -> Values | None:
    """Return the defaults of the processor that transformers has for a family of models alone.

    Families that use the processor of another one publish values of their own with their weights:
    its defaults tell nothing about them.
    """
    auto = sys.modules.get("transformers.models.auto.image_processing_auto")
    known = {} if auto is None else auto.IMAGE_PROCESSOR_MAPPING_NAMES
    names = known.get(kind) or known.get(kind.removesuffix("_vision_model"))
    if isinstance(names, Mapping):
        names = [names.get("torchvision"), names.get("pil")]
    elif isinstance(names, str):
        names = [names]
    for name in names or []:
        processor = _processor(name)
        if processor is None or not _is_of_family(processor, kind):
            continue
        return _values_of({}, processor, f"the defaults of {name}, its family's processor")
    return None


def _is_of_family(processor: Any, kind: str) -> bool:
    family = type(processor).__module__.split(".")[-2]
    return kind == family or kind.startswith(f"{family}_vision")


@lru_cache
def _processor(name: str | None) -> Any:
    """Return a processor of transformers with its defaults; None if there is none of that name."""
    transformers = sys.modules.get("transformers")
    if transformers is None or not name:
        return None
    for each in (name, name.replace("FeatureExtractor", "ImageProcessor"), f"{name}Fast"):
        try:
            return getattr(transformers, each)()
        except Exception:  # not there, not for this installation, or not without arguments
            continue
    return None


def _values_of(said: Mapping[str, Any], defaults: Any, source: str) -> Values | None:
    """Return what a processor does, as a file says, else by its class's defaults."""

    def value(name: str) -> Any:
        return said[name] if name in said else getattr(defaults, name, None)

    mean, std = value("image_mean"), value("image_std")
    if value("do_normalize") is False:
        mean, std = (0.0,) * 3, (1.0,) * 3
        source = f"none: do_normalize is False, {source}"
    if not mean or not std:
        return None
    scale = value("rescale_factor")
    scale = 1.0 if value("do_rescale") is False else 1 / 255 if scale is None else float(scale)
    if value("offset") is True:  # ViViT's: values are scaled, and then 1 is taken away
        mean = tuple(each + 1 for each in mean)
    if abs(scale * 255 - 1) < 1e-6:
        scale = 1 / 255  # written with fewer digits
    crops = bool(value("do_center_crop"))
    size = _size_of(value("crop_size")) if crops else None
    size = size or _size_of(value("size"))
    more = ("its processor crops the middle of what it resizes",) if crops else ()
    return Values(
        tuple(float(each) for each in mean),
        tuple(float(each) for each in std),
        source,
        size=size if said else None,  # a family's default is no size of this network
        scale=scale,
        interpolation=RESAMPLING.get(int(value("resample") or 2), "bicubic"),
        more=more,
    )


def _size_of(size: Any) -> tuple[int, int] | None:
    if isinstance(size, int):
        return size, size
    try:
        return int(size["height"]), int(size["width"])
    except (TypeError, KeyError, ValueError):
        pass
    try:
        return int(size["shortest_edge"]), int(size["shortest_edge"])
    except (TypeError, KeyError, ValueError):
        return None


def _vision_config(network: nn.Module) -> Any:
    config = getattr(network, "config", None)
    return getattr(config, "vision_config", None) or config


def _listed(values: Sequence[float]) -> str:
    return "(" + ", ".join(f"{value:.4g}" for value in values) + ")"
