"""Style of all figures: fonts, palette, and a figure class that keeps the style wherever it is shown."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from importlib.resources import files
from typing import Any, NamedTuple

from matplotlib import rc_params_from_file, style
from matplotlib.figure import Figure
from matplotlib.text import Text

from safr.figures.fonts import choose_fallbacks, find_missing, warn_of_missing


class Shades(NamedTuple):
    """One colour on light and on dark paper."""

    light: str
    dark: str


# The light ones are those of the style file.
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

STYLE: dict[str, Any] = dict(
    rc_params_from_file(str(files("safr.figures") / "safr.mplstyle"), use_default_template=False).items()
)
TEXT_SIZE: float = STYLE["font.size"]  # points; no text is smaller
TITLE_SIZE: float = STYLE["figure.titlesize"]

# Not in the file, because the figures of others may hold formulas and need their axes arranged. In ours a word may hold
# dollar signs, and `new_figure` says which axes are arranged.
_ONLY_OURS = {"text.parse_math": False, "figure.constrained_layout.use": False}

# matplotlib's settings and Python's warning filters belong to the whole process, and a server draws in several threads.
_style_lock = threading.RLock()
_in_our_style = ContextVar("_in_our_style", default=False)


@contextmanager
def figure_style(salt: str = "safr") -> Iterator[None]:
    """A context in which matplotlib draws in our style, whatever the user's settings, without warnings on glyphs.

    Inside another such context it changes nothing.

    Args:
        salt: Part of the ids inside an SVG.
    """
    if _in_our_style.get():
        yield
        return
    ours = STYLE | _ONLY_OURS | {"svg.hashsalt": salt}
    with _style_lock, style.context(["default", ours]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")  # we warn once, of all of them
        token = _in_our_style.set(True)
        try:
            yield
        finally:
            _in_our_style.reset(token)


class StyledFigure(Figure):
    """A matplotlib figure that is always drawn in our style: in a notebook, in a viewer, by a user's `savefig`.

    Characters that DejaVu Sans lacks are drawn in installed fonts that hold them. A warning names characters that no
    font holds; an SVG leaves them to the reader's own fonts.
    """

    def draw(self, renderer: Any) -> None:
        """Draws the figure."""
        with figure_style():
            texts = self.choose_fonts()
            super().draw(renderer)
        if self.canvas.get_default_filetype() != "svg":
            warn_of_missing(find_missing(texts))

    def savefig(self, *arguments: Any, **options: Any) -> None:
        """Saves the figure; a PDF holds its fonts as TrueType."""
        with figure_style():
            super().savefig(*arguments, **options)

    def get_tightbbox(self, *arguments: Any, **options: Any) -> Any:
        """Box around everything drawn, in inches; notebooks call it."""
        with figure_style():
            self.choose_fonts()
            return super().get_tightbbox(*arguments, **options)

    def choose_fonts(self) -> list[str]:
        """Gives every text the fonts that hold its characters, and returns the texts."""
        texts = [artist for artist in self.findobj(Text) if isinstance(artist, Text)]
        for text in texts:
            if fallbacks := choose_fallbacks(text.get_text()):
                text.set_fontfamily([*STYLE["font.family"], *fallbacks])
        return [text.get_text() for text in texts]


def run_line_style(number: int) -> dict[str, Any]:
    """Line style of run `number` in every figure: its colour and, for print without colour, its marker."""
    return {
        "color": RUN_COLOURS[number % len(RUN_COLOURS)],
        "marker": RUN_MARKERS[number % len(RUN_MARKERS)],
        "markersize": 4.0,
        "linewidth": 1.4,
    }
