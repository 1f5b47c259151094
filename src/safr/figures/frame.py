"""Frame of every figure: its width on paper, the title and the key above, and the caption below."""

import math
import textwrap
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from safr.errors import InputError
from safr.figures.fonts import choose_fallbacks
from safr.figures.inputs import LONGEST_NAME, drawable_text
from safr.figures.style import STYLE, TEXT_SIZE, TITLE_SIZE, StyledFigure, figure_style, run_line_style

POINTS_PER_INCH = 72.0

Width = Literal["column", "page"] | float
"""Width of a figure: of a column or of the text of a paper, or points of 1/72 inch."""

Key = Sequence[tuple[str, Line2D | Patch]]
"""The name of each thing that is drawn, and a line or patch that looks like it."""

# Source: acl.sty of the ACL's conferences, 7.7 and 16 cm. LaTeX's own points are 1/72.27 inch: 219.1 and 455.2.
WIDTHS = {"column": 218.0, "page": 453.0}
_NARROWEST, _WIDEST = 150.0, 2000.0

WORD_PITCH = 9.6  # points from word to word: a line of 8 point text and hardly any space
MARGIN = 4.0  # points around the text of a figure
_LINE = 1.3  # height of a line of text, relative to its size
_HANDLE = 2.5 * TEXT_SIZE  # points: the symbol of a key
_KEY_SPACE = 2.0 * TEXT_SIZE  # points between the columns of a key


def resolve_width(width: Width) -> float:
    """Width of a figure in points.

    >>> resolve_width("column"), resolve_width(300)
    (218.0, 300.0)

    Raises:
        InputError: It is neither "column" nor "page", nor a number from 150 to 2000.
    """
    if isinstance(width, str) and width in WIDTHS:
        return WIDTHS[width]
    if isinstance(width, str | bool) or not _NARROWEST <= width <= _WIDEST:
        raise InputError(
            f'`width` must be "column", "page" or {_NARROWEST:.0f} to {_WIDEST:.0f} points, got {width!r}; '
            "an inch has 72 points"
        )
    return float(width)


def new_figure(
    width: float,
    height: float,
    *,
    title: str | None,
    caption: str,
    key: Key = (),
    arranged: bool = True,
) -> Figure:
    """An empty figure with its title and its key above and its caption below.

    Args:
        width: Points.
        height: Points, to which the heights of title, key and caption are added.
        title: Wrapped to the width.
        caption: Wrapped to the width; may be empty.
        key: Name and look of what is drawn, in rows that fit the width.
        arranged: Whether matplotlib arranges the axes around their labels; else `add_axes_at` places them.
    """
    heading = wrap_text(drawable_text(title, longest=300), width, size=TITLE_SIZE) if title else ""
    caption = wrap_text(caption, width)
    columns, names = _arrange_key([name for name, _ in key], width)
    key_lines = sum(
        max(name.count("\n") + 1 for name in names[row : row + columns]) for row in range(0, len(names), columns)
    )
    key_height = key_lines * 1.15 * _LINE * TEXT_SIZE
    above, below = line_height(heading, TITLE_SIZE) + key_height, line_height(caption)
    total = above + height + below
    engine = ConstrainedLayoutEngine(rect=(0.0, below / total, 1.0, height / total)) if arranged else None
    figure = StyledFigure(figsize=(width / POINTS_PER_INCH, total / POINTS_PER_INCH), layout=engine)
    left = MARGIN / width
    if heading:
        figure.suptitle(heading, x=left, y=1 - MARGIN / total, ha="left", va="top")
    if key:
        place = (left, 1 - (above - key_height) / total)
        options: dict[str, Any] = {"borderpad": 0, "borderaxespad": 0, "handlelength": 2.5, "labelspacing": 0.35}
        figure.legend(
            [look for _, look in key], names, loc="upper left", bbox_to_anchor=place, ncols=columns, **options
        )
    if caption:
        figure.supxlabel(caption, x=left, y=MARGIN / total, ha="left", va="bottom", fontsize=TEXT_SIZE, color="#444444")
    return figure


