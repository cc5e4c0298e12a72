"""Front ends: the web app, the command line, the viewer."""

PRODUCT = "Nonlocal Lens 0.1.0"
"""What files say that made them."""
