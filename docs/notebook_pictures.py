"""Draw the pictures that pages take from the notebooks: `python -m docs.notebook_pictures`.

A cell tagged `picture:NAME` draws `pictures/NAME.webp`. The tests run the notebooks, too, and hold
what is stored against what the cells draw.
"""

import io
from base64 import b64decode
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nbformat
import numpy as np
from jaxtyping import UInt8
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PICTURES = Path(__file__).parent / "pictures"

TAG = "picture:"
WIDEST = 1400  # pixels: twice a page's column


def main() -> None:
    """Run the notebooks that draw pictures, and write the pictures, anew."""
    drawing = [path for path in NOTEBOOKS if picture_names(nbformat.read(path, as_version=4))]
    with kernel() as client:
        for path in drawing:
            for name, picture in drawn(run(path, client)).items():
                PICTURES.mkdir(exist_ok=True)
                Image.fromarray(picture).save(picture_path(name), quality=88, method=6)
                print(picture_path(name).relative_to(ROOT))  # noqa: T201


@contextmanager
def kernel() -> Iterator[NotebookClient]:
    """Start a kernel in which notebooks run one after another: what they need is imported once."""
    resources = {"metadata": {"path": str(ROOT / "notebooks")}}
    client = NotebookClient(
        nbformat.v4.new_notebook(), timeout=600, kernel_name="python3", resources=resources
    )
    with client.setup_kernel():
        yield client


def run(path: Path, client: NotebookClient) -> NotebookNode:
    """Return a notebook with its outputs, run in a kernel that forgot the names of those before.

    An exception in a cell is one here, with the cell.
    """
    book = client.nb = nbformat.read(path, as_version=4)
    client.reset_execution_trackers()
    client.execute_cell(nbformat.v4.new_code_cell("%reset -f"), 0)
    for number, cell in enumerate(book.cells):
        client.execute_cell(cell, number)
    return book


def picture_path(name: str) -> Path:
    """Return where a picture is stored."""
    return PICTURES / f"{name}.webp"


def picture_names(book: NotebookNode) -> list[str]:
    """Return the pictures that a notebook's cells say they draw."""
    return [name for cell in book.cells for name in _names(cell)]


def drawn(book: NotebookNode) -> dict[str, UInt8[np.ndarray, "height width 3"]]:
    """Return what the tagged cells of a notebook that was run have drawn, by name."""
    return {name: _picture(cell) for cell in book.cells for name in _names(cell)}


def _names(cell: NotebookNode) -> list[str]:
    tags = cell.metadata.get("tags", [])
    return [tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)]


def _picture(cell: NotebookNode) -> UInt8[np.ndarray, "height width 3"]:
    """Return the last picture under a cell, no wider than a page can show."""
    pngs = [
        output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})
    ]
    if not pngs:
        raise ValueError(f"the cell draws nothing:\n{cell.source}")
    image = Image.open(io.BytesIO(b64decode(pngs[-1]))).convert("RGB")
    image.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
    return np.asarray(image)


if __name__ == "__main__":
    main()
