"""Key of the allocation graph: what the size of a circle, the colour of a line and its length mean."""

from collections.abc import Callable
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import Circle

from safr.figures.frame import MARGIN, text_width
from safr.figures.style import CIRCLE, CIRCLE_EDGE, NEGATIVE_COLOUR, POSITIVE_COLOUR, TEXT_SIZE

CIRCLE_LOOK: dict[str, Any] = {"facecolor": CIRCLE.light, "edgecolor": CIRCLE_EDGE.light, "linewidth": 0.8}
KEY_CAPACITIES = (1.0, 0.5, 0.1)
_LINE_WIDTH = 24.0  # points
_SPACE = 5.0  # points between a symbol and its words
_BETWEEN = 14.0  # points between two entries
_LINE_HEIGHT = 1.5 * TEXT_SIZE


class KeyEntry(NamedTuple):
    """A symbol and its words."""

    words: str
    symbol: Callable[[Axes, float, float], object] | None
    """Draws the symbol from a left end, around a height, in points; None where words stand alone."""
    width: float
    """Width of the symbol in points."""
    height: float


def choose_line_style(*, positive: bool) -> dict[str, Any]:
    """Look of a line of positive or of negative interference."""
    if positive:
        return {"color": POSITIVE_COLOUR, "linestyle": "-"}
    return {"color": NEGATIVE_COLOUR, "linestyle": (0, (3, 1.6))}


def list_entries(radius_of_one: float, *, positive: bool, negative: bool) -> list[KeyEntry]:
    """Entries of the key of what is drawn.

    Args:
        radius_of_one: Points of the radius of a circle of capacity 1.
        positive: Whether a line of positive interference is drawn.
        negative: Whether a line of negative interference is drawn.
    """
    entries = [KeyEntry("circle area: capacity", None, 0.0, _LINE_HEIGHT)]
    entries += [_make_circle(capacity, radius_of_one * capacity**0.5) for capacity in KEY_CAPACITIES]
    entries += [_make_line("positive interference", is_positive=True)] * positive
    entries += [_make_line("negative interference", is_positive=False)] * negative
    if positive or negative:
        entries.append(KeyEntry("shorter and thicker: stronger", None, 0.0, _LINE_HEIGHT))
    return entries


def arrange_entries(entries: list[KeyEntry], width: float) -> list[list[KeyEntry]]:
    """The entries in rows that fit a width in points."""
    rows: list[list[KeyEntry]] = [[]]
    for entry in entries:
        if rows[-1] and sum(map(_entry_width, [*rows[-1], entry])) - _BETWEEN > width - 2 * MARGIN:
            rows.append([])
        rows[-1].append(entry)
    return rows


def rows_height(rows: list[list[KeyEntry]]) -> float:
    """Height of the rows in points."""
    return sum(max(entry.height for entry in row) for row in rows)


def draw_key(axes: Axes, rows: list[list[KeyEntry]]) -> None:
    """Draws the rows from the top left of axes whose unit is a point."""
    top = axes.get_ylim()[1]
    for row in rows:
        height, left = max(entry.height for entry in row), axes.get_xlim()[0] + MARGIN
        middle = top - height / 2
        for entry in row:
            if entry.symbol is not None:
                entry.symbol(axes, left, middle)
            start = left + entry.width + (_SPACE if entry.symbol else 0.0)
            axes.text(start, middle, entry.words, va="center_baseline")
            left += _entry_width(entry)
        top -= height


def _entry_width(entry: KeyEntry) -> float:
    return entry.width + (_SPACE if entry.symbol else 0.0) + text_width(entry.words) + _BETWEEN


def _make_circle(capacity: float, radius: float) -> KeyEntry:
    def draw(axes: Axes, left: float, middle: float) -> object:
        return axes.add_patch(Circle((left + radius, middle), radius, **CIRCLE_LOOK))

    return KeyEntry(f"{capacity:g}", draw, 2 * radius, max(2 * radius + 4, _LINE_HEIGHT))


def _make_line(words: str, *, is_positive: bool) -> KeyEntry:
    def draw(axes: Axes, left: float, middle: float) -> object:
        style = choose_line_style(positive=is_positive)
        return axes.plot([left, left + _LINE_WIDTH], [middle, middle], linewidth=1.6, **style)

    return KeyEntry(words, draw, _LINE_WIDTH, _LINE_HEIGHT)
