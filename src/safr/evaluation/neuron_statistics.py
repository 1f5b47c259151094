"""Sums over a data set's activations, gathered batch by batch, from which measures of its neurons are exact.

An activation is what a neuron gives for a token after ReLU: values below 0 count as 0. The output of a GELU is positive
for the same inputs as that of a ReLU, so that a neuron is active for the same tokens.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from scipy.special import entr
from torch import Tensor

from safr.errors import InputError

_NO_PAIR = 1e-12
"""Share of a neuron's squared total below which the weight of its pairs of tokens is a rounding error."""


class NeuronStatistics:
    """Sums over a data set from which the measures of its neurons are exact, gathered batch by batch.

    In memory are one number for every neuron and distinct word, and with vectors one for every neuron and dimension;
    never an activation of an earlier batch. The batches' order and sizes change nothing but rounding. Sums are taken in
    float64, of activations above the neuron's lowest so far, so that nothing large cancels.
    """

    def __init__(self) -> None:
        self.tokens = 0
        """Number of tokens so far."""
        self.lowest: Float[np.ndarray, " neuron"] = np.zeros(0)
        """The lowest activation of each neuron so far, (neuron,)."""
        self.highest: Float[np.ndarray, " neuron"] = np.zeros(0)
        """The highest activation of each neuron so far, (neuron,); 0 where it was never active."""
        self._row_of_word: dict[Any, int] = {}
        self._counts = np.zeros(0)
        self._by_word = np.zeros((0, 0))
        self._squares = np.zeros(0)
        self._active = np.zeros(0)
        self._has_vectors = False
        self._vector_sum = np.zeros(0)
        self._by_dimension = np.zeros((0, 0))
        self._token_sparsity, self._active_tokens = 0.0, 0

    def update(
        self, activations: ArrayLike | Tensor, words: ArrayLike | Tensor, *, vectors: ArrayLike | Tensor | None = None
    ) -> None:
        """Take a batch of tokens.

        Args:
            activations: (token, neuron), at any site.
            words: (token,), which word each token is: its id, or the word itself.
            vectors: (token, dimension), what an independent encoder makes of each token. Their cosines are then the
                similarities of the monosemanticity score. Either every batch has them, or none.

        Raises:
            InputError: A shape is not the one above or not that of the batches before, there is no token, or a number
                is NaN or infinite.
        """
        values, identities = rectify_activations(activations), read_identities(words, "words", activations)
        units = None if vectors is None else _read_units(vectors, len(values))
        if not self.tokens:
            self.lowest, self.highest = values.min(axis=0), np.zeros(values.shape[1])
            self._by_word = np.zeros((0, values.shape[1]))
            self._squares, self._active = np.zeros(values.shape[1]), np.zeros(values.shape[1])
        elif values.shape[1] != len(self.lowest):
            raise InputError(f"expected {len(self.lowest)} neurons as in the batches before, got {values.shape[1]}")
        self._make_room_for_vectors(units, values.shape[1])
        self._lower_the_lowest(np.minimum(self.lowest, values.min(axis=0)))
        above = values - self.lowest  # (token, neuron)
        rows = self._find_rows(identities)
        one_hot = csr_array((np.ones(len(rows)), (rows, np.arange(len(rows)))), (len(self._counts), len(rows)))
        self._by_word += one_hot @ above
        self._counts += np.bincount(rows, minlength=len(self._counts))
        if units is not None:
            self._by_dimension += units.T @ above
            self._vector_sum += units.sum(axis=0)
        self._squares += np.square(above).sum(axis=0)
        self._active += np.count_nonzero(values, axis=0)
        self.highest = np.maximum(self.highest, values.max(axis=0))
        self.tokens += len(values)
        if values.shape[1] > 1:
            sparsity = compute_hoyer(values.sum(axis=1), np.square(values).sum(axis=1), values.shape[1])
            self._token_sparsity += float(np.nansum(sparsity))
            self._active_tokens += int(np.count_nonzero(~np.isnan(sparsity)))

    def monosemanticity_score(self) -> Float[np.ndarray, " neuron"]:
        """See `safr.evaluation.monosemanticity.monosemanticity_score`."""
        self._check_pairs()
        sums = self._by_dimension if self._has_vectors else self._by_word
        total = np.square(self._by_word.sum(axis=0))
        pairs = total - self._squares  # twice the sum over pairs of a_n a_m, before the scaling that cancels here
        similar = np.square(sums).sum(axis=0) - self._squares
        there = pairs > _NO_PAIR * total
        return np.divide(similar, pairs, out=np.full(len(pairs), np.nan), where=there)

    def mean_similarity(self) -> float:
        """Mean similarity of all pairs of tokens: exactly what the score of any neuron is by chance.

        It is the score's mean over all permutations of the tokens among the activations. With words it is the
        probability that two tokens drawn at random are the same word.
        """
        self._check_pairs()
        squared = np.square(self._vector_sum if self._has_vectors else self._counts).sum()
        return float((squared - self.tokens) / (self.tokens * (self.tokens - 1)))

    def token_entropy(self, *, normalized: bool = False) -> Float[np.ndarray, " neuron"]:
        """See `safr.evaluation.monosemanticity.token_entropy`."""
        self._check_pairs()
        by_word = self._by_word + self._counts[:, None] * self.lowest  # (word, neuron)
        total = by_word.sum(axis=0)
        shares = np.divide(by_word, total, out=np.full(by_word.shape, np.nan), where=total > 0)
        entropy = entr(shares).sum(axis=0) / np.log(2)
        return entropy / max(np.log2(len(self._counts)), 1.0) if normalized else entropy

    def active_share(self) -> Float[np.ndarray, " neuron"]:
        """Share of the tokens for which each neuron is active, that is above 0, (neuron,), in [0, 1]."""
        self._check_pairs()
        return self._active / self.tokens

    def mean_active_neurons(self) -> float:
        """L0: the number of neurons that are active for a token, its mean over tokens, from 0 to all."""
        return float(self.active_share().sum())

    def dead_share(self) -> float:
        """Share of the neurons that are active for no token, in [0, 1]."""
        return float(np.mean(self.active_share() == 0))

    def neuron_sparsity(self) -> Float[np.ndarray, " neuron"]:
        """Hoyer sparsity of each neuron over the tokens, (neuron,); see `hoyer_sparsity`."""
        self._check_pairs()
        above = self._by_word.sum(axis=0)
        total = above + self.tokens * self.lowest
        squares = self._squares + 2 * self.lowest * above + self.tokens * np.square(self.lowest)
        return compute_hoyer(total, squares, self.tokens)

    def token_sparsity(self) -> float:
        """Hoyer sparsity of a token over the neurons, its mean over the tokens that have any; see `hoyer_sparsity`."""
        self._check_pairs()
        return self._token_sparsity / self._active_tokens if self._active_tokens else float("nan")

    def _check_pairs(self) -> None:
        if self.tokens < 2:
            raise InputError(f"measures of neurons need at least 2 tokens, got {self.tokens}; bring more text")

    def _find_rows(self, identities: Shaped[np.ndarray, " token"]) -> Shaped[np.ndarray, " token"]:
        """The row of each token's word; words that are new get one."""
        distinct, inverse = np.unique(identities, return_inverse=True)
        rows = np.array([self._row_of_word.setdefault(word, len(self._row_of_word)) for word in distinct.tolist()])
        new = len(self._row_of_word) - len(self._counts)
        self._counts = np.pad(self._counts, (0, new))
        self._by_word = np.pad(self._by_word, ((0, new), (0, 0)))
        return rows[inverse]

    def _make_room_for_vectors(self, units: Float[np.ndarray, "token dimension"] | None, neurons: int) -> None:
        """Make room for the first batch's vectors, and check that later batches are like it."""
        if not self.tokens:
            self._has_vectors = units is not None
            self._vector_sum = np.zeros(0 if units is None else units.shape[1])
            self._by_dimension = np.zeros((len(self._vector_sum), neurons))
        elif self._has_vectors != (units is not None):
            raise InputError("expected vectors with every batch or with none")
        elif units is not None and units.shape[1] != len(self._vector_sum):
            raise InputError(f"expected vectors of {len(self._vector_sum)} dimensions, got {units.shape[1]}")

    def _lower_the_lowest(self, lowest: Float[np.ndarray, " neuron"]) -> None:
        """Count all sums from a new lowest activation on. Every term is added, and none is negative."""
        change = self.lowest - lowest
        if change.any():
            self._squares += 2 * change * self._by_word.sum(axis=0) + self.tokens * np.square(change)
            self._by_word += self._counts[:, None] * change
            if self._has_vectors:
                self._by_dimension += self._vector_sum[:, None] * change
        self.lowest = lowest


