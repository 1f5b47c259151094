"""What callers bring in, float arrays of the right shape out, or one line that says what is wrong with them."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from safr.errors import InputError

Array = NDArray[np.float64]

ROUNDING = 1e-3  # how far, relative to its largest value, a matrix in half precision may be from symmetric
SMALLEST = 1e-290  # anything below is drawn as zero, so that dividing by a power of ten stays exact
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def finite_vector(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length,), all finite."""
    return _finite(values, (length,), name)


def fractions(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length,), each in [0, 1]; what single precision adds beyond is cut off."""
    vector = finite_vector(values, length, name=name)
    outside = (vector < -1e-5) | (vector > 1 + 1e-5)
    if outside.any():
        raise InputError(f"`{name}` must lie between 0 and 1, got {vector[outside][0]:g}; give fractions, not per cent")
    return vector.clip(0, 1)


def finite_matrix(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length, length), all finite."""
    return _finite(values, (length, length), name)


def symmetric_matrix(values: ArrayLike, length: int, *, name: str) -> Array:
    """The values as floats of shape (length, length), all finite and equal to their transpose up to rounding."""
    matrix = finite_matrix(values, length, name=name)
    if not is_symmetric(matrix):
        raise InputError(
            f"`{name}` must be symmetric, as h_i . h_j is, and is not; attention weights can be drawn by sites_panel"
        )
    return matrix


def is_symmetric(matrix: Array) -> bool:
    """Whether the matrix equals its transpose up to the rounding of half precision."""
    unit = matrix / (np.abs(matrix).max() or 1.0)  # differences of the largest floats would overflow
    return bool(np.allclose(unit, unit.T, rtol=0.0, atol=ROUNDING))


def without_diagonal(matrix: Array) -> Array:
    """A copy of the matrix whose diagonal is 0."""
    copy = matrix.copy()
    np.fill_diagonal(copy, 0.0)
    return copy


def in_readable_units(values: Array) -> tuple[Array, str]:
    """The values divided by a power of ten, and that power for the axis label.

    Labels such as 0.00002 or 31000000 are wide and hard to read, and the largest floats overflow inside matplotlib.

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


def _finite(values: ArrayLike, shape: tuple[int, ...], name: str) -> Array:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"`{name}` must hold numbers in the shape {shape}; {error}") from error
    if array.shape != shape:
        raise InputError(f"`{name}` must have the shape {shape}, one value for each word or pair, got {array.shape}")
    if not np.isfinite(array).all():
        raise InputError(f"`{name}` must be finite, got NaN or infinity; has the training diverged?")
    return array
