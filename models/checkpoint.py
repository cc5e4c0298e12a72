"""Weight files: written with their architecture, read with every doubt spelled out."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from nonlocal_lens.models.atomic_write import atomic_write
from nonlocal_lens.models.bundled import WEIGHTS, ModelCard, list_networks
from nonlocal_lens.models.checkpoints.layout import Network, fill
from nonlocal_lens.models.checkpoints.reading import Contents, read_contents
from nonlocal_lens.models.device import chosen_device, moved
from nonlocal_lens.models.download import fetch, noted_sha256
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.libraries import LibraryName, load_library_network
from nonlocal_lens.models.limits import MOST_BLOCKS
from nonlocal_lens.models.names import check_name
from nonlocal_lens.models.networks.architecture import build
from nonlocal_lens.models.networks.description import (
    AnyArchitecture,
    read_architecture,
)
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.published import PUBLISHED

HEADER_KEY = "nonlocal_lens.architecture"


def check_sha256(path: Path, expected: str) -> None:
    """Raise ValueError unless a file's SHA-256 begins with `expected`."""
    actual = file_sha256(path)
    if not actual.startswith(expected):
        raise ValueError(f"{path} is damaged: its sha256 must begin with {expected}, got {actual}")


def load_network(source: str | Path, *, device: str | None = None, **options: Any) -> Any:
    """Return a network in evaluation mode: by name, or from a file of weights.

    A published network is downloaded when it is first asked for. Networks of other libraries are
    `timm:NAME`, `hf:ID-or-folder` and `torchvision:NAME`; see `models.libraries`.

    Returned is a module with `preprocess`, `classes` and `decisions`: a `Network` of this package,
    or another library's, which has `provenance`, too.

    Files are this project's own `.safetensors`, or checkpoints in a layout of `models.checkpoints`,
    `.safetensors` or PyTorch's. Their sizes are read from the tensors; what no tensor tells is
    known for the files of `models.published`, is otherwise what is usual, and is set by options.
    `network.decisions` says what was decided. Nothing in a file is executed.

    Args:
        source: A name or a path.
        device: auto, cpu, cuda, cuda:N or mps; what NONLOCAL_LENS_DEVICE says if not given, and
            the processor if it says nothing.
        **options: Of a published layout, such as `temperature=0.1`; see the `plan` of its module.
            With `weights="state_dict_ema"` one of several sets of weights in the file is taken.

    Raises:
        ValueError: The name is unknown; an option is; or the file is not a weight file, was changed
            after it was published, or does not fit its architecture; or there is no such device.
        FileNotFoundError: The path does not exist, or a library's weights are not here.
        ConnectionError: A published network cannot be downloaded.
        ImportError: The library that the name is of is not installed.
    """
    chosen_device(device)
    network = _loaded(source, options)
    if isinstance(network, SegmentationNetwork):
        # a third faster on processors, and equal to rounding: pictures are that way in memory, too
        network.to(memory_format=torch.channels_last)
    return moved(network, device)


def _loaded(source: str | Path, options: dict[str, Any]) -> nn.Module:
    named = LibraryName.read(str(source))
    if named is not None:
        network: nn.Module = load_library_network(named, **options)
        return network
    if str(source) in list_networks():
        path = WEIGHTS / f"{source}.safetensors"
        check_sha256(path, ModelCard.read(str(source)).sha256)
        return _read(path, options)
    if str(source) in PUBLISHED:
        spec = PUBLISHED[str(source)]
        return _read(fetch(spec.url, spec.sha256_prefix), options)
    check_name(str(source))
    return _read(Path(source), options)


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
    atomic_write(path, save(tensors, metadata={HEADER_KEY: architecture.to_json()}))


def _read(path: Path, options: dict[str, Any]) -> Network:
    contents = read_contents(path)
    if HEADER_KEY not in contents.header:
        # late: they load torchvision, which takes seconds
        from nonlocal_lens.models.checkpoints.datasets import CLASSES
        from nonlocal_lens.models.checkpoints.layouts import network_of

        spec = next((spec for spec in PUBLISHED.values() if spec.file_name == path.name), None)
        if spec is None:
            return network_of(path, contents, **options)
        check_sha256(path, noted_sha256(path) or spec.sha256_prefix or "")
        known = {"classes": CLASSES[spec.dataset], **spec.options}
        return network_of(path, contents, **{**known, **options})
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
        depth, parts = architecture.depth, architecture.parts
        if depth > len(contents.tensors):
            raise ValueError(f"{depth} {parts} are more than its tensors")
        if depth > MOST_BLOCKS:
            raise ValueError(f"{depth} {parts} are too many; at most {MOST_BLOCKS}")
        with torch.device("meta"):
            return build(architecture)
    except (ArithmeticError, RuntimeError, TypeError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{path} describes no network that can be built: {reason}") from error


def _listed(names: Iterable[str]) -> str:
    return ", ".join(repr(name) for name in names)
