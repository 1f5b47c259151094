"""Two values for every word of every text in; how far they agree in rank within each text, out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata


def rank_correlations(one: Sequence[ArrayLike], other: Sequence[ArrayLike]) -> NDArray[np.float64]:
    """Spearman's rank correlation within each text, (text,).

    Args:
        one: For every text one value per word, or per pair of words.
        other: As many other values.

    Returns:
        In [-1, 1]; 0 where one of both is constant, since it then says nothing about the other, and NaN for fewer than
        two values.

    >>> rank_correlations([[1, 2, 3], [1, 1], [5]], [[2, 4, 9], [1, 2], [5]])
    array([ 1.,  0., nan])
    """
    found = np.full(len(one), np.nan)
    for number, (first, second) in enumerate(zip(one, other, strict=True)):
        ranks = rankdata([np.asarray(first), np.asarray(second)], axis=1)
        if ranks.shape[1] > 1:
            ranks -= ranks.mean(axis=1, keepdims=True)
            size = np.sqrt(np.square(ranks).sum(axis=1).prod())
            found[number] = ranks.prod(axis=0).sum() / size if size > 0 else 0.0
    return found
