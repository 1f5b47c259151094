"""SRS, the paper's metric: how many points of accuracy go when the most important words are deleted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from numbers import Real
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Shaped
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.internals import internal_scores
from safr.attribution.words import Scores, random_scores
from safr.data.encoding import EncodedText, read_texts
from safr.data.splits import Split, Text
from safr.errors import InputError, describe_value
from safr.evaluation.labels import align_split, check_classes, check_labels
from safr.evaluation.statistics import Estimate
from safr.evaluation.task_metrics import ACCURACY, MAE, MAIN_METRICS
from safr.inference import check_model, encode_texts, get_task, predict_labels, to_numpy
from safr.model.families import has_visible_attention, picks_choices, unwrap
from safr.model.regularizer import get_explaining_site
from safr.processes import share_texts
from safr.progress import Progress

Within = Literal["first", "second", "both"]
"""Which of a pair's texts words are deleted from."""

DELETION_PERCENTS = (10, 20, 30, 40, 50, 60, 70, 80, 90)
"""The k at which words are deleted."""

MAIN_PERCENT = 30
"""The k of the paper's tables."""

# Differs from the paper: random deletion, of which it does not say how often it is drawn.
RANDOM_DRAWS = 5
MAIN_RANDOM_DRAWS = 20
"""Random deletions at the other k and at the main one, on up to 2,000 texts; see `count_random_draws`."""

_TEXTS_TOGETHER, _TOKENS_TOGETHER = 256, 4_000_000
"""Texts whose deletions are in memory at once, and tokens that those hold at most."""

_TEXTS = {"first": (0,), "second": (1,), "both": (0, 1)}


