"""The files of an export as one: itself if there is one, else a zip with their manifest."""

import tempfile
import zipfile
from pathlib import Path
from typing import BinaryIO

from app.batch.clips import of_clips
from app.batch.errors import ERRORS
from app.export.options import Options
from app.export.run import export, planned_files


def bundle_name(options: Options) -> str:
    """Return what the file of `bundle` is called.

    Raises:
        ValueError: An input or a network is not there.
    """
    planned = planned_files(options)
    return planned[0] if _is_single(options, planned) else "figures.zip"


def bundle(options: Options) -> BinaryIO:
    """Draw everything into a temporary file and return it, open at its beginning.

    Files lie on the disk, never all in memory. The temporary file goes when it is closed.

    Raises:
        ValueError: An input or a network is not there, or nothing could be drawn.
        OSError: The disk does not take the files.
    """
    # Not buffered, because Streamlit's download button takes no file that is buffered both ways.
    whole = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115  # the caller's to close
    try:
        _write(options, whole)
    except BaseException:
        whole.close()
        raise
    whole.seek(0)
    return whole


def _write(options: Options, whole: BinaryIO) -> None:
    with tempfile.TemporaryDirectory(prefix="nonlocal-lens-") as folder:
        summary = export(options, Path(folder))
        if summary.errors:
            errors = (Path(folder) / ERRORS).read_text(encoding="utf-8").splitlines()
            raise ValueError(f"not everything could be drawn: {errors[1].partition(',')[2]}")
        planned = planned_files(options)
        if _is_single(options, planned):
            with (Path(folder) / planned[0]).open("rb") as file:
                while block := file.read(1 << 20):
                    whole.write(block)
        else:
            with zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as archive:
                for path in sorted(Path(folder).iterdir()):
                    archive.write(path, path.name)


def _is_single(options: Options, planned: list[str]) -> bool:
    # color bars, and the records of clips, are not known before inputs are seen
    more = options.layout == "panels" or ("safetensors" in options.formats and of_clips(options))
    return len(planned) == 1 and not more
