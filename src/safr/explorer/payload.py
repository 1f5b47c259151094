"""The payload of the page: the runs with their scores and training histories, and the rows of its table of texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
import pyarrow.compute
from numpy.typing import NDArray

import safr
from safr.config import QUESTION_TASKS, Task
from safr.data.answers import ANSWER_NAMES, THE_ANSWER
from safr.data.encoding import replace_surrogates
from safr.data.splits import Text, hash_text, join_pair
from safr.errors import InputError
from safr.evaluation.labels import align_labels
from safr.explorer.explanation_payload import ExplanationPayload
from safr.explorer.neurons import NeuronPage
from safr.explorer.what_if import WhatIf
from safr.explorer.word_history import WordHistory
from safr.explorer.words import WordTable, count_half_words
from safr.report.headline import MAIN_K
from safr.report.report import check_same_data_and_names
from safr.runs import Run
from safr.storage import read_parquet

LIVE_METHODS = ("capacity", "keep", "attention", "relevance")
"""Attribution methods whose scores the page has for any text, so that it needs none of a benchmark."""


@dataclass(frozen=True)
class RunSummary:
    """One run."""

    name: str
    site: str
    """Where its capacity is the explanation, as in `fc1.0`."""

    command: str
    """What trains it again."""

    scores: dict[str, Any]
    """What `scores.json` holds: accuracy, deletion and SRS as fractions with their 95 % intervals, or None."""

    history: list[dict[str, float | None]]
    """One entry per epoch of its training; None where a loss was not finite."""

    half_words: dict[str, float] | None = None
    """In how few words of a text half of what speaks for the prediction lies, a mean over the test texts with its 95 %
    interval; None where the run keeps no relevance."""


@dataclass(frozen=True)
class TextRow:
    """One text to open."""

    number: int
    """Its place in the test split; below 0 for a text that is not in it."""

    text: str
    """On one line; of a pair with a double bar between its texts."""

    label: str | None
    words: int
    predictions: dict[str, str]
    """By run, in the form of the labels."""

    effects: dict[str, float | None]
    """By run, how far the predicted class's probability falls without the 30 % of words of highest capacity, or how far
    a number moves; None for a text from which nothing can be deleted."""

    pair: list[str] | None = None
    """The two texts of a pair."""

    @property
    def source(self) -> Text:
        """What the model is given."""
        return self.text if self.pair is None else (self.pair[0], self.pair[1])


@dataclass(frozen=True)
class PagePayload:
    """All data of the page."""

    live: bool
    """Whether a server answers questions. Otherwise all data is in here."""

    data: str
    """Name of the data set."""

    labels: list[str]
    runs: list[RunSummary]
    rows: list[TextRow]
    total: int
    """How many texts of the test split hold a word. `rows` may be fewer."""

    readings: dict[str, dict[int, ExplanationPayload]] = field(default_factory=dict)
    """The explanations, by run and number of the text; empty if a server answers."""

    what_ifs: dict[str, dict[int, WhatIf]] = field(default_factory=dict)
    """By run and number of the text; empty if a server answers or there is no model."""

    neuron_pages: dict[str, dict[int, NeuronPage]] = field(default_factory=dict)
    """By run and number of the neuron, of those that the texts use most; empty like `what_ifs`, or where a run keeps
    nothing of its neurons."""

    words: dict[str, WordTable] = field(default_factory=dict)
    """The words of the test texts by run, those that stand most often; empty like `what_ifs`."""

    word_histories: dict[str, WordHistory] = field(default_factory=dict)
    """By run, how the words of a few sentences parted in its training; of the runs that keep it."""

    has_pairs: bool = False
    """Whether a text is a pair; a typed one then needs a double bar or a line break between its texts."""

    task: Task = "classification"
    """What the models say about a text."""

    version: str = safr.__version__


def summarize_run(run: Run) -> RunSummary:
    """The summary of a run for the page; an InputError if the run is not evaluated."""
    scores, history = run.scores, run.history
    if MAIN_K not in scores["srs"].get("random", {}):
        raise InputError(
            f"{run.scores_file}: expected SRS of random deletion, found none; run `safr evaluate {run.folder}` again"
        )
    half_words = count_half_words(run)
    return RunSummary(
        run.name,
        scores["site"],
        run.command,
        replace_not_finite(scores),
        replace_not_finite(history),
        None if half_words is None else half_words.to_dict(),
    )


def describe_data(runs: Sequence[Run]) -> tuple[str, list[str]]:
    """Name and labels of the data of runs, or an InputError where the first run's `config.json` is damaged."""
    data = runs[0].record.get("data")
    name, labels = (data.get("name"), data.get("labels")) if isinstance(data, dict) else (None, None)
    if not (isinstance(name, str) and isinstance(labels, list) and all(isinstance(label, str) for label in labels)):
        raise InputError(f"{runs[0].config_file}: expected the name and the labels of its data, but it is damaged")
    if runs[0].task in QUESTION_TASKS:  # whose data hold the column's name
        labels = [ANSWER_NAMES[THE_ANSWER]]
    if runs[0].task == "generation":  # whose data hold the column's name too; any text may be right
        labels = []
    return name, labels


