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
from safr.data.encoding import EncodedText, check_text, describe_left_out, describe_unknown, encode
from safr.data.splits import Text
from safr.errors import InputError
from safr.inference import check_model, is_regression, iter_traces, probabilities, text_logits, to_numpy
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
    """Probability of every class in the order of `labels`, or of a language model's 5 likeliest next tokens.

    Where classes share a name, the likeliest has it alone and the others have their number behind it, as in
    "other (2)". Of a regression model they are its values and no probabilities.
    """

    keep: Float[np.ndarray, " word"] | None
    """VMASK's keep probability of every word in [0, 1]; None without VMASK."""

    sites: Mapping[str, SiteScores]
    """By site: `embedding`, `vmask`, `fc1.0`, `fc2.0`, ..."""

    attention: Mapping[int, Float[np.ndarray, "word word"]]
    """By layer, the mean over heads of the attention that words pay to words, (word, word); empty for a model whose
    attention can't be trace."""

    truncated: bool
    """Whether something of the text was left out."""

    explaining_site: str = "fc1.0"
    """Site whose capacity is the explanation: the first layer's FC1 as in the paper, or the model's own."""

    labels: tuple[str, ...] = ()
    """Name of every class by its number, as in the model's config, or the likeliest next tokens, the likeliest first.

    Two classes may have one name; a class without a name is LABEL_0, LABEL_1, ..."""

    predicted: int = 0
    """Index of the prediction in `labels`; of a classifier it is the number of the class."""

    is_regression: bool = False
    """Whether the model gives values on a scale of their own, such as stars, and no probabilities."""

    left_out: int = 0
    """How many words of the text were not read."""

    left_out_note: str = ""
    """What was left out and where, as a sentence; empty where nothing was."""

    unknown: tuple[bool, ...] = ()
    """For every word whether it holds the tokenizer's unknown token, so that the model did not read it as it is.

    To the model all such words are one and the same. What two of them share is the vocabulary's doing. Empty in an
    explanation that was saved before this was recorded.
    """

    @property
    def unknown_note(self) -> str:
        """How many words are unknown to the tokenizer and which, as a sentence; empty where none is."""
        return describe_unknown(self.words, self.unknown)

    @property
    def probability(self) -> float:
        """Probability of the prediction, or the value of a regression model."""
        return tuple(self.probabilities.values())[self.predicted]

    def format_probability(self, decimals: int = 1) -> str:
        """Probability of the prediction in per cent, as "91.8%"; of a regression model its value, as "3.2"."""
        return f"{self.probability:.3g}" if self.is_regression else f"{self.probability:.{decimals}%}"

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
            "unknown": list(self.unknown),
            "prediction": self.prediction,
            "probabilities": {
                name: value if math.isfinite(value) else None for name, value in self.probabilities.items()
            },
            "labels": list(self.labels),
            "predicted": self.predicted,
            "is_regression": self.is_regression,
            "truncated": self.truncated,
            "left_out": self.left_out,
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
    text: Text,
    *,
    max_tokens: int | None = None,
) -> Explanation:
    """Explain one prediction by how the words share the neurons; one forward pass, no gradients, no sampling.

    Args:
        model: A classifier, a regression model or a causal language model, with SAFR on it or not. It runs in
            evaluation mode and gets its own mode back.
        tokenizer: Its tokenizer.
        text: Any text, or a pair of them, as a tuple, for a model that reads pairs.
        max_tokens: Tokens read of it. Default: all.

    Raises:
        InputError: The text is none, holds no word or is longer than the model can read, or the model is of another
            kind.
    """
    check_model(model)
    encoded = encode(tokenizer, [check_text(text)], max_tokens)[0]
    if not encoded.words:
        advice = f" in its first {max_tokens} tokens; raise `max_tokens`" if encoded.truncated else ""
        raise InputError(f"expected a text with at least one word, got none{advice}")
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
    labels, values, predicted = _read_outputs(model, tokenizer, trace, batch)
    left_out, note = describe_left_out(tokenizer, text, encoded)
    return Explanation(
        words=encoded.words,
        text_of_word=encoded.text_of_word,
        prediction=labels[predicted],
        probabilities=dict(zip(_make_unique(labels, predicted, values), values, strict=True)),
        keep=None if trace.keep is None else scores_per_word(encoded, to_numpy(trace.keep[0])),
        sites=LazyMapping(trace.vectors, lambda vectors: _score_site(encoded, vectors[0], trace.content_mask[0])),
        attention=LazyMapping(
            trace.attention, lambda weights: attention_per_word(encoded, to_numpy(weights[0]).mean(axis=0))
        ),
        truncated=encoded.truncated,
        explaining_site=get_explaining_site(model),
        labels=tuple(labels),
        predicted=predicted,
        is_regression=is_regression(model),
        left_out=left_out,
        left_out_note=note,
        unknown=tuple(word in encoded.unknown for word in range(len(encoded.words))),
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


def _read_outputs(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, trace: Trace, batch: Batch
) -> tuple[list[str], list[float], int]:
    """Names and values of every class or of the likeliest next tokens, and the index of the highest logit."""
    logits = text_logits(model, trace.logits, batch)
    values = probabilities(model, logits)[0]
    if trace.logits is not None and trace.logits.dim() > 2:
        values, tokens = values.topk(min(NEXT_TOKENS, len(values)))
        return output_names(model, tokenizer, tokens.tolist()), values.tolist(), 0
    names = output_names(model, tokenizer, range(len(values)), outputs=len(values))
    return names, values.tolist(), int(logits[0].argmax())


def _make_unique(names: Sequence[str], predicted: int, values: Sequence[float]) -> list[str]:
    """The names, with its number behind one that a likelier class has too; the prediction keeps its own."""
    unique = list(names)
    ranking = sorted(range(len(names)), key=lambda number: (number != predicted, -values[number], number))
    taken: set[str] = set()
    for number in ranking:
        if unique[number] in taken:
            while unique[number] in (*taken, *names):
                unique[number] = f"{unique[number]} ({number})"
        taken.add(unique[number])
    return unique


def output_names(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int], *, outputs: int | None = None
) -> list[str]:
    """Names of a classifier's classes, or of the tokens that a language model would put next.

    Args:
        model: A classifier or a causal language model.
        tokenizer: Its tokenizer.
        numbers: Of the classes or tokens.
        outputs: How many classes the model has. Default: one more than the highest number.
    """
    if model.can_generate():
        return token_names(tokenizer, numbers)
    return class_names(model, numbers, max(numbers, default=0) + 1 if outputs is None else outputs)


def class_names(model: PreTrainedModel, classes: Sequence[int], outputs: int) -> list[str]:
    """Names of classes from the model's config; LABEL_0, LABEL_1, ..., as transformers has it, where they have none.

    A config that names classes beyond the model's outputs was made for other outputs, or counts from 1. Then it can't
    be told which name belongs to which class, and none of them is used.
    """
    labels: Any = model.config.id2label or {}
    names = {int(number): str(name) for number, name in labels.items()}
    if any(not 0 <= number < outputs for number in names):
        names = {}
    return [names.get(number, f"LABEL_{number}") for number in classes]


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
