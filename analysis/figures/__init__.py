"""Figures fit for print: the papers' layouts, with matplotlib."""

from analysis.figures.files import figure_bytes as figure_bytes
from analysis.figures.files import read_note as read_note
from analysis.figures.look import Look as Look
from analysis.figures.paper import attention_figure as attention_figure
from analysis.figures.scales import Scale as Scale
