"""How the words of a few sentences part while a model is trained, as the page plays it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from safr.errors import InputError
from safr.runs import Run


@dataclass(frozen=True)
class FollowedText:
    """A text whose words were followed."""

    words: list[str]
    text_of_word: list[int]
    """For each word the text that it is from: 0, or 1 for the second of a pair."""


@dataclass(frozen=True)
class EpochOfWords:
    """Where an epoch has left the words."""

    epoch: int
    """0 before training."""

    capacity: list[list[float | None]]
    """In [0, 1], of every word of each text."""

    prediction: list[str]
    """What the model says about each text."""

    probability: list[float | None]
    """How sure it is; of a regression model the number that it says."""

    accuracy: float | None
    """The first metric on dev in the history of the training; None before training."""


@dataclass(frozen=True)
class WordHistory:
    """How the words of a few texts part while a model is trained."""

    site: str
    """Where capacity is measured, as in `fc1.0`."""

    metric: str
    """Name of the metric on dev, as in `accuracy`."""

    texts: list[FollowedText]
    epochs: list[EpochOfWords]
    """The first epoch first."""


def read_word_histories(runs: Sequence[Run]) -> dict[str, WordHistory]:
    """By name, how the words parted in the training of those runs that keep it; an InputError where it is damaged."""
    found = {run.name: read_word_history(run) for run in runs}
    return {name: history for name, history in found.items() if history is not None}


def read_word_history(run: Run) -> WordHistory | None:
    """How the words parted in a run's training; None where it was trained before that was kept.

    Raises:
        InputError: The file is damaged.
    """
    lines = run.word_history
    if not lines:
        return None
    history = run.history
    metric = next((name for line in history for name in line if name.startswith("dev_")), "dev_accuracy")
    by_epoch = {line["epoch"]: line.get(metric) for line in history}
    texts = [FollowedText(text["words"], text["text_of_word"]) for text in lines[0].get("texts", [])]
    sizes = [len(text.words) for text in texts]
    if not texts or any(not _fits(line, sizes) for line in lines) or any(_lacks_place(text) for text in texts):
        raise InputError(
            f"{run.word_history_file}: expected the capacity of every word of each text, found another number of them; "
            "remove the file, and the explorer shows the run without it"
        )
    return WordHistory(
        site=lines[0].get("site", ""),
        metric=metric.removeprefix("dev_"),
        texts=texts,
        epochs=[
            EpochOfWords(
                line["epoch"],
                line["capacity"],
                line["prediction"],
                line["probability"],
                by_epoch.get(line["epoch"]),
            )
            for line in lines
        ],
    )


def _fits(line: dict[str, Any], sizes: list[int]) -> bool:
    return [len(values) for values in line["capacity"]] == sizes and all(
        len(line[name]) == len(sizes) for name in ("prediction", "probability")
    )


def _lacks_place(text: FollowedText) -> bool:
    return len(text.words) != len(text.text_of_word)
