"""Scoring a run or a model: accuracy, SRS at every k, capacity, the audit, and a few texts to show."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.explanation import output_names, token_names
from safr.attribution.internals import InternalScores, internal_scores
from safr.attribution.neurons import summarize_neurons
from safr.attribution.relevance import has_rules, relevance
from safr.attribution.words import Scores
from safr.config import QUESTION_TASKS
from safr.data import Split, TextDataset
from safr.data.choices import count_choices
from safr.data.encoding import EncodedText
from safr.data.splits import Label, Text, hash_text, write_label
from safr.errors import InputError, describe_value
from safr.evaluation.answering import score_answers
from safr.evaluation.audit import audit
from safr.evaluation.classification import score_class_lists, score_classes
from safr.evaluation.generation import score_generation
from safr.evaluation.labels import align_labels, align_split, check_classes, number_tags
from safr.evaluation.regression import score_values
from safr.evaluation.srs import (
    DELETION_PERCENTS,
    MAIN_PERCENT,
    Within,
    attention_sites,
    count_undeletable,
    describe_undeletable,
    measure_deletions,
    select_top_words,
)
from safr.evaluation.statistics import NOT_MEASURED, bootstrap_mean
from safr.evaluation.tagging import score_tags
from safr.evaluation.task_metrics import MAIN_METRICS, MainMetric, get_main_metric
from safr.inference import check_model, encode_texts, finds_answers, get_task, is_tagger
from safr.model.families import picks_choices
from safr.model.model_card import Score, model_card
from safr.model.regularizer import get_explaining_site
from safr.processes import load_on_all
from safr.progress import Progress
from safr.rounding import format_share
from safr.runs import Run
from safr.storage import write_json, write_parquet, write_text

CAPACITY_SITES = ("embedding", "vmask", "fc1", "fc1_out", "fc2")

MIN_WORDS, MAX_WORDS = 8, 30
"""Words of an example; shorter ones show little, longer ones don't fit a figure."""

EXAMPLES_PER_OUTCOME = 2

EXAMPLE_RULE = (
    f"Of the test texts with {MIN_WORDS} to {MAX_WORDS} words, the {EXAMPLES_PER_OUTCOME} that the last run classifies "
    f"right and the {EXAMPLES_PER_OUTCOME} that it classifies wrong whose SHA-256 comes first. The paper's own "
    "sentence comes before them where the classes are negative and positive. Where a number is predicted, right is an "
    "error of at most the median."
)

PAPER_SENTENCE = (
    "Preposterous and tedious , Sonny is spiked with unintentional laughter that , unfortunately , occurs too "
    "infrequently to make the film even a guilty pleasure ."
)
"""The sentence of the paper's figures, in the treebank's spelling; its label is negative."""


@dataclass(frozen=True)
class ShownText:
    """A text to show."""

    text: Text
    label: str
    origin: str
    """Why it is shown: `paper`, `right` or `wrong`."""


