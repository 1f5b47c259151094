"""`explain`, which explains predictions by how the words share the neurons: of one text, of a pair, or of a list."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import Explanation, Explanations, SiteScores, output_names
from safr.attribution.neurons import find_text_neurons
from safr.attribution.relevance import has_rules
from safr.attribution.words import attention_per_word, batch_scores_per_word, pairs_per_word, scores_per_word
from safr.config import Task
from safr.data.batches import Batch
from safr.data.choices import parse_question
from safr.data.encoding import EncodedText, check_text, describe_left_out, has_order, is_pair, read_texts
from safr.data.marks import drop_mark
from safr.data.splits import Text
from safr.errors import InputError, describe_value
from safr.inference import (
    check_model,
    compares_answers,
    drop_rest,
    encode_texts,
    get_task,
    iter_traces,
    probabilities,
    text_logits,
    to_numpy,
)
from safr.model.forward_pass import SITES
from safr.model.regularizer import get_explaining_site
from safr.model.trace import Trace
from safr.superposition import capacity, capacity_from_overlaps, interference, polysemanticity

NEXT_TOKENS = 5
"""How many of a language model's next tokens an explanation names."""

_Name = TypeVar("_Name", bound=Hashable)
_Value = TypeVar("_Value")
_Outputs = tuple[list[str], list[float], int]
"""Names and values of the classes of one text, or of its likeliest next tokens, and the index of the prediction."""


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


# A text is an iterable of texts to a type checker, since it is one of letters. The first signature that fits is taken.
@overload
def explain(  # type: ignore[overload-overlap]
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Text,
    text_pair: str | None = None,
    *,
    max_tokens: int | None = None,
    sites: str | Collection[str] | None = None,
    method: str | None = None,
    target: str | int | None = None,
    neurons: int = 0,
) -> Explanation: ...


@overload
def explain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Iterable[Text],
    text_pair: None = None,
    *,
    max_tokens: int | None = None,
    sites: str | Collection[str] | None = None,
    method: str | None = None,
    target: str | int | None = None,
    neurons: int = 0,
) -> Explanations: ...


def explain(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Text | Iterable[Text],
    text_pair: str | None = None,
    *,
    max_tokens: int | None = None,
    sites: str | Collection[str] | None = None,
    method: str | None = None,
    target: str | int | None = None,
    neurons: int = 0,
) -> Explanation | Explanations:
    """Explain predictions by how the words share the neurons, and by any attribution method.

    Capacity costs one forward pass, without gradients or sampling. With `method="relevance"` the explanation also says
    which words speak for the predicted class, or for `target`, and which against.

    A list is never a pair, and a tuple of two strings always is one: `["a", "b"]` are two texts, `("a", "b")` is a
    pair. The texts of a list are run in batches, and every number is what the text gets alone.

    Args:
        model: A model that classifies texts or words, predicts a number, writes text or finds answers, with SAFR on it
            or not. It runs in evaluation mode and gets its own mode back. For an encoder-decoder that writes text, the
            first token of its output is explained by the words of the text. For a model that gives each word a tag,
            write the word whose tag is to be explained in double brackets, as in "John saw [[Paris]]". For a model that
            finds the answer to a question in a text, write the answer in double brackets, or leave them out to explain
            the model's own answer. For a model that picks a choice do the same; its second text holds the choices with
            " | " between them.
        tokenizer: Its tokenizer.
        text: Any text; a pair of them as a tuple of two, for a model that reads pairs; or a list, array, column, longer
            tuple or other iterable of texts and pairs, which is read whole.
        text_pair: The second text of a pair whose first is `text`.
        max_tokens: Tokens read of a text. Default: all.
        sites: Where words share directions, as `fc1` for every layer, `fc1.0` for one, or several such names, with
            `attention` among them; see `safr.trace`. The explaining site is always kept. Default: for one text all
            sites, which are computed when you look at them; for a list only the capacity at the explaining site, so
            that an explanation holds a few numbers per word. Each site that you name adds two numbers per word and one
            per pair of words; `attention` adds one per pair of words and layer.
        method: Name of an attribution method, such as `relevance` or `occlusion`, whose scores are kept beside
            capacity; see `safr.benchmark`. Default: none.
        target: Class that the scores are about, by its name or number, or a language model's next token. Default: what
            is predicted.
        neurons: How many of the explaining layer's neurons to keep of each text, those that it uses most: which words
            share them, and what each adds to the class at every word. See `TextNeurons`. Default: none.

    Returns:
        An `Explanation`; for a list `Explanations`, a sequence with one for each text, even if the list has only one
        text or none.

    Raises:
        InputError: A text is not a text, has no word or is longer than the model can read; or the model is of another
            kind, has no such site or class, or does not allow the method. For a list the message names the text by its
            number, from 0.
    """
    check_model(model)
    sites = (sites,) if isinstance(sites, str) else sites
    if text_pair is not None:
        if not isinstance(text, str) or not isinstance(text_pair, str):
            pair = " and ".join(map(describe_value, (text, text_pair)))
            raise InputError(
                f"expected `text` and `text_pair` to be one text each, got {pair}; in a list, a pair is a tuple"
            )
        text = text, text_pair
    if has_order(text) and not is_pair(text):
        texts = read_texts(text)
        options: dict[str, Any] = {"max_tokens": max_tokens, "method": method, "target": target, "neurons": neurons}
        return Explanations(tuple(explain_texts(model, tokenizer, texts, sites=sites or (), **options)))
    explanation, encoded = _explain_text(model, tokenizer, check_text(text), max_tokens, sites)
    return _add_scores(model, tokenizer, [explanation], [encoded], method, target, neurons)[0]