def rectify_activations(activations: ArrayLike | Tensor) -> Float[np.ndarray, "token neuron"]:
    """Activations as an array of float64, with 0 in the place of values below it.

    Raises:
        InputError: They are not (token, neuron), there are none, or a number is NaN or infinite.
    """
    values = to_array(activations)
    if values.ndim != 2 or not values.size:
        raise InputError(f"expected activations of the shape (token, neuron), got {values.shape}")
    values = values.astype(np.float64)
    if not np.isfinite(values).all():
        raise InputError("expected finite activations, got NaN or infinity; has the training diverged?")
    return np.maximum(values, 0.0)


def read_identities(
    identities: ArrayLike | Tensor, name: str, activations: ArrayLike | Tensor
) -> Shaped[np.ndarray, " token"]:
    """Words or labels as an array, (token,).

    Raises:
        InputError: There is not one for each token, or one is missing.
    """
    check_present(identities, name)
    array, tokens = to_array(identities), len(to_array(activations))
    if array.shape != (tokens,):
        raise InputError(f"expected {tokens} {name}, one for each row of activations, got the shape {array.shape}")
    return array


def check_present(values: ArrayLike | Tensor, name: str) -> None:
    """Raise an InputError if some words or labels are missing, as None or NaN."""
    # Of a list with texts and NaN numpy would make texts, one of them "nan".
    is_array = isinstance(values, Tensor | np.ndarray)
    array = to_array(values) if is_array else np.asarray(values, dtype=object)
    if array.dtype.kind in "fO":
        from pandas import isna  # slow to import, and needed for few arrays

        if missing := np.count_nonzero(isna(array)):
            raise InputError(f"{missing} of {array.size} {name} are missing (None or NaN); leave these rows out")


