"""The formulas in exact arithmetic, and the numbers at the ends of each type."""

from fractions import Fraction
from math import isqrt

import torch

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def boundary_values(dtype):
    """0, both signs, the smallest numbers, 1, large ones, and the largest."""
    info = torch.finfo(dtype)
    some = [0.0, -0.0, info.smallest_normal * info.eps, info.tiny, 1e-3, 1.0, -3.0, info.max**0.5, info.max]
    if dtype is not torch.float16:
        some += [1e20, 1e-20, 1e-25]
    return some


def exact_rows(vectors):
    return [[Fraction(value) for value in row] for row in vectors.double().tolist()]


def dot(one, other):
    return sum((a * b for a, b in zip(one, other, strict=True)), Fraction(0))


def exact_interference(vectors):
    rows = exact_rows(vectors)
    return [[dot(one, other) for other in rows] for one in rows]


def exact_polysemanticity(vectors):
    overlap = exact_interference(vectors)
    return [
        sum((value**2 for j, value in enumerate(row) if j != i), Fraction(0)) / row[i] if row[i] else Fraction(0)
        for i, row in enumerate(overlap)
    ]


def exact_capacity(vectors):
    overlap = exact_interference(vectors)
    return [
        row[i] ** 2 / sum((value**2 for value in row), Fraction(0)) if row[i] else Fraction(0)
        for i, row in enumerate(overlap)
    ]


def exact_root(value):
    """To about 100 bits."""
    if not value:
        return Fraction(0)
    shift = max(0, 200 - value.numerator.bit_length() + value.denominator.bit_length())
    shift += shift % 2
    return Fraction(isqrt((value.numerator << shift) // value.denominator), 1 << (shift // 2))


def exact_importance(vectors, scale_free):
    if scale_free:
        own = exact_interference(vectors)
        each = [1 - c if own[i][i] else Fraction(0) for i, c in enumerate(exact_capacity(vectors))]
    else:
        each = [exact_root(p / vectors.shape[1]) for p in exact_polysemanticity(vectors)]
    return sum(each, Fraction(0)) / max(len(each), 1)


def exact_normalized(vectors):
    rows = exact_rows(vectors)
    return [[value / exact_root(dot(row, row)) if any(row) else value for value in row] for row in rows]
