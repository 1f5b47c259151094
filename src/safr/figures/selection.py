"""More words than fit in a figure in, the positions of those to draw and a line that owns up to it out."""

import numpy as np
from numpy.typing import NDArray

from safr.figures.arrays import Array

Positions = NDArray[np.intp]


def top_positions(scores: Array, most: int) -> Positions:
    """Positions of the `most` highest scores, in text order; of equal scores the earlier one stays.

    >>> top_positions(np.array([0.1, 0.9, 0.5, 0.9]), 2)
    array([1, 3])
    """
    return np.sort(np.argsort(-scores, kind="stable")[:most])


def capacity_of_interference(interference: Array) -> Array:
    """Capacity in [0, 1] of each word, shape (word,), from the matrix h_i . h_j with the squared norms on its diagonal.

    The diagonal squared over the sum of the squared row (SAFR, Chang et al. 2025, eq. 3); 0 for an empty row.
    """
    squared = np.square(interference / (np.abs(interference).max() or 1.0))  # unit size: no overflow
    total = squared.sum(axis=1)
    return np.divide(squared.diagonal(), total, out=np.zeros(len(total)), where=total > 0)


def selection_note(shown: int, total: int, reason: str) -> str:
    """The caption's words about what was left out, or nothing if nothing was.

    >>> selection_note(24, 180, "those with the highest capacity")
    '24 of 180 words: those with the highest capacity.'
    """
    return "" if shown == total else f"{shown} of {total} words: {reason}."
