"""The words of a run's test texts: in how many texts each stands, its capacity, and which classes it speaks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from math import isfinite
from typing import Any

import numpy as np
import pyarrow
import pyarrow.compute
from transformers import PreTrainedTokenizerBase

from safr.config import Task
from safr.evaluation.statistics import Estimate, bootstrap_mean
from safr.explorer.explanation_payload import RoundedValues
from safr.runs import Run

MOST_TABLE_WORDS = 50_000
"""Words that a server tells of a run: those that stand most often."""

MOST_WORD_CLASSES = 4
"""Of more classes a word's relevance is told for the predicted one of each text alone."""


@dataclass(frozen=True)
class WordTable:
    """The words of a run's test texts, those that stand most often first. Columns hold a value for each."""

    words: list[str]
    """In lower case where the model reads upper and lower case alike."""

    texts: list[int]
    """In how many texts it stands."""

    counts: list[int]
    """How often it stands in all of them."""

    capacity: RoundedValues
    """At the explaining site, in [0, 1]: the mean over all places where the word stands."""

    keep: RoundedValues | None
    """VMASK's keep probability in [0, 1], the same mean; None without VMASK."""

    relevance: dict[str, RoundedValues]
    """By class, what the word adds to the class's logit: the mean over the texts that get the class, and None where no
    text with the word gets it. With many classes, several to a text, or a number the key is "" alone, for what each
    text gets. Empty where the run keeps no relevance."""

    total: int
    """How many different words there are. The table may be cut to those that stand most often."""

    is_lower: bool
    """Whether the words are in lower case."""


@dataclass(frozen=True)
class WordIndex:
    """All places of all words in a run's test texts."""

    places: pyarrow.Table
    """One row per place: `text`, `word`, `capacity`, and where they are kept `keep`, `relevance` and `prediction`."""

    labels: tuple[str, ...]
    """The data's classes in their order."""

    task: Task
    is_lower: bool
    """Whether the words are in lower case, since the model reads upper and lower case alike."""

    @cached_property
    def table(self) -> WordTable:
        """The words that stand most often, at most `MOST_TABLE_WORDS`."""
        means = [name for name in ("capacity", "keep") if name in self.places.column_names]
        rows = self.places.group_by("word", use_threads=False).aggregate(
            [("text", "count_distinct"), ("text", "count"), *((name, "mean") for name in means)]
        )
        total = len(rows)
        rows = rows.sort_by([("text_count", "descending"), ("word", "ascending")]).slice(0, MOST_TABLE_WORDS)
        words = rows["word"].to_pylist()
        return WordTable(
            words,
            rows["text_count_distinct"].to_pylist(),
            rows["text_count"].to_pylist(),
            _round_column(rows["capacity_mean"]),
            _round_column(rows["keep_mean"]) if "keep" in means else None,
            {name: _round_column(column) for name, column in self._average_relevance(words).items()},
            total,
            self.is_lower,
        )

    def find_texts(self, word: str) -> list[int]:
        """Numbers of the test texts that hold a word, spelled as in the table."""
        holds = pyarrow.compute.equal(self.places["word"], word)
        return sorted(pyarrow.compute.unique(self.places["text"].filter(holds)).to_pylist())

    def _average_relevance(self, words: list[str]) -> dict[str, Any]:
        """By class, the mean relevance of each of the words; NaN where no text with the word gets the class."""
        if "relevance" not in self.places.column_names:
            return {}
        predicted = set(pyarrow.compute.unique(self.places["prediction"]).to_pylist())
        is_one_class = self.task not in ("regression", "multi_label") and len(predicted) <= MOST_WORD_CLASSES
        known = [label for label in self.labels if label in predicted]
        names = [*known, *sorted(predicted - set(known))] if is_one_class else [""]
        averages = {}
        for name in names:
            places = self.places
            if is_one_class:
                places = places.filter(pyarrow.compute.equal(places["prediction"], name))
            means = places.group_by("word", use_threads=False).aggregate([("relevance", "mean")])
            by_word = dict(zip(means["word"].to_pylist(), means["relevance_mean"].to_pylist(), strict=True))
            averages[name] = np.array([by_word.get(word, np.nan) for word in words], dtype=float)
        return averages


def read_word_index(run: Run, tokenizer: PreTrainedTokenizerBase) -> WordIndex:
    """The words of an evaluated run's test texts.

    Args:
        run: The run.
        tokenizer: Its tokenizer, which says whether upper and lower case are alike to the model.

    Raises:
        InputError: The run keeps no words, or the file with them is damaged.
    """
    capacity = f"capacity_{run.scores['site'].replace('.', '_')}"
    kind = "number" if run.task == "regression" else "text"
    places = run.read_words(
        {"text": "integer", "word": "text", capacity: "number"},
        optional={"keep": "number", "relevance": "number", "prediction": kind},
    )
    is_lower = _reads_lower_case(tokenizer)
    names = ["capacity" if name == capacity else name for name in places.column_names]
    places = places.rename_columns(names)
    if is_lower:
        lower = pyarrow.compute.utf8_lower(places["word"])
        places = places.set_column(names.index("word"), "word", lower)
    labels = run.record["data"]["labels"]
    return WordIndex(places, tuple(labels), run.task, is_lower)


def count_half_words(run: Run) -> Estimate | None:
    """In how few words of a text half of the relevance lies that speaks for its prediction, as a mean over the texts.

    Texts without a word that speaks for it are left out. None where the run keeps no relevance, or of fewer than two
    texts.

    Raises:
        InputError: The run keeps no words, or the file with them is damaged.
    """
    places = run.read_words({"text": "integer"}, optional={"relevance": "number"})
    if "relevance" not in places.column_names:
        return None
    words = places.to_pandas()
    words = words[words["relevance"] > 0].sort_values(["text", "relevance"], ascending=[True, False], kind="stable")
    relevance = words.groupby("text")["relevance"]
    is_less = relevance.cumsum() < relevance.transform("sum") / 2
    counts = is_less.groupby(words["text"]).sum() + 1
    return bootstrap_mean(counts) if len(counts) >= 2 else None


def cut_to_bytes(tables: Mapping[str, WordTable], most: int) -> dict[str, WordTable]:
    """The tables of some runs, each with as many of its words as together fit into a number of bytes.

    Args:
        tables: By run.
        most: Bytes of JSON that all of them may take.
    """
    return {name: _cut_table(table, most // len(tables)) for name, table in tables.items()}


def _cut_table(table: WordTable, most: int) -> WordTable:
    size = len(json.dumps(asdict(table), separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace"))
    if size <= most:
        return table
    count = int(len(table.words) * most / size)  # words that stand often are a little shorter than the others
    return replace(
        table,
        words=table.words[:count],
        texts=table.texts[:count],
        counts=table.counts[:count],
        capacity=table.capacity[:count],
        keep=None if table.keep is None else table.keep[:count],
        relevance={name: values[:count] for name, values in table.relevance.items()},
    )


def _reads_lower_case(tokenizer: PreTrainedTokenizerBase) -> bool:
    normalizer = getattr(getattr(tokenizer, "backend_tokenizer", None), "normalizer", None)
    return normalizer is not None and "a" in normalizer.normalize_str("A")


def _round_column(column: Any) -> RoundedValues:
    """To 3 digits, which suffice for a mean."""
    return [float(f"{value:.3g}") if isfinite(value) else None for value in np.asarray(column, dtype=float)]
