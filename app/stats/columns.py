"""The columns of a table of statistics: their names, what they hold, and in which order."""

from collections.abc import Iterator
from typing import NamedTuple

from nonlocal_lens.analysis.degeneracy import QUANTILES, STATISTICS
from nonlocal_lens.analysis.interventions import INTERVENTIONS
from nonlocal_lens.analysis.tables.rows import (
    AGREEMENTS,
    BASELINES,
    NUMBERS,
    QUANTILED,
    REGIONS,
    WITH_BASELINES,
    prefix,
    quantile_name,
)
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.stats.options import Options

Cell = str | int | float | None
"""None is what is undefined or unknown: an empty cell, a null."""


class Column(NamedTuple):
    """A column of a table."""

    name: str
    kind: type  # str, int or float
    told: bool = False  # whether the summary has its mean over inputs


WHERE_FROM = (
    Column("input", str),
    Column("input_sha256", str),
    Column("width", int),
    Column("height", int),
    Column("read_as", str),  # how deep values and labels of a picture were read
    Column("network", str),
    Column("network_sha256", str),
    Column("block", str),
    Column("call", int),  # which run of it, from 0
    Column("head", int),
    Column("form", str),
    Column("coupling", str),
)
WHEN = (
    Column("frames", int),
    Column("frame", int),
    Column("time_s", float),
    Column("note", str),
)
"""Of clips: how many frames were read; which of them a row is of, none for the whole clip."""

OVER_TIME = (
    Column("frame_information_bits", float, told=True),
    Column("own_frame_mass", float, told=True),
    Column("drift_nats", float, told=True),
)
"""Of clips: see `app.stats.clip_rows`."""

MADE_BY = (Column("seed", int), Column("version", str), Column("torch_version", str))

CHANGES = tuple(how for how in INTERVENTIONS if how != "on")


def columns(options: Options, *, clips: bool = False) -> list[Column]:
    """Return the columns of a table, the same for all its rows; that of clips has some more."""
    when, over_time = (WHEN, OVER_TIME) if clips else ((), ())
    return [*WHERE_FROM, *when, *_of_reports(), *over_time, *_asked_for(options), *MADE_BY]


def _of_reports() -> Iterator[Column]:
    for name, kind in NUMBERS.items():
        yield Column(name, kind, told=name in STATISTICS)
    for statistic in QUANTILED:
        for at in QUANTILES:
            yield Column(quantile_name(statistic, at), float)
    yield Column("token_shares", str)  # of each key that is no place, in words
    yield Column("verdict", str)


def _asked_for(options: Options) -> Iterator[Column]:
    if options.batch > 1:
        yield Column("batch", int)  # at most so many pictures went through the network together
    if options.baselines:
        for statistic in WITH_BASELINES:
            for baseline in BASELINES:
                yield Column(f"{statistic}_{baseline}", float)
    if options.labels is not None:
        for term in TERMS:
            for region in REGIONS:
                for name in AGREEMENTS:
                    kind = int if name == "queries" else float
                    told = name in ("mass", "lift", "precision")
                    yield Column(f"{prefix(term)}{region}_{name}", kind, told)
            yield Column(f"{prefix(term)}picture_share", float, told=True)
        yield Column("boundary_pixels", float)
    if options.interventions:
        yield Column("another_input", str)
        for how in CHANGES:
            yield Column(f"{how}_kl_nats", float, told=True)
            yield Column(f"{how}_flipped_share", float, told=True)
        if options.labels is not None:
            for state in INTERVENTIONS:
                yield Column(f"{state}_miou", float, told=True)
