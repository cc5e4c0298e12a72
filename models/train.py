"""Train a bundled network.

`python -m nonlocal_lens.models.train streets-dnl --data camvid --root ROOT`
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from nonlocal_lens.models.bundled import WEIGHTS, ModelCard
from nonlocal_lens.models.checkpoint import (
    load_network,
    load_segmentation,
    save_network,
)
from nonlocal_lens.models.checkpoints.layout import Network
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.clip_network import ClipNetwork
from nonlocal_lens.models.training.clip_data import FRAMES, RENDERED_CLIPS, SIZE_HW, rendered_clips
from nonlocal_lens.models.training.clips import train_clips
from nonlocal_lens.models.training.data import (
    RENDERED_SCENES,
    Dataset,
    read_samples,
    rendered_samples,
)
from nonlocal_lens.models.training.evaluation import (
    accuracy,
    clip_confusion_matrix,
    confusion_matrix,
    mean_iou,
)
from nonlocal_lens.models.training.recipe import (
    AS_IT_IS,
    RECIPES,
    STREET_RECIPES,
    StreetRecipe,
    Variant,
)
from nonlocal_lens.models.training.streets import architecture_of, train_streets
from nonlocal_lens.models.zoo import NETWORKS

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    data: Annotated[
        Dataset | None,
        typer.Option(
            help="How ROOT is laid out, camvid if not given; clips are always rendered.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder with <split>/images and <split>/labels.")
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Where checkpoints and logs go; a rerun resumes.")
    ] = Path("runs"),
    out: Annotated[
        Path, typer.Option(help="Where the finished weights and their card go.")
    ] = WEIGHTS,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads; all cores if not given.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed than the recipe's.")] = None,
    block: Annotated[
        str | None, typer.Option(help="Another block in its place, on the whole way: an ablation.")
    ] = None,
    shorten: Annotated[
        int, typer.Option(min=1, help="Divide the epochs of every step by this.")
    ] = 1,
    crop: Annotated[
        tuple[int, int] | None,
        typer.Option(help="Height and width in pixels of the views, instead of the recipe's."),
    ] = None,
) -> None:
    """Train NAME (and what it starts from), then write its weights and its model card.

    Another seed, block, length or crop trains a variant of a street network, whose files are named
    after it: `streets-dnl --seed 1 --block pairwise` is without the unary branch from the first
    epoch on.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; available: {', '.join(NETWORKS)}")
        variant = Variant(seed, block, shorten, crop)
        if block is not None and block not in BLOCKS:
            raise ValueError(f"unknown block {block!r}; available: {', '.join(BLOCKS)}")
        if NETWORKS[name].task == "clips":
            if variant != AS_IT_IS:
                raise ValueError(f"{name} looks at clips: only street networks have variants")
            card = _train_on_clips(name, data, runs, out)
        else:
            card = _train_on_streets(name, data or Dataset.camvid, root, runs, out, variant)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    path = out / f"{_called(name, variant)}.safetensors"
    card.write(path.with_suffix(".json"))
    typer.echo(f"{path}: {card.figure}, sha256 {card.sha256}")


def _called(name: str, variant: Variant) -> str:
    return f"{name}-{variant.name}" if variant.name else name


def _train_on_streets(
    name: str, data: Dataset, root: Path | None, runs: Path, out: Path, variant: Variant
) -> ModelCard:
    train_set, val_set = (list(read_samples(data, root, split)) for split in ("train", "val"))
    mixed = STREET_RECIPES[name].rendered_share > 0
    rendered = list(rendered_samples("train")) if mixed else []
    runs = runs / variant.name if variant.name else runs
    network = train_streets(name, train_set, rendered, val_set, runs, variant)
    path = out / f"{_called(name, variant)}.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_network(path, network, architecture_of(variant.of(STREET_RECIPES[name])))
    bundled = load_segmentation(path)  # what is reported is what the file holds, in half precision
    facts = _facts(name, bundled, path)
    facts |= {"epochs": total_epochs(name, variant)}
    facts |= {} if variant.seed is None else {"seed": variant.seed}
    facts |= {"title": f"{facts['title']} ({variant.name})"} if variant.name else {}
    return ModelCard(
        **facts,
        data="CamVid train (367 images, 360 x 480, 11 classes; Brostow et al. 2009)"
        + (f" and {RENDERED_SCENES['train']} rendered scenes" if mixed else ""),
        recipe=f"python -m nonlocal_lens.models.train {name} --data {data.value} --root ROOT"
        + _asked(variant),
        val_miou=round(mean_iou(confusion_matrix(bundled, val_set)), 4),
        rendered_miou=round(mean_iou(confusion_matrix(bundled, rendered_samples("val"))), 4),
        license="Apache-2.0 (the weights; CamVid itself is not part of this repository)",
    )


def _asked(variant: Variant) -> str:
    """Return the options that ask for a variant."""
    options: dict[str, Any] = {"seed": variant.seed, "block": variant.block}
    if variant.shorten > 1:
        options["shorten"] = variant.shorten
    if variant.crop_hw is not None:
        options["crop"] = "{} {}".format(*variant.crop_hw)
    return "".join(f" --{key} {value}" for key, value in options.items() if value is not None)


def _train_on_clips(name: str, data: Dataset | None, runs: Path, out: Path) -> ModelCard:
    if data not in (None, Dataset.rendered):
        raise ValueError(
            f"{name} is trained on rendered clips: data must be 'rendered', got {data}"
        )
    train_set, val_set = (rendered_clips(split, runs) for split in ("train", "val"))
    network = train_clips(name, train_set, val_set, runs)
    path = out / f"{name}.safetensors"
    save_network(path, network, NETWORKS[name].architecture)
    bundled = load_network(path)
    assert isinstance(bundled, ClipNetwork)  # it was one when it was saved
    height, width = SIZE_HW
    return ModelCard(
        **_facts(name, bundled, path),
        data=f"{RENDERED_CLIPS['train']} rendered clips ({FRAMES} frames, {height} x {width}, "
        f"{len(bundled.classes)} classes)",
        recipe=f"python -m nonlocal_lens.models.train {name}",
        accuracy=round(accuracy(clip_confusion_matrix(bundled, val_set)), 4),
        license="Apache-2.0",
    )


def _facts(name: str, network: Network, path: Path) -> dict[str, Any]:
    """Return what a card says whatever the task."""
    return {
        "title": NETWORKS[name].title,
        "sha256": file_sha256(path),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": total_epochs(name),
        "seed": RECIPES[name].seed,
        "trained_on": datetime.now(UTC).date().isoformat(),
    }


def total_epochs(name: str, variant: Variant = AS_IT_IS) -> int:
    """Return the epochs of a recipe together with those of everything it starts from."""
    if not name:
        return 0
    recipe = RECIPES[name]
    epochs = variant.of(recipe).epochs if isinstance(recipe, StreetRecipe) else recipe.epochs
    return epochs + total_epochs(recipe.start_from, variant)


if __name__ == "__main__":
    cli()
