"""What `explain` returns: the `Explanation` of one text, and the `Explanations` of a list.

An explanation is data. Its pictures, its HTML and the explorer's page are made by others, which are loaded when asked
for.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.config import QUESTION_TASKS, Task
from safr.data.answers import ANSWER_NAMES
from safr.data.encoding import describe_unknown, replace_surrogates
from safr.errors import InputError, shorten_text
from safr.inference import compares_answers
from safr.rounding import format_share

if TYPE_CHECKING:
    import pandas
    import pyarrow
    from matplotlib.figure import Figure

    from safr.figures import SitePicture
    from safr.figures.frame import Width

_MOST_PREDICTIONS, _LONGEST_PREDICTION = 5, 18
"""How many different predictions the `repr` of many explanations names, and how many characters of each."""


@dataclass(frozen=True)
class SiteScores:
    """How the words of a text share one site's directions."""

    capacity: Float[np.ndarray, " word"]
    """Capacity of every word in [0, 1]."""

    polysemanticity: Float[np.ndarray, " word"]
    """Polysemanticity of every word, at least 0."""

    interference: Float[np.ndarray, "word word"]
    """Interference of every two words."""


@dataclass(frozen=True)
class TextNeurons:
    """What the most used neurons of a feed-forward layer do in one text."""

    site: str
    """`fc1_out.N`, behind the activation of layer N; `fc1.N` where only that is known."""

    words: tuple[str, ...]
    """The words of the text."""

    neurons: Int[np.ndarray, " neuron"]
    """Numbers of the neurons, from 0. The first is used most: the size of its activation, summed over words, is
    largest."""

    activations: Float[np.ndarray, "word neuron"]
    """Activation of each of them at every word: of a word's tokens the one of largest size."""

    relevance: Float[np.ndarray, "word neuron"] | None = None
    """What each of them adds to the class's logit at every word, by layer-wise relevance propagation; None where the
    model computes something that has no rule."""

    total: Float[np.ndarray, " neuron"] | None = None
    """What each of them adds at all tokens, special ones too."""

    target: str = ""
    """Name of the class that relevance speaks about; empty without relevance."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values, with None for a number that is not finite."""
        return {
            "site": self.site,
            "neurons": self.neurons.tolist(),
            "activations": json_values(self.activations),
            "relevance": None if self.relevance is None else json_values(self.relevance),
            "total": None if self.total is None else json_values(self.total),
            "target": self.target,
        }

    def to_pandas(self) -> pandas.DataFrame:
        """One row per neuron and word that it is not 0 at, the neuron that is used most first.

        Returns:
            The columns `neuron`, `position` (of the word in its text, from 0), `word`, `activation` and `relevance`
            (missing where it is not known).
        """
        import pandas

        columns, positions = np.nonzero(self.activations.T)
        relevance = np.full(self.activations.shape, np.nan) if self.relevance is None else self.relevance
        return pandas.DataFrame(
            {
                "neuron": self.neurons[columns],
                "position": positions,
                "word": [self.words[position] for position in positions],
                "activation": self.activations[positions, columns],
                "relevance": relevance[positions, columns],
            }
        )


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
    """By site: `embedding`, `vmask`, `fc1.0`, `fc2.0`, ...; of a list of texts those that were asked for."""

    attention: Mapping[int, Float[np.ndarray, "word word"]]
    """By layer, the mean over heads of the attention that words pay to words, (word, word); empty for a model whose
    attention can't be read."""

    truncated: bool
    """Whether something of the text was left out."""

    explaining_site: str = "fc1.0"
    """Site whose capacity is the explanation: the first layer's FC1 as in the paper, or the model's own."""

    labels: tuple[str, ...] = ()
    """Name of every class by its number, as in the model's config, or the likeliest next tokens, the likeliest first.

    Two classes may have one name; a class without a name is LABEL_0, LABEL_1, ..."""

    predicted: int = 0
    """Index of the prediction in `labels`; of a classifier it is the number of the class."""

    task: Task = "classification"
    """Whether the model chooses one class, says of each class whether it fits, or gives a number such as stars."""

    left_out: int = 0
    """How many words of the text were not read."""

    left_out_note: str = ""
    """What was left out and where, as a sentence; empty where nothing was."""

    unknown: tuple[bool, ...] = ()
    """For every word whether it holds the tokenizer's unknown token, so that the model did not read it as it is.

    To the model all such words are one and the same. What two of them share is the vocabulary's doing. Empty in an
    explanation that was saved before this was recorded.
    """

    explaining_capacity: Float[np.ndarray, " word"] | None = None
    """Capacity of every word at the explaining site, where nothing else of that site was kept; None where it was."""

    method: str = ""
    """Attribution method that `scores` are by; empty where none was asked for."""

    target: str = ""
    """Name of the class that `scores` speak about, the predicted one if no other was asked for."""

    scores: Float[np.ndarray, " word"] | None = None
    """Score of every word by `method`; of a signed method above 0 where the word speaks for `target`, below 0 where it
    speaks against it."""

    neurons: TextNeurons | None = None
    """The neurons that the text uses most, with the words that share them; None where none were asked for."""

    @property
    def relevance(self) -> Float[np.ndarray, " word"]:
        """Relevance of every word for `target`; an InputError where it was not asked for."""
        if self.method != "relevance" or self.scores is None:
            raise InputError("no relevance was computed; pass method='relevance' to explain")
        return self.scores

    @property
    def fitting(self) -> dict[str, float]:
        """Probability of the prediction, or where several classes can be right of all that are likelier than not."""
        if self.task != "multi_label":
            return {self.prediction: self.probability}
        return {name: share for name, share in self.probabilities.items() if share > 0.5}

    @property
    def answer(self) -> str:
        """What the model says in the form of a label: its class, all its classes with `;` between, or its number.

        Of a model that finds answers or picks choices it is one of `ANSWER_NAMES`, and not the words of the answer.
        """
        if self.task in QUESTION_TASKS:
            return ANSWER_NAMES[self.predicted]
        return f"{self.probability:.4g}" if self.is_regression else "; ".join(self.fitting)

    @property
    def is_regression(self) -> bool:
        """Whether the model gives values on a scale of their own, and no probabilities."""
        return self.task == "regression"

    @property
    def unknown_note(self) -> str:
        """How many words are unknown to the tokenizer and which, as a sentence; empty where none is."""
        return describe_unknown(self.words, self.unknown)

    @property
    def probability(self) -> float:
        """Probability of the prediction, or the value of a regression model."""
        return tuple(self.probabilities.values())[self.predicted]

    def format_probability(self, decimals: int = 1) -> str:
        """Probability of the prediction in per cent, as "91.8 %"; of a regression model its value, as "3.2"."""
        return f"{self.probability:.3g}" if self.is_regression else f"{format_share(self.probability, decimals)} %"

    @property
    def capacity(self) -> Float[np.ndarray, " word"]:
        """Capacity of every word at the explaining site."""
        return self.site().capacity if self.explaining_capacity is None else self.explaining_capacity

    def site(self, name: str | None = None) -> SiteScores:
        """How the words share one site, by default the explaining one; an InputError lists the recorded ones."""
        name = name or self.explaining_site
        if name not in self.sites:
            advice = "" if self.explaining_capacity is None else f"; pass sites='{name}' to explain"
            raise InputError(f"nothing at site '{name}'; recorded are: {', '.join(self.sites) or 'none'}{advice}")
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
            "task": self.task,
            "is_regression": self.is_regression,
            "truncated": self.truncated,
            "left_out": self.left_out,
            "explaining_site": self.explaining_site,
            "capacity": json_values(self.capacity),
            "keep": None if self.keep is None else json_values(self.keep),
            "method": self.method,
            "target": self.target,
            "scores": None if self.scores is None else json_values(self.scores),
            "neurons": None if self.neurons is None else self.neurons.to_dict(),
            "sites": {
                name: {
                    "capacity": json_values(site.capacity),
                    "polysemanticity": json_values(site.polysemanticity),
                    "interference": json_values(site.interference),
                }
                for name, site in self.sites.items()
            },
            "attention": {str(layer): json_values(matrix) for layer, matrix in self.attention.items()},
        }

    def to_json(self) -> str:
        """As one line of JSON in ASCII."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_pandas(self) -> pandas.DataFrame:
        """One row per word, in the columns of `Explanations.to_pandas`; the number of the text is 0."""
        return build_word_table([self]).to_pandas()

    def figures(self, site: str | None = None, *, width: Width = "page") -> dict[str, Figure]:
        """The paper's Figures 2 (a, b, c) at one site, and 4 and 5 of its layer, for this text, by file name.

        If a method was asked for, `scores` shows its scores: of a signed one blue bars for the class and orange ones
        against it.

        Args:
            site: The site. Default: the one that explains the model.
            width: Width of the figures: of a paper's "column" or "page", or points of 1/72 inch. Letters have 8 points
                in each, so place them unscaled. In an HTML page they have at least 11 pixels where 453 points, the
                width of a page, become 625 pixels or more.
        """
        return load_view("safr.attribution.views", "explanation_figures")(self, site, width=width)

    def site_pictures(self, layer: int | None = None) -> dict[str, SitePicture]:
        """Bars and matrix of every site of one layer, in the order data flows; what `sites_panel` draws."""
        return load_view("safr.attribution.views", "site_pictures")(self, layer)

    def explore(self, *, height: int = 900) -> Any:
        """The explorer's page about this text, a `NotebookPage`; the last value of a notebook's cell is shown.

        Args:
            height: Of its frame, in pixels.
        """
        self.site()  # without it the page has nothing to show
        return load_view("safr.explorer.export", "make_notebook_page")(self, height=height)

    def _repr_html_(self) -> str:
        """How a notebook shows it: the words shaded by capacity."""
        return load_view("safr.attribution.views", "explanation_html")(self)


@dataclass(frozen=True, repr=False)
class Explanations(Sequence[Explanation]):
    """Explanations of a list of texts, in its order; a slice of them is `Explanations` too."""

    items: tuple[Explanation, ...]
    """One explanation per text."""

    @overload
    def __getitem__(self, index: int) -> Explanation: ...

    @overload
    def __getitem__(self, index: slice) -> Explanations: ...

    def __getitem__(self, index: int | slice) -> Explanation | Explanations:
        return Explanations(self.items[index]) if isinstance(index, slice) else self.items[index]

    def __len__(self) -> int:
        return len(self.items)

    def to_pandas(self) -> pandas.DataFrame:
        """One row per word, the texts one after the other.

        Returns:
            The columns `text` (number of the text, from 0), `position` (of the word in its text, from 0), `word`,
            `text_of_word` (0, or 1 for the second text of a pair), `unknown` (whether the tokenizer does not know it),
            `prediction`, `probability` (of the prediction; of a regression model its value), `capacity` (at the
            explaining site, in [0, 1]), `keep` (VMASK's keep probability in [0, 1]; missing without VMASK), `score` (by
            the method that was asked for; missing without one) and `truncated` (whether something of the text was left
            out).
        """
        return build_word_table(self).to_pandas()

    def __repr__(self) -> str:
        predictions = Counter(explanation.prediction for explanation in self).most_common()
        named = [f"{count:,} {shorten_text(name, _LONGEST_PREDICTION)}" for name, count in predictions]
        if len(named) > _MOST_PREDICTIONS:
            others = sum(count for _, count in predictions[_MOST_PREDICTIONS:])
            named = [*named[:_MOST_PREDICTIONS], f"{others:,} others"]
        words = sum(len(explanation.words) for explanation in self)
        texts = f"{len(self):,} {'text' if len(self) == 1 else 'texts'}"
        counts = f"{texts}, {words:,} {'word' if words == 1 else 'words'}"
        return f"<Explanations of {counts}{'; predicted: ' * bool(named)}{', '.join(named)}>"

    def _repr_html_(self) -> str:
        """How a notebook shows them: the first texts with their words shaded by capacity."""
        return load_view("safr.attribution.views", "explanations_html")(self)


def word_schema() -> pyarrow.Schema:
    """Names and types of the columns of a table of words; see `Explanations.to_pandas`."""
    import pyarrow  # only here: most explanations are never made a table

    return pyarrow.schema(
        {
            "text": pyarrow.int64(),
            "position": pyarrow.int32(),
            "word": pyarrow.string(),
            "text_of_word": pyarrow.int8(),
            "unknown": pyarrow.bool_(),
            "prediction": pyarrow.string(),
            "probability": pyarrow.float32(),  # models compute in it, so that nothing is lost
            "capacity": pyarrow.float32(),
            "keep": pyarrow.float32(),
            "score": pyarrow.float32(),
            "truncated": pyarrow.bool_(),
        }
    )


def build_word_table(explanations: Iterable[Explanation], first: int = 0) -> pyarrow.Table:
    """One row per word, in the columns of `Explanations.to_pandas`.

    Args:
        explanations: Of some texts.
        first: Number of the first text.
    """
    import pyarrow

    schema = word_schema()
    columns: dict[str, list[Any]] = {name: [] for name in schema.names}
    for number, explanation in enumerate(explanations, start=first):
        count = len(explanation.words)
        columns["text"] += [number] * count
        columns["position"] += range(count)
        columns["word"] += explanation.words
        columns["text_of_word"] += explanation.text_of_word
        columns["unknown"] += explanation.unknown or [None] * count
        columns["prediction"] += [replace_surrogates(explanation.prediction)] * count
        columns["probability"] += [explanation.probability] * count
        columns["capacity"] += explanation.capacity.tolist()
        columns["keep"] += [None] * count if explanation.keep is None else explanation.keep.tolist()
        columns["score"] += [None] * count if explanation.scores is None else explanation.scores.tolist()
        columns["truncated"] += [explanation.truncated] * count
    return pyarrow.table(columns, schema=schema)


def output_names(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, numbers: Sequence[int], *, outputs: int | None = None
) -> list[str]:
    """Names of a classifier's classes, of the tokens that a language model would put next, or of `ANSWER_NAMES`.

    Args:
        model: A classifier or a causal language model.
        tokenizer: Its tokenizer.
        numbers: Of the classes or tokens.
        outputs: How many classes the model has. Default: one more than the highest number.
    """
    if model.can_generate():
        return token_names(tokenizer, numbers)
    if compares_answers(model):
        return [ANSWER_NAMES[number] for number in numbers]
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
    """The tokens as text; of those that look alike, such as parts of a character, all but the first with their numbers.

    So the likeliest token, which is a model's answer, has the name that a label has.
    """
    names = [str(tokenizer.decode([token])) for token in tokens]
    return [
        name if name not in names[:place] else f"{name} ({token})"
        for place, (name, token) in enumerate(zip(names, tokens, strict=True))
    ]


def load_view(module: str, name: str) -> Callable[..., Any]:
    """A function that shows an explanation. It is found by name: what shows data imports them, and not they it."""
    view: Callable[..., Any] = getattr(import_module(module), name)
    return view


def json_values(values: NDArray[np.float64]) -> list[Any]:
    """An array as lists, with None for a number that is not finite."""
    objects = values.astype(object)
    objects[~np.isfinite(values)] = None
    return objects.tolist()
