"""Class selectivity of neurons: how well a neuron's activation alone tells the classes apart."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike
from scipy.special import entr
from torch import Tensor

from safr.errors import InputError
from safr.evaluation.neuron_statistics import read_identities, rectify_activations

BINS = 20
"""Bins of a histogram, of equal width from the neuron's lowest to its highest activation."""

ANSWERS_TO_ONE_CLASS = 0.5
"""Class selectivity index from which on a neuron answers to one class: 3 times the other classes' mean activation."""


class ClassStatistics:
    """Histograms and mean activations by class, gathered batch by batch.

    The bins must be known before, so that the batches' order and sizes change nothing: a first pass finds the lowest
    and the highest activations, `NeuronStatistics.lowest` and `highest`. In memory is one number for every neuron, bin
    and class.
    """

    def __init__(self, lowest: ArrayLike, highest: ArrayLike, *, bins: int = BINS) -> None:
        """Begin without a row.

        Args:
            lowest: (neuron,), the lowest activation of each neuron in all batches.
            highest: (neuron,), the highest.
            bins: Number of bins.

        Raises:
            InputError: Fewer than two bins, or limits that do not fit together.
        """
        self._lowest, self._highest = np.asarray(lowest, dtype=np.float64), np.asarray(highest, dtype=np.float64)
        if bins < 2:
            raise InputError(f"a histogram needs at least 2 bins, got {bins}")
        if self._lowest.ndim != 1 or self._lowest.shape != self._highest.shape:
            raise InputError(
                "expected the lowest and the highest activation of each neuron, got the shapes "
                f"{self._lowest.shape} and {self._highest.shape}"
            )
        if not (self._lowest <= self._highest).all():
            raise InputError("expected no lowest activation above the highest one")
        self._bins = bins
        self._histograms: dict[Any, Float[np.ndarray, "neuron bin"]] = {}
        self._sums: dict[Any, Float[np.ndarray, " neuron"]] = {}
        self._rows: dict[Any, int] = {}

    def update(self, activations: ArrayLike | Tensor, labels: ArrayLike | Tensor) -> None:
        """Take a batch of rows.

        Args:
            activations: (row, neuron); a row is a token, or a text by its largest activations.
            labels: (row,), the class of each row's text.

        Raises:
            InputError: A shape is not the one above, a number is NaN or infinite, or an activation lies outside of the
                limits.
        """
        values, classes = rectify_activations(activations), read_identities(labels, "labels", activations)
        neurons = len(self._lowest)
        if values.shape[1] != neurons:
            raise InputError(f"expected {neurons} neurons as in the limits, got {values.shape[1]}")
        if not ((self._lowest <= values) & (values <= self._highest)).all():
            raise InputError("expected activations between the limits; find the limits in a pass over all batches")
        width = self._highest - self._lowest
        places = np.divide(values - self._lowest, width, out=np.zeros_like(values), where=width > 0)
        bins = np.minimum((places * self._bins).astype(np.int64), self._bins - 1)  # (row, neuron)
        bins += np.arange(neurons) * self._bins
        for label in np.unique(classes).tolist():
            rows = classes == label
            counts = np.bincount(bins[rows].ravel(), minlength=neurons * self._bins).reshape(neurons, self._bins)
            self._histograms[label] = self._histograms.get(label, 0) + counts.astype(np.float64)
            self._sums[label] = self._sums.get(label, 0) + values[rows].sum(axis=0)
            self._rows[label] = self._rows.get(label, 0) + int(np.count_nonzero(rows))

    def class_separability(self) -> Float[np.ndarray, " neuron"]:
        """See the function `class_separability`."""
        shares = self._class_shares()
        given = np.stack([self._histograms[label] / self._rows[label] for label in self._rows])  # (class, neuron, bin)
        mixed = np.tensordot(shares, given, axes=1)  # (neuron, bin)
        within = np.tensordot(shares, entr(given).sum(axis=-1), axes=1)
        return np.clip((entr(mixed).sum(axis=-1) - within) / entr(shares).sum(), 0.0, 1.0)

    def class_selectivity_index(self) -> Float[np.ndarray, " neuron"]:
        """See the function `class_selectivity_index`."""
        self._class_shares()
        means = np.stack([self._sums[label] / self._rows[label] for label in self._rows])  # (class, neuron)
        largest = means.max(axis=0)
        others = (means.sum(axis=0) - largest) / (len(means) - 1)
        total = largest + others
        index = np.divide(largest - others, total, out=np.full(len(total), np.nan), where=total > 0)
        return np.clip(index, 0.0, 1.0)

    def _class_shares(self) -> Float[np.ndarray, " class"]:
        if len(self._rows) < 2:
            raise InputError(f"class selectivity needs texts of at least 2 classes, got {len(self._rows)}")
        counts = np.array(list(self._rows.values()), dtype=np.float64)
        return counts / counts.sum()


