"""The model and the texts that a benchmark judges explanations on, from a run or from a model with its data."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data import Split, TextDataset
from safr.data.encoding import EncodedText
from safr.data.rationales import DATA_WITH_RATIONALES, Rationale, load_rationales
from safr.data.splits import Label, Text, hash_text
from safr.errors import InputError, describe_value
from safr.evaluation.autoencoder_scores import train_on_texts
from safr.evaluation.faithfulness import MAX_DELETION_STEPS
from safr.evaluation.labels import align_labels, align_split, check_classes
from safr.evaluation.removal import replacement_id
from safr.evaluation.sparse_autoencoder import SparseAutoencoder
from safr.evaluation.srs import check_deletable
from safr.inference import check_model, encode_texts, encode_unmarked, predict
from safr.processes import load_on_all
from safr.runs import Run
from safr.storage import hash_file

SUBSET_SIZES = {"naopc": 100, "randomization": 50, "cause": 4000}
"""On how many texts at most a costly metric is measured; for `cause`, on how many words."""

AUTOENCODER_TEXTS = 2000
"""Training texts at most that the tokens for a sparse autoencoder are drawn from."""

_PLACE_AND_TIME = ("_name_or_path", "transformers_version")
"""Of a model's config, what does not change what it computes."""


@dataclass(frozen=True)
class BenchmarkSource:
    """Where the model of a benchmark comes from, as far as results tell of it."""

    name: str
    """Of the run, or `model`."""

    data: str
    """Name of the data."""

    command: str = ""
    """What trains the run again; empty for a model."""

    seed: int = 0
    """Seed of the training, from which random orders are drawn."""

    weight_files: tuple[Path, ...] = ()
    """Files of the run's weights; empty for a model, whatever lies in the folder of its results."""


@dataclass(frozen=True)
class BenchmarkData:
    """A model and the texts that its explanations are judged on."""

    folder: Run
    """Folder of the results, in a run's layout; of a model that is no run it holds nothing else."""

    source: BenchmarkSource
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    numbers: list[int]
    """Numbers of the texts in the test split, in the order of their SHA-256."""

    texts: list[EncodedText]
    """All with a word at least."""

    labels: list[Label]
    classes: Int[np.ndarray, " text"]
    """The classes that are predicted; of several that can be right the likeliest, of a number 0."""

    rationales: list[Rationale | None]
    """The words that people, or the grammar, found decisive in a text; None where nobody has said."""

    training_texts: Sequence[Text] = ()
    """The texts of the training split, where there is one."""

    max_tokens: int | None = None
    """Tokens read of a text; None for all."""

    costly_texts: int | None = None
    """Texts at most for a costly metric, where it is to be fewer than `SUBSET_SIZES` has."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) of the model's weights and settings, and of the texts, their labels and what is asked."""
        config = self.model.config.to_dict()
        settings = {name: config[name] for name in sorted(config) if name not in _PLACE_AND_TIME}
        asked = [(text.ids, text.asked, text.rivals) for text in self.texts]
        known = (self.numbers, asked, self.labels, settings, replacement_id(self.tokenizer))
        digest = hashlib.sha256(repr(known).encode())
        if self.source.weight_files:
            for file in self.source.weight_files:
                digest.update(hash_file(file))
        else:
            for name, weight in self.model.state_dict().items():
                digest.update(name.encode() + weight.detach().float().numpy(force=True).tobytes())
        return digest.hexdigest()

    def train_autoencoder(self) -> SparseAutoencoder:
        """A sparse autoencoder of the model's neurons, from the training texts whose SHA-256 comes first."""
        chosen = sorted(self.training_texts, key=hash_text)[:AUTOENCODER_TEXTS]
        texts = encode_unmarked(self.model, self.tokenizer, chosen, self.max_tokens)
        return train_on_texts(self.model, texts, seed=self.source.seed)

    def choose_subset(self, metric: str) -> list[int]:
        """Positions of the first texts, which are a random sample, that a costly metric is measured on.

        They have two words or more, and for `naopc` so few that words go one by one.
        """
        fitting = [position for position, text in enumerate(self.texts) if len(text.words) >= 2]
        if metric == "naopc":
            fitting = [position for position in fitting if len(self.texts[position].words) <= MAX_DELETION_STEPS + 1]
        if metric == "cause":
            words = np.cumsum([len(self.texts[position].words) for position in fitting])
            return fitting[: int(np.searchsorted(words, SUBSET_SIZES[metric]))][: self.costly_texts]
        return fitting[: SUBSET_SIZES[metric]][: self.costly_texts]

    def scatter(self, values: Float[np.ndarray, " subset"], subset: list[int]) -> Float[np.ndarray, " text"]:
        """The values of a subset's texts among all texts; the others have none (NaN)."""
        scattered = np.full(len(self.texts), np.nan)
        scattered[subset] = values
        return scattered


