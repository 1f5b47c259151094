"""A trained run and its data in; the model and the texts that its explanations are judged on out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from safr.attribution.scores import predicted_classes
from safr.data import TextDataset
from safr.data.batches import EncodedText, encode
from safr.data.rationales import JUDGED, Rationale, rationales
from safr.data.splits import text_hash
from safr.errors import InputError
from safr.evaluation.faithfulness import STEPS
from safr.model.saving import load
from safr.runs import Run

FEW = {"naopc": 100, "randomization": 200, "cause": 200}
"""On how many texts at most what takes a hundred passes or more for each."""


@dataclass(frozen=True)
class Subject:
    """A model and the texts that its explanations are judged on."""

    run: Run
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    numbers: list[int]
    """Number of each text in the test split."""
    texts: list[EncodedText]
    """All with a word at least."""
    labels: list[int]
    classes: NDArray[np.int64]
    """The class that is predicted for each text."""
    rationales: list[Rationale | None]
    """The words that people, or the grammar, found decisive in each text; None where nobody has said."""

    def few(self, name: str) -> list[int]:
        """Places of the first texts whose words go one by one, two or more, as many as something costly is done on."""
        fitting = [place for place, text in enumerate(self.texts) if 2 <= len(text.words) <= STEPS + 1]
        return fitting[: FEW[name]]

    def spread(self, values: NDArray[np.float64], few: list[int]) -> NDArray[np.float64]:
        """The values of a few texts among those of all, of which the others have none (NaN)."""
        found = np.full(len(self.texts), np.nan)
        found[few] = values
        return found


def open_subject(run: Run, data: TextDataset, limit: int, data_dir: Path | None = None) -> Subject:
    """The model of a run and its test texts.

    Args:
        run: A trained run.
        data: The data it was trained on.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        data_dir: Folder where archives of data are looked for first.

    Raises:
        InputError: Other data, or fewer than two texts with words.
    """
    if run.record["data"]["fingerprint"] != data.fingerprint():
        raise InputError(f"{run.folder}: was trained on other data than {data.origin} holds now")
    model, tokenizer = load(run.model_folder), AutoTokenizer.from_pretrained(run.model_folder)
    by_hash = sorted(range(len(data.test)), key=lambda number: text_hash(data.test.texts[number]))
    chosen = sorted(by_hash[:limit])
    encoded = encode(tokenizer, [data.test.texts[number] for number in chosen], run.settings.max_tokens)
    worded = [(number, text) for number, text in zip(chosen, encoded, strict=True) if text.words]
    if len(worded) < 2:
        raise InputError(f"expected at least 2 test texts with words, got {len(worded)}; bring more data")
    numbers, texts = [number for number, _ in worded], [text for _, text in worded]
    judged = run.settings.data in JUDGED
    return Subject(
        run,
        model,
        tokenizer,
        numbers,
        texts,
        [data.test.labels[number] for number in numbers],
        predicted_classes(model, texts),
        rationales(run.settings.data, texts, data_dir) if judged else [None] * len(texts),
    )