def class_separability(
    activations: ArrayLike | Tensor, labels: ArrayLike | Tensor, *, bins: int = BINS
) -> Float[np.ndarray, " neuron"]:
    r"""Jensen-Shannon separability: how much of the class each neuron's activation tells.

    $$\frac{H(\sum_c \pi_c P_c) - \sum_c \pi_c H(P_c)}{H(\pi)}$$

    $P_c$ is the histogram of the neuron's activations in class c, and $\pi_c$ the share of the rows that are of class
    c. Source: the divergence of several distributions of Lin 1991, divided by its greatest value; the number is the
    information that the bin gives about the class, as a share of what there is to know.

    Args:
        activations: (row, neuron); a row is a token, or a text by its largest activations.
        labels: (row,), the class of each row's text.
        bins: Number of bins of equal width between a neuron's lowest and highest activation.

    Returns:
        (neuron,), in [0, 1]: 1 if no bin holds rows of two classes, 0 if the histograms of all classes are the same, as
        they are for a neuron whose activation never changes. With few rows it is above 0 by chance alone:
        `permutation_null` tells by how much.

    Raises:
        InputError: A single class, shapes that do not fit, or a number that is NaN or infinite.

    >>> class_separability([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]], [1, 1, 0, 0])
    array([1., 0.])
    """
    return gather_class_statistics(activations, labels, bins).class_separability()


def class_selectivity_index(
    activations: ArrayLike | Tensor, labels: ArrayLike | Tensor
) -> Float[np.ndarray, " neuron"]:
    r"""Class selectivity index: the largest class mean of each neuron's activation, against the other classes' mean.

    $$(\mu_{max} - \mu_{rest}) / (\mu_{max} + \mu_{rest})$$

    Source: Morcos et al. 2018 (arXiv:1803.06959), section 2.3.

    Args:
        activations: (row, neuron); a row is a token, or a text by its largest activations.
        labels: (row,), the class of each row's text.

    Returns:
        (neuron,), in [0, 1]: 1 if the neuron is active in one class alone, 0 if its mean is the same in all classes,
        NaN if it is never active.

    Raises:
        InputError: A single class, shapes that do not fit, or a number that is NaN or infinite.

    >>> class_selectivity_index([[3.0, 1.0], [1.0, 1.0]], [1, 0])
    array([0.5, 0. ])
    """
    return gather_class_statistics(activations, labels).class_selectivity_index()


def answers_to_one_class(index: ArrayLike) -> Float[np.ndarray, " neuron"]:
    """1 for each neuron that answers to one class and 0 for one that does not; NaN for one that is never active.

    Args:
        index: (neuron,), from `class_selectivity_index`.

    >>> answers_to_one_class([0.5, 0.1, float("nan")])
    array([ 1.,  0., nan])
    """
    values = np.asarray(index, dtype=np.float64)
    return np.where(np.isnan(values), np.nan, values >= ANSWERS_TO_ONE_CLASS)


def single_class_share(index: ArrayLike) -> float:
    """Share of the neurons that answer to one class, among those that are ever active.

    A neuron answers to one class if its class selectivity index is at least 0.5: its mean activation in one class is at
    least 3 times its mean in the others. The limit is ours. The mean index stands beside it, and needs no limit.

    Args:
        index: (neuron,), from `class_selectivity_index`.

    Returns:
        In [0, 1]; NaN if no neuron is ever active.

    >>> single_class_share([0.5, 0.1, float("nan")])
    0.5
    """
    answers = answers_to_one_class(index)
    return float(np.nanmean(answers)) if not np.isnan(answers).all() else float("nan")


def gather_class_statistics(
    activations: ArrayLike | Tensor, labels: ArrayLike | Tensor, bins: int = BINS
) -> ClassStatistics:
    """Histograms and mean activations by class of data that are all there at once.

    Raises:
        InputError: Shapes that do not fit, or a number that is NaN or infinite.
    """
    values = rectify_activations(activations)
    statistics = ClassStatistics(values.min(axis=0), values.max(axis=0), bins=bins)
    statistics.update(values, labels)
    return statistics
