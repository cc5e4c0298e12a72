"""Weight files: written with their architecture, read with every doubt spelled out."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from models.checkpoints import network_of
from models.checkpoints.download import fetch
from models.checkpoints.layout import fill
from models.checkpoints.reading import read_contents
from models.networks.architecture import Architecture, build_network
from models.networks.segmentation import SegmentationNetwork
from models.published import PUBLISHED
from models.zoo import NETWORKS

WEIGHTS = Path(__file__).parent / "weights"
HEADER_KEY = "nonlocal_lens.architecture"


@dataclass(frozen=True)
class ModelCard:
    """What is known about a weight file: where it comes from and how well it does."""

    title: str
    sha256: str
    parameters: int
    data: str
    recipe: str  # the command that makes the file
    epochs: int
    seed: int
    val_miou: float  # mean intersection over union on CamVid val, 0 to 1
    rendered_miou: float  # the same on the rendered scenes of the val split
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


def check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless a file's SHA-256 begins with `expected`."""
    actual = file_sha256(path)
    if not actual.startswith(expected):
        raise ValueError(f"{path} is damaged: its sha256 must begin with {expected}, got {actual}")


def list_networks() -> tuple[str, ...]:
    """Return the names of the bundled networks, the most telling first."""
    return tuple(name for name in NETWORKS if (WEIGHTS / f"{name}.safetensors").exists())


def load_network(source: str | Path, **options: Any) -> SegmentationNetwork:
    """Return a network in evaluation mode: by name, or from a file of weights.

    A published network is downloaded when it is first asked for.

    Files are this project's own `.safetensors`, or checkpoints in a layout of `models.checkpoints`,
    `.safetensors` or PyTorch's. Their sizes are read from the tensors; what no tensor tells is
    known for the files of `models.published`, is otherwise what is usual, and is set by options.
    `network.decisions` says what was decided. Nothing in a file is executed.

    Args:
        source: A name or a path.
        **options: Of a published layout, such as `temperature=0.1`; see the `plan` of its module.

    Raises:
        ValueError: The name is unknown; an option is; or the file is not a weight file, was changed
            after it was published, or does not fit its architecture.
        FileNotFoundError: The path does not exist.
        ConnectionError: A published network cannot be downloaded.
    """
    if str(source) in list_networks():
        path = WEIGHTS / f"{source}.safetensors"
        check_sha256(path, ModelCard.read(str(source)).sha256)
        return _read(path, options)
    if str(source) in PUBLISHED:
        spec = PUBLISHED[str(source)]
        return _read(fetch(spec.url, spec.sha256_prefix), options)
    path = Path(source)
    if path.is_file():
        return _read(path, options)
    looks_like_a_path = path.suffix or len(path.parts) > 1
    problem = (
        f"there is no file {path}" if looks_like_a_path else f"unknown network {str(source)!r}"
    )
    error = FileNotFoundError if looks_like_a_path else ValueError
    raise error(
        f"{problem}; available: {', '.join(list_networks())}, the published networks that "
        "`python -m app models` lists, or the path of a file of weights"
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


def _read(path: Path, options: dict[str, Any]) -> SegmentationNetwork:
    contents = read_contents(path)
    if HEADER_KEY not in contents.header:
        spec = next((spec for spec in PUBLISHED.values() if spec.file_name == path.name), None)
        if spec is None:
            return network_of(path, contents, **options)
        check_sha256(path, spec.sha256_prefix or "")
        return network_of(path, contents, **{**spec.options, **options})
    if options:
        raise ValueError(
            f"{path} says all about its network itself; it takes no {_listed(options)}"
        )
    network = build_network(Architecture.from_json(contents.header[HEADER_KEY]))
    fill(path, network, contents.tensors)
    return network.eval().requires_grad_(False)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
