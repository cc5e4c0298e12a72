"""Front ends: the web app, the command line, the viewer."""

from nonlocal_lens import __version__

PRODUCT = f"Nonlocal Lens {__version__}"
"""What files say that made them."""
