"""Figures fit for print: the papers' layouts, with matplotlib."""

from nonlocal_lens.analysis.figures.files import figure_bytes as figure_bytes
from nonlocal_lens.analysis.figures.files import read_note as read_note
from nonlocal_lens.analysis.figures.look import Look as Look
from nonlocal_lens.analysis.figures.paper import attention_figure as attention_figure
from nonlocal_lens.analysis.figures.scales import Scale as Scale
