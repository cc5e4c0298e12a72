"""The table of headlines, as docs show it."""

from collections.abc import Iterable, Mapping
from statistics import median
from typing import Any

from benchmarks.headline import Headline

TITLES = {
    "capture": "Capture, beside the forward pass it needs",
    "memory": "Memory of one block, beside the attention held",
    "statistics": "Statistics of one block",
    "heads": "Statistics of all heads of a vision transformer",
    "peers": "Attention of a vision transformer, beside other tools",
    "attributions": "Attributions, beside other tools",
    "figures": "Figures",
    "folder": "A folder of pictures",
    "start": "Cold start, phase by phase",
    "growth": "How cost grows: the fitted power of the size",
    "speed": "Forward passes of bundled networks",
    "waits": "What a visitor waits for",
}


def as_markdown(about: Mapping[str, Any], suites: Mapping[str, Iterable[Headline]]) -> str:
    """Return all suites as tables, below what they were made on."""
    how = "`make bench`" + (" with `QUICK=1`" if about["quick"] else "")
    lines = [
        "# Benchmarks",
        "",
        f"Written by {how} on {about['date']}: {about['processor']}, {about['cores']} cores, one "
        f"thread, Python {about['python']}, torch {about['torch']}. {about['note']}".rstrip(),
        "",
        "Medians of five rounds, in brackets the least and the greatest. What is compared runs in "
        "turns, so that what slows the machine slows both; the ratio is taken in each round, and "
        "below 1 is better. The other ways stand in one file, `benchmarks/baselines.py`.",
    ]
    for suite, headlines in suites.items():
        lines += ["", f"## {TITLES[suite]}", "", "| | here | the other way | | ratio |"]
        lines += ["|---|---:|---|---:|---:|"]
        lines += [row(one) for one in headlines]
    lines += ["", "## What the run took", "", duration(about["seconds"], about["seconds_of"])]
    return "\n".join(lines)


def duration(seconds: float, of_suites: Mapping[str, float]) -> str:
    """Return a sentence on how long a run took by the clock, altogether and suite by suite."""
    minutes, rest = divmod(round(seconds), 60)
    told = ", ".join(f"{suite} {taken:.0f} s" for suite, taken in of_suites.items())
    return f"{minutes} min {rest} s by the clock: {told}, and the rest for peers and imports."


def row(one: Headline) -> str:
    """Return a line of the table."""
    name = f"{one.name} <br> *{one.note}*" if one.note else one.name
    cells = (
        name,
        spread(one.ours, one.unit),
        one.baseline,
        spread(one.theirs, one.unit),
        ratio(one.ratios),
    )
    return f"| {' | '.join(cells)} |"


def spread(values: tuple[float, ...], unit: str) -> str:
    """Return the median of values, and in brackets their range."""
    if not values:
        return "not measured"
    told = number(median(values))
    if len(values) > 1:
        told += f" ({number(min(values))} to {number(max(values))})"
    return told if unit == "exponent" else f"{told} {unit}"


def ratio(values: tuple[float, ...]) -> str:
    """Return the median of ratios: as a fraction of 1 where it is a small one."""
    if not values:
        return ""
    middle = median(values)
    told = number(middle) if middle > 0.5 else f"1 / {number(1 / middle)}"
    return f"**{told}** ({number(min(values))} to {number(max(values))})"


def number(value: float) -> str:
    """Return three digits."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