def make_runs_key(runs: Iterable[str]) -> Key:
    """The key of a figure that shows several runs, given by name."""
    return [
        (drawable_text(run, longest=LONGEST_NAME), Line2D([], [], **run_line_style(number)))
        for number, run in enumerate(runs)
    ]


def add_axes_at(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Axes at a place in points, counted from the left and from the caption upwards."""
    full_width, full_height = POINTS_PER_INCH * figure.get_size_inches()
    bottom += line_height(figure.get_supxlabel() or "")
    return figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))


def _arrange_key(names: list[str], width: float) -> tuple[int, list[str]]:
    """How many columns a key has, and its names, wrapped where one alone is too wide."""
    if not names:
        return 1, []
    symbol = _HANDLE + TEXT_SIZE
    columns = int((width - 2 * MARGIN + _KEY_SPACE) // (widest_word(names) + symbol + _KEY_SPACE))
    if columns >= 1:
        return min(columns, len(names)), names
    return 1, [wrap_text(name, width - symbol - 2 * MARGIN) for name in names]


def wrap_text(text: str, width: float, *, size: float = TEXT_SIZE) -> str:
    """The text broken into lines that fit a figure of `width` points."""
    if not text:
        return ""
    average = text_width(text, size) / len(text)
    characters = 0.93 * (width - 2 * MARGIN) / max(average, 1.0)  # so that lines of wider letters fit too
    return "\n".join(textwrap.wrap(text, max(int(characters), 10)))


def cut_word(word: str, room: float) -> str:
    """The word, or as much of it as fits `room` points, with an ellipsis."""
    shown = word
    while text_width(shown) > room and len(word) > 1:
        word = word[:-1]
        shown = word.rstrip() + "…"
    return shown


def line_height(text: str, size: float = TEXT_SIZE) -> float:
    """Height in points of a text of one or more lines, with the space around it; 0 for an empty text."""
    return (text.count("\n") + 1.6) * _LINE * size if text else 0.0


def widest_word(words: Sequence[str], size: float = TEXT_SIZE) -> float:
    """Width in points of the widest of the words."""
    return max(text_width(word, size) for word in words)


@lru_cache(maxsize=4096)
def text_width(text: str, size: float = TEXT_SIZE) -> float:
    """Width in points of one line of text."""
    scale = 4  # measured larger than drawn, so that rounding to pixels matters less
    with figure_style():
        renderer = RendererAgg(1, 1, POINTS_PER_INCH * scale)
        font = FontProperties(family=[*STYLE["font.family"], *choose_fallbacks(text)], size=size)
        return renderer.get_text_width_height_descent(text, font, ismath=False)[0] / scale


def split_rows(count: int, most: int) -> list[slice]:
    """Rows of as equal lengths as can be, of at most `most` things each, the longest first.

    >>> split_rows(5, 3)
    [slice(0, 3, None), slice(3, 5, None)]
    """
    length = math.ceil(count / math.ceil(count / most))
    return [slice(start, min(start + length, count)) for start in range(0, count, length)]


def draw_words_below(axes: Axes, words: list[str], *, pitch: float) -> None:
    """Writes one word under every position 0, 1, ...: level if all fit between `pitch` points, else reading upwards."""
    if _fit_level(words, pitch):
        axes.set_xticks(range(len(words)), words)
    else:
        # Anchored ends keep the words at the axis in a browser whose font is narrower than ours.
        axes.set_xticks(range(len(words)), words, rotation=90, rotation_mode="anchor", ha="right", va="center")
    axes.tick_params(axis="x", length=0, pad=4)


def words_height(words: list[str], *, pitch: float) -> float:
    """Height in points of the words that `draw_words_below` writes, with the space around them."""
    return 1.5 * TEXT_SIZE if _fit_level(words, pitch) else widest_word(words) + TEXT_SIZE


def _fit_level(words: list[str], pitch: float) -> bool:
    return widest_word(words) + TEXT_SIZE <= pitch
