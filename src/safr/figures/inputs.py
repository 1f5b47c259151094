"""Checks the inputs of figures: float arrays of the right shape, and words that can be drawn."""

import math
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from safr.errors import InputError

Array = NDArray[np.float64]
Positions = NDArray[np.intp]
Mask = NDArray[np.bool_]

ROUNDING = 1e-3  # largest asymmetry of a matrix in half precision, relative to its largest value
SMALLEST = 1e-290  # anything below is drawn as zero, so that dividing by a power of ten stays exact
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
LONGEST_WORD = 18  # characters, the ellipsis included
LONGEST_NAME = 40  # characters of the name of a run or site
REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
NOTHING_TO_SEE = "\N{OPEN BOX}"
UNKNOWN_MARK = "†"
"""Stands behind a word that is unknown to the tokenizer."""


def finite_vector(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length,), all finite."""
    return _check_finite(values, (length,), name)


def fractions(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length,), in [0, 1]; rounding errors beyond the limits are clipped."""
    vector = finite_vector(values, length, name=name)
    outside = (vector < -1e-5) | (vector > 1 + 1e-5)
    if outside.any():
        raise InputError(f"`{name}` must lie between 0 and 1, got {vector[outside][0]:g}; give fractions, not per cent")
    return vector.clip(0, 1)


def finite_matrix(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length, length), all finite."""
    return _check_finite(values, (length, length), name)


def symmetric_matrix(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length, length), all finite and equal to their transpose up to rounding."""
    matrix = finite_matrix(values, length, name=name)
    if not is_symmetric(matrix):
        raise InputError(f"`{name}` must be symmetric, as h_i . h_j is; draw attention weights by sites_panel")
    return matrix


def is_symmetric(matrix: Array) -> bool:
    """Whether the matrix equals its transpose up to the rounding of half precision."""
    unit = matrix / (np.abs(matrix).max() or 1.0)  # without it, differences of the largest floats would overflow
    return bool(np.allclose(unit, unit.T, rtol=0.0, atol=ROUNDING))


def without_diagonal(matrix: Array) -> Array:
    """A copy of the matrix whose diagonal is 0."""
    copy = matrix.copy()
    np.fill_diagonal(copy, 0.0)
    return copy


def in_readable_units(values: Array) -> tuple[Array, str]:
    """The values divided by a power of ten, and that power as text for the axis label.

    Without it, labels such as 0.00002 or 31000000 are hard to read, and the largest floats overflow in matplotlib.

    >>> in_readable_units(np.array([2e-5, 1e-5]))
    (array([2., 1.]), ' (×10⁻⁵)')
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest < SMALLEST:
        return np.zeros_like(values), ""
    if 1e-2 <= largest < 1e4:
        return values, ""
    exponent = math.floor(math.log10(largest))
    return values / 10.0**exponent, f" (×10{str(exponent).translate(SUPERSCRIPTS)})"


def drawable_words(words: Sequence[str]) -> list[str]:
    """The words as they are drawn; repeated words stay separate.

    Raises:
        InputError: There is no word, or `words` is one string instead of a list of words.
    """
    if isinstance(words, str):
        raise InputError("`words` must be a list of words, got one string; try text.split()")
    if len(words) == 0:
        raise InputError("`words` must hold at least one word, got none; leave this figure out for an empty text")
    return [drawable_text(word) for word in words]


def drawable_text(text: str, *, longest: int = LONGEST_WORD) -> str:
    """One line of text that is safe in SVG and PNG, cut to `longest` characters with an ellipsis.

    Characters that XML forbids are replaced, white space becomes one blank, and an empty text becomes an open box.

    >>> drawable_text("antidisestablishmentarianism")
    'antidisestablishm…'
    """
    line = "".join(_replace_unsafe(character) for character in " ".join(text.split()))
    if len(line) > longest:
        line = line[: longest - 1].rstrip() + "…"
    return line or NOTHING_TO_SEE


def unknown_mask(unknown: Sequence[bool], length: int) -> Mask:
    """Whether each word is unknown to the tokenizer, shape (length,); without values none is."""
    if len(unknown) not in (0, length):
        raise InputError(f"`unknown` must hold one value for each of {length} words, got {len(unknown)}")
    return np.array(unknown, dtype=bool) if len(unknown) else np.zeros(length, dtype=bool)


def mark_unknown(words: Sequence[str], unknown: Mask) -> list[str]:
    """The words with a mark behind the unknown ones.

    >>> mark_unknown(["a", "Film"], np.array([False, True]))
    ['a', 'Film†']
    """
    return [word + UNKNOWN_MARK * bool(is_unknown) for word, is_unknown in zip(words, unknown, strict=True)]


def unknown_pairs(unknown: Mask) -> Mask:
    """Whether both words of a pair are unknown, shape (word, word), False on the diagonal.

    To the model they are one and the same word, so what they share is the vocabulary's doing and not the model's.
    """
    pairs = np.logical_and.outer(unknown, unknown)
    np.fill_diagonal(pairs, False)
    return pairs


def unknown_note(unknown: Mask, look: str) -> str:
    """Caption about unknown words, empty if there are none.

    Args:
        unknown: Whether each word of the figure is unknown.
        look: What tells two of them apart from other words, as a sentence; left out where there is one.
    """
    note = f"{UNKNOWN_MARK} unknown to the tokenizer: the model reads all such words as one and the same."
    return "" if not unknown.any() else f"{note} {look}" if unknown.sum() > 1 else note


def top_positions(scores: Array, most: int) -> Positions:
    """Positions of the `most` highest scores, in text order; of equal scores the earlier one is kept.

    >>> top_positions(np.array([0.1, 0.9, 0.5, 0.9]), 2)
    array([1, 3])
    """
    return np.sort(np.argsort(-scores, kind="stable")[:most])


def capacity_of_interference(interference: Array) -> Array:
    """Capacity of the words, in [0, 1], shape (word,), from the matrix h_i . h_j with squared norms on its diagonal.

    The squared diagonal divided by the sum of the squared row (SAFR, Chang et al. 2025, eq. 3); 0 for a row of zeros.
    """
    squared = np.square(interference / (np.abs(interference).max() or 1.0))  # scaled so that squares do not overflow
    total = squared.sum(axis=1)
    return np.divide(squared.diagonal(), total, out=np.zeros(len(total)), where=total > 0)


def selection_note(shown: int, total: int, reason: str) -> str:
    """Caption about the words that were left out, empty if none were.

    >>> selection_note(24, 180, "those with the highest capacity")
    '24 of 180 words: those with the highest capacity.'
    """
    return "" if shown == total else f"{shown} of {total} words: {reason}."


def _check_finite(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` must hold numbers in the shape {shape}; {error}") from error
    if array.shape != shape:
        raise InputError(f"`{name}` must have the shape {shape}, one value for each word or pair, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"`{name}` must be finite, got NaN or infinity; has the training diverged?")
    return array


def _replace_unsafe(character: str) -> str:
    """The character itself, or the replacement character for control characters, surrogates and non-characters."""
    is_noncharacter = ord(character) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(character) <= 0xFDEF
    return REPLACEMENT if is_noncharacter or unicodedata.category(character) in {"Cc", "Cs"} else character
