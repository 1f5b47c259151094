"""A model and one text in; what its neurons say about every word out."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.words import attention_per_word, pairs_per_word, scores_per_word
from safr.data.batches import Batch
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.figures import SitePicture, allocation_graph, capacity_bars, interference_heatmap, sites_panel
from safr.figures.notebook import shaded_words_html
from safr.inference import class_probabilities, iter_traces, text_logits, to_numpy
from safr.model.forward_pass import SITES
from safr.model.regularizer import get_explaining_site
from safr.model.trace import Trace
from safr.superposition import capacity, interference, polysemanticity

if TYPE_CHECKING:
    from safr.explorer.export import NotebookPage

NEXT_TOKENS = 5
"""How many of a language model's next tokens are told."""

_Name = TypeVar("_Name", bound=Hashable)
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class SiteScores:
    """How the words of a text share one site's directions."""

    capacity: NDArray[np.float64]
    """Capacity of each word in [0, 1], (word,)."""

    polysemanticity: NDArray[np.float64]
    """Polysemanticity of each word, at least 0, (word,)."""

    interference: NDArray[np.float64]
    """Interference of every two words, (word, word)."""


class LazyMapping(Mapping[_Name, _Made]):
    """What is made of a forward pass site by site, each when it is first asked for, since few are ever looked at."""

    def __init__(self, shown: Mapping[_Name, Tensor], make: Callable[[Tensor], _Made]) -> None:
        self.shown = shown
        self.make = make
        self.made: dict[_Name, _Made] = {}

    def __getitem__(self, name: _Name) -> _Made:
        if name not in self.made:
            self.made[name] = self.make(self.shown[name])
        return self.made[name]

    def __iter__(self) -> Iterator[_Name]:
        return iter(self.shown)

    def __len__(self) -> int:
        return len(self.shown)

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)  # a pickle holds the numbers, not how they are made


