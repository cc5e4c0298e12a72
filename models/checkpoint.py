"""Weight files: written with their architecture, read with every doubt spelled out."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from models.checkpoints import network_of
from models.checkpoints.download import fetch
from models.checkpoints.layout import Network, fill
from models.checkpoints.reading import Contents, read_contents
from models.file_hash import file_sha256
from models.networks.architecture import (
    AnyArchitecture,
    ClipArchitecture,
    Task,
    build_clip_network,
    build_network,
    read_architecture,
)
from models.networks.segmentation import SegmentationNetwork
from models.published import PUBLISHED
from models.zoo import NETWORKS

WEIGHTS = Path(__file__).parent / "weights"
HEADER_KEY = "nonlocal_lens.architecture"


@dataclass(frozen=True)
class ModelCard:
    """What is known about a weight file: where it comes from and how well it does.

    How well is a mean intersection over union where a network segments, on two data sets, and an
    accuracy where it says what happens in clips; what does not apply is None, and not in the file.
    """

    title: str
    sha256: str
    parameters: int
    data: str
    recipe: str  # the command that makes the file
    epochs: int
    seed: int
    trained_on: str  # ISO date
    license: str
    val_miou: float | None = None  # mean intersection over union on CamVid val, 0 to 1
    rendered_miou: float | None = None  # the same on the rendered scenes of the val split
    accuracy: float | None = None  # share of the rendered clips of the val split, 0 to 1

    @classmethod
    def read(cls, name: str) -> "ModelCard":
        """Return the card of a bundled network."""
        return cls(**json.loads((WEIGHTS / f"{name}.json").read_text(encoding="utf-8")))

    def write(self, path: Path) -> None:
        """Write the card as JSON."""
        known = {key: value for key, value in asdict(self).items() if value is not None}
        path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")

    @property
    def figure(self) -> str:
        """How well the network does, in words."""
        if self.accuracy is not None:
            return f"clips val accuracy {self.accuracy:.3f}"
        return f"CamVid val mIoU {self.val_miou:.3f}"


def check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless a file's SHA-256 begins with `expected`."""
    actual = file_sha256(path)
    if not actual.startswith(expected):
        raise ValueError(f"{path} is damaged: its sha256 must begin with {expected}, got {actual}")


def list_networks(task: Task | None = None) -> tuple[str, ...]:
    """Return the names of the bundled networks of a task, or of all, the most telling first."""
    return tuple(
        name
        for name, spec in NETWORKS.items()
        if task in (None, spec.task) and (WEIGHTS / f"{name}.safetensors").exists()
    )


def load_network(source: str | Path, **options: Any) -> Network:
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


def load_segmentation(source: str | Path) -> SegmentationNetwork:
    """Return a network that scores every pixel of an image; see `load_network`.

    Raises:
        ValueError: The network scores something else, or cannot be loaded.
        FileNotFoundError: The path does not exist.
    """
    return segmentation(source, load_network(source))


def segmentation(source: str | Path, network: Network) -> SegmentationNetwork:
    """Return a network loaded from `source` if it scores every pixel of an image, else raise."""
    if not isinstance(network, SegmentationNetwork):
        raise ValueError(
            f"{source} is a {type(network).__name__}: it scores a whole image or clip, and this "
            "is measured pixel by pixel"
        )
    return network


def save_network(path: Path, network: nn.Module, architecture: AnyArchitecture) -> None:
    """Write a network's weights with its architecture in the header; matrices in half precision."""
    tensors = {
        name: (tensor.half() if tensor.ndim > 1 else tensor.float()).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    partial = path.with_suffix(".partial")
    save_file(tensors, partial, metadata={HEADER_KEY: architecture.to_json()})
    partial.replace(path)


def _read(path: Path, options: dict[str, Any]) -> Network:
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
    network = _build(path, contents)
    fill(path, network, contents.tensors)
    return network.eval().requires_grad_(False)


def _build(path: Path, contents: Contents) -> Network:
    """Return the network of a file's header, without memory for its weights: it may claim any size.

    Raises:
        ValueError: There is no such network, or the file cannot hold it.
    """
    try:
        architecture = read_architecture(contents.header[HEADER_KEY])
        if sum(architecture.depths) > len(contents.tensors):
            raise ValueError(
                f"{sum(architecture.depths)} residual blocks are more than its tensors"
            )
        with torch.device("meta"):
            if isinstance(architecture, ClipArchitecture):
                return build_clip_network(architecture)
            return build_network(architecture)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} describes no network that can be built: {reason}") from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
