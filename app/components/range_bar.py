"""A statistic on its range, true to scale, with what three known attentions would have."""

from html import escape
from math import isfinite

from nonlocal_lens.analysis.degeneracy import STATISTICS, DegeneracyReport

MARKS = {"uniform": "▼", "mean_row": "▲", "shuffled": "◆"}
"""Baseline -> its mark: above the bar, below it, and on it, so that none hides another."""

BASELINES = {
    "uniform": "uniform attention: every query looks at everything alike",
    "mean_row": "every query has the mean map",
    "shuffled": "the keys of every map are shuffled",
}
"""Baseline -> what it is, for who asks."""

DIRECTIONS = {"low": "\u2190 more degenerate", "high": "more degenerate \u2192", "either": ""}
"""Which way along the bar attention depends less on the query."""


def range_bar(report: DegeneracyReport, name: str) -> str:
    """Return one statistic of a report as HTML, styled by `main.css`.

    Args:
        report: What was measured.
        name: A key of `STATISTICS`.
    """
    statistic, value = STATISTICS[name], getattr(report, name)
    low, high = report.bounds(name)
    baselines = report.baselines[name]._asdict() if name in report.baselines else {}
    known = {which: number for which, number in baselines.items() if isfinite(number)}
    shown = f"{number_text(value)} {statistic.unit}".strip()
    plain = escape(statistic.plain or statistic.definition)
    direction = DIRECTIONS[statistic.degenerate]
    marks = "".join(
        f'<i class="mark {which}" style="left:{share(number, low, high):.2f}%" '
        f'title="{BASELINES[which]}: {number_text(number)}">{MARKS[which]}</i>'
        for which, number in known.items()
    )
    words = ", ".join(
        f"{which.replace('_', ' ')} {number_text(number)}" for which, number in known.items()
    )
    ends = f"{low:.3g} to {high:.4g}" if isfinite(high) else f"from {low:.3g} on"
    alt = f"{statistic.label}: {shown}, of {ends}; {words}".rstrip("; ")
    small = [f"<span>{ends} {statistic.unit}</span>"]
    small += [
        f'<span title="{BASELINES[which]}">{MARKS[which]} {which.replace("_", " ")} '
        f"{number_text(number)}</span>"
        for which, number in known.items()
    ]
    if direction:
        small.append(f'<span class="way">{direction}</span>')
    return (
        f'<div class="nl-statistic"><details><summary title="{plain}">'
        f"<span>{statistic.label}</span><b>{shown}</b></summary>"
        f'<p>{plain} <a href="guide#{name}" target="_self">More</a></p></details>'
        f'<div class="bar" role="img" aria-label="{escape(alt)}">'
        f'<i class="fill" style="width:{share(value, low, high):.2f}%"></i>{marks}</div>'
        f'<div class="small">{"".join(small)}</div></div>'
    )


def share(value: float, low: float, high: float) -> float:
    """Return where on a range a value lies, 0 to 100; rounding may carry it no farther."""
    if not isfinite(value) or high <= low:
        return 0.0
    return 100 * min(max((value - low) / (high - low), 0.0), 1.0)


def number_text(value: float) -> str:
    """Return a number with three decimals, or two from 1 on; none from 1000 on."""
    if not isfinite(value):
        return "undefined"
    if abs(value) < 0.0005:  # nor is there a -0.000
        return "0"
    return f"{value:.{0 if abs(value) >= 1000 else 3 if abs(value) < 1 else 2}f}"
