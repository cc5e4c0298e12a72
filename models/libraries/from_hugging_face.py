"""Networks of transformers: a folder, an id of the hub, or a kind with random weights."""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.libraries.finishing import (
    WEIGHT_FILES,
    finished,
    named_by,
    read_weights,
    seeded,
    take,
    unknown,
    without_weights,
)
from nonlocal_lens.models.libraries.sizes import interpolating, take_size

TOWERS = ("vision_model", "vision_tower", "visual", "image_encoder")
"""Where models that take more than a picture keep what looks at it."""


def load(named: LibraryName, options: dict[str, Any]) -> nn.Module:
    """Return a network; see `load_library_network`.

    Options are `pretrained` (True; False makes the configuration's network with random weights, and
    then the name may also be a kind, such as `hf:vit`), `revision`, `seed` of random weights (0),
    `file` with other weights, `size` of pictures (N or HxW), and what goes into the configuration,
    such as `num_hidden_layers`.
    """
    import transformers

    options = dict(options)
    pretrained = take(options, "pretrained", True, bool)
    revision = take(options, "revision", None, str)
    seed = take(options, "seed", 0, int)
    file = take(options, "file", None, str)
    size = take_size(named, options)
    config = _configuration(named, revision, pretrained, options)
    plain: Any = transformers.AutoModel
    kind = _kind(transformers, config)
    place = Path(named.name).expanduser()
    try:
        if pretrained and file is None:
            with _quietly():
                network = kind.from_pretrained(
                    str(place) if place.is_dir() else named.name,
                    config=config,
                    revision=revision or "main",
                    trust_remote_code=False,
                    weights_only=True,
                )
        else:
            with seeded(seed):
                network = (
                    kind(config)
                    if kind is not plain
                    else (plain.from_config(config, trust_remote_code=False))
                )
    except OSError as error:
        where = str(place) if place.is_dir() else "transformers keeps them in the hub's cache"
        raise without_weights(named, where, error) from error
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"the weights of {named} hold more than tensors and plain containers, so they stay "
            "unread: to load that could run code"
        ) from error
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        raise ValueError(f"{named} cannot be built: {reason}") from error
    network = _looking(network)
    path, source, found = (
        _weights(named, place, config) if pretrained else (None, f"random, seed {seed}", "")
    )
    if file is not None:
        path = read_weights(named, network, file)
        source, found = str(path), ""
    if size is not None:
        interpolating(network)
    labels = getattr(config, "id2label", None)
    return finished(
        named,
        network,
        weights=path,
        source=source,
        revision=found,
        classes=named_by(labels, len(labels or {})),
        size=size,
    )


def _configuration(
    named: LibraryName, revision: str | None, pretrained: bool, options: dict[str, Any]
) -> Any:
    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    place = Path(named.name).expanduser()
    if not pretrained and not place.is_dir() and named.name in CONFIG_MAPPING:
        _refuse_unknown(named, CONFIG_MAPPING[named.name](), options)
        try:
            return CONFIG_MAPPING[named.name](**options)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{named} cannot be built: {str(error)[:200]}") from error
    if place.exists() and not (place / "config.json").is_file():
        raise FileNotFoundError(f"{place} has no config.json: it is no folder of a model")
    try:
        config = transformers.AutoConfig.from_pretrained(
            str(place) if place.is_dir() else named.name,
            revision=revision or "main",
            trust_remote_code=False,
        )
    except OSError as error:
        if "/" not in named.name and named.name not in CONFIG_MAPPING:
            raise unknown(named, list(CONFIG_MAPPING)) from error
        reason = str(error).strip().partition("\n")[0][:160]
        raise FileNotFoundError(
            f"{named} is neither a folder nor in the hub's cache, and could not be downloaded: "
            f"{reason}"
        ) from error
    except (ValueError, KeyError) as error:
        reason = str(error).strip().partition("\n")[0][:200]
        if "trust_remote_code" in str(error):
            reason = "it would have to run code of its own, which is never done"
        raise ValueError(f"{named} cannot be loaded: {reason}") from error
    _refuse_unknown(named, config, options)
    for option, value in options.items():
        setattr(config, option, value)
    return config


def _refuse_unknown(named: LibraryName, config: Any, options: dict[str, Any]) -> None:
    """Raise ValueError if a configuration has no such options."""
    for option in options:
        if not hasattr(config, option):
            known = ", ".join(
                sorted(name for name in vars(config) if not name.startswith("_"))[:40]
            )
            raise ValueError(f"{named}: no option {option!r}; available: {known}")


@contextmanager
def _quietly() -> Iterator[None]:
    """Let transformers draw no bars of progress for a while."""
    from transformers import utils

    logging: Any = utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _kind(transformers: Any, config: Any) -> Any:
    """Return the class of a configuration's model: the one that was saved, else the plain one."""
    for name in getattr(config, "architectures", None) or ():
        kind = getattr(transformers, name, None)
        if kind is not None:
            return kind
    return transformers.AutoModel


def _looking(network: Any) -> nn.Module:
    """Return the part of a model that is given pictures, if it is given more than these."""
    if getattr(network.config, "vision_config", None) is None:
        return network  # type: ignore[no-any-return]
    for owner in (network, getattr(network, "model", None)):
        for name in TOWERS:
            tower = getattr(owner, name, None)
            if isinstance(tower, nn.Module):
                if not getattr(tower, "name_or_path", ""):
                    own: Any = tower.config
                    own._name_or_path = network.config._name_or_path
                return tower
    return network  # type: ignore[no-any-return]


def _weights(named: LibraryName, place: Path, config: Any) -> tuple[Path | None, str, str]:
    """Return the file of a model's weights, where it is from, and its revision."""
    if place.is_dir():
        files = [place / name for name in WEIGHT_FILES]
        return next((file for file in files if file.is_file()), None), str(place), ""
    import huggingface_hub

    revision = str(getattr(config, "_commit_hash", None) or "")
    for name in WEIGHT_FILES:
        found = huggingface_hub.try_to_load_from_cache(named.name, name, revision=revision or None)
        if isinstance(found, str):  # in a folder that has the revision's name
            return Path(found), f"{named.name} of the Hugging Face hub", Path(found).parent.name
    return None, f"{named.name} of the Hugging Face hub", revision
