"""Every colour of the pictures, for white paper and, on a screen, for a dark page.

Positive and negative are the ends of ColorBrewer's RdBu, which the colour-blind tell apart.
"""

from typing import NamedTuple


class Shades(NamedTuple):
    """One colour in two lights."""

    light: str
    dark: str


# Okabe and Ito's colours for the colour-blind, without the yellow that white paper swallows.
RUN_SHADES = (
    Shades("#0072B2", "#56B4E9"),
    Shades("#D55E00", "#FF9448"),
    Shades("#009E73", "#3ED9AB"),
    Shades("#CC79A7", "#E6A3C6"),
    Shades("#000000", "#FFFFFF"),
    Shades("#56B4E9", "#9ED4F5"),
    Shades("#E69F00", "#FFC24D"),
)
BAR = RUN_SHADES[0]
POSITIVE = Shades("#B2182B", "#F4806B")
NEGATIVE = Shades("#2166AC", "#6DB3F2")
CIRCLE = Shades("#FBE6C2", "#4A3B1E")
CIRCLE_EDGE = Shades("#444444", "#D9C29A")

RUN_COLOURS = tuple(each.light for each in RUN_SHADES)
BAR_COLOUR = BAR.light
POSITIVE_COLOUR = POSITIVE.light
NEGATIVE_COLOUR = NEGATIVE.light
