"""The files of an export as one: itself if there is one, else a zip with their manifest."""

import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from nonlocal_lens.app.batch.engine import Engine, local
from nonlocal_lens.app.batch.errors import ERRORS
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.run import Planned, export, planned


def bundle_name(options: Options) -> str:
    """Return what the file of `bundle` is called.

    Raises:
        ValueError: An input or a network is not there.
    """
    files = planned(options)
    return files.files[0] if _is_single(options, files) else "figures.zip"


def bundle(options: Options, *, engine: Engine = local) -> BinaryIO:
    """Draw everything into a temporary file and return it, open at its beginning.

    Files lie on the disk, never all in memory. The temporary file goes when it is closed.

    Args:
        options: What to draw of what.
        engine: What runs the jobs.

    Raises:
        ValueError: An input or a network is not there, or nothing could be drawn.
        OSError: The disk does not take the files.
    """
    # Not buffered, because Streamlit's download button takes no file that is buffered both ways.
    whole = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the caller's to close
    try:
        _write(options, whole, engine)
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return whole


def _write(options: Options, whole: BinaryIO, engine: Engine) -> None:
    files = planned(options)
    with tempfile.TemporaryDirectory(prefix="nonlocal-lens-") as folder:
        summary = export(options, Path(folder), engine=engine)
        if summary.errors:
            errors = (Path(folder) / ERRORS).read_text(encoding="utf-8").splitlines()
            raise ValueError(f"not everything could be drawn: {errors[1].partition(',')[2]}")
        if _is_single(options, files):
            with (Path(folder) / files.files[0]).open("rb") as file:
                while block := file.read(1 << 20):
                    whole.write(block)
        else:
            with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
                for path in sorted(Path(folder).iterdir()):
                    archive.write(path, path.name)


def _is_single(options: Options, files: Planned) -> bool:
    # color bars, and the records of clips, are not known before inputs are seen
    records_of_clips = "safetensors" in options.formats and files.found.as_clips
    return len(files.files) == 1 and options.layout != "panels" and not records_of_clips