def explain_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    *,
    max_tokens: int | None = None,
    sites: Collection[str] = (),
    method: str | None = None,
    target: str | int | None = None,
    neurons: int = 0,
    first: int = 0,
) -> list[Explanation]:
    """Explanations of texts and pairs, in their order; arguments and errors are those of `explain` for a list.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        texts: From `read_texts`.
        max_tokens: Tokens read of a text. Default: all.
        sites: What is kept with the explaining site. Default: of that its capacity alone.
        method: See `explain`.
        target: See `explain`.
        neurons: See `explain`.
        first: Number of the first text, for errors.
    """
    encoded = encode_texts(model, tokenizer, texts, max_tokens)
    if without := [number for number, text in enumerate(encoded, start=first) if not text.words]:
        more = f" and {len(without) - 1:,} more" if len(without) > 1 else ""
        reason = describe_no_words(max_tokens, encoded[without[0] - first].truncated)
        raise InputError(f"text {without[0]}{more}: {reason}; leave out texts without words")
    explaining = get_explaining_site(model)
    build = partial(_build_explanation, tokenizer, explaining_site=explaining, task=get_task(model))
    explanations: dict[int, Explanation] = {}
    with _name_long_text(model, encoded):
        for batch, trace in iter_traces(model, encoded, {*sites, explaining}):
            rows = [encoded[number] for number in batch.indices]
            columns = [to_numpy(capacity_from_overlaps(trace.site(explaining).float(), trace.content_mask))]
            columns += [] if trace.keep is None else [to_numpy(trace.keep)]
            scores = batch_scores_per_word(rows, np.stack(columns, axis=-1))  # of each text (word, column)
            outputs = _read_outputs(model, tokenizer, trace, batch, rows)
            for row, number in enumerate(batch.indices):
                explanations[number] = build(
                    texts[number],
                    rows[row],
                    outputs[row],
                    keep=None if trace.keep is None else scores[row][:, 1],
                    sites=dict(_score_sites(rows[row], trace, row)) if sites else {},
                    attention=dict(_average_attention(rows[row], trace, row)) if sites else {},
                    explaining_capacity=None if sites else scores[row][:, 0],
                )
    in_order = [explanations[number] for number in range(len(texts))]
    return _add_scores(model, tokenizer, in_order, encoded, method, target, neurons)


