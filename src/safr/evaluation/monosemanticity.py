"""Measures of single neurons: monosemanticity score, token entropy and Hoyer sparsity, beside their values by chance.

These functions take all activations at once; `NeuronStatistics` gives the same of a data set that comes in batches, and
how many neurons are active. Values below 0 count as 0, as after ReLU.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from torch import Tensor

from safr.errors import InputError
from safr.evaluation.neuron_statistics import NeuronStatistics, compute_hoyer, rectify_activations, to_array
from safr.evaluation.statistics import Estimate, bootstrap_mean

NULL_DRAWS = 20
"""Permutations whose mean is a measure's value by chance."""


@dataclass(frozen=True)
class PermutationNull:
    """A measure of neurons, and what it is when the tokens are shuffled among the activations."""

    observed: Float[np.ndarray, "*measure neuron"]
    """The measure, (neuron,); of several measures (measure, neuron)."""
    null: Float[np.ndarray, "*measure neuron"]
    """Its mean over permutations, of the same shape."""

    @property
    def excess(self) -> Float[np.ndarray, "*measure neuron"]:
        """By how much the measure exceeds its mean over permutations, of the same shape."""
        return self.observed - self.null


def monosemanticity_score(
    activations: ArrayLike | Tensor,
    words: ArrayLike | Tensor | None = None,
    *,
    vectors: ArrayLike | Tensor | None = None,
) -> Float[np.ndarray, " neuron"]:
    r"""MonoScore: how similar the tokens are that drive each neuron, weighted by its activations.

    $$M = \frac{\sum_{n<m} a_n a_m s_{nm}}{\sum_{n<m} a_n a_m}
        = \frac{|\sum_n a_n x_n|^2 - \sum_n a_n^2}{(\sum_n a_n)^2 - \sum_n a_n^2}$$

    $a_n$ is the neuron's activation for token n, scaled to [0, 1] by its lowest and highest one, $s_{nm} = x_n \cdot
    x_m$ and $|x_n| = 1$. Source: Pach et al. 2025 (arXiv:2504.02821), as their code has it: their text divides by the
    number of pairs instead, so that rarely active neurons would score low. The second form, linear in the number of
    tokens, is that of Nasiri-Sarvi et al. 2026 (arXiv:2602.12403). That values below 0 count as 0 is ours.

    Args:
        activations: (token, neuron), at any site.
        words: (token,), which word each token is. The similarity of two tokens is then 1 if they are the same word,
            and 0 if not.
        vectors: (token, dimension), in place of words: what an independent encoder makes of each token. The similarity
            is then the cosine.

    Returns:
        (neuron,): with words in [0, 1], 1 for a neuron that one word drives; with vectors in [-1, 1]. NaN for a neuron
        whose activation never changes, and for one that is above its lowest activation for a single token, for it has
        no pair.

    Raises:
        InputError: There are words and vectors or neither, fewer than two tokens, shapes that do not fit, or a number
            that is NaN or infinite.

    >>> monosemanticity_score([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], ["good", "good", "bad"])
    array([1., 0.])
    """
    if (words is None) == (vectors is None):
        raise InputError("expected words or vectors, and not both")
    statistics = NeuronStatistics()
    statistics.update(activations, np.zeros(len(to_array(activations))) if words is None else words, vectors=vectors)
    return statistics.monosemanticity_score()


def token_entropy(
    activations: ArrayLike | Tensor, words: ArrayLike | Tensor, *, normalized: bool = False
) -> Float[np.ndarray, " neuron"]:
    r"""Entropy of each neuron's activation over the words, in bits.

    $$H = -\sum_w p_w \log_2 p_w, \quad p_w = \sum_{n: w_n = w} a_n / \sum_n a_n$$

    Source: Shannon 1948, of the share $p_w$ of a neuron's whole activation that a word has.

    Args:
        activations: (token, neuron), at any site.
        words: (token,), which word each token is.
        normalized: Divide by log2 of the number of distinct words among the tokens, the most that there can be.

    Returns:
        (neuron,): 0 for a neuron that one word drives, log2 of the number of distinct words (normalized: 1) for one
        that all words drive alike; NaN for a neuron that is never active. With a single distinct word it is 0.

    Raises:
        InputError: Fewer than two tokens, shapes that do not fit, or a number that is NaN or infinite.

    >>> token_entropy([[1.0, 2.0], [1.0, 2.0], [0.0, 4.0]], ["good", "good", "bad"])
    array([0., 1.])
    """
    statistics = NeuronStatistics()
    statistics.update(activations, words)
    return statistics.token_entropy(normalized=normalized)


