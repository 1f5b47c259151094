"""A model and one text in; what its neurons say about every word out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.scores import traced
from safr.attribution.words import attention_by_word, by_word, pairs_by_word
from safr.data.batches import encode
from safr.errors import InputError
from safr.figures import allocation_graph, capacity_bars, interference_heatmap, sites_panel
from safr.superposition import capacity, interference, polysemanticity


@dataclass(frozen=True)
class Site:
    """How the words of a text share one site's directions."""

    capacity: NDArray[np.float64]
    """Capacity of each word in [0, 1], (word,)."""

    polysemanticity: NDArray[np.float64]
    """Polysemanticity of each word, at least 0, (word,)."""

    interference: NDArray[np.float64]
    """Interference of every two words, (word, word)."""


@dataclass(frozen=True)
class Explanation:
    """What one forward pass says about a text."""

    words: tuple[str, ...]
    """The words that the model read."""

    prediction: str
    """Name of the predicted class."""

    probabilities: Mapping[str, float]
    """Probability of each class."""

    keep: NDArray[np.float64] | None
    """VMASK's keep probability of each word in [0, 1]; None without VMASK."""

    sites: Mapping[str, Site]
    """By site: `embedding`, `vmask`, `fc1.0`, `fc2.0`, ..."""

    attention: Mapping[int, NDArray[np.float64]]
    """By layer, the mean over heads of the attention that words pay to words, (word, word)."""

    truncated: bool
    """Whether the text went on after the last word."""

    @property
    def capacity(self) -> NDArray[np.float64]:
        """Capacity of each word at the first layer's FC1, the explanation that the paper proposes."""
        return self.sites["fc1.0"].capacity

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "words": list(self.words),
            "prediction": self.prediction,
            "probabilities": dict(self.probabilities),
            "truncated": self.truncated,
            "capacity": self.capacity.tolist(),
            "keep": None if self.keep is None else self.keep.tolist(),
            "sites": {
                name: {
                    "capacity": site.capacity.tolist(),
                    "polysemanticity": site.polysemanticity.tolist(),
                    "interference": site.interference.tolist(),
                }
                for name, site in self.sites.items()
            },
            "attention": {str(layer): matrix.tolist() for layer, matrix in self.attention.items()},
        }

    def figures(self) -> dict[str, Figure]:
        """The paper's Figures 2 (a, b, c), 4 and 5 for this text, by file name."""
        title = f"predicted {self.prediction} ({self.probabilities[self.prediction]:.0%})"
        shared = self.sites["fc1.0"].interference
        return {
            "capacity": capacity_bars(self.words, self.capacity, title=f"Capacity at FC1, {title}"),
            "allocation": allocation_graph(self.words, self.capacity, shared, title=f"Neurons at FC1, {title}"),
            "interference": interference_heatmap(self.words, shared, title=f"Interference at FC1, {title}"),
            "sites": sites_panel(self.words, self.site_pictures(), title=f"From embedding to FC2, {title}"),
        }

    def site_pictures(self) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Bars and matrix of every site of the first layer, in the order data flows.

        Source: SAFR (Chang et al. 2025), Figures 4 and 5, where VMASK shows the mask itself and attention the weights:
        its bars are what each word receives on average.
        """
        received = self.attention[0].mean(axis=0)
        pictures = {name: (site.capacity, site.interference) for name, site in self.sites.items()}
        pictures["attention"] = (received, self.attention[0])
        if self.keep is not None:
            pictures["vmask"] = (self.keep, self.sites["vmask"].interference)
        order = ("embedding", "vmask", "attention", "fc1.0", "fc2.0")
        return {name.removesuffix(".0"): pictures[name] for name in order if name in pictures}


def explain(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, text: str, *, max_tokens: int | None = None
) -> Explanation:
    """Explain one prediction by how the words share the neurons; one forward pass, no gradients, no sampling.

    Args:
        model: A model in evaluation mode, with SAFR on it or not.
        tokenizer: Its tokenizer.
        text: Any text.
        max_tokens: Tokens read of it. Default: all.

    Raises:
        InputError: The text holds no word.
    """
    encoded = encode(tokenizer, [text], max_tokens)[0]
    if not encoded.words:
        raise InputError("expected a text with at least one word, got none")
    _, seen = next(iter(traced(model, [encoded], ("embedding", "vmask", "attention", "fc1", "fc1_out", "fc2"))))

    def per_word(measure: Callable, reduce: Callable, vectors: torch.Tensor) -> NDArray[np.float64]:
        return reduce(encoded, measure(vectors, seen.counting)[0].numpy(force=True))

    sites = {
        name: Site(
            per_word(capacity, by_word, vectors),
            per_word(polysemanticity, by_word, vectors),
            per_word(interference, pairs_by_word, vectors),
        )
        for name, vectors in seen.vectors.items()
    }
    probabilities = seen.logits[0].float().softmax(dim=-1).tolist()
    labels: Any = model.config.id2label
    names = [labels[number] for number in range(len(probabilities))]
    return Explanation(
        words=encoded.words,
        prediction=names[int(np.argmax(probabilities))],
        probabilities=dict(zip(names, probabilities, strict=True)),
        keep=None if seen.keep is None else by_word(encoded, seen.keep[0].numpy(force=True)),
        sites=sites,
        attention={
            layer: attention_by_word(encoded, weights[0].mean(dim=0).numpy(force=True))
            for layer, weights in seen.attention.items()
        },
        truncated=encoded.truncated,
    )