def _add_scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    explanations: list[Explanation],
    texts: Sequence[EncodedText],
    method: str | None,
    target: str | int | None,
    neurons: int,
) -> list[Explanation]:
    """The explanations with the scores of an attribution method, and with neurons, if they are asked for."""
    if neurons < 0:
        raise InputError(f"`neurons` must be at least 0, got {neurons}")
    if method is None and not neurons and target is not None:
        raise InputError("`target` needs a `method` whose scores are about a class; pass method='relevance'")
    # Of a model that writes text the names of likely tokens are known, and not their numbers.
    predicted = None if model.can_generate() else [explanation.predicted for explanation in explanations]
    if method is not None:
        from safr.attribution.registry import knows_class  # only here: Captum, behind it, takes seconds to import
        from safr.attribution.word_scores import score_words

        scores, name = score_words(model, tokenizer, texts, method, target, predicted)
        explanations = [
            replace(
                explanation,
                method=method,
                target=(name or explanation.prediction) if knows_class(method) else "",
                scores=row,
            )
            for explanation, row in zip(explanations, scores, strict=True)
        ]
    if not (neurons and texts):
        return explanations
    has_scores = method is not None
    return _add_neurons(model, tokenizer, explanations, texts, target, neurons, predicted, has_scores=has_scores)


def _add_neurons(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    explanations: list[Explanation],
    texts: Sequence[EncodedText],
    target: str | int | None,
    count: int,
    predicted: Sequence[int] | None,
    *,
    has_scores: bool,
) -> list[Explanation]:
    is_ruled = has_rules(model)
    number: int | Sequence[int] | None = predicted if is_ruled else None
    name = ""
    if target is not None:
        from safr.attribution.word_scores import find_target  # only here: Captum is behind it

        chosen, name = find_target(model, tokenizer, texts[0], target)
        # Without rules the class is for the method's scores; refused is one that nothing could be said about.
        number = chosen if is_ruled or not has_scores else None
    names = [name or explanation.prediction for explanation in explanations]
    found = find_text_neurons(model, texts, count, targets=number, target_names=names)
    return [replace(explanation, neurons=used) for explanation, used in zip(explanations, found, strict=True)]


def _explain_text(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    text: Text,
    max_tokens: int | None,
    sites: Collection[str] | None,
) -> tuple[Explanation, EncodedText]:
    """The explanation of one text, whose sites are computed when they are looked at, and what was read of it."""
    encoded = encode_texts(model, tokenizer, [text], max_tokens)[0]
    if not encoded.words:
        raise InputError(describe_no_words(max_tokens, encoded.truncated))
    explaining = get_explaining_site(model)
    with _name_long_text(model, [encoded]):
        batch, trace = _trace_text(model, encoded, None if sites is None else {*sites, explaining})
    explanation = _build_explanation(
        tokenizer,
        text,
        encoded,
        _read_outputs(model, tokenizer, trace, batch, [encoded])[0],
        keep=None if trace.keep is None else scores_per_word(encoded, to_numpy(trace.keep[0])),
        sites=_score_sites(encoded, trace, 0),
        attention=_average_attention(encoded, trace, 0),
        explaining_site=explaining,
        task=get_task(model),
    )
    return explanation, encoded


def _trace_text(model: PreTrainedModel, text: EncodedText, sites: Collection[str] | None) -> tuple[Batch, Trace]:
    """The one batch and what it shows at the sites; by default at all, without attention where that can't be seen."""
    if sites is not None:
        return next(iter_traces(model, [text], sites))
    with suppress(InputError):  # what else is wrong with the model is wrong without attention too
        return next(iter_traces(model, [text], SITES))
    return next(iter_traces(model, [text], [site for site in SITES if site != "attention"]))


