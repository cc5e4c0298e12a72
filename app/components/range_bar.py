"""A statistic on its range, true to scale, with what three known attentions would have."""

from html import escape
from math import isfinite

from analysis.degeneracy import STATISTICS, DegeneracyReport

MARKS = {"uniform": "▼", "mean_row": "▲", "shuffled": "◆"}
"""Baseline -> its mark: above the bar, below it, and on it, so that none hides another."""

LEGEND = "▼ uniform attention, ▲ every row the mean row, ◆ keys shuffled in every row"

STYLE = """<style>
.nl-statistic { margin: 0 0 .8rem; font-size: .875rem; line-height: 1.35; }
.nl-statistic .head { display: flex; justify-content: space-between; gap: .75rem; }
.nl-statistic .head b { font-weight: 600; white-space: nowrap; font-variant-numeric: tabular-nums; }
.nl-statistic .bar { position: relative; height: 8px; margin: 12px 5px;
  background: color-mix(in srgb, currentColor 14%, transparent); border-radius: 2px; }
.nl-statistic .fill { position: absolute; inset: 0 auto 0 0; background: #1a9a94;
  border-radius: 2px; }
.nl-statistic .mark { position: absolute; transform: translateX(-50%); font-style: normal;
  font-size: 10px; line-height: 10px; cursor: default; }
.nl-statistic .uniform { bottom: 8px; }
.nl-statistic .mean_row { top: 8px; }
.nl-statistic .shuffled { top: -1px; font-size: 12px; }
.nl-statistic .small { display: flex; flex-wrap: wrap; gap: 0 .8rem; font-size: .8rem;
  opacity: .75; font-variant-numeric: tabular-nums; }
</style>"""


def range_bar(report: DegeneracyReport, name: str) -> str:
    """Return one statistic of a report as HTML; `STYLE` must stand on the page once.

    Args:
        report: What was measured.
        name: A key of `STATISTICS`.
    """
    statistic, value = STATISTICS[name], getattr(report, name)
    low, high = report.bounds(name)
    baselines = report.baselines[name]._asdict() if name in report.baselines else {}
    known = {which: number for which, number in baselines.items() if isfinite(number)}
    shown = f"{number_text(value)} {statistic.unit}".strip()
    marks = "".join(
        f'<i class="mark {which}" style="left:{share(number, low, high):.2f}%" '
        f'title="{which.replace("_", " ")}: {number_text(number)}">{MARKS[which]}</i>'
        for which, number in known.items()
    )
    words = ", ".join(
        f"{which.replace('_', ' ')} {number_text(number)}" for which, number in known.items()
    )
    alt = f"{statistic.label}: {shown}, of {low:g} to {high:.4g}; {words}".rstrip("; ")
    small = [f"<span>{low:g} to {high:.4g} {statistic.unit}</span>"]
    small += [
        f"<span>{MARKS[which]} {number_text(number)}</span>" for which, number in known.items()
    ]
    return (
        f'<div class="nl-statistic"><div class="head" title="{escape(statistic.definition)}">'
        f"<span>{statistic.label}</span><b>{shown}</b></div>"
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
