"""What other libraries offer by name, and what loading a network would download."""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nonlocal_lens.models.libraries import LIBRARIES, LibraryName

RANDOM = "pretrained=false"


@dataclass(frozen=True)
class Offer:
    """What it takes to load one network."""

    here: bool  # whether it opens without a download
    megabytes: float | None = None  # of its weights; None where only their keeper knows
    license: str = ""  # as the library states it; empty where it states none
    keeper: str = ""  # the host that a download comes from


def installed_libraries() -> tuple[str, ...]:
    """Return the prefixes of the libraries that are installed."""
    return tuple(prefix for prefix, package in LIBRARIES.items() if find_spec(package))


@cache
def offered_names(prefix: str) -> tuple[str, ...]:
    """Return full names of a library's networks, in the library's order.

    Those without weights of their own are named with `pretrained=false`. Of Hugging Face these are
    what its cache holds, and the kinds that look at pictures.

    Args:
        prefix: A key of `LIBRARIES`.

    Raises:
        ImportError: The library is not installed.
    """
    return {"timm": _timm, "hf": _hugging_face, "torchvision": _torchvision}[prefix]()


def names_here(prefix: str) -> frozenset[str]:
    """Return those of `offered_names` whose weights are here; looked up anew each time."""
    if prefix == "hf":
        kept = (LibraryName.read(name) for name in offered_names(prefix))
        return frozenset(str(one) for one in kept if one and not one.is_random and offer(one).here)
    if prefix == "torchvision":
        return frozenset(name for name in offered_names(prefix) if _torchvision_file(name))
    import timm

    kept_repositories = _kept_repositories()
    return frozenset(
        name
        for name in offered_names(prefix)
        if "?" not in name
        and (about := timm.get_pretrained_cfg(name.partition(":")[2])) is not None
        and about.hf_hub_id in kept_repositories
    )


def licenses(prefix: str) -> dict[str, str]:
    """Return the licenses that a library states without being asked for one network."""
    if prefix != "timm":
        return {}
    import timm

    stated = {
        name: getattr(timm.get_pretrained_cfg(name.partition(":")[2]), "license", None)
        for name in offered_names("timm")
        if "?" not in name
    }
    return {name: text for name, text in stated.items() if text and text != "unknown"}


def offer(named: LibraryName) -> Offer:
    """Return what it takes to load a network; nobody is asked.

    Raises:
        ImportError: The library is not installed.
        ValueError: It has no such network, or an option is impossible.
    """
    package = LIBRARIES[named.prefix]
    if find_spec(package) is None:
        raise ImportError(
            f"{named} is a network of {package}, which is not installed: "
            f"pip install nonlocal-lens[{package}]"
        )
    if named.is_random or "file" in named.options:
        return Offer(here=True)
    find = {"timm": _timm_offer, "hf": _hugging_face_offer, "torchvision": _torchvision_offer}
    return find[named.prefix](named)


def ask_hub(named: LibraryName) -> Offer:
    """Return what it takes to load a network of the Hugging Face hub, which is asked.

    Raises:
        FileNotFoundError: The hub has no such network, or cannot be reached.
    """
    import huggingface_hub

    try:
        about = huggingface_hub.HfApi().model_info(
            named.name, revision=named.options.get("revision"), files_metadata=True
        )
    except Exception as error:  # whatever its client raises
        reason = str(error).strip().partition("\n")[0][:160] or type(error).__name__
        raise FileNotFoundError(f"the hub does not tell of {named}: {reason}") from error
    sizes = {one.rfilename: one.size or 0 for one in about.siblings or ()}
    kinds = [[n for n in sizes if n.endswith(end)] for end in (".safetensors", ".bin")]
    chosen = next((found for found in kinds if found), [])
    card: Any = about.card_data or {}
    return Offer(
        here=False,
        megabytes=sum(sizes[name] for name in chosen) / 1e6 if chosen else None,
        license=str(card.get("license") or ""),
        keeper="huggingface.co",
    )


def _timm() -> tuple[str, ...]:
    import timm

    trained = timm.list_models(pretrained=True)
    with_weights = {name.partition(".")[0] for name in trained}
    others = [name for name in timm.list_models() if name not in with_weights]
    return (
        *(f"timm:{name}" for name in trained),
        *(f"timm:{name}?{RANDOM}" for name in others),
    )


