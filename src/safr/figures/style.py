"""Style of all figures: fonts, palette, and a figure class that keeps the style wherever it is shown."""

import textwrap
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from typing import Any, NamedTuple

from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from safr.figures.inputs import drawable_text

TEXT_SIZE = 8.0  # points; no text is smaller
POINTS_PER_INCH = 72.0


class Shades(NamedTuple):
    """One colour on light and on dark paper."""

    light: str
    dark: str


# Okabe and Ito's colours for the colour-blind, without the yellow, which is hard to see on white paper.
RUN_SHADES = (
    Shades("#0072B2", "#56B4E9"),
    Shades("#D55E00", "#FF9448"),
    Shades("#009E73", "#3ED9AB"),
    Shades("#CC79A7", "#E6A3C6"),
    Shades("#000000", "#FFFFFF"),
    Shades("#56B4E9", "#9ED4F5"),
    Shades("#E69F00", "#FFC24D"),
)
RUN_COLOURS = tuple(shades.light for shades in RUN_SHADES)
RUN_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")  # tell the runs apart in print without colour
BAR = RUN_SHADES[0]
AGAINST = RUN_SHADES[1]  # what speaks against a class; what speaks for it has the colour of bars
POSITIVE = Shades("#B2182B", "#F4806B")
NEGATIVE = Shades("#2166AC", "#6DB3F2")
CIRCLE = Shades("#FBE6C2", "#4A3B1E")
CIRCLE_EDGE = Shades("#444444", "#D9C29A")
BAR_COLOUR = BAR.light
AGAINST_COLOUR = AGAINST.light
POSITIVE_COLOUR = POSITIVE.light
NEGATIVE_COLOUR = NEGATIVE.light

STYLE: dict[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": TEXT_SIZE,
    "axes.titlesize": TEXT_SIZE + 1,
    "axes.labelsize": TEXT_SIZE,
    "xtick.labelsize": TEXT_SIZE,
    "ytick.labelsize": TEXT_SIZE,
    "legend.fontsize": TEXT_SIZE,
    "figure.titlesize": TEXT_SIZE + 2,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.unicode_minus": True,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "text.parse_math": False,  # a word may hold dollar signs
    "svg.fonttype": "none",  # text stays text: small files, searchable, and the browser's fonts for every script
}

# matplotlib's settings and Python's warning filters belong to the whole process, and a server draws in several threads.
_style_lock = threading.RLock()
_in_our_style = ContextVar("_in_our_style", default=False)


@contextmanager
def figure_style(salt: str = "safr") -> Iterator[None]:
    """A context in which matplotlib draws in our style, whatever the user's settings, without warnings on glyphs.

    Scripts that DejaVu Sans doesn't hold show as boxes in a PNG and in the reader's own font in an SVG. Inside another
    such context it changes nothing.

    Args:
        salt: Part of the ids inside an SVG.
    """
    if _in_our_style.get():
        yield
        return
    with _style_lock, style.context(["default", STYLE | {"svg.hashsalt": salt}]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        token = _in_our_style.set(True)
        try:
            yield
        finally:
            _in_our_style.reset(token)


class StyledFigure(Figure):
    """A matplotlib figure that is always drawn in our style: in a notebook, in a viewer, by a user's `savefig`."""

    def draw(self, renderer: Any) -> None:
        """Draws the figure."""
        with figure_style():
            super().draw(renderer)

    def get_tightbbox(self, *arguments: Any, **options: Any) -> Any:
        """Box around everything drawn, in inches; notebooks call it."""
        with figure_style():
            return super().get_tightbbox(*arguments, **options)


def new_figure(width: float, height: float, *, title: str | None, caption: str, constrained: bool = True) -> Figure:
    """An empty figure with its title above and its caption below.

    Args:
        width: Inches.
        height: Inches, to which the heights of title and caption are added.
        title: Wrapped to the width.
        caption: Wrapped to the width; may be empty.
        constrained: Whether matplotlib arranges the axes around their labels.
    """
    heading = wrap_text(drawable_text(title, longest=300), width, size=TEXT_SIZE + 2) if title else ""
    caption = wrap_text(caption, width)
    figure = StyledFigure(
        figsize=(width, height + line_height(heading, TEXT_SIZE + 2) + line_height(caption)),
        layout="constrained" if constrained else None,
    )
    left = 4 / POINTS_PER_INCH / width
    if heading:
        figure.suptitle(heading, x=left, ha="left")
    if caption:
        figure.supxlabel(caption, x=left, ha="left", fontsize=TEXT_SIZE, color="#444444")
    return figure


def wrap_text(text: str, width: float, *, size: float = TEXT_SIZE) -> str:
    """The text broken into lines that fit a figure of `width` inches."""
    if not text:
        return ""
    average = text_width(text, size) / len(text)
    characters = 0.93 * width * POINTS_PER_INCH / max(average, 1.0)  # so that lines of wider letters fit too
    return "\n".join(textwrap.wrap(text, max(int(characters), 10)))


def line_height(text: str, size: float = TEXT_SIZE) -> float:
    """Height in inches of a text of one or more lines, with the space around it; 0 for an empty text."""
    return (text.count("\n") + 1.6) * 1.3 * size / POINTS_PER_INCH if text else 0.0


def widest_word(words: list[str], size: float = TEXT_SIZE) -> float:
    """Width in inches of the widest of the words."""
    return max(text_width(word, size) for word in words) / POINTS_PER_INCH


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width in points of one line of text."""
    scale = 4  # measured larger than drawn, so that rounding to pixels matters less
    with figure_style():
        renderer = RendererAgg(1, 1, POINTS_PER_INCH * scale)
        return renderer.get_text_width_height_descent(text, FontProperties(size=size), ismath=False)[0] / scale


def run_line_style(number: int) -> dict[str, Any]:
    """Line style of run `number` in every figure: its colour and, for print without colour, its marker."""
    return {
        "color": RUN_COLOURS[number % len(RUN_COLOURS)],
        "marker": RUN_MARKERS[number % len(RUN_MARKERS)],
        "markersize": 4.0,
        "linewidth": 1.4,
    }


def draw_words_below(axes: Axes, words: list[str]) -> None:
    """Writes one word under every position 0, 1, ..., reading upwards."""
    # Anchored ends keep the words at the axis in a browser whose font is narrower than ours.
    axes.set_xticks(range(len(words)), words, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.tick_params(axis="x", length=0, pad=4)
