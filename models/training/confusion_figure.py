"""The confusion matrix as a picture."""

from pathlib import Path

import numpy as np
from jaxtyping import Int
from matplotlib.figure import Figure
from torch import Tensor

from nonlocal_lens.models.atomic_write import appearing

FORMATS = (".png", ".pdf", ".svg")


def save_confusion_figure(
    path: Path, confusion: Int[Tensor, "classes classes"], classes: tuple[str, ...], title: str
) -> None:
    """Draw what share of each true class (row) is predicted as which class (column), in percent.

    Raises:
        ValueError: The file's ending is not one of `FORMATS`.
    """
    if path.suffix.lower() not in FORMATS:
        raise ValueError(
            f"{path.name} must end in one of {', '.join(FORMATS)}, got {path.suffix or 'no ending'}"
        )
    counts = confusion.double().numpy()
    percent = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(7, 6.2), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(percent, cmap="Blues", vmin=0, vmax=100)
    for row, col in np.ndindex(*percent.shape):
        if percent[row, col] >= 0.5:
            ink = "white" if percent[row, col] > 60 else "black"
            text = f"{percent[row, col]:.0f}"
            axes.text(col, row, text, ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    figure.colorbar(image, label="% of the true class's pixels")
    with appearing(path) as partial:
        figure.savefig(partial, format=path.suffix[1:].lower())
