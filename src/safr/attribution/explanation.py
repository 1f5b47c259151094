"""`explain`, which explains one prediction by how its words share the neurons, and the `Explanation` it returns.

An explanation is data. Its pictures, its HTML and the explorer's page are made by others, which are loaded when asked
for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.words import attention_per_word, pairs_per_word, scores_per_word
from safr.data.batches import Batch
from safr.data.encoding import EncodedText, encode
from safr.errors import InputError
from safr.inference import iter_traces, probabilities, text_logits, to_numpy
from safr.model.forward_pass import SITES
from safr.model.regularizer import get_explaining_site
from safr.model.trace import Trace
from safr.superposition import capacity, interference, polysemanticity

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from safr.figures import SitePicture

NEXT_TOKENS = 5
"""How many of a language model's next tokens an explanation names."""

_Name = TypeVar("_Name", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True)
class SiteScores:
    """How the words of a text share one site's directions."""

    capacity: Float[np.ndarray, " word"]
    """Capacity of every word in [0, 1]."""

    polysemanticity: Float[np.ndarray, " word"]
    """Polysemanticity of every word, at least 0."""

    interference: Float[np.ndarray, "word word"]
    """Interference of every two words."""


class LazyMapping(Mapping[_Name, _Value]):
    """Values that are computed site by site when they are first asked for, since few are ever looked at."""

    def __init__(self, inputs: Mapping[_Name, Tensor], compute: Callable[[Tensor], _Value]) -> None:
        self.inputs = inputs
        self.compute = compute
        self.computed: dict[_Name, _Value] = {}

    def __getitem__(self, name: _Name) -> _Value:
        if name not in self.computed:
            self.computed[name] = self.compute(self.inputs[name])
        return self.computed[name]

    def __iter__(self) -> Iterator[_Name]:
        return iter(self.inputs)

    def __len__(self) -> int:
        return len(self.inputs)

    def __reduce__(self) -> tuple:
        return dict, (dict(self),)  # a pickle holds the numbers, not how they are computed


@dataclass(frozen=True)
class Explanation:
    """What one forward pass says about a text."""

    words: tuple[str, ...]
    """The words that the model read, of a pair the first text's first."""

    text_of_word: tuple[int, ...]
    """For every word the text that it is from: 0, or 1 for the second of a pair."""

    prediction: str
    """Name of the predicted class, or the token that a language model would put next."""

    probabilities: Mapping[str, float]
    """Probability of every class, or of a language model's 5 likeliest next tokens, the likeliest first."""

    keep: Float[np.ndarray, " word"] | None
    """VMASK's keep probability of every word in [0, 1]; None without VMASK."""

    sites: Mapping[str, SiteScores]
    """By site: `embedding`, `vmask`, `fc1.0`, `fc2.0`, ..."""

    attention: Mapping[int, Float[np.ndarray, "word word"]]
    """By layer, the mean over heads of the attention that words pay to words, (word, word); empty for a model whose
    attention can't be trace."""

    truncated: bool
    """Whether the text went on after the last word."""

    explaining_site: str = "fc1.0"
    """Site whose capacity is the explanation: the first layer's FC1 as in the paper, or the model's own."""

    @property
    def capacity(self) -> Float[np.ndarray, " word"]:
        """Capacity of every word at the explaining site."""
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
        return _load_view("safr.attribution.views", "explanation_figures")(self, site)

    def site_pictures(self, layer: int | None = None) -> dict[str, SitePicture]:
        """Bars and matrix of every site of one layer, in the order data flows; what `sites_panel` draws."""
        return _load_view("safr.attribution.views", "site_pictures")(self, layer)

    def explore(self, *, height: int = 900) -> Any:
        """The explorer's page about this text, a `NotebookPage`; the last value of a notebook's cell is shown.

        Args:
            height: Of its frame, in pixels.
        """
        return _load_view("safr.explorer.export", "make_notebook_page")(self, height=height)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the words shaded by capacity."""
        return _load_view("safr.attribution.views", "explanation_html")(self)


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
        batch, trace = _trace_text(model, encoded)
    except (IndexError, RuntimeError) as error:
        # Not beforehand: some models read on beyond it, and some begin to count at 2.
        if most is None or len(encoded.ids) <= most - 2:
            raise
        raise InputError(
            f"the text has {len(encoded.ids):,} tokens, more than the model's {most:,} positions; pass a max_tokens"
        ) from error
    by_name = _name_probabilities(model, tokenizer, trace, batch)
    return Explanation(
        words=encoded.words,
        text_of_word=encoded.text_of_word,
        prediction=max(by_name, key=by_name.__getitem__),
        probabilities=by_name,
        keep=None if trace.keep is None else scores_per_word(encoded, to_numpy(trace.keep[0])),
        sites=LazyMapping(trace.vectors, lambda vectors: _score_site(encoded, vectors[0], trace.content_mask[0])),
        attention=LazyMapping(
            trace.attention, lambda weights: attention_per_word(encoded, to_numpy(weights[0]).mean(axis=0))
        ),
        truncated=encoded.truncated,
        explaining_site=get_explaining_site(model),
    )


def _trace_text(model: PreTrainedModel, text: EncodedText) -> tuple[Batch, Trace]:
    """The one batch and what it shows at all sites, without attention where that can't be seen."""
    with suppress(InputError):  # what else is wrong with the model is wrong without attention too
        return next(iter_traces(model, [text], SITES))
    return next(iter_traces(model, [text], [site for site in SITES if site != "attention"]))


def _score_site(text: EncodedText, vectors: Tensor, content_mask: Tensor) -> SiteScores:
    # In half precision an overlap of long vectors would be infinite.
    vectors = vectors.float()

    def per_word(reduce: Callable, measure: Callable) -> NDArray[np.float64]:
        return reduce(text, to_numpy(measure(vectors, content_mask)))

    return SiteScores(
        per_word(scores_per_word, capacity),
        per_word(scores_per_word, polysemanticity),
        per_word(pairs_per_word, interference),
    )


def _name_probabilities(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, trace: Trace, batch: Batch
) -> dict[str, float]:
    """What the model says, by name: of every class, or of the likeliest next tokens."""
    shares = probabilities(model, text_logits(model, trace.logits, batch))[0]
    numbers = list(range(len(shares)))
    if trace.logits is not None and trace.logits.dim() > 2:
        shares, tokens = shares.topk(min(NEXT_TOKENS, len(shares)))
        numbers = tokens.tolist()
    return dict(zip(output_names(model, tokenizer, numbers), shares.tolist(), strict=True))


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


def _load_view(module: str, name: str) -> Callable[..., Any]:
    """A function that shows an explanation. It is found by name: what shows data imports them, and not they it."""
    view: Callable[..., Any] = getattr(import_module(module), name)
    return view


def _json_values(values: NDArray[np.float64]) -> list[Any]:
    objects = values.astype(object)
    objects[~np.isfinite(values)] = None
    return objects.tolist()