def evaluate(
    run_or_model: Run | PreTrainedModel,
    data: TextDataset | Split | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    split: str = "test",
    max_tokens: int | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Score a run, or a model with its tokenizer, on one split of its data.

    Args:
        run_or_model: A trained run, whose scores are also written down, or a model that classifies texts or words,
            predicts a number, writes text or answers questions.
        data: The data that the run was trained on; another gives an InputError. Default: they are loaded. For a model
            any data set, whose classes are found in the model by name if both have the same names in another order, or
            a split of one: `Split(texts, labels)`. Labels are numbers; or, for a model that writes text, what it is to
            write after each text, for one that gives tags, the tags of each text's words with spaces between, and for
            one that finds answers, their places in the text, such as 4:9. For one that picks choices they are numbers
            of choices, and the second text of each pair holds these with " | " between.
        tokenizer: The model's; a run brings its own.
        split: `test`, or `dev` to choose settings by.
        max_tokens: Tokens read of each text by a model. Default: all. A run reads as many as it was trained with.
        device: Where a run's model goes. Default: the GPU, where there is one. A model stays where it is.
        progress: Called as texts get done with all their deletions.

    Returns:
        What `scores.json` holds; `duplicates`, which counts texts that several splits share, only for a data set. Only
        the test split's scores of a run are written there and into the model's card, its words to `tokens.parquet`,
        what drives each neuron to `neurons.parquet`, and some texts to show to `examples.json`. Where every text is a
        single word, what deletion would measure is None, and `srs_reason` says why.

    Raises:
        InputError: The data don't fit the run or the model, a model comes without tokenizer or data, or another process
            works on the run.
    """
    if isinstance(run_or_model, Run):
        with run_or_model.lock() if split == "test" else nullcontext():
            return _evaluate_run(run_or_model, data, split, device, progress)
    if tokenizer is None or data is None:
        raise InputError("evaluating a model needs a tokenizer and data; pass both, or pass the model's run")
    check_model(run_or_model)
    whole = _choose_split(data, split)
    examples = align_split(run_or_model, tokenizer, data, whole, max_tokens)
    texts = encode_texts(run_or_model, tokenizer, examples.texts, max_tokens)
    check_classes(run_or_model, texts, examples.label_array)
    scores = _score_texts(run_or_model, tokenizer, texts, examples.label_array, split, progress)[0]
    _add_token_scores(scores, run_or_model, tokenizer, whole, max_tokens, data)
    return scores | ({"duplicates": data.duplicates.to_dict()} if isinstance(data, TextDataset) else {})


def _evaluate_run(
    run: Run, data: TextDataset | Split | None, split: str, device: str | None, progress: Progress | None
) -> dict[str, Any]:
    data = run.load_data() if data is None else data
    if not isinstance(data, TextDataset):
        raise InputError("a run is evaluated on the data it was trained on, but a split was given; leave it out")
    run.check_data(data)
    model, tokenizer = load_on_all(run.load_model, device)
    whole, max_tokens = _choose_split(data, split), run.settings.max_tokens
    data = align_labels(model, tokenizer, data, max_tokens)
    examples = _choose_split(data, split)
    texts = encode_texts(model, tokenizer, examples.texts, max_tokens)
    scores, internals = _score_texts(model, tokenizer, texts, examples.label_array, split, progress)
    _add_token_scores(scores, model, tokenizer, whole, max_tokens, data)
    scores["duplicates"] = data.duplicates.to_dict()
    if split == "test":
        for_prediction = relevance(model, texts) if has_rules(model) else None
        _write_words(run, texts, examples, internals, data, for_prediction)
        write_parquet(run.neurons_file, summarize_neurons(model, tokenizer, texts).to_table())
        write_json(run.examples_file, choose_examples(examples, texts, internals, data))
        card = model_card(run.model_folder, _card_scores(scores), dataset=data.name, split=split)
        write_text(run.model_folder / "README.md", card)
        write_json(run.scores_file, scores)  # last, since it says that the run is evaluated
    return scores


def _add_token_scores(
    scores: dict[str, Any],
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    whole: Split,
    max_tokens: int | None,
    data: TextDataset | Split,
) -> None:
    """Add how well a model writes, or tags, all tokens of the texts, and how many texts have none to judge it by."""
    if not (picks_choices(model) or any(isinstance(label, str) for label in whole.labels)):
        return
    scores["not_judged"] = len(whole) - scores["texts"]
    if is_tagger(model):
        names = data.label_names if isinstance(data, TextDataset) else ()
        scores["tags"] = score_tags(model, tokenizer, whole, number_tags(model, names), max_tokens)
    elif finds_answers(model):
        scores["answers"] = score_answers(model, tokenizer, whole, max_tokens)
    elif picks_choices(model):
        scores["choices"] = {"chance": float(np.mean([1 / count for count in count_choices(whole)]))}
    else:
        scores["generation"] |= score_generation(model, tokenizer, whole, max_tokens)


def _choose_split(data: TextDataset | Split, split: str) -> Split:
    if split not in ("test", "dev"):
        raise InputError(f"`split` must be test or dev, got {split!r}")
    if not isinstance(data, TextDataset | Split):
        raise InputError(f"expected data as a TextDataset or Split(texts, labels), got {describe_value(data)}")
    return getattr(data, split) if isinstance(data, TextDataset) else data


def _score_texts(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[EncodedText],
    labels: NDArray[Any],
    split: str,
    progress: Progress | None,
) -> tuple[dict[str, Any], list[InternalScores]]:
    """All scores of a model, and what its internals say about every text."""
    undeletable = count_undeletable(texts)
    site = get_explaining_site(model)
    internals = internal_scores(model, texts, [*CAPACITY_SITES, *attention_sites(model, site)])
    about: dict[str, Any] = {
        "task": get_task(model),
        "split": split,
        "site": site,
        "texts": len(texts),
        "truncated": sum(text.truncated for text in texts),
        "undeletable": undeletable,
        "unknown": count_unknown(texts),
        "unknown_words": count_unknown_words(texts),
    }
    scores = _scores(model, tokenizer, texts, labels, internals, site, progress)
    if undeletable == len(texts):
        about["srs_reason"] = describe_undeletable(undeletable, len(texts))
        scores |= {name: _remove_estimates(scores[name]) for name in ("deletion", "srs", "within") if name in scores}
    return about | scores, internals


def count_unknown(texts: Sequence[EncodedText]) -> int:
    """How many texts hold unknown words only, so that the model reads nothing in them."""
    return sum(0 < len(text.words) == len(text.unknown) for text in texts)


def count_unknown_words(texts: Sequence[EncodedText]) -> dict[str, int]:
    """How many words are unknown, of how many, and in how many texts."""
    return {
        "words": sum(len(text.unknown) for text in texts),
        "of": sum(len(text.words) for text in texts),
        "texts": sum(bool(text.unknown) for text in texts),
    }


def describe_unknown_words(scores: Mapping[str, Any]) -> str:
    """A sentence on the unknown words that `scores.json` counts; "" where there are none or an older run has no count.

    >>> describe_unknown_words({"texts": 9, "unknown_words": {"words": 3, "of": 40, "texts": 2}})
    '3 of 40 words (7.5 %) are unknown to the tokenizer, in 2 of 9 texts'
    """
    counts = scores.get("unknown_words")
    if not counts or not counts["words"]:
        return ""
    share = f"{format_share(counts['words'] / counts['of'])} %"
    return (
        f"{counts['words']:,} of {counts['of']:,} words ({share}) are unknown to the tokenizer, "
        f"in {counts['texts']:,} of {scores['texts']:,} texts"
    )


def describe_parts_of_pairs(scores: Mapping[str, Any]) -> list[str]:
    """A sentence on each text of pairs, from the scores in `scores.json`; none of single texts."""
    metric = get_main_metric(scores)
    return [
        f"SRS({MAIN_PERCENT}) within the {part} text of the pair {metric.format(within['srs'])}, at random "
        f"{metric.format(within['random'])}"
        for part, within in scores.get("within", {}).items()
    ]


def choose_examples(
    split: Split, texts: Sequence[EncodedText], internals: Sequence[InternalScores], data: TextDataset
) -> list[dict[str, Any]]:
    """The examples of a run, as JSON values, by `EXAMPLE_RULE`."""
    examples = [_paper_example(split)] if is_paper_like(data) else []
    fitting = [n for n, text in enumerate(texts) if MIN_WORDS <= len(text.words) <= MAX_WORDS and not text.truncated]
    fitting.sort(key=lambda n: hash_text(split.texts[n]))
    judged = MAIN_METRICS[data.task].judge(np.array([text.prediction for text in internals]), split.label_array)
    # An error is small or large only beside the others.
    right = judged <= np.median(judged) if data.task == "regression" else judged == 1
    for origin, is_right in (("right", True), ("wrong", False)):
        matching = [n for n in fitting if right[n] == is_right]
        examples += [
            ShownText(split.texts[n], write_label(data, split.labels[n]), origin)
            for n in matching[:EXAMPLES_PER_OUTCOME]
        ]
    return [asdict(example) for example in examples]


def is_paper_like(data: TextDataset) -> bool:
    """Whether the paper's sentence fits the data: the classes are negative and positive, and texts are no pairs."""
    return set(data.label_names) == {"negative", "positive"} and not data.has_pairs


def _scores(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[EncodedText],
    labels: NDArray[Any],
    internals: Sequence[InternalScores],
    site: str,
    progress: Progress | None,
) -> dict[str, Any]:
    predictions = np.array([text.prediction for text in internals], dtype=labels.dtype)
    metric = MAIN_METRICS[get_task(model)]
    judged = metric.judge(predictions, labels)
    scores = _attributions(internals, site)
    percents = {name: DELETION_PERCENTS if name == "capacity" else (MAIN_PERCENT,) for name in scores}
    outcomes = measure_deletions(model, texts, labels, scores, percents, DELETION_PERCENTS, progress=progress)
    deletion: dict[str, dict[str, Any]] = {}
    srs: dict[str, Any] = {}
    for (name, percent), judged_after in outcomes.items():
        # Of several random draws each text counts with its mean, so that the interval is over texts.
        after = metric.estimate(judged_after.mean(axis=0)).to_dict()
        if len(judged_after) > 1:
            after["spread"] = float(judged_after.mean(axis=1).std(ddof=1))
        deletion.setdefault(name, {})[str(percent)] = after
        drops = srs if name == "capacity" else srs.setdefault(name, {})
        drops[str(percent)] = metric.estimate_change(metric.worsening(judged, judged_after)).to_dict()
    # Paired: what deletion by capacity costs beyond random deletion, on the same texts of the same model.
    srs["above_random"] = {
        str(percent): _compare_with_random(metric, outcomes, percent) for percent in DELETION_PERCENTS
    }
    within = _score_parts_of_pairs(model, texts, labels, judged, scores["capacity"])
    return {
        metric.key: metric.estimate(judged).to_dict(),
        **_score_predictions(model, tokenizer, predictions, labels),
        "deletion": deletion,
        **({"within": within} if within else {}),
        "srs": srs,
        "capacity": _capacity_table(internals, site),
        "audit": {name: bootstrap_mean(values).to_dict() for name, values in audit(model, texts).items()},
    }


def _score_predictions(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, predictions: NDArray[Any], labels: NDArray[Any]
) -> dict[str, Any]:
    """The task's standard metrics: `classes`, `values` of a regression model, or `generation`; else none."""
    task = get_task(model)
    if task in QUESTION_TASKS:
        return {}
    if task == "regression":
        return {"values": score_values(labels, predictions)}
    if task == "generation":
        token, count = Counter(labels.tolist()).most_common(1)[0]
        return {"generation": {"majority": {"label": token_names(tokenizer, [token])[0], "share": count / len(labels)}}}
    if task == "multi_label":
        names = output_names(model, tokenizer, range(labels.shape[1]), outputs=labels.shape[1])
        return {"classes": score_class_lists(labels, predictions, names)}
    classes = np.union1d(labels, predictions).tolist()
    names = output_names(model, tokenizer, classes, outputs=model.config.num_labels)
    return {"classes": score_classes(labels, predictions, dict(zip(classes, names, strict=True)))}


def _compare_with_random(
    metric: MainMetric, outcomes: Mapping[tuple[str, float], NDArray[np.float64]], percent: float
) -> dict[str, float]:
    """By how much more deletion by capacity costs than at random."""
    at_random = outcomes["random", percent].mean(axis=0)
    return metric.estimate_change(metric.worsening(at_random, outcomes["capacity", percent])).to_dict()


def _score_parts_of_pairs(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    labels: NDArray[Any],
    judged: NDArray[np.float64],
    capacity: Scores,
) -> dict[str, dict[str, Any]]:
    """What deletion in one text of a pair alone costs at the main k, by `first` and `second`; {} of single texts."""
    if not texts or texts[0].second is None:
        return {}
    metric, k = MAIN_METRICS[get_task(model)], MAIN_PERCENT
    parts: dict[str, dict[str, Any]] = {}
    within: Within
    for within in ("first", "second"):
        outcomes = measure_deletions(
            model, texts, labels, {"capacity": capacity}, {"capacity": (k,)}, (k,), within=within
        )
        parts[within] = {
            "srs": metric.estimate_change(metric.worsening(judged, outcomes["capacity", k])).to_dict(),
            "random": metric.estimate_change(metric.worsening(judged, outcomes["random", k])).to_dict(),
            "above_random": _compare_with_random(metric, outcomes, k),
        }
    return parts


def _remove_estimates(scores: Mapping[str, Any]) -> dict[str, Any]:
    """The same keys with None in place of every estimate, which would be a number that nobody has measured."""
    return {name: None if "value" in score else _remove_estimates(score) for name, score in scores.items()}


def _card_scores(scores: Mapping[str, Any]) -> dict[str, Score]:
    """What a model's card tells, by the name it has there."""
    k, metric = str(MAIN_PERCENT), get_main_metric(scores)
    unit = {"is_share": metric.is_share}
    card: dict[str, Score] = {metric.name: scores[metric.key] | unit}
    if "classes" in scores:
        card["macro F1"] = scores["classes"]["macro_f1"]
    elif "values" in scores:
        card["Spearman's rank correlation"] = scores["values"]["spearman"] | {"is_share": False}
    elif "answers" in scores:
        card |= {"exact match": scores["answers"]["exact_match"], "F1": scores["answers"]["f1"]}
    elif "generation" in scores:
        card["perplexity"] = scores["generation"]["perplexity"] | {"is_share": False}
    if reason := scores.get("srs_reason"):
        return card | {f"SRS({k})": f"{NOT_MEASURED} ({reason})"}
    return card | {
        f"{metric.name}, random {k} % of words deleted": scores["deletion"]["random"][k] | unit,
        f"{metric.name}, {k} % of words with the highest capacity deleted": scores["deletion"]["capacity"][k] | unit,
        f"SRS({k})": scores["srs"][k] | unit,
    }


def _attributions(internals: Sequence[InternalScores], site: str) -> dict[str, Scores]:
    """Scores by name: `capacity` is the one at the explaining site, the others are named after theirs."""
    sites = [name for name in internals[0].capacity if name.startswith("fc1") and name != site] if internals else []
    scores = {"capacity": [text.capacity[site] for text in internals]}
    scores |= {f"capacity_{name.replace('.', '_')}": [text.capacity[name] for text in internals] for name in sites}
    for name in ("keep", "attention"):
        values = [getattr(text, name) for text in internals]
        if values and values[0] is not None:
            scores[name] = values
    return scores


def _capacity_table(internals: Sequence[InternalScores], site: str) -> dict[str, Any]:
    """Average capacity over all words, over those that VMASK finds most important, and over the rest.

    Source: SAFR (Chang et al. 2025), Table 3. None where no word is in a group, as of texts that hold one word each.

    Differs from the paper: average capacity takes the 30 % in each text, with the count that deletion uses; the paper
    does not say whether it ranks within texts or over all of them.
    """
    capacities = [text.capacity[site] for text in internals]
    groups = {"all": [np.ones(len(capacity), dtype=bool) for capacity in capacities]}
    if internals and internals[0].keep is not None:
        important = [_mark_top_words(text.keep) for text in internals if text.keep is not None]
        groups |= {"important": important, "rest": [~is_important for is_important in important]}
    return {
        name: bootstrap_mean(
            [
                capacity[is_chosen].mean() if is_chosen.any() else 0.0
                for capacity, is_chosen in zip(capacities, group, strict=True)
            ],
            [is_chosen.sum() for is_chosen in group],
        ).to_dict()
        if any(is_chosen.any() for is_chosen in group)
        else None
        for name, group in groups.items()
    }


def _mark_top_words(keep: NDArray[np.float64]) -> NDArray[np.bool_]:
    is_top = np.zeros(len(keep), dtype=bool)
    is_top[list(select_top_words(keep, MAIN_PERCENT))] = True
    return is_top


def _write_words(
    run: Run,
    texts: Sequence[EncodedText],
    split: Split,
    internals: Sequence[InternalScores],
    data: TextDataset,
    for_prediction: Scores | None,
) -> None:
    """Write one row per word, for whoever wants to look further than the averages."""
    sizes = [len(text.words) for text in texts]

    def as_cell(label: Label) -> Label | str:
        return label if data.task == "regression" else write_label(data, label)

    predictions, labels = [as_cell(text.prediction) for text in internals], [as_cell(label) for label in split.labels]
    columns: dict[str, Any] = {
        "text": np.repeat(np.arange(len(texts)), sizes),
        "position": np.concatenate([np.arange(size) for size in sizes]),
        "word": [word for text in texts for word in text.words],
        "label": np.repeat(labels, sizes),
        "prediction": np.repeat(predictions, sizes),
    }
    if data.has_pairs:
        columns["text_of_word"] = [part for text in texts for part in text.text_of_word]
    if internals[0].keep is not None:
        columns["keep"] = np.concatenate([text.keep for text in internals if text.keep is not None])
    for site in internals[0].capacity:
        columns[f"capacity_{site.replace('.', '_')}"] = np.concatenate([text.capacity[site] for text in internals])
    if for_prediction is not None:  # what the word adds to the logit of the class that its text gets
        columns["relevance"] = np.concatenate(for_prediction)
    write_parquet(run.words_file, pyarrow.table(columns))


def _paper_example(split: Split) -> ShownText:
    """The paper's sentence, spelled as the data spell it where it is among them."""
    alike = (text for text in split.texts if isinstance(text, str) and text.lower() == PAPER_SENTENCE.lower())
    return ShownText(next(alike, PAPER_SENTENCE), "negative", "paper")
