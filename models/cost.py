"""What attention costs against 3D convolutions: `python -m nonlocal_lens.models.cost`.

The argument of Wang et al. 2018, Table 2e: to make a network for images see motion, a few non-local
blocks cost fewer parameters and multiply-adds than kernels that are widened along time. Networks
are built on torch's meta device, so that nothing is computed and no memory is needed.
"""

import json
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Annotated

import torch
import typer
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import get_model

from nonlocal_lens.models.blocks import SimplifiedNonLocalBlock
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.inflate import inflate
from nonlocal_lens.models.networks.insert import insert_blocks

CLASSES = 400  # Kinetics-400

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


class Depth(StrEnum):
    """Residual networks with bottlenecks."""

    resnet50 = "resnet50"
    resnet101 = "resnet101"
    resnet152 = "resnet152"


@dataclass(frozen=True)
class Cost:
    """What one network costs for one clip."""

    network: str
    parameters: int
    multiply_adds: int  # of convolutions and matrix products: half of what torch calls FLOPs


def cost(name: str, network: nn.Module, clip: Tensor) -> Cost:
    """Count parameters and, in one forward pass in evaluation mode, multiply-adds."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network.eval()(clip)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Cost(name, parameters, counter.get_total_flops() // 2)


def compare(
    depth: str = "resnet50", *, block: str = "non_local", frames: int = 32, size: int = 224
) -> list[Cost]:
    """Return the costs of C2D, the first, of C2D with 1, 5 and 10 blocks, and of both I3D.

    Keys are sub-sampled before their convolutions, in the order of the paper's code: its figures
    are met so, not in the order that the paper's text gives. Blocks without keys have nothing to
    sub-sample.

    Raises:
        ValueError: The block is unknown.
    """
    if block not in BLOCKS:
        raise ValueError(f"unknown block {block!r}; available: {', '.join(BLOCKS)}")
    has_keys = not issubclass(BLOCKS[block], SimplifiedNonLocalBlock)
    options = {"subsample": True, "pool_order": "before"} if has_keys else {}
    with torch.device("meta"):
        clip = torch.empty(1, 3, frames, size, size)
        images = get_model(depth, num_classes=CLASSES)
        rows = [cost("C2D", inflate(images), clip)]
        for count in (1, 5, 10):
            network = inflate(images)
            insert_blocks(network, count, block, **options)
            rows.append(cost(f"C2D + {count} {block}", network, clip))
        rows.append(cost("I3D 3x1x1", inflate(images, "3x1x1"), clip))
        rows.append(cost("I3D 3x3x3", inflate(images, "3x3x3"), clip))
    return rows


@cli.command()
def main(
    network: Annotated[Depth, typer.Option(help="The network for images.")] = Depth.resnet50,
    block: Annotated[str, typer.Option(help=f"One of {', '.join(BLOCKS)}.")] = "non_local",
    frames: Annotated[int, typer.Option(min=1, help="Frames of the clip.")] = 32,
    size: Annotated[int, typer.Option(min=1, help="Height and width of a frame.")] = 224,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print what attention blocks add to a network for clips, and what 3D convolutions do."""
    try:
        rows = compare(network, block=block, frames=frames, size=size)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        typer.echo(json.dumps([asdict(row) for row in rows], indent=2))
        return
    typer.echo(f"{network} on {frames} frames of {size} x {size}, {CLASSES} classes")
    typer.echo(f"{'':<24}{'parameters':>18}{'multiply-adds':>20}")
    plain = rows[0]
    for row in rows:
        typer.echo(
            f"{row.network:<24}{row.parameters / 1e6:>8.1f} M"
            f"{row.parameters / plain.parameters:>7.2f}x"
            f"{row.multiply_adds / 1e9:>10.1f} G{row.multiply_adds / plain.multiply_adds:>7.2f}x"
        )


if __name__ == "__main__":
    cli()
