"""Keeps the capacity of each word of a few sentences after every epoch, so that one can watch the words part."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from math import isfinite
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from safr.attribution.explain import explain_texts
from safr.attribution.explanation import Explanation
from safr.data import Split, TextDataset
from safr.data.splits import Text, hash_text
from safr.errors import first_line
from safr.evaluation.evaluate import MAX_WORDS, MIN_WORDS, PAPER_SENTENCE, is_paper_like
from safr.evaluation.labels import align_split
from safr.inference import encode_texts
from safr.launcher import is_first_process
from safr.runs import Run
from safr.storage import write_text
from safr.training.prepare import PreparedTraining

FOLLOWED_DEV_TEXTS = 3
"""Texts of the dev split whose words are followed."""

_CANDIDATES = 50
"""Texts of the dev split that they are chosen among, since each has to be tokenized."""


class WordHistoryWriter(TrainerCallback):
    """Writes one line before training and one per epoch: capacity of the words of a few texts, and what is predicted.

    It runs in evaluation mode, draws no random numbers and changes no number of the training. Where it fails, a warning
    says so and training goes on without it. Only the first of several processes computes and writes; where each holds
    a part of the weights, use none, since all would have to take part.

    Args:
        run: The run whose `word_history_file` is written.
        prepared: Its settings, model and tokenizer.
        data: Its data set, from whose dev split the texts are chosen.
    """

    def __init__(self, run: Run, prepared: PreparedTraining, data: TextDataset) -> None:
        self.run, self.prepared, self.data = run, prepared, data
        self.texts: list[Text] = []
        self.has_failed = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Write down how the words begin, unless a stopped training goes on."""
        if state.global_step == 0:
            self._add_line(0)

    def on_evaluate(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write down where the epoch has left the words."""
        self._add_line(round(state.epoch or 0))

    def _add_line(self, epoch: int) -> None:
        if self.has_failed or not is_first_process():
            return
        model, tokenizer = self.prepared.model, self.prepared.tokenizer
        max_tokens = self.prepared.settings.max_tokens
        try:
            self.texts = self.texts or choose_followed_texts(self.prepared, self.data)
            explanations = explain_texts(model, tokenizer, self.texts, max_tokens=max_tokens)
            # A resumed training repeats the epochs after its last checkpoint, so their lines are replaced.
            before = [line for line in self.run.word_history if line["epoch"] < epoch]
            about = {} if before else _describe_texts(explanations)
            lines = [*before, {"epoch": epoch, **about, **_describe_epoch(explanations)}]
            write_text(self.run.word_history_file, "".join(f"{json.dumps(line)}\n" for line in lines))
        except Exception as error:  # whatever it is, it must not stop hours of training
            self.has_failed = True
            warnings.warn(
                f"{self.run.folder}: the words of the example sentences are no longer followed "
                f"({first_line(error)}); training continues without them",
                stacklevel=2,
            )


def choose_followed_texts(prepared: PreparedTraining, data: TextDataset) -> list[Text]:
    """The texts whose words are followed while a model is trained: the paper's sentence, and three of the dev split.

    Among the 50 dev texts whose SHA-256 comes first they are the first three of 8 to 30 words, or the nearest to that
    length. The paper's sentence comes before them where the classes are negative and positive. Texts come as the
    model is asked about them: with a mark at the word whose tag, or at the answer that is asked about, and up to the
    next token of a model that writes text.

    Args:
        prepared: The settings, the model and its tokenizer.
        data: The data set.
    """
    model, tokenizer, max_tokens = prepared.model, prepared.tokenizer, prepared.settings.max_tokens
    numbers = sorted(range(len(data.dev)), key=lambda number: hash_text(data.dev.texts[number]))[:_CANDIDATES]
    split = Split(*zip(*((data.dev.texts[number], data.dev.labels[number]) for number in numbers), strict=True))
    texts = align_split(model, tokenizer, data, split, max_tokens).texts
    encoded = encode_texts(model, tokenizer, texts, max_tokens)
    order = sorted(
        (number for number, text in enumerate(encoded) if text.words),
        key=lambda number: _measure_misfit(len(encoded[number].words)),  # stable: the order of the hashes stays
    )
    chosen = [texts[number] for number in order[:FOLLOWED_DEV_TEXTS]]
    return [PAPER_SENTENCE, *chosen] if is_paper_like(data) else chosen


def _measure_misfit(words: int) -> int:
    """By how many words a text is too short or too long to show well."""
    return max(MIN_WORDS - words, words - MAX_WORDS, 0)


def _describe_texts(explanations: Sequence[Explanation]) -> dict[str, Any]:
    """What the first line alone says, since no epoch changes it."""
    return {
        "site": explanations[0].explaining_site if explanations else "",
        "texts": [{"words": list(text.words), "text_of_word": list(text.text_of_word)} for text in explanations],
    }


def _describe_epoch(explanations: Sequence[Explanation]) -> dict[str, Any]:
    return {
        "capacity": [[_round(value) for value in text.capacity] for text in explanations],
        "prediction": [text.prediction for text in explanations],
        "probability": [_round(text.probability) for text in explanations],
    }


def _round(value: float) -> float | None:
    return float(f"{value:.3g}") if isfinite(value) else None
