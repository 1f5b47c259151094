"""A trained run and its data in; the model and the texts that its explanations are judged on out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data import TextDataset
from safr.data.encoding import EncodedText, encode
from safr.data.rationales import DATA_WITH_RATIONALES, Rationale, load_rationales
from safr.data.splits import hash_text
from safr.errors import InputError
from safr.evaluation.faithfulness import MAX_DELETION_STEPS
from safr.inference import predict
from safr.runs import Run

SUBSET_SIZES = {"naopc": 100, "randomization": 50, "cause": 4000}
"""On how many texts at most what costs many passes for each; for `cause`, on how many words."""


@dataclass(frozen=True)
class BenchmarkData:
    """A model and the texts that its explanations are judged on."""

    run: Run
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    numbers: list[int]
    """Number of each text in the test split, in the order of their SHA-256."""
    texts: list[EncodedText]
    """All with a word at least."""
    labels: list[int]
    classes: NDArray[np.int64]
    """The class that is predicted for each text."""
    rationales: list[Rationale | None]
    """The words that people, or the grammar, found decisive in each text; None where nobody has said."""

    @cached_property
    def fingerprint(self) -> str:
        """Changes with the model's weights and with the texts."""
        digest = hashlib.sha256(repr((self.numbers, [text.ids for text in self.texts])).encode())
        for file in sorted(self.run.model_folder.glob("*.safetensors")):
            with file.open("rb") as weights:
                digest.update(hashlib.file_digest(weights, "sha256").digest())
        return digest.hexdigest()

    def few(self, name: str) -> list[int]:
        """Places of the first texts, which are a random sample, that something costly is done on.

        They have two words or more, and for `naopc` so few that words go one by one.
        """
        fitting = [place for place, text in enumerate(self.texts) if len(text.words) >= 2]
        if name == "naopc":
            fitting = [place for place in fitting if len(self.texts[place].words) <= MAX_DELETION_STEPS + 1]
        if name == "cause":
            words = np.cumsum([len(self.texts[place].words) for place in fitting])
            return fitting[: int(np.searchsorted(words, SUBSET_SIZES[name]))]
        return fitting[: SUBSET_SIZES[name]]

    def spread(self, values: NDArray[np.float64], few: list[int]) -> NDArray[np.float64]:
        """The values of a few texts among those of all, of which the others have none (NaN)."""
        found = np.full(len(self.texts), np.nan)
        found[few] = values
        return found


def load_benchmark_data(run: Run, data: TextDataset, limit: int, data_dir: Path | None = None) -> BenchmarkData:
    """The model of a run and its test texts.

    Args:
        run: A trained run.
        data: The data it was trained on.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        data_dir: Folder where archives of data are looked for first.

    Raises:
        InputError: Other data, or fewer than two texts with words.
    """
    run.check_data(data)
    model, tokenizer = run.load_model()
    if (model.config.num_labels or 2) < 2:
        raise InputError(f"{run.folder}: expected a model that chooses among classes, got one with a single answer")
    # In the order of their hashes, since data come sorted by class, and what is costly is done on the first.
    chosen = sorted(range(len(data.test)), key=lambda number: hash_text(data.test.texts[number]))[:limit]
    encoded = encode(tokenizer, [data.test.texts[number] for number in chosen], run.settings.max_tokens)
    worded = [(number, text) for number, text in zip(chosen, encoded, strict=True) if text.words]
    if len(worded) < 2:
        raise InputError(f"expected at least 2 test texts with words, got {len(worded)}; bring more data")
    numbers, texts = [number for number, _ in worded], [text for _, text in worded]
    judged = run.settings.data in DATA_WITH_RATIONALES
    return BenchmarkData(
        run,
        model,
        tokenizer,
        numbers,
        texts,
        [data.test.labels[number] for number in numbers],
        predict(model, texts),
        load_rationales(run.settings.data, texts, data_dir) if judged else [None] * len(texts),
    )
