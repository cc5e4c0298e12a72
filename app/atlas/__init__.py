"""The atlas: all heads of a network on one wall, driven by one pointer."""
