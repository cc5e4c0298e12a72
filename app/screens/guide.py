"""Guide: what to look for, in ten pictures that open live, and what every number means."""

from html import escape

import streamlit as st

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.statistics.statistic import Statistic
from nonlocal_lens.app.guide import SIGHTS, Sight

DIRECTIONS = {
    "low": "The lower, the more degenerate.",
    "high": "The higher, the more degenerate.",
    "either": "Says nothing of degeneracy by itself.",
}


def guide() -> None:
    """Draw the page from top to bottom."""
    st.html(
        '<div class="nl-title"><h2>Guide</h2><p>What to look for, in ten pictures; each opens '
        "live. Below: what every number means.</p></div>"
    )
    for start in range(0, len(SIGHTS), 2):
        for number, column in enumerate(st.columns(2, gap="large"), start):
            with column:
                show_sight(number + 1, SIGHTS[number])
    st.html(f'<div class="nl-guide"><h3>Every number</h3>{"".join(map(entry, STATISTICS))}</div>')


def show_sight(number: int, sight: Sight) -> None:
    """Show one sight: its title, its picture, what it means, and a link to it."""
    st.html(f'<div class="nl-sight"><h3>{number}. {escape(sight.title)}</h3></div>')
    st.image(str(sight.picture), alt=sight.title, width="stretch")
    st.html(
        f'<div class="nl-sight"><p>{escape(sight.words)} <a href="{escape(sight.link)}" '
        'target="_self">Open it live</a></p></div>'
    )


def entry(name: str) -> str:
    """Return what there is to know of a statistic, as HTML that an address can point at."""
    known: Statistic = STATISTICS[name]
    plain = f"<p>{escape(known.plain)}</p>" if known.plain else ""
    unit = f" ({escape(known.unit)})" if known.unit else ""
    return (
        f'<div id="{name}"><h4>{escape(known.label)}{unit}</h4>{plain}'
        f'<p class="small">{escape(known.definition)} {DIRECTIONS[known.degenerate]} '
        f"{escape(known.source)}</p></div>"
    )


guide()