@dataclass(frozen=True)
class SRSResult:
    """SRS at one k, beside random deletion, with 95 % bootstrap intervals over texts.

    All are fractions. For a regression model, every accuracy is a mean absolute error instead, in the unit of the
    labels, and every drop is by how much the error grows; `metric` says which of the two it is.
    """

    percent: float
    """k, the share of a text's words that is deleted, in per cent."""

    texts: int
    """How many texts there are."""

    site: str
    """Site whose capacity ranks the words, as in `fc1.0`; empty where other scores do."""

    accuracy: Estimate
    """Accuracy on the whole texts."""

    after_deletion: Estimate
    """Accuracy after the words with the highest scores are deleted."""

    after_random: Estimate
    """Accuracy after as many random words are deleted, a mean over draws."""

    srs: Estimate
    """Accuracy less accuracy after deletion."""

    random_drop: Estimate
    """Accuracy less accuracy after random deletion."""

    above_random: Estimate
    """By how much more accuracy falls by the scores than at random, paired on the same texts."""

    undeletable: int = 0
    """How many texts hold one word, so that nothing can be deleted from them and they add 0 to SRS."""

    metric: Literal["accuracy", "mae"] = "accuracy"
    """What texts are judged by: accuracy, or the mean absolute error."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        names = ("srs", "accuracy", "after_deletion", "after_random")
        metric = ACCURACY if self.metric == ACCURACY.key else MAE
        drop, whole, deleted, random = (metric.format(getattr(self, name).to_dict()) for name in names)
        return (
            f"SRS({self.percent:g}) {drop}: {metric.name} {whole}, {deleted} without the words with the highest "
            f"scores, {random} without as many random ones ({self.texts:,} texts{', in %' if metric.is_share else ''})"
            + (f"; {describe_undeletable(self.undeletable, self.texts)}" if self.undeletable else "")
        )


def srs(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    labels: Sequence[Any] | np.ndarray | Tensor,
    *,
    percent: float = MAIN_PERCENT,
    scores: Scores | Sequence[Sequence[float] | Tensor] | None = None,
    site: str | None = None,
    within: Within = "both",
    max_tokens: int | None = None,
    progress: Progress | None = None,
) -> SRSResult:
    r"""SRS of a model on labelled texts: the accuracy that is lost without the words of highest capacity.

    $$SRS(k) = acc(x) - acc(x \setminus top_k(x))$$

    where $x \setminus top_k(x)$ is a text without the k % of its words that have the highest capacity. It has a meaning
    only beside the deletion of as many random words, which is measured as well.

    Source: SAFR (Chang et al. 2025), section 4. Deleted tokens are removed from the sequence. Their number is k % of
    the words, rounded half up; at least 1 word is deleted and at least 1 stays. Of words with the same score the
    earlier one is deleted first.

    For a regression model, the mean absolute error takes the place of accuracy, and SRS is by how much it grows. If
    several classes can be right, a text counts as right if all its classes are.

    Args:
        model: A model that classifies texts or words, predicts a number, writes text or answers questions, with SAFR on
            it or not. It runs in evaluation mode and gets its own mode back.
        tokenizer: Its tokenizer.
        texts: At least two texts, or pairs, as tuples, for a model that reads pairs.
        labels: One for every text: the right class, the right number, or 0 or 1 for every class that can be right; for
            questions with choices the number of the right one.
        percent: k, above 0 and at most 100.
        scores: One score per word of every text, as another method gives them, in place of capacity.
        site: Site whose capacity ranks the words. Default: the one that explains the model, `fc1.0` without SAFR.
        within: Which of a pair's texts words are deleted from.
        max_tokens: Tokens read of a text. Default: all.
        progress: Called as texts get done.

    Returns:
        Accuracies and SRS as fractions in [-1, 1], or errors in the unit of the labels, with 95 % bootstrap intervals
        over texts.

    Raises:
        InputError: Texts, labels, scores and the model don't fit together, or every text is a single word.
    """
    check_percent(percent)
    check_model(model)
    texts = read_texts(texts)
    metric = MAIN_METRICS[get_task(model)]
    answers = check_labels(texts, labels, get_task(model))
    if picks_choices(model):
        split = Split(tuple(texts), tuple(answers.tolist()))
        examples = align_split(model, tokenizer, split, split, max_tokens)
        texts, answers = list(examples.texts), examples.label_array
    encoded = encode_texts(model, tokenizer, texts, max_tokens)
    check_classes(model, encoded, answers)
    check_deletable(encoded)
    if site is not None and not isinstance(site, str):
        raise InputError(f"`site` must be a name such as fc1.0, got {describe_value(site)}")
    site = site or get_explaining_site(model)
    if scores is None:
        internals = internal_scores(model, encoded, [site, *attention_sites(model, site)])
        if any(site not in text.capacity for text in internals):
            raise InputError(f"no capacity at site {site!r}; expected embedding, vmask, or a layer's, such as fc1.0")
        scores = [text.capacity[site] for text in internals]
        predictions = np.array([text.prediction for text in internals])
    else:
        predictions, site, scores = predict_labels(model, encoded), "", _read_scores(encoded, scores)
    judged = metric.judge(predictions, answers)
    outcomes = measure_deletions(
        model,
        encoded,
        answers,
        {"scores": scores},
        {"scores": (percent,)},
        (percent,),
        within=within,
        progress=progress,
    )
    by_score, at_random = outcomes["scores", percent], outcomes["random", percent]
    return SRSResult(
        percent=percent,
        texts=len(encoded),
        site=site,
        accuracy=metric.estimate(judged),
        after_deletion=metric.estimate(by_score.mean(axis=0)),
        after_random=metric.estimate(at_random.mean(axis=0)),
        srs=metric.estimate_change(metric.worsening(judged, by_score)),
        random_drop=metric.estimate_change(metric.worsening(judged, at_random)),
        above_random=metric.estimate_change(metric.worsening(at_random.mean(axis=0), by_score)),
        undeletable=count_undeletable(encoded),
        metric=metric.key,
    )


def count_deleted(words: int, percent: float, *, texts: int = 1) -> int:
    """How many words are deleted: k % rounded half up, at least 1; at least 1 word of a text stays.

    Differs from the paper: deletion, of which it says neither how a share is rounded nor what the model then reads.

    Args:
        words: The words that may go.
        percent: k.
        texts: How many texts they are from.

    >>> [count_deleted(words, 30) for words in (0, 1, 2, 5, 15)]
    [0, 0, 1, 2, 5]
    """
    rounded = int(words * percent / 100 + 0.5)
    return max(min(max(rounded, 1), words - texts), 0)


def select_top_words(
    scores: Float[np.ndarray, " word"],
    percent: float,
    *,
    text_of_word: Sequence[int] | None = None,
    within: Within = "both",
) -> frozenset[int]:
    """The k % of the words with the highest scores; ties go to the earlier word.

    Args:
        scores: One score per word.
        percent: k, of the words that may go.
        text_of_word: For every word the text that it is from, 0 or 1, or 2 where it may not go; see
            `EncodedText.group_of_word`. Default: all are of one text.
        within: Which text's words may go; from both they go by one ranking, but the last word of a text stays.

    >>> sorted(select_top_words(np.array([0.1, 0.9, 0.9, 0.2]), 50))
    [1, 2]
    """
    texts = [0] * len(scores) if text_of_word is None else text_of_word
    ranking = rank_words(scores, text_of_word=texts, within=within)
    words = sum(text in _TEXTS[within] for text in texts)
    return frozenset(ranking[: count_deleted(words, percent, texts=words - len(ranking))])


def rank_words(
    scores: Float[np.ndarray, " word"], *, text_of_word: Sequence[int] | None = None, within: Within = "both"
) -> list[int]:
    """The words that may go, the highest score first; the least important word of a text is not among them.

    Args:
        scores: One score per word.
        text_of_word: For every word the text that it is from, 0 or 1, or 2 where it may not go; see
            `EncodedText.group_of_word`. Default: all are of one text.
        within: Which text's words may go.

    >>> rank_words(np.array([0.1, 0.9, 0.9, 0.2]))
    [1, 2, 3]
    """
    texts = [0] * len(scores) if text_of_word is None else text_of_word
    ranking = [word for word in np.argsort(-scores, kind="stable").tolist() if texts[word] in _TEXTS[within]]
    last_words = set({texts[word]: word for word in ranking}.values())  # the least important of each text
    return [word for word in ranking if word not in last_words]


def delete_words(
    texts: Sequence[EncodedText], scores: Scores, percent: float, *, within: Within = "both"
) -> list[EncodedText]:
    """Every text without the k % of its words with the highest scores.

    Args:
        texts: Encoded texts or pairs.
        scores: One score per word, for every text.
        percent: k, of the words that may go.
        within: Which of a pair's texts they may go from.

    Raises:
        InputError: Words of the second text shall go where there is only one.
    """
    if within == "second" and any(text.second is None for text in texts):
        raise InputError("expected pairs of texts to delete words in the second, got one text alone")
    return [
        text.without(select_top_words(score, percent, text_of_word=text.group_of_word, within=within))
        for text, score in zip(texts, scores, strict=True)
    ]


def measure_deletions(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    labels: Shaped[np.ndarray, "text ..."],
    scores: Mapping[str, Scores],
    percents: Mapping[str, Sequence[float]],
    random_percents: Sequence[float],
    *,
    within: Within = "both",
    progress: Progress | None = None,
) -> dict[tuple[str, float], Float[np.ndarray, "draw text"]]:
    """How texts are judged after deletions by scores and at random, by the main metric of the model's task.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts or pairs.
        labels: See `Split.label_array`.
        scores: Scores by name; the name `random` is taken.
        percents: By the same names, the k at which words are deleted.
        random_percents: The k at which words are deleted at random.
        within: Which of a pair's texts words are deleted from.
        progress: Called as texts get done with all their deletions.

    Returns:
        By name and k; scores have one draw, `random` has `count_random_draws`.
    """
    deletions = [(name, percent, scores[name]) for name in scores for percent in percents[name]]
    main, other = count_random_draws(len(texts))
    random = [random_scores(texts, seed) for seed in range(main)]
    for percent in random_percents:
        draws = main if percent == MAIN_PERCENT else other
        deletions += [("random", percent, drawn) for drawn in random[:draws]]
    predictions = predict_after_deletion(
        model, texts, [(values, percent) for _, percent, values in deletions], within=within, progress=progress
    )
    metric = MAIN_METRICS[get_task(model)]
    outcomes: dict[tuple[str, float], list[NDArray[np.float64]]] = {}
    for (name, percent, _), prediction in zip(deletions, predictions, strict=True):
        outcomes.setdefault((name, percent), []).append(metric.judge(prediction, labels))
    return {key: np.stack(draws) for key, draws in outcomes.items()}


def attention_sites(model: PreTrainedModel, site: str) -> list[str]:
    """The attention that is recorded beside a site: of its layer, or none where attention can't be seen.

    Attention that is recorded is not computed by torch's fused kernel, whose last digits differ. All that give SRS
    record the same, so that they give the same number.
    """
    return [f"attention.{site.partition('.')[2] or 0}"] if has_visible_attention(unwrap(model)) else []


def count_random_draws(texts: int) -> tuple[int, int]:
    """How many random deletions are made at the main k and at the others: fewer where there are many texts.

    What draws differ by falls with their number as with that of the texts, so that nothing is gained by both.

    >>> count_random_draws(1_743), count_random_draws(25_000)
    ((20, 5), (2, 1))
    """
    main, other = (min(most, math.ceil(most * 2000 / max(texts, 1))) for most in (MAIN_RANDOM_DRAWS, RANDOM_DRAWS))
    return main, other


def predict_after_deletion(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    deletions: Sequence[tuple[Scores, float]],
    *,
    within: Within = "both",
    progress: Progress | None = None,
) -> Shaped[np.ndarray, "deletion text ..."]:
    """What the model makes of every text after many deletions, in the form of the labels, (deletion, text, ...).

    A few hundred texts of about one length go through the model together with all that the deletions leave of them,
    so that hardly anything is padded, and what several deletions leave alike is run once.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts or pairs.
        deletions: Pairs of scores and a percentage k, as for `delete_words`.
        within: Which of a pair's texts words are deleted from.
        progress: Called with the number of texts that are done and the number there are.
    """
    for scores, _ in deletions:
        if len(scores) != len(texts):
            raise ValueError(f"expected scores of {len(texts)} texts, got those of {len(scores)}")
    scores_by_deletion = dict(enumerate(scores for scores, _ in deletions))
    percents = [percent for _, percent in deletions]
    return np.moveaxis(_predict_without_words(model, texts, scores_by_deletion, percents, within, progress), 1, 0)


@share_texts("texts", "scores")
def _predict_without_words(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    scores: Mapping[int, Scores],
    percents: Sequence[float],
    within: Within,
    progress: Progress | None,
) -> Shaped[np.ndarray, "text deletion ..."]:
    """The same with the texts first, from the scores and the k of each deletion."""
    predicted = np.empty((len(texts), len(percents)), dtype=np.int64)
    by_length = sorted(range(len(texts)), key=lambda number: -len(texts[number].ids))
    start = 0
    while start < len(texts):
        tokens = len(texts[by_length[start]].ids) * max(len(percents), 1)
        numbers = by_length[start : start + max(min(_TEXTS_TOGETHER, _TOKENS_TOGETHER // max(tokens, 1)), 1)]
        whole = [texts[number] for number in numbers]
        shortened = [
            text
            for values, percent in zip(scores.values(), percents, strict=True)
            for text in delete_words(whole, [values[number] for number in numbers], percent, within=within)
        ]
        answers = predict_labels(model, shortened)
        if start == 0 and len(shortened):
            predicted = np.empty((len(texts), len(percents), *answers.shape[1:]), dtype=answers.dtype)
        predicted[numbers] = answers.reshape(len(percents), len(numbers), *answers.shape[1:]).swapaxes(0, 1)
        start += len(numbers)
        if progress is not None:
            progress(start, len(texts))
    return predicted


def count_undeletable(texts: Sequence[EncodedText]) -> int:
    """How many texts hold one word or none (of a pair: each of its texts), so that nothing can be deleted from them."""
    return sum(text.most_deletable < 1 for text in texts)


def check_deletable(texts: Sequence[EncodedText]) -> None:
    """Raise an InputError where nothing can be deleted from any text: SRS would be 0 whatever the model does."""
    if count_undeletable(texts) == len(texts):
        raise InputError(
            f"each of the {len(texts):,} texts is one word to the tokenizer, so nothing can be deleted and SRS "
            "measures nothing; texts without spaces need a tokenizer that splits them, or spaces between their words"
        )


def describe_undeletable(undeletable: int, texts: int) -> str:
    """A sentence on the texts of one word, of which there are some.

    >>> describe_undeletable(2, 40), describe_undeletable(40, 40)
    ('2 of 40 texts hold one word, so nothing can be deleted from them',
     'each of the 40 texts holds one word, so nothing can be deleted')
    """
    if undeletable == texts:
        return f"each of the {texts:,} texts holds one word, so nothing can be deleted"
    return f"{undeletable:,} of {texts:,} texts hold one word, so nothing can be deleted from them"


def check_percent(percent: Any) -> None:
    """Raise an InputError unless this is a number above 0 and at most 100."""
    if not isinstance(percent, Real) or isinstance(percent, bool) or not 0 < float(percent) <= 100:
        shown = f"{percent:g}" if isinstance(percent, int | float) else describe_value(percent)
        raise InputError(f"`percent` must be above 0 and at most 100, got {shown}")


def _read_scores(texts: Sequence[EncodedText], scores: Any) -> Scores:
    """Scores as arrays, one value per word."""
    if isinstance(scores, Mapping | str | bytes) or not hasattr(scores, "__len__") or not hasattr(scores, "__iter__"):
        raise InputError(f"expected scores as a list of one array per text, got {describe_value(scores)}")
    if len(scores) != len(texts):
        raise InputError(f"expected scores of {len(texts)} texts, got those of {len(scores)}")
    arrays = []
    for number, (text, values) in enumerate(zip(texts, scores, strict=True)):
        try:
            array = to_numpy(values) if isinstance(values, Tensor) else np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            array = np.zeros(0) * np.nan
        if array.shape != (len(text.words),) or not np.isfinite(array).all():
            raise InputError(
                f"expected {len(text.words)} finite scores of text {number}, one per word: {text.words[:8]}"
            )
        arrays.append(array)
    return arrays