def _build_explanation(
    tokenizer: PreTrainedTokenizerBase,
    text: Text,
    encoded: EncodedText,
    outputs: _Outputs,
    *,
    keep: NDArray[np.float64] | None,
    sites: Mapping[str, SiteScores],
    attention: Mapping[int, NDArray[np.float64]],
    explaining_site: str,
    task: Task,
    explaining_capacity: NDArray[np.float64] | None = None,
) -> Explanation:
    labels, values, predicted = outputs
    if encoded.rivals:
        read: Text = parse_question(text).text, encoded.asked_text
    else:
        read = drop_mark(text) if encoded.asked else text
    left_out, note = describe_left_out(tokenizer, read, encoded)
    return Explanation(
        words=encoded.words,
        text_of_word=encoded.text_of_word,
        prediction=labels[predicted],
        probabilities=dict(zip(_make_unique(labels, predicted, values), values, strict=True)),
        keep=keep,
        sites=sites,
        attention=attention,
        truncated=encoded.truncated,
        explaining_site=explaining_site,
        labels=tuple(labels),
        predicted=predicted,
        task=task,
        left_out=left_out,
        left_out_note=note,
        unknown=encoded.is_unknown,
        explaining_capacity=explaining_capacity,
    )


def _score_sites(text: EncodedText, trace: Trace, row: int) -> LazyMapping[str, SiteScores]:
    content_mask = trace.content_mask[row]
    return LazyMapping(trace.vectors, lambda vectors: _score_site(text, vectors[row], content_mask))


def _average_attention(text: EncodedText, trace: Trace, row: int) -> LazyMapping[int, NDArray[np.float64]]:
    return LazyMapping(trace.attention, lambda weights: attention_per_word(text, to_numpy(weights[row]).mean(axis=0)))


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
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    trace: Trace,
    batch: Batch,
    texts: Sequence[EncodedText],
) -> list[_Outputs]:
    """Of every text the names and values of all classes or of the likeliest next tokens, and which is the highest.

    An answer that is asked about is named as it stands in the text.
    """
    logits = text_logits(model, trace.logits, batch)
    values = probabilities(model, logits)  # (batch, label)
    if model.can_generate():
        likeliest = values.topk(min(NEXT_TOKENS, values.shape[-1]))
        rows = zip(likeliest.indices.tolist(), likeliest.values.tolist(), strict=True)
        return [(output_names(model, tokenizer, tokens), shares, 0) for tokens, shares in rows]
    count = values.shape[-1]
    names = output_names(model, tokenizer, range(count), outputs=count)
    predicted = drop_rest(model, logits).argmax(dim=-1).tolist()
    names_of_texts = [names] * len(texts)
    if compares_answers(model):
        another, _, others = names
        names_of_texts = [[another, text.asked_text, others] for text in texts]
    return list(zip(names_of_texts, values.tolist(), predicted, strict=True))


def _make_unique(names: Sequence[str], predicted: int, values: Sequence[float]) -> list[str]:
    """The names, with its number behind one that a likelier class has too; the prediction keeps its own."""
    unique = list(names)
    if len(set(names)) == len(names):
        return unique
    ranking = sorted(range(len(names)), key=lambda number: (number != predicted, -values[number], number))
    taken: set[str] = set()
    for number in ranking:
        if unique[number] in taken:
            while unique[number] in (*taken, *names):
                unique[number] = f"{unique[number]} ({number})"
        taken.add(unique[number])
    return unique


@contextmanager
def _name_long_text(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Iterator[None]:
    """Turn a model's own error about a text beyond its positions into an InputError that says so."""
    try:
        yield
    except (IndexError, RuntimeError) as error:
        # Not beforehand: some models read on beyond it, and some begin to count at 2.
        most = getattr(model.config, "max_position_embeddings", None)
        longest = max(len(text.ids) for text in texts)
        if most is None or longest <= most - 2:
            raise
        raise InputError(
            f"the text has {longest:,} tokens, more than the model's {most:,} positions; pass a max_tokens"
        ) from error


def describe_no_words(max_tokens: int | None, truncated: bool) -> str:
    """What is wrong with a text of which no word was read."""
    advice = f" in its first {max_tokens} tokens; raise `max_tokens`" if truncated else ""
    return f"expected a text with at least one word, got none{advice}"
