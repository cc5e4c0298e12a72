"""What is trained how: data, not code. One recipe for all networks that are to be compared."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training's outcome, besides the data.

    The learning rate falls as (1 - progress) ** 0.9 from `learning_rate` to 0. Scales and the crop
    refer to the training images' own pixels.
    """

    network: str  # a key of models.zoo.NETWORKS: the architecture
    epochs: int
    start_from: str | None = None  # the recipe whose result is the starting point
    learning_rate: float = 0.02
    momentum: float = 0.9
    weight_decay: float = 5e-4  # on convolution weights outside queries, keys and masks
    warmup_steps: int = 100
    batch_size: int = 8
    crop_hw: tuple[int, int] = (240, 320)
    scales: tuple[float, float] = (0.6, 1.4)
    averaging: float = 0.995  # decay per step of the averaged weights, the result; 0 is off
    class_balance: float = 0.33  # a class weighs its pixel share to minus this power in the loss
    seed: int = 0


TRUNK = "streets-trunk"

RECIPES: dict[str, Recipe] = {
    # The trunk is trained once; then every network continues from it for the same number of
    # epochs, with or without a block in its head. So a difference is the block's, not luck's.
    TRUNK: Recipe("streets-base", epochs=50),
    "streets-base": Recipe("streets-base", epochs=30, start_from=TRUNK),
    "streets-nl": Recipe("streets-nl", epochs=30, start_from=TRUNK),
    "streets-dnl": Recipe("streets-dnl", epochs=30, start_from=TRUNK),
}
