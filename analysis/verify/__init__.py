"""Holds what is read of other people's networks against references that share no code with it.

`python -m nonlocal_lens.analysis.verify` builds small networks of random weights, one of a family,
captures them, and writes what was found into `docs/verified.json`.
"""