@dataclass(frozen=True)
class Explanation:
    """What one forward pass says about a text."""

    words: tuple[str, ...]
    """The words that the model read, of a pair the first text's first."""

    text_of_word: tuple[int, ...]
    """For each word the text that it is from: 0, or 1 for the second of a pair."""

    prediction: str
    """Name of the predicted class, or the token that a language model would put next."""

    probabilities: Mapping[str, float]
    """Probability of each class, or of a language model's 5 likeliest next tokens, the likeliest first."""

    keep: NDArray[np.float64] | None
    """VMASK's keep probability of each word in [0, 1]; None without VMASK."""

    sites: Mapping[str, SiteScores]
    """By site: `embedding`, `vmask`, `fc1.0`, `fc2.0`, ..."""

    attention: Mapping[int, NDArray[np.float64]]
    """By layer, the mean over heads of the attention that words pay to words, (word, word); empty for a model whose
    attention can't be seen."""

    truncated: bool
    """Whether the text went on after the last word."""

    explaining_site: str = "fc1.0"
    """Site whose capacity is the explanation: the first layer's FC1 as in the paper, or the model's own."""

    @property
    def capacity(self) -> NDArray[np.float64]:
        """Capacity of each word at the explaining site."""
        return self.site().capacity

    def site(self, name: str | None = None) -> SiteScores:
        """How the words share one site, by default the explaining one; an InputError lists the recorded ones."""
        name = name or self.explaining_site
        if name not in self.sites:
            raise InputError(f"nothing at site '{name}'; recorded are: {', '.join(self.sites)}")
        return self.sites[name]

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with None for a number that is not finite."""
        return {
            "words": list(self.words),
            "text_of_word": list(self.text_of_word),
            "prediction": self.prediction,
            "probabilities": {
                name: value if math.isfinite(value) else None for name, value in self.probabilities.items()
            },
            "truncated": self.truncated,
            "explaining_site": self.explaining_site,
            "capacity": _json_values(self.capacity),
            "keep": None if self.keep is None else _json_values(self.keep),
            "sites": {
                name: {
                    "capacity": _json_values(site.capacity),
                    "polysemanticity": _json_values(site.polysemanticity),
                    "interference": _json_values(site.interference),
                }
                for name, site in self.sites.items()
            },
            "attention": {str(layer): _json_values(matrix) for layer, matrix in self.attention.items()},
        }

    def to_json(self) -> str:
        """As one line of JSON in ASCII."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def figures(self, site: str | None = None) -> dict[str, Figure]:
        """The paper's Figures 2 (a, b, c) at one site, and 4 and 5 of its layer, for this text, by file name."""
        site = site or self.explaining_site
        chosen, place, layer = self.site(site), site_title(site), int(site.partition(".")[2] or 0)
        title = f"predicted {self.prediction} ({self.probabilities[self.prediction]:.0%})"
        panel = f"From embedding to FC2{f' of layer {layer}' if layer else ''}, {title}"
        return {
            "capacity": capacity_bars(self.words, chosen.capacity, title=f"Capacity at {place}, {title}"),
            "allocation": allocation_graph(
                self.words, chosen.capacity, chosen.interference, title=f"Neurons at {place}, {title}"
            ),
            "interference": interference_heatmap(
                self.words, chosen.interference, title=f"Interference at {place}, {title}"
            ),
            "sites": sites_panel(self.words, self.site_pictures(layer), title=panel),
        }

    def site_pictures(self, layer: int | None = None) -> dict[str, SitePicture]:
        """Bars and matrix of every site of one layer, in the order data flows.

        Source: SAFR (Chang et al. 2025), Figures 4 and 5, where VMASK shows the mask itself and attention the weights:
        its bars are what each word receives on average.
        """
        layer = int(self.explaining_site.partition(".")[2] or 0) if layer is None else layer
        pictures = {
            name.removesuffix(f".{layer}"): SitePicture(site.capacity, site.interference)
            for name, site in self.sites.items()
        }
        if self.keep is not None:
            pictures["vmask"] = pictures["vmask"]._replace(values=self.keep)
        if layer in self.attention:
            weights = self.attention[layer]
            pictures["attention"] = SitePicture(weights.mean(axis=0), weights, "attention")
        order = ("embedding", "vmask", "attention", "fc1", "fc2")
        return {name: pictures[name] for name in order if name in pictures}

    def explore(self, *, height: int = 900) -> NotebookPage:
        """The explorer's page about this text; the last value of a notebook's cell is shown.

        Args:
            height: Of its frame, in pixels.
        """
        from safr.explorer.export import make_notebook_page

        return make_notebook_page(self, height=height)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the words shaded by capacity."""
        site, highest = self.site(), np.nan_to_num(self.capacity).max()
        numbers = [
            f"capacity {own:.2f}, polysemanticity {shared:.3g}"
            for own, shared in zip(site.capacity, site.polysemanticity, strict=True)
        ]
        if self.keep is not None:
            numbers = [f"{each}, keep {keep:.2f}" for each, keep in zip(numbers, self.keep, strict=True)]
        read = f" Only the first {len(self.words)} words were read." if self.truncated else ""
        return shaded_words_html(
            self.words,
            self.capacity,
            text_of_word=self.text_of_word,
            numbers=numbers,
            prediction=self.prediction,
            probability=self.probabilities[self.prediction],
            note=f"The stronger the blue, the higher the capacity at {self.explaining_site}, to {highest:.2f}.{read}",
        )


def explain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: str | tuple[str, str],
    *,
    max_tokens: int | None = None,
) -> Explanation:
    """Explain one prediction by how the words share the neurons; one forward pass, no gradients, no sampling.

    Args:
        model: A classifier or a causal language model in evaluation mode, with SAFR on it or not.
        tokenizer: Its tokenizer.
        text: Any text, or a pair of them for a model that reads pairs.
        max_tokens: Tokens read of it. Default: all.

    Raises:
        InputError: The text holds no word or is longer than the model can read, or the model is of another kind.
    """
    encoded = encode(tokenizer, [text], max_tokens)[0]
    if not encoded.words:
        raise InputError("expected a text with at least one word, got none")
    most = getattr(model.config, "max_position_embeddings", None)
    try:
        batch, seen = _traced(model, encoded)
    except (IndexError, RuntimeError) as error:
        # Not beforehand: some models read on beyond it, and some begin to count at 2.
        if most is None or len(encoded.ids) <= most - 2:
            raise
        raise InputError(
            f"the text has {len(encoded.ids):,} tokens, more than the model's {most:,} positions; pass a max_tokens"
        ) from error
    probabilities = _probabilities(model, tokenizer, seen, batch)
    return Explanation(
        words=encoded.words,
        text_of_word=encoded.text_of_word,
        prediction=max(probabilities, key=probabilities.__getitem__),
        probabilities=probabilities,
        keep=None if seen.keep is None else scores_per_word(encoded, to_numpy(seen.keep[0])),
        sites=LazyMapping(seen.vectors, lambda vectors: _site(encoded, vectors[0], seen.content_mask[0])),
        attention=LazyMapping(
            seen.attention, lambda weights: attention_per_word(encoded, to_numpy(weights[0]).mean(axis=0))
        ),
        truncated=encoded.truncated,
        explaining_site=get_explaining_site(model),
    )


def _traced(model: PreTrainedModel, text: EncodedText) -> tuple[Batch, Trace]:
    """The one batch and what it shows at all sites, without attention where that can't be seen."""
    with suppress(InputError):  # what else is wrong with the model is wrong without attention too
        return next(iter_traces(model, [text], SITES))
    return next(iter_traces(model, [text], [site for site in SITES if site != "attention"]))


