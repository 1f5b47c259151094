"""The formulas in exact arithmetic, and the numbers at the ends of each type."""

import contextlib
from decimal import Decimal, localcontext
from fractions import Fraction
from math import isqrt

import jaxtyping
import torch

DTYPES = [torch.float16, torch.bfloat16, torch.float32, torch.float64]


def boundary_values(dtype):
    """0, both signs, the smallest numbers, 1, large ones, and the largest."""
    info = torch.finfo(dtype)
    some = [0.0, -0.0, info.smallest_normal * info.eps, info.tiny, 1e-3, 1.0, -3.0, info.max**0.5, info.max]
    if dtype is not torch.float16:
        some += [1e20, 1e-20, 1e-25]
    return some


def boundary_shares(dtype):
    """0, the smallest numbers, the largest below 1, and 1: what probabilities and attention weights may be."""
    info = torch.finfo(dtype)
    return [0.0, info.smallest_normal * info.eps, info.tiny, info.eps, 1e-3, 0.5, 1 - info.eps / 2, 1.0]


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


def exact_weighted_importance(vectors, weights):
    """Scale-free, with a weight for each token."""
    own = exact_interference(vectors)
    each = [1 - c if own[i][i] else Fraction(0) for i, c in enumerate(exact_capacity(vectors))]
    return sum((w * share for w, share in zip(exact_rows(weights[None])[0], each, strict=True)), Fraction(0)) / len(
        each
    )


def exact_interaction(attention, exclude_self):
    """Of one head of one text, all of whose pairs are visible."""
    rows, overlap = exact_rows(attention), exact_interference(attention)
    pairs = [
        weight * (1 - (0 if exclude_self and i == j else overlap[i][j]))
        for i, row in enumerate(rows)
        for j, weight in enumerate(row)
    ]
    return sum(pairs, Fraction(0)) / len(pairs)


def exact_information(keep):
    """Of one text, to about 50 digits."""
    with localcontext(prec=400):
        # 400 digits hold 1 - r of every r that is a number of some type.
        shares = [part for r in keep.double().tolist() for part in (Decimal(r), 1 - Decimal(r)) if part]
        with localcontext(prec=50):
            return Fraction(sum((part * part.ln() for part in shares), Decimal(0)) / len(keep))


@contextlib.contextmanager
def jaxtyping_off():
    """As a user has it."""
    jaxtyping.config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        jaxtyping.config.update("jaxtyping_disable", False)
