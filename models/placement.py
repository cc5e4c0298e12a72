"""Where a network computes, and in which type of numbers: its input must be there, and of it."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn

QUANTIZED_LAYERS = ("Linear8bitLt", "Linear4bit", "QuantLinear", "WQLinear", "HQQLinear")
QUANTIZED_TENSORS = ("qweight", "packed_weight", "_packed_params")


def placed(network: nn.Module, x: Tensor) -> Tensor:
    """Return an input on a network's device and in the type of its numbers.

    Both are those of its first floating weights; a network without any takes what there is.

    Raises:
        ValueError: The network's weights are quantized.
    """
    refuse_quantized(network)
    weight = next(_floating(network), None)
    return x if weight is None else x.to(weight.device, weight.dtype)


def brought_back(output: Any) -> Any:
    """Return a network's output where everything else is: a tensor in the processor's memory."""
    return output.cpu() if isinstance(output, Tensor) else output


def refuse_quantized(network: nn.Module) -> None:
    """Raise ValueError if some of a network's weights are whole numbers, or eight bits wide."""
    for name, module in network.named_modules():
        kind = type(module)
        if "quantized" in kind.__module__.split(".") or kind.__name__ in QUANTIZED_LAYERS:
            raise _quantized(network, name, kind.__name__)
        tensors = {**module._parameters, **module._buffers}
        for tensor_name, tensor in tensors.items():
            if tensor is None:
                continue
            full = f"{name}.{tensor_name}".lstrip(".")
            if tensor_name in QUANTIZED_TENSORS or "torchao" in type(tensor.data).__module__:
                raise _quantized(network, full, type(tensor).__name__)
            eight_bits = tensor.is_floating_point() and tensor.dtype.itemsize < 2
            if (
                tensor.is_quantized
                or eight_bits
                or (
                    tensor_name in module._parameters
                    and not (tensor.is_floating_point() or tensor.is_complex())
                )
            ):
                raise _quantized(network, full, str(tensor.dtype).removeprefix("torch."))


def refuse_without_numbers(network: nn.Module) -> None:
    """Raise ValueError if a network's weights are on the meta device, where there are none."""
    weight = next(_floating(network), None)
    if weight is not None and weight.is_meta:
        raise ValueError(
            f"{type(network).__name__} is on the meta device, where weights have shapes and no "
            "numbers: load its weights first"
        )


def _floating(network: nn.Module) -> Iterator[Tensor]:
    for tensors in (network.parameters(), network.buffers()):
        yield from (tensor for tensor in tensors if tensor.is_floating_point())


def _quantized(network: nn.Module, name: str, what: str) -> ValueError:
    return ValueError(
        f"{type(network).__name__} is quantized ({name} is {what}): what its attention computes "
        "is read of networks in float64, float32, float16 or bfloat16 only; load it in one of these"
    )