def _site(text: EncodedText, vectors: Tensor, content_mask: Tensor) -> SiteScores:
    # In half precision an overlap of long vectors would be infinite.
    vectors = vectors.float()

    def per_word(reduce: Callable, measure: Callable) -> NDArray[np.float64]:
        return reduce(text, to_numpy(measure(vectors, content_mask)))

    return SiteScores(
        per_word(scores_per_word, capacity),
        per_word(scores_per_word, polysemanticity),
        per_word(pairs_per_word, interference),
    )


def _probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, seen: Trace, batch: Batch
) -> dict[str, float]:
    """What the model says, by name: of every class, or of the likeliest next tokens."""
    found = class_probabilities(model, text_logits(model, seen.logits, batch))[0]
    numbers = list(range(len(found)))
    if seen.logits is not None and seen.logits.dim() > 2:
        found, tokens = found.topk(min(NEXT_TOKENS, len(found)))
        numbers = tokens.tolist()
    return dict(zip(output_names(model, tokenizer, numbers), found.tolist(), strict=True))


def output_names(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int]) -> list[str]:
    """Names of a classifier's classes, or of the tokens that a language model would put next."""
    if model.can_generate():
        return token_names(tokenizer, numbers)
    labels: Any = model.config.id2label
    return [str(labels[number]) for number in numbers]


def token_names(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[int]) -> list[str]:
    """The tokens as text; those that look alike, such as parts of a character, with their numbers."""
    names = [str(tokenizer.decode([token])) for token in tokens]
    return [name if names.count(name) == 1 else f"{name} ({token})" for name, token in zip(names, tokens, strict=True)]


def site_title(site: str) -> str:
    """A site's name in a picture's title.

    >>> site_title("fc1.0"), site_title("fc1_out.3")
    ('FC1', 'FC1 of layer 3, after the activation')
    """
    kind, _, layer = site.partition(".")
    place = {"fc1": "FC1", "fc1_out": "FC1", "fc2": "FC2"}.get(kind, kind)
    return place + (f" of layer {layer}" if int(layer or 0) else "") + (", after the activation" * (kind == "fc1_out"))


def _json_values(values: NDArray[np.float64]) -> list[Any]:
    told = values.astype(object)
    told[~np.isfinite(values)] = None
    return told.tolist()
