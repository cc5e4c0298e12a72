"""What is trained how: the recipes are data, in the `.toml` files beside this one."""

import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar


@dataclass(frozen=True)
class Recipe:
    """What decides a training's outcome, whatever the task, besides the labeled images."""

    network: str  # a key of models.zoo.NETWORKS: the architecture
    epochs: int
    start_from: str = ""  # the recipe whose result is the starting point; none if empty
    learning_rate: float = 0.02
    looking_rate: float = 1.0  # factor on it for queries, keys and masks: where a block looks
    weight_decay: float = 5e-4  # on convolution weights outside queries, keys and masks
    warmup_steps: int = 100
    batch_size: int = 8
    averaging: float = 0.995  # decay per step of the averaged weights, the result; 0 is off
    identity_dropout: float = 0.0  # share of views whose block output lacks the block's input
    bfloat16: bool = True  # whether convolutions and products are computed in it
    seed: int = 0


@dataclass(frozen=True)
class StreetRecipe(Recipe):
    """How a segmentation network is trained, by stochastic gradient descent or AdamW.

    The learning rate falls as (1 - progress) ** 0.9 from `learning_rate` to 0. Scales and the crop
    refer to the training images' own pixels.
    """

    optimizer: Literal["sgd", "adamw"] = "sgd"
    momentum: float = 0.9  # of stochastic gradient descent
    crop_hw: tuple[int, int] = (240, 320)
    scales: tuple[float, float] = (0.6, 1.4)
    class_balance: float = 0.33  # a class weighs its pixel share to minus this power in the loss
    rendered_share: float = 0.0  # rendered scenes seen in an epoch, as a share of the real images
    dilations: tuple[int, int, int, int] | None = None  # instead of the network's own
    block: str | None = None  # instead of the network's own, where it has one


@dataclass(frozen=True)
class ClipRecipe(Recipe):
    """How a network for clips is trained, by AdamW, on rendered clips.

    Either its backbone, by the labels of single frames' cells; or all but the backbone, by the
    labels of clips: see `models.training.clips`. The learning rate falls as (1 - progress) ** 0.9
    from `learning_rate` to 0.
    """

    crop_hw: tuple[int, int] | None = None  # of the frames that a backbone is trained on


AnyRecipe = TypeVar("AnyRecipe", bound=Recipe)


SMALLEST_CROP = 32
"""Pixels: of fewer, too little of a street is left to be told apart."""


@dataclass(frozen=True)
class Variant:
    """What is done otherwise in a recipe, and in all that it starts from: for ablations.

    Raises:
        ValueError: `shorten` is below 1.
    """

    seed: int | None = None  # the recipe's own if None
    block: str | None = None  # a key of models.networks.architecture.BLOCKS; the own one if None
    shorten: int = 1  # what the epochs of every step are divided by; one epoch at least is left
    crop_hw: tuple[int, int] | None = None  # of the views that are trained on; the recipe's if None

    def __post_init__(self) -> None:
        if self.shorten < 1:
            raise ValueError(f"shorten must be at least 1, got {self.shorten}")
        if self.crop_hw is not None and min(self.crop_hw) < SMALLEST_CROP:
            given = " x ".join(map(str, self.crop_hw))
            raise ValueError(f"crop must be at least {SMALLEST_CROP} pixels a side, got {given}")

    @property
    def name(self) -> str:
        """What tells it from the recipe itself, as part of a file name; empty for the recipe."""
        parts = {
            "seed": self.seed,
            "block": self.block,
            "shortened": self.shorten if self.shorten > 1 else None,
            "crop": "x".join(map(str, self.crop_hw)) if self.crop_hw else None,
        }
        return "-".join(f"{key}-{value}" for key, value in parts.items() if value is not None)

    def of(self, recipe: StreetRecipe) -> StreetRecipe:
        """Return the variant of a recipe."""
        return replace(
            recipe,
            seed=recipe.seed if self.seed is None else self.seed,
            block=self.block or recipe.block,
            epochs=max(1, round(recipe.epochs / self.shorten)),
            crop_hw=self.crop_hw or recipe.crop_hw,
        )


AS_IT_IS = Variant()


def read_recipes(path: Path, kind: type[AnyRecipe]) -> dict[str, AnyRecipe]:
    """Return the recipes of a TOML file: a table each, over the table `shared`.

    Raises:
        ValueError: A recipe has a field that there is not, or lacks one.
    """
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    shared = tables.pop("shared", {})
    recipes = {}
    for name, table in tables.items():
        fields: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in ({"network": name} | shared | table).items()
        }
        try:
            recipes[name] = kind(**fields)
        except TypeError as error:
            raise ValueError(f"{path.name}, recipe {name!r}: {error}") from error
    return recipes


STREET_RECIPES = {
    name: recipe
    for file in ("recipes.toml", "transformers.toml")
    for name, recipe in read_recipes(Path(__file__).with_name(file), StreetRecipe).items()
}
CLIP_RECIPES = read_recipes(Path(__file__).with_name("clips.toml"), ClipRecipe)
RECIPES: dict[str, StreetRecipe | ClipRecipe] = {**STREET_RECIPES, **CLIP_RECIPES}