def hoyer_sparsity(activations: ArrayLike | Tensor, *, axis: int = 0) -> Float[np.ndarray, " row"]:
    r"""Hoyer sparsity of each neuron over the tokens, or of each token over the neurons.

    $$(\sqrt{n} - |a|_1 / |a|_2) / (\sqrt{n} - 1)$$

    Source: Hoyer 2004, Journal of Machine Learning Research 5.

    Args:
        activations: (token, neuron), at any site.
        axis: 0 for every neuron over the tokens, 1 for every token over the neurons.

    Returns:
        (neuron,) or (token,), in [0, 1]: 1 where a single activation is not 0, 0 where all are equal, NaN where all
        are 0.

    Raises:
        InputError: Fewer than two activations along the axis, or a number that is NaN or infinite.

    >>> hoyer_sparsity([[3.0, 2.0], [0.0, 2.0]]).round(3)
    array([1., 0.])
    """
    values = rectify_activations(activations)
    if values.shape[axis] < 2:
        raise InputError(f"Hoyer sparsity needs at least 2 activations, got {values.shape[axis]}")
    return compute_hoyer(values.sum(axis=axis), np.square(values).sum(axis=axis), values.shape[axis])


def permutation_null(
    measure: Callable[[Any, Any], Float[np.ndarray, "*measure neuron"]],
    activations: ArrayLike | Tensor,
    identities: ArrayLike | Tensor,
    *,
    draws: int = NULL_DRAWS,
    seed: int = 0,
) -> PermutationNull:
    """A measure beside its mean when words or labels are shuffled among the activations.

    The shuffled data have the same words as often, and the same activations as often; only which belongs to which is
    random. What a measure gives for them, it gives for neurons that know nothing of the words.

    Args:
        measure: A function of activations and identities, such as `token_entropy` or `class_separability`; it returns
            (neuron,), or (measure, neuron) if it takes several measures at once.
        activations: (token, neuron).
        identities: (token,), words or labels; or (token, dimension), vectors.
        draws: Number of permutations.
        seed: Of the permutations.

    Raises:
        InputError: There is no draw, or what the measure raises.
    """
    if draws < 1:
        raise InputError(f"expected at least 1 permutation, got {draws}")
    values, given = rectify_activations(activations), to_array(identities)
    rng, observed = np.random.default_rng(seed), measure(values, given)
    null = np.mean([measure(values, rng.permutation(given)) for _ in range(draws)], axis=0)
    return PermutationNull(observed, null)


def mean_over_neurons(values: ArrayLike, *, limits: tuple[float, float] | None = None) -> Estimate:
    """Mean of a measure over the neurons that have a value, with its 95 % bootstrap interval over neurons.

    Neurons of one model are resampled, and the texts are taken as given: the interval says how much neurons differ, not
    what another training would give.

    Args:
        values: (neuron,), NaN for a neuron without a value.
        limits: See `bootstrap_mean`.

    Raises:
        InputError: Fewer than two neurons have a value.

    >>> mean_over_neurons([0.2, 0.4, float("nan")]).value
    0.3...
    """
    sample = np.asarray(values, dtype=np.float64)
    sample = sample[~np.isnan(sample)]
    if len(sample) < 2:
        raise InputError(f"an interval over neurons needs at least 2 neurons that have a value, got {len(sample)}")
    return bootstrap_mean(sample, limits=limits)