def to_array(values: ArrayLike | Tensor) -> Shaped[np.ndarray, ...]:
    """A tensor on any device, or what numpy makes an array of, as an array."""
    if isinstance(values, Tensor):  # numpy has no bfloat16
        return (values.double() if values.is_floating_point() else values).numpy(force=True)
    return np.asarray(values)


def compute_hoyer(
    total: Float[np.ndarray, " row"], squares: Float[np.ndarray, " row"], count: int
) -> Float[np.ndarray, " row"]:
    """Hoyer sparsity of rows of `count` activations, from their sums and the sums of their squares, (row,)."""
    ratio = np.divide(total, np.sqrt(squares), out=np.full(len(total), np.nan), where=squares > 0)
    return np.clip((np.sqrt(count) - ratio) / (np.sqrt(count) - 1), 0.0, 1.0)


def _read_units(vectors: ArrayLike | Tensor, tokens: int) -> Float[np.ndarray, "token dimension"]:
    """Vectors divided by their lengths."""
    array = to_array(vectors).astype(np.float64)
    if array.ndim != 2 or len(array) != tokens:
        raise InputError(f"expected {tokens} vectors, (token, dimension), got the shape {array.shape}")
    lengths = np.linalg.norm(array, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise InputError("expected finite vectors other than 0, for only those have a cosine")
    return array / lengths
