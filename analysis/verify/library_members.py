"""Members of other libraries' families: what the TOML files beside this one say of them.

An entry is a class's or builder's name, and of it: `picture`, the size of what it is given, frames
first if that is a clip; `like`, a table of options to begin with; `options`, further ones; `inputs`
beside the picture, or all of them; and `kind`.
"""

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.verify.family import Family, Member, awake, noise


def families(prefix: str, library: str) -> tuple[Family, ...]:
    """Return the families of a library."""
    path = Path(__file__).with_name(f"{library}.toml")
    said = tomllib.loads(path.read_text(encoding="utf-8"))
    return tuple(
        Family(
            f"{prefix}:{name}",
            partial(_build, prefix, name, about, said.get("like", {})),
            about.get("kind", "video" if len(about.get("picture", ())) == 3 else "image"),
        )
        for name, about in said["members"].items()
    )


def _build(prefix: str, name: str, about: Mapping[str, Any], alike: Mapping[str, Any]) -> Member:
    """Return a member of a family, with random weights, and its inputs."""
    options = _completed({"like": about.get("like"), **about.get("options", {})}, alike)
    network = awake(BUILDERS[prefix](name.partition(" ")[0], options))
    inputs = {key: _value(key, said) for key, said in about.get("inputs", {}).items()}
    time_axis = about.get("time_axis")
    if "picture" in about:
        *frames, height, width = about["picture"]
        time_axis = None if not frames else 1 if prefix == "hf" else 2
        shape = [3, height, width]
        if time_axis is not None:
            shape.insert(time_axis - 1, *frames)
        inputs = {_picture_of(prefix, network): noise(1, *shape), **inputs}
    return Member(network, inputs, time_axis)


def _completed(options: Mapping[str, Any], alike: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with those that they are like, inside of others, too."""
    begun = dict(alike.get(options.get("like") or "", {}))
    return begun | {
        name: _completed(value, alike) if isinstance(value, dict) else value
        for name, value in options.items()
        if name != "like"
    }


def _value(name: str, said: Any) -> Any:
    """Return an input: random numbers of a shape, a number, or what a table says."""
    if isinstance(said, list):
        return noise(*said, seed=2 + len(name))
    if isinstance(said, int | float) and not isinstance(said, bool):
        return torch.tensor([said])
    if isinstance(said, dict):
        if "tensor" in said:
            return torch.tensor(said["tensor"])
        if "mask" in said:
            return torch.ones(said["mask"], dtype=torch.bool)
        if "none" in said:
            return None
        return {inner: _value(inner, value) for inner, value in said.items()}
    return said


def _picture_of(prefix: str, network: nn.Module) -> str:
    """Return what a network calls its picture or clip; a number where it is given by position."""
    if prefix != "hf":
        return "0"
    known = signature(network.forward).parameters
    return "pixel_values_videos" if "pixel_values_videos" in known else "pixel_values"


def _timm(name: str, options: dict[str, Any]) -> nn.Module:
    import timm

    network: nn.Module = timm.create_model(name, pretrained=False, **options)
    return network


def _torchvision(name: str, options: dict[str, Any]) -> nn.Module:
    homes = ("", ".vision_transformer", ".swin_transformer", ".maxvit", ".video")
    modules = [import_module(f"torchvision.models{home}") for home in homes]
    modules.append(import_module("torchvision.models.video.swin_transformer"))
    made = next(getattr(module, name) for module in modules if hasattr(module, name))
    network: nn.Module = made(**options)
    return network


def _transformers(name: str, options: dict[str, Any]) -> nn.Module:
    import transformers

    kind: Any = getattr(transformers, name)
    network: nn.Module = kind(kind.config_class(**options))
    return network


def _diffusers(name: str, options: dict[str, Any]) -> nn.Module:
    import diffusers

    network: nn.Module = getattr(diffusers, name)(**options)
    return Packed(network) if name.startswith("Flux") else network


class Packed(nn.Module):
    """A network of latents in a row, given a map of them."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, hidden_states: Tensor, **inputs: Any) -> Any:
        """Lay the map out row by row, say where each latent lies, and run the network."""
        height, width = hidden_states.shape[-2:]
        rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
        lie = torch.stack((torch.zeros_like(rows), rows, columns), dim=-1).flatten(0, 1)
        words = torch.zeros(inputs["encoder_hidden_states"].shape[1], 3)
        row = hidden_states.flatten(2).mT
        return self.network(hidden_states=row, img_ids=lie.float(), txt_ids=words, **inputs)


BUILDERS: dict[str, Callable[[str, dict[str, Any]], nn.Module]] = {
    "timm": _timm,
    "torchvision": _torchvision,
    "hf": _transformers,
    "diffusers": _diffusers,
}
"""Prefix of a name -> makes a network of the library by its own name there."""
