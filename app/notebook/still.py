"""What stands where no widget runs: a picture and the numbers, as HTML that needs no script."""

import base64
import html
from collections.abc import Mapping, Sequence
from math import isfinite

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.degeneracy import DegeneracyReport

SENTENCE = (
    "A still picture: run the notebook to point at pixels yourself. Colors are multiples of "
    "uniform attention (logits where there is no softmax) on one scale."
)


def still_html(
    picture: bytes, reports: Mapping[str, DegeneracyReport], queries: Sequence[str], name: str
) -> str:
    """Return the picture and a table of the headline statistics.

    Args:
        picture: A PNG.
        reports: By network.
        queries: What the rows of the picture are of, in words.
        name: The class of the element, by which a viewer that is alive takes its place.
    """
    heads = "".join(
        f'<th title="{html.escape(known.definition)}">{html.escape(known.label)}'
        f"{f' ({known.unit})' if known.unit else ''}</th>"
        for known in map(degeneracy.STATISTICS.__getitem__, degeneracy.HEADLINES)
    )
    rows = "".join(
        f'<tr><th style="text-align: left">{html.escape(title)}</th>'
        + "".join(
            f"<td>{_number(getattr(report, name))}<br><small>of {_number(low)} to "
            f"{_number(high)}</small></td>"
            for name in degeneracy.HEADLINES
            for low, high in [report.bounds(name)]
        )
        + f"<td style='text-align: left'>{html.escape(report.verdict)}</td></tr>"
        for title, report in reports.items()
    )
    alt = f"Attention of {', '.join(reports)} for the queries {'; '.join(queries)}"
    return (
        f'<div class="{html.escape(name)}">'
        f'<img alt="{html.escape(alt)}" style="max-width: 100%" '
        f'src="data:image/png;base64,{base64.b64encode(picture).decode()}">'
        f"<table><thead><tr><th></th>{heads}<th></th></tr></thead><tbody>{rows}</tbody></table>"
        f"<p><small>{SENTENCE}</small></p></div>"
    )


def still_text(reports: Mapping[str, DegeneracyReport]) -> str:
    """Return the headline statistics as lines of text."""
    return "\n".join(
        f"{title}: "
        + ", ".join(
            f"{name} {_number(getattr(report, name))} {degeneracy.STATISTICS[name].unit}".rstrip()
            for name in degeneracy.HEADLINES
        )
        for title, report in reports.items()
    )


def _number(value: float) -> str:
    return f"{value:.3g}" if isfinite(value) else "undefined"
