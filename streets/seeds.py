"""Which seeds belong to which split."""

SPLITS = {"train": 0, "val": 1_000_000, "test": 2_000_000}
"""Split -> its first seed."""

SEEDS_PER_SPLIT = 1_000_000


def split_seeds(split: str, count: int) -> range:
    """Return the first `count` seeds of a split; splits share none.

    Raises:
        ValueError: There is no such split, or it does not have that many seeds.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}; available: {', '.join(SPLITS)}")
    if not 0 <= count <= SEEDS_PER_SPLIT:
        raise ValueError(f"count must be from 0 to {SEEDS_PER_SPLIT}, got {count}")
    return range(SPLITS[split], SPLITS[split] + count)