def replace_not_finite(value: Any) -> Any:
    """The value with None for every number in it that is not finite, which JSON can't hold.

    >>> replace_not_finite({"loss": [1.0, float("nan")]})
    {'loss': [1.0, None]}
    """
    if isinstance(value, dict):
        return {key: replace_not_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_not_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def list_texts(runs: Sequence[Run]) -> list[TextRow]:
    """The test texts that hold a word, in their order, with the predictions of every run.

    Args:
        runs: Evaluated runs of the same data.

    Raises:
        InputError: Two runs share a name, or they were made from different data.
    """
    check_same_data_and_names(runs)
    tables = {run.name: _summarize_texts(run) for run in runs}
    texts, (first, *_) = load_test_texts(runs[0]), tables.values()
    if (unknown := next((number for number in first["text"] if number not in texts), None)) is not None:
        raise InputError(f"{runs[0].words_file}: expected texts of the test split, got the text number {unknown}")
    predictions = {name: dict(zip(table["text"], table["prediction"], strict=True)) for name, table in tables.items()}
    return [
        TextRow(
            number,
            replace_surrogates(join_pair(texts[number])),
            label,
            words,
            {name: by_number[number] for name, by_number in predictions.items()},
            {},
            _find_pair(texts[number]),
        )
        for number, label, words in zip(first["text"], first["label"], first["words"], strict=True)
        if all(number in by_number for by_number in predictions.values())
    ]


def load_test_texts(run: Run) -> Mapping[int, Text]:
    """The texts that a run was evaluated on, by number.

    They are read from the data, up to the next token of a model that writes text and with a mark at the word whose tag
    is judged. If the data are not on this machine, they are joined from the words in the run's folder.
    """
    if run.settings.data.startswith("hub:"):  # loading these would ask the hub
        return _join_words(run)
    try:
        data = run.load_data(download=False)
    except (InputError, OSError):
        return _join_words(run)
    if data.has_string_labels:
        data = align_labels(*run.load_model(), data, run.settings.max_tokens)
    return dict(enumerate(data.test.texts))


def load_other_scores(run: Run, number: int) -> dict[str, NDArray[np.float64]]:
    """Scores per word of one test text by other attribution methods, as far as `safr benchmark` has computed them."""
    scores = {}
    for file in sorted(run.attributions_folder.glob("*.parquet")):
        if file.stem not in LIVE_METHODS:
            table = read_parquet(file, {"text": "integer", "position": "integer", "score": "number"})
            rows = table.filter(pyarrow.compute.equal(table["text"], number)).sort_by("position")
            if len(rows):
                scores[file.stem] = rows["score"].to_numpy().astype(np.float64)
    return scores


def choose_texts(runs: Sequence[Run], rows: Sequence[TextRow], count: int) -> list[TextRow]:
    """The last run's examples, and then the texts with the lowest SHA-256, so that nobody can pick the pretty ones.

    Args:
        runs: Evaluated runs of the same data.
        rows: All test texts, as `list_texts` gives them.
        count: How many texts to choose.

    Raises:
        InputError: `count` is below 1.
    """
    check_text_count(count)
    row_by_text = {row.text: row for row in rows}
    examples = [(example["text"], example["label"]) for example in runs[-1].examples]
    lines = [replace_surrogates(join_pair(text)) for text, _ in examples]
    example_rows = [
        row_by_text.get(line, TextRow(-1 - index, line, label, 0, {}, {}, _find_pair(text)))
        for index, (line, (text, label)) in enumerate(zip(lines, examples, strict=True))
    ]
    example_numbers = {row.number for row in example_rows}
    other_rows = [row for row in rows if row.number not in example_numbers]
    other_rows.sort(key=lambda row: hash_text(row.text))
    return [*example_rows, *other_rows][:count]


def check_text_count(count: int) -> None:
    """Raise an InputError where fewer than one text is asked for."""
    if count < 1:
        raise InputError(f"--texts must be at least 1, got {count}")


def _summarize_texts(run: Run) -> dict[str, list[Any]]:
    """Number, label, prediction and number of words of every text in the run's table of words."""
    kind = "number" if run.task == "regression" else "text"
    table = run.read_words({"text": "integer", "label": kind, "prediction": kind})
    grouped = table.group_by("text", use_threads=False).aggregate(
        [("label", "first"), ("prediction", "first"), ("label", "count")]
    )
    names = {"text": "text", "label": "label_first", "prediction": "prediction_first", "words": "label_count"}
    columns = {name: grouped[column].to_pylist() for name, column in names.items()}
    if kind == "number":
        columns |= {name: [f"{value:.4g}" for value in columns[name]] for name in ("label", "prediction")}
    return columns


def _find_pair(text: Text) -> list[str] | None:
    return None if isinstance(text, str) else list(map(replace_surrogates, text))


def _join_words(run: Run) -> Mapping[int, Text]:
    has_pairs = run.has_pairs
    table = run.read_words({"text": "integer", "word": "text"} | ({"text_of_word": "integer"} if has_pairs else {}))
    parts = table["text_of_word"].to_pylist() if has_pairs else [0] * len(table)
    words_by_text: dict[int, tuple[list[str], list[str]]] = {}
    for number, word, part in zip(table["text"].to_pylist(), table["word"].to_pylist(), parts, strict=True):
        words_by_text.setdefault(number, ([], []))[part].append(word)
    joined = {number: (" ".join(first), " ".join(second)) for number, (first, second) in words_by_text.items()}
    return {number: pair if has_pairs else pair[0] for number, pair in joined.items()}
