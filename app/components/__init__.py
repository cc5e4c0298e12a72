"""Pieces that pages are put together from, each with its widgets."""