def _timm_offer(named: LibraryName) -> Offer:
    import timm
    import torch
    from huggingface_hub import try_to_load_from_cache

    from nonlocal_lens.models.libraries.finishing import unknown
    from nonlocal_lens.models.libraries.from_timm import OF_LIBRARY

    if named.name.partition(":")[0] in OF_LIBRARY:
        return Offer(here=False, keeper="huggingface.co")
    base = named.name.partition(".")[0]
    about: Any = timm.get_pretrained_cfg(named.name) if timm.is_model(base) else None
    if about is None:
        raise unknown(named, timm.list_models())
    if not about.hf_hub_id and not about.url:
        raise ValueError(f"timm has no weights of {named}: {named}?{RANDOM} has random ones")
    here: Any = None
    if about.hf_hub_id:
        for file in ("model.safetensors", "pytorch_model.bin"):
            found = try_to_load_from_cache(about.hf_hub_id, file)
            here = here or (found if isinstance(found, str) else None)
    if here is None and about.url:
        path = Path(torch.hub.get_dir()) / "checkpoints" / about.url.rpartition("/")[2]
        here = path if path.is_file() else None
    keeper = "huggingface.co" if about.hf_hub_id else about.url.split("/")[2]
    size = Path(here).stat().st_size / 1e6 if here else _timm_megabytes(named.name)
    stated = "" if about.license in (None, "unknown") else str(about.license)
    return Offer(here is not None, size, stated, keeper)


@cache
def _timm_megabytes(name: str) -> float | None:
    """Return the size of a network's weights in single precision, counted without making them."""
    import timm
    import torch

    try:
        with torch.device("meta"):
            network = timm.create_model(name, pretrained=False)
    except Exception:  # some cannot be built without numbers
        return None
    return sum(4 * int(tensor.numel()) for tensor in network.state_dict().values()) / 1e6


def _torchvision() -> tuple[str, ...]:
    from torchvision.models import list_models

    return tuple(f"torchvision:{n}" for n in list_models() if not n.startswith("quantized_"))


def _torchvision_offer(named: LibraryName) -> Offer:
    import torch
    from torchvision.models import get_model_weights, list_models

    from nonlocal_lens.models.libraries.finishing import unknown

    if named.name not in list_models():
        raise unknown(named, list_models())
    kinds = get_model_weights(named.name)
    chosen = named.options.get("weights", "DEFAULT")
    if chosen not in kinds.__members__:
        available = ", ".join(kinds.__members__) or f"none, {named}?{RANDOM} has random ones"
        raise ValueError(f"{named.name} has no weights {chosen!r}; available: {available}")
    weights = kinds[chosen]
    path = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    return Offer(
        here=path.is_file(),
        megabytes=weights.meta.get("_file_size"),
        license=str(weights.meta.get("license") or "BSD-3-Clause, as torchvision"),
        keeper=weights.url.split("/")[2],
    )


def _torchvision_file(full_name: str) -> bool:
    """Return whether the default weights of a network are in torch's cache."""
    import torch
    from torchvision.models import get_model_weights

    kinds = get_model_weights(full_name.partition(":")[2])
    if not len(kinds):
        return False
    file = str(kinds["DEFAULT"].url).rpartition("/")[2]
    return (Path(torch.hub.get_dir()) / "checkpoints" / file).is_file()


def _kept_repositories() -> frozenset[str]:
    """Return the models of which the hub's cache holds anything."""
    import huggingface_hub

    try:
        kept = huggingface_hub.scan_cache_dir().repos
    except huggingface_hub.errors.CacheNotFound:
        return frozenset()
    return frozenset(one.repo_id for one in kept if one.repo_type == "model")


def _hugging_face() -> tuple[str, ...]:
    import huggingface_hub

    with_config = [
        name
        for name in sorted(_kept_repositories())
        if isinstance(huggingface_hub.try_to_load_from_cache(name, "config.json"), str)
    ]
    return (
        *(f"hf:{name}" for name in with_config),
        *(f"hf:{kind}?{RANDOM}" for kind in _kinds_that_see()),
    )


LOOKING = (
    "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING_NAMES",
    "MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES",
    "MODEL_FOR_OBJECT_DETECTION_MAPPING_NAMES",
    "MODEL_FOR_DEPTH_ESTIMATION_MAPPING_NAMES",
    "MODEL_FOR_MASKED_IMAGE_MODELING_MAPPING_NAMES",
    "MODEL_FOR_BACKBONE_MAPPING_NAMES",
)
"""Where transformers lists the kinds of networks that look at pictures, by what they do."""


def _kinds_that_see() -> list[str]:
    auto = import_module("transformers.models.auto.modeling_auto")
    kinds = {kind for listed in LOOKING for kind in getattr(auto, listed, {})}
    return sorted(kind for kind in kinds if kind != "timm_backbone")


def _hugging_face_offer(named: LibraryName) -> Offer:
    from huggingface_hub import try_to_load_from_cache

    from nonlocal_lens.models.libraries.finishing import WEIGHT_FILES

    place = Path(named.name).expanduser()
    if place.is_dir():
        files = [place / name for name in WEIGHT_FILES if (place / name).is_file()]
        return Offer(here=True, megabytes=files[0].stat().st_size / 1e6 if files else None)
    revision = named.options.get("revision")
    for name in WEIGHT_FILES:
        found = try_to_load_from_cache(named.name, name, revision=revision)
        if isinstance(found, str):
            size = Path(found).stat().st_size / 1e6
            whole = None if name.endswith("index.json") else size
            return Offer(here=True, megabytes=whole, keeper="huggingface.co")
    return Offer(here=False, keeper="huggingface.co")