def load_run_data(
    run: Run, data: TextDataset, limit: int, data_dir: Path | None = None, *, device: str | None = None
) -> BenchmarkData:
    """The model of a run and its test texts.

    Args:
        run: A trained run.
        data: The data it was trained on.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        data_dir: Folder where archives of data are looked for first.
        device: Where the model goes. Default: the GPU, where there is one.

    Raises:
        InputError: Other data, fewer than two texts with words, or none of two words.
    """
    run.check_data(data)
    model, tokenizer = load_on_all(run.load_model, device)
    settings = run.settings
    data = align_labels(model, tokenizer, data, settings.max_tokens)
    files = tuple(sorted(run.model_folder.glob("*.safetensors")))
    source = BenchmarkSource(run.name, settings.data, run.command, settings.recipe.seed, files)
    chosen = _choose_texts(run, source, model, tokenizer, data.test, limit, settings.max_tokens, data_dir)
    return replace(chosen, training_texts=data.train.texts)


def make_model_data(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TextDataset | Split,
    folder: Path,
    limit: int,
    *,
    max_tokens: int | None = None,
    data_dir: Path | None = None,
) -> BenchmarkData:
    """A model and labelled texts: the test split of a data set, or a split of one's own.

    Args:
        model: Any model that `evaluate` takes; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        data: The texts and their labels.
        folder: Where results are kept.
        limit: Texts at most; of more, those whose SHA-256 comes first.
        max_tokens: Tokens read of a text. Default: all.
        data_dir: Folder where archives of data are looked for first.

    Raises:
        InputError: Labels that don't fit the model, fewer than two texts with words, or none of two words.
    """
    if not isinstance(data, TextDataset | Split):
        raise InputError(f"expected data as a TextDataset or Split(texts, labels), got {describe_value(data)}")
    check_model(model)
    split, name = (data.test, data.name) if isinstance(data, TextDataset) else (data, "")
    split = align_split(model, tokenizer, data, split, max_tokens)
    source = BenchmarkSource("model", name)
    chosen = _choose_texts(Run(folder), source, model, tokenizer, split, limit, max_tokens, data_dir)
    return replace(chosen, training_texts=data.train.texts) if isinstance(data, TextDataset) else chosen


def _choose_texts(
    folder: Run,
    source: BenchmarkSource,
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    split: Split,
    limit: int,
    max_tokens: int | None,
    data_dir: Path | None,
) -> BenchmarkData:
    # In the order of their hashes, since data come sorted by class, and what is costly is done on the first.
    chosen = sorted(range(len(split)), key=lambda number: hash_text(split.texts[number]))[:limit]
    encoded = encode_texts(model, tokenizer, [split.texts[number] for number in chosen], max_tokens)
    with_words = [(number, text) for number, text in zip(chosen, encoded, strict=True) if text.words]
    if len(with_words) < 2:
        raise InputError(f"expected at least 2 test texts with words, got {len(with_words)}; bring more data")
    check_classes(model, [text for _, text in with_words], split.label_array)
    check_deletable([text for _, text in with_words])
    numbers, texts = [number for number, _ in with_words], [text for _, text in with_words]
    has_rationales = source.data in DATA_WITH_RATIONALES
    return BenchmarkData(
        folder,
        source,
        model,
        tokenizer,
        numbers,
        texts,
        [split.labels[number] for number in numbers],
        predict(model, texts),
        load_rationales(source.data, texts, data_dir) if has_rationales else [None] * len(texts),
        max_tokens=max_tokens,
    )
