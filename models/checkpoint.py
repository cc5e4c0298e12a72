"""Weight files: written with their architecture, read with every doubt spelled out."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from models.networks.architecture import Architecture, build_network
from models.networks.segmentation import SegmentationNetwork
from models.zoo import NETWORKS

WEIGHTS = Path(__file__).parent / "weights"
HEADER_KEY = "nonlocal_lens.architecture"


@dataclass(frozen=True)
class ModelCard:
    """What is known about a weight file: where it comes from and how well it does."""

    sha256: str
    parameters: int
    data: str
    recipe: str  # the command that makes the file
    epochs: int
    seed: int
    val_miou: float  # mean intersection over union on CamVid val, 0 to 1
    trained_on: str  # ISO date
    license: str

    @classmethod
    def read(cls, name: str) -> "ModelCard":
        """Return the card of a bundled network."""
        return cls(**json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")))


def file_sha256(path: Path) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def list_networks() -> tuple[str, ...]:
    """Return the names that `load_network` accepts, the most telling first."""
    return tuple(name for name in NETWORKS if (WEIGHTS / f"{name}.safetensors").exists())


def load_network(source: str | Path) -> SegmentationNetwork:
    """Return a network in evaluation mode, by bundled name or from a weight file.

    Raises:
        ValueError: The name is unknown, or the file is not a weight file of this project, was
            changed after it was bundled, or does not fit the architecture in its header.
        FileNotFoundError: The path does not exist.
    """
    if str(source) in list_networks():
        path = WEIGHTS / f"{source}.safetensors"
        expected, actual = ModelCard.read(str(source)).sha256, file_sha256(path)
        if actual != expected:
            raise ValueError(f"{path} is damaged: its sha256 must be {expected}, got {actual}")
        return _read(path)
    path = Path(source)
    if path.is_file():
        return _read(path)
    looks_like_a_path = path.suffix or len(path.parts) > 1
    problem = (
        f"there is no file {path}" if looks_like_a_path else f"unknown network {str(source)!r}"
    )
    error = FileNotFoundError if looks_like_a_path else ValueError
    raise error(
        f"{problem}; available: {', '.join(list_networks())}, or the path of a .safetensors file"
    )


def save_network(path: Path, network: nn.Module, architecture: Architecture) -> None:
    """Write a network's weights with its architecture in the header; matrices in half precision."""
    tensors = {
        name: (tensor.half() if tensor.ndim > 1 else tensor.float()).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={HEADER_KEY: architecture.to_json()})
    partial.replace(path)


def _read(path: Path) -> SegmentationNetwork:
    try:
        with safe_open(path, framework="pt") as file:
            header = (file.metadata() or {}).get(HEADER_KEY)
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    if header is None:
        raise ValueError(
            f"{path} does not name its architecture: its header must hold {HEADER_KEY!r}, as files "
            "written by `python -m models.train` do"
        )
    network = build_network(Architecture.from_json(header))
    _check_fit(path, network.state_dict(), tensors)
    network.load_state_dict(tensors, strict=False)
    return network.eval().requires_grad_(False)


def _check_fit(path: Path, expected: dict[str, Any], found: dict[str, Tensor]) -> None:
    wanted = {name: t for name, t in expected.items() if not name.endswith("num_batches_tracked")}
    problems = [f"{name} is missing" for name in sorted(wanted.keys() - found.keys())]
    problems += [f"{name} is not used" for name in sorted(found.keys() - wanted.keys())]
    problems += [
        f"{name} must have shape {tuple(wanted[name].shape)}, got {tuple(found[name].shape)}"
        for name in sorted(wanted.keys() & found.keys())
        if wanted[name].shape != found[name].shape
    ]
    problems += [
        f"{name} holds NaN or infinite values"
        for name, tensor in sorted(found.items())
        if not torch.isfinite(tensor).all()
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ValueError(f"{path} does not fit its architecture: {'; '.join(problems[:3])}{more}")
