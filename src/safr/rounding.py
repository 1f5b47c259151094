"""Numbers as text, rounded in one way everywhere, so that a table, a figure and the page never differ by a digit."""

from __future__ import annotations

import math
from decimal import ROUND_HALF_UP, Decimal


def format_decimals(value: float, decimals: int) -> str:
    """Text of a number with so many decimals; what lies halfway goes away from 0, and 0 has no minus.

    It is what JavaScript's `toFixed` gives, which the explorer's page calls. Python would round to the even digit:
    81.25 to 81.2.

    >>> format_decimals(81.25, 1), format_decimals(-0.5, 0), format_decimals(-0.04, 1)
    ('81.3', '-1', '0.0')
    """
    if not math.isfinite(value):
        return str(value)
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_UP)
    return f"{rounded if rounded else abs(rounded):f}"


def format_share(share: float, decimals: int = 1) -> str:
    """Text of a share in per cent, without the sign for it.

    >>> format_share(0.8125), format_share(0.125, 0)
    ('81.3', '13')
    """
    return format_decimals(100 * share, decimals)
