"""Whether a network is called so: asked before anything heavy is imported."""

from pathlib import Path

from nonlocal_lens.models.bundled import list_networks
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.limits import did_you_mean, shortened
from nonlocal_lens.models.local_files import is_regular
from nonlocal_lens.models.published import PUBLISHED


def check_name(source: str) -> None:
    """Raise unless `models.load_network` knows what is meant, with the names that are like it.

    Networks of other libraries are known to these alone; weights are read when they are loaded.

    Raises:
        ValueError: No network has the name.
        FileNotFoundError: There is no such file.
    """
    bundled = list_networks()
    if LibraryName.read(source) or source in bundled or source in PUBLISHED:
        return
    path = Path(source)
    if is_regular(path):
        return
    meant = did_you_mean(source, (*bundled, *PUBLISHED))
    looks_like_a_path = path.suffix or len(path.parts) > 1
    problem = (
        f"there is no file {shortened(source, 80)}"
        if looks_like_a_path
        else f"unknown network {shortened(source, 40)!r}"
    )
    error = FileNotFoundError if looks_like_a_path else ValueError
    raise error(
        f"{problem}{meant}; available: {', '.join(bundled)}, the published networks that "
        "`nonlocal-lens models` lists, timm:NAME, hf:ID, torchvision:NAME, or the path of a file "
        "of weights"
    )
