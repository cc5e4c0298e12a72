"""Rank collapse with depth: what is left that tells one token from another, layer by layer.

`python -m nonlocal_lens.analysis.rank_collapse` measures random transformers, and writes a table.

Dong, Cordonnier and Loukas, "Attention is not all you need: pure attention loses rank doubly
exponentially with depth", ICML 2021, arXiv 2103.03404, Figure 2. There random and trained language
models; here vision transformers with random weights, on a rendered street.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
import typer
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis.paper_tables import fill, markdown, write
from nonlocal_lens.streets import render_scene

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

PAGE = Path(__file__).parents[1] / "docs" / "rank-collapse.md"

FLOOR = 1e-14
"""A residual below it is rounding, also in double precision."""


class Ablation(NamedTuple):
    """Which parts of a transformer's layers are there besides attention and norms."""

    residual: bool  # whether a layer's input is added to what attention and MLP make of it
    mlp: bool


ABLATIONS: dict[str, Ablation] = {
    "attention alone": Ablation(residual=False, mlp=False),
    "with MLP": Ablation(residual=False, mlp=True),
    "with residual": Ablation(residual=True, mlp=False),
    "with both": Ablation(residual=True, mlp=True),
}
"""The curves of the figure, by what stands in the table."""


def relative_residual(tokens: Float[Tensor, "pos channels"]) -> float:
    """Return how far tokens are from all being one vector, over their size: 0 is rank one.

    |tokens - mean| / |tokens|, each norm the geometric mean of the largest sum over a column and
    over a row, as in the paper. The paper takes the vector that is nearest in this norm, which has
    no closed form; the mean token is what its authors' code takes, and gives at most twice as much.
    """
    tokens = tokens.double()
    return _norm(tokens - tokens.mean(dim=0)) / _norm(tokens)


def _norm(matrix: Float[Tensor, "rows columns"]) -> float:
    sizes = matrix.abs()
    return (sizes.sum(dim=0).max() * sizes.sum(dim=1).max()).sqrt().item()


@torch.no_grad()
def residuals_by_depth(
    network: nn.Module, x: Float[Tensor, "1 3 height width"], ablation: Ablation
) -> list[float]:
    """Return the relative residual of the tokens before the first layer, and after every one.

    Args:
        network: A `VisionTransformer` of timm.
        x: A picture as the network takes it.
        ablation: What of every layer is kept.
    """
    return [relative_residual(tokens[0]) for tokens in _through(network, x, ablation)]


def _through(
    network: Any, x: Float[Tensor, "1 3 height width"], ablation: Ablation
) -> Iterator[Float[Tensor, "1 pos channels"]]:
    tokens = network.norm_pre(network.patch_drop(network._pos_embed(network.patch_embed(x))))
    yield tokens
    for block in network.blocks:
        attended = block.ls1(block.attn(block.norm1(tokens)))
        tokens = tokens + attended if ablation.residual else attended
        if ablation.mlp:
            made = block.ls2(block.mlp(block.norm2(tokens)))
            tokens = tokens + made if ablation.residual else made
        yield tokens


def random_transformer(name: str, seed: int) -> nn.Module:
    """Return a vision transformer of timm with random weights, for double precision.

    Raises:
        ValueError: timm has no such network, or it is no plain vision transformer.
    """
    import timm
    from timm.models.vision_transformer import Block, VisionTransformer

    if not timm.is_model(name):
        raise ValueError(f"timm has no network {name!r}; `timm.list_models('vit_*')` lists them")
    torch.manual_seed(seed)
    network: nn.Module = timm.create_model(name, pretrained=False)
    if not isinstance(network, VisionTransformer) or type(network.blocks[0]) is not Block:
        raise ValueError(f"{name} is no stack of attention and MLP: a plain vit_* is needed")
    return network.double().eval()


def curves(name: str, seeds: Sequence[int]) -> dict[str, Float[Tensor, "seeds layers"]]:
    """Return, for every ablation, the residuals by depth of one network from several seeds.

    The picture is a rendered street of the same seed, at the network's own size.
    """
    found: dict[str, list[list[float]]] = {title: [] for title in ABLATIONS}
    for seed in seeds:
        network: Any = random_transformer(name, seed)
        image = torch.from_numpy(render_scene(seed, network.patch_embed.img_size).image)
        x = (image.permute(2, 0, 1)[None].double() / 255 - 0.5) / 0.5
        for title, ablation in ABLATIONS.items():
            found[title].append(residuals_by_depth(network, x, ablation))
    return {title: torch.tensor(by_seed, dtype=torch.float64) for title, by_seed in found.items()}


def table(found: dict[str, Float[Tensor, "seeds layers"]]) -> str:
    """Return the residuals, a row for every depth: the mean over seeds, least and greatest."""
    rows = [["layers", *found]]
    depth = len(next(iter(found.values()))[0])
    for layer in range(depth):
        rows.append([str(layer), *(_cell(by_seed[:, layer]) for by_seed in found.values())])
    return markdown(rows)


def _cell(values: Float[Tensor, " seeds"]) -> str:
    mean, least, greatest = (
        f"< {FLOOR:.0e}" if value < FLOOR else f"{value:.2g}"
        for value in (values.mean().item(), values.min().item(), values.max().item())
    )
    return mean if greatest == mean else f"{mean} [{least}, {greatest}]"


@cli.command()
def main(
    network: Annotated[
        str, typer.Option(help="A plain vision transformer of timm.")
    ] = "vit_base_patch16_224",
    seeds: Annotated[int, typer.Option(min=1, help="Networks with weights of their own.")] = 3,
    page: Annotated[Path, typer.Option(help="Markdown page with the marks.")] = PAGE,
) -> None:
    """Measure how tokens of a random transformer become alike, and write the table into PAGE."""
    try:
        found = curves(network, range(seeds))
        write(page, fill(page.read_text(encoding="utf-8"), "residuals", table(found)))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    typer.echo(f"{page}: {network}, {seeds} seeds")


if __name__ == "__main__":
    cli()
