"""Whole networks: a backbone, a head, and where the attention block sits."""
