"""One panel as a figure of its own, without a word: to be arranged and labeled elsewhere."""

from analysis.figures.drawing import draw_backdrop, draw_marks, draw_picture, frame
from analysis.figures.files import PrintFigure
from analysis.figures.look import Look
from analysis.figures.panels import Image, MapPanel, Panel
from analysis.figures.plate import Ranges
from analysis.figures.scales import own_norm


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
    figure = PrintFigure(
        figsize=(width / look.dpi, height / look.dpi), dpi=look.dpi, facecolor=look.sheet.ground
    )
    ax = figure.add_axes((0, 0, 1, 1))
    norm = None
    if isinstance(panel, MapPanel):
        draw_backdrop(ax, image, look, (width, height))
        norm = ranges[panel.quantity].norm or own_norm(panel)
    draw_picture(ax, panel, norm, look, (width, height))
    ax.set_aspect("auto")
    frame(ax, (image.shape[0], image.shape[1]))
    draw_marks(ax, panel, look)
    return figure
