"""How much does the query matter? Selectivity in bits, cut into what the query decides or not."""

from dataclasses import dataclass
from html import escape
from math import isfinite

from nonlocal_lens.analysis.degeneracy import DegeneracyReport

SCALE_STEPS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)  # bits, where the zoomed scale may end


@dataclass(frozen=True)
class Bits:
    """How selective a block's attention is, in bits above uniform; NaN where it has no softmax."""

    unary: float  # the same from everywhere: log2 of the keys - entropy of the mean row
    query: float  # query information: entropy of the mean row - mean entropy of the rows
    possible: float  # log2 of the keys

    @property
    def selectivity(self) -> float:
        """The sum: log2 of the keys - mean entropy of the rows."""
        return self.unary + self.query

    @property
    def query_share(self) -> float:
        """How much of it depends on where one points, 0 to 1; NaN of uniform attention."""
        return self.query / self.selectivity if self.selectivity > 1e-9 else float("nan")


def bits_of(report: DegeneracyReport) -> Bits:
    """Return the two parts of a block's selectivity."""
    _, possible = report.bounds("entropy_bits")
    query = report.query_information_bits
    unary = getattr(report, "unary_bits", possible - report.entropy_bits - query)
    return Bits(max(unary, 0.0) if isfinite(unary) else unary, query, possible)


def bits_bars(found: dict[str, Bits]) -> str:
    """Return a stacked bar per network on one labelled scale, as HTML.

    Args:
        found: Name of the network -> its bits; those without a softmax are named as such.
    """
    known = [bits.selectivity for bits in found.values() if isfinite(bits.selectivity)]
    top = next((step for step in SCALE_STEPS if step >= max(known, default=0)), SCALE_STEPS[-1])
    rows = "".join(_row(name, bits, top) for name, bits in found.items())
    possible = max((bits.possible for bits in found.values()), default=0.0)
    return (
        '<div class="nl-bits"><div class="title"><b>How much does the query matter?</b>'
        '<span class="key"><i class="same"></i>the same from everywhere</span>'
        '<span class="key"><i class="query"></i>depends on where you point</span>'
        f'<span class="scale">bits above uniform, 0 to {top:g} of {possible:.1f} shown</span>'
        f"</div>{rows}</div>"
    )


def _row(name: str, bits: Bits, top: float) -> str:
    name = escape(name)
    if not isfinite(bits.selectivity):
        words = "no softmax: its weights are no distribution, and have no bits"
        return f'<div class="row"><span class="name">{name}</span><span>{words}</span></div>'
    share = bits.query_share
    said = "the same everywhere" if share != share else f"{share:.0%} depends on the query"
    words = f"{bits.selectivity:.2f} bits, {said}"
    parts = "".join(
        f'<i class="{kind}" style="width:{100 * value / top:.2f}%" title="{title}: '
        f'{value:.3f} bits"></i>'
        for kind, value, title in (
            ("same", bits.unary, "the same from everywhere"),
            ("query", bits.query, "depends on where you point (query information)"),
        )
    )
    alt = f"{name}: {bits.unary:.2f} bits the same from everywhere, {bits.query:.2f} by the query"
    return (
        f'<div class="row"><span class="name" title="{name}">{name}</span>'
        f'<div class="bar" role="img" aria-label="{alt}">{parts}</div><span>{words}</span></div>'
    )
