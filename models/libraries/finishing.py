"""What networks of all libraries get: one seed, one kind of output, and where they are from."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_lens.models.checkpoints.choosing import choose
from nonlocal_lens.models.checkpoints.layout import fill
from nonlocal_lens.models.checkpoints.reading import read_contents
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.foreign_preprocess import foreign_preprocess
from nonlocal_lens.models.libraries import LIBRARIES, LibraryName
from nonlocal_lens.models.libraries.sizes import Size, with_size
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess

WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw weights from a seed, and leave the generator as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def take(options: dict[str, Any], name: str, default: Any, kind: type) -> Any:
    """Return an option of this package and take it from those that go to the library.

    Raises:
        ValueError: It is of another kind.
    """
    value = options.pop(name, default)
    if value is not None and not isinstance(value, kind):
        raise ValueError(f"{name} must be {kind.__name__}, got {value!r}")
    return value


def unknown(named: LibraryName, known: Sequence[str]) -> ValueError:
    """Return the error for a name that a library does not have, with those that are like it."""
    alike = get_close_matches(named.name, known, n=3, cutoff=0.5)
    more = (
        f"; did you mean {', '.join(f'{named.prefix}:{name}' for name in alike)}?" if alike else ""
    )
    return ValueError(
        f"{LIBRARIES[named.prefix]} {version(LIBRARIES[named.prefix])} has no network "
        f"{named.name!r}{more}"
    )


def without_weights(named: LibraryName, where: str, error: Exception) -> FileNotFoundError:
    """Return the error for weights that are not here and could not be downloaded."""
    reason = str(error).strip().partition("\n")[0][:160] or type(error).__name__
    more = "&" if named.query else "?"
    return FileNotFoundError(
        f"the weights of {named} are not here ({where}), and could not be downloaded: {reason}; "
        f"{named}{more}pretrained=false has random weights"
    )


def read_weights(named: LibraryName, network: nn.Module, file: str) -> Path:
    """Fill a network from a file of weights, wherever they lie in it.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It does not fit.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}, which {named} is to be filled from")
    wanted = set(network.state_dict())
    chosen = choose(path, read_contents(path).sets, lambda tensors: set(tensors) >= wanted)
    fill(path, network, {name: chosen.tensors[name] for name in chosen.tensors if name in wanted})
    return path


def finished(
    named: LibraryName,
    network: nn.Module,
    *,
    weights: Path | None,
    source: str,
    revision: str = "",
    classes: Sequence[str] | None = None,
    preprocess: Preprocess | ClipPreprocess | None = None,
    decisions: Sequence[str] = (),
    size: Size | None = None,
) -> nn.Module:
    """Give a network what this package expects of those that it loads.

    Args:
        named: Its name.
        network: The library's module.
        weights: The file of its weights, where there is one.
        source: Where its weights are from, in words.
        revision: Of these weights.
        classes: Class names, in the order of its output.
        preprocess: How a picture becomes its input; as `foreign_preprocess` says if not given.
        decisions: What was assumed.
        size: In which pictures go through it; its own if not given.
    """
    if preprocess is None:
        preprocess = foreign_preprocess(network)
        if any(isinstance(module, nn.Conv3d) for module in network.modules()):
            preprocess = ClipPreprocess(preprocess, frames=16)
    if size is not None:
        preprocess = with_size(preprocess, size)
    package = LIBRARIES[named.prefix]
    provenance = {
        "name": str(named),
        "library": f"{package} {version(package)}",
        "weights": source,
        "revision": revision,
        "sha256": file_sha256(weights) if weights is not None else _sha256(network),
    }
    attributes: Mapping[str, Any] = {
        "preprocess": preprocess,
        "classes": None if classes is None else tuple(classes),
        "decisions": (f"weights: {source}", *decisions, *preprocess.decisions),
        "provenance": provenance,
    }
    for name, value in attributes.items():
        object.__setattr__(network, name, value)
    network.register_forward_hook(_only_scores)
    return network


def _only_scores(_network: nn.Module, _inputs: Any, output: Any) -> Any:
    """Return the tensor that counts in a library's output: scores, else features."""
    if isinstance(output, Tensor):
        return output
    for name in ("logits", "out", "predicted_depth", "last_hidden_state", "image_embeds"):
        value = output.get(name) if isinstance(output, Mapping) else getattr(output, name, None)
        if isinstance(value, Tensor):
            return value
    return output


def _sha256(network: nn.Module) -> str:
    """Return what tells a network's weights from all others, where they are in no file."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()


def named_by(labels: Mapping[Any, Any] | None, count: int) -> tuple[str, ...] | None:
    """Return class names out of a mapping from numbers; None where they say nothing."""
    if not labels or len(labels) != count:
        return None
    names = tuple(str(labels.get(index, labels.get(str(index), ""))) for index in range(count))
    return None if all(name == f"LABEL_{index}" for index, name in enumerate(names)) else names
