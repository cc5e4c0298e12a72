"""One panel as a figure of its own, to be arranged and labeled elsewhere.

It has no word but of what lies off the picture, which is a part of what a map shows.
"""

from nonlocal_lens.analysis.figures.drawing import draw_backdrop, draw_marks, draw_picture, frame
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.layout import Box
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.panels import Image, MapPanel, Panel
from nonlocal_lens.analysis.figures.plate import Ranges
from nonlocal_lens.analysis.figures.scales import own_norm
from nonlocal_lens.analysis.figures.token_lines import draw_token_lines, lines_height, token_lines


def panel_figure(
    panel: Panel, ranges: Ranges, look: Look, image: Image, width_in: float
) -> PrintFigure:
    """Draw a panel that fills its figure.

    Args:
        panel: What to draw.
        ranges: The color range of every quantity, as in a grid of panels.
        look: How it looks.
        image: The photograph, for the backdrop and the figure's shape.
        width_in: Of the figure, inches, rounded to whole pixels.
    """
    width = max(1, round(width_in * look.dpi))
    height = max(1, round(width * image.shape[0] / image.shape[1]))
    below = round(lines_height(token_lines([panel]), look.sheet.font_size / 72) * look.dpi)
    size = width / look.dpi, (height + below) / look.dpi
    figure = PrintFigure(figsize=size, dpi=look.dpi, facecolor=look.sheet.ground)
    ax = figure.add_axes((0, below / (height + below), 1, height / (height + below)))
    norm = None
    if isinstance(panel, MapPanel):
        draw_backdrop(ax, image, look, (width, height))
        norm = ranges[panel.quantity].norm or own_norm(panel)
    draw_picture(ax, panel, norm, look, (width, height))
    ax.set_aspect("auto")
    frame(ax, (image.shape[0], image.shape[1]))
    draw_marks(ax, panel, look)
    draw_token_lines(figure, size, Box(0, height / look.dpi, size[0], 0.0), panel, norm, look)
    return figure
