"""Removing words from texts, in one of four ways, and asking the model again."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data.encoding import EncodedText
from safr.data.splits import Label
from safr.errors import InputError
from safr.evaluation.task_metrics import MAE
from safr.inference import (
    batch_logits,
    get_task,
    iter_model_batches,
    iter_traces,
    list_labels,
    predict_labels,
    probabilities,
)
from safr.model.interventions import intervene

Removal = Literal["delete", "replace", "hide", "average"]

REMOVALS: dict[Removal, str] = {
    "delete": "their tokens leave the sequence",
    "replace": "the mask token, or the unknown word's, takes the place of each of their tokens",
    "hide": "they stay, but nothing attends to them, as if they were padding",
    "average": "the mean of all words' vectors takes the place of what enters the layers",
}
"""How words are removed."""

LEAK_TEXTS = 5
"""Texts in which we look whether a model still reads what was removed."""

WordSet = frozenset[int]
"""Numbers of some of a text's words."""


class RemovalOutcome(NamedTuple):
    """What a model makes of a text without some words."""

    probability: float
    """Of the class that was asked for; of a regression model, how near its number is to that of the whole text: minus
    the distance."""

    prediction: Label
    """What it says in the form of the data's labels."""


@dataclass(frozen=True)
class Remover:
    """Removes words from texts in one way and asks the model again."""

    model: PreTrainedModel
    how: Removal
    stand_in: int | None = None
    """Id that takes a token's place where words are replaced."""
    mean_vector: Float[Tensor, " width"] | None = None
    """Vector that takes a token's place where words are averaged."""

    def predict(
        self,
        texts: Sequence[EncodedText],
        removed: Sequence[Collection[WordSet]],
        classes: Sequence[int],
    ) -> list[dict[WordSet, RemovalOutcome]]:
        """What the model predicts without sets of words; every set is asked for once.

        Args:
            texts: Encoded texts.
            removed: For every text, sets of words that are removed together; the empty set leaves the whole text.
            classes: For every text, the class whose probability is wanted.
        """
        outcomes: list[dict[WordSet, RemovalOutcome]] = [{} for _ in texts]
        task = get_task(self.model)
        wholes = predict_labels(self.model, texts) if task == "regression" else np.zeros(0)
        for rows, logits in self.iter_logits(texts, removed):
            predictions = list_labels(task, logits)
            if task == "regression":
                chosen_shares = [
                    -MAE.judge_one(prediction, float(wholes[number]))
                    for prediction, (number, _) in zip(predictions, rows, strict=True)
                ]
            else:
                chosen = torch.tensor([classes[number] for number, _ in rows], device=logits.device)
                chosen_shares = probabilities(self.model, logits).gather(1, chosen[:, None])[:, 0].tolist()
            for (number, words), share, prediction in zip(rows, chosen_shares, predictions, strict=True):
                outcomes[number][words] = RemovalOutcome(share, prediction)
        return outcomes

    def iter_logits(
        self, texts: Sequence[EncodedText], removed: Sequence[Collection[WordSet]]
    ) -> Iterator[tuple[list[tuple[int, WordSet]], Float[Tensor, "batch label"]]]:
        """Numbers of texts with the words that are removed, and the logits without them, batch by batch."""
        wanted = [(number, words) for number, sets in enumerate(removed) for words in dict.fromkeys(sets)]
        shortened = [self._without(texts[number], words) for number, words in wanted]
        for batch in iter_model_batches(self.model, shortened):
            rows = [wanted[index] for index in batch.indices]
            inputs = batch.inputs
            intervention: AbstractContextManager[None] = nullcontext()
            if self.how in ("hide", "average"):
                is_removed = _removed_tokens([(texts[number], words) for number, words in rows], batch.content_mask)
                if self.how == "hide":
                    inputs = inputs | {"attention_mask": inputs["attention_mask"] * ~is_removed}
                else:
                    intervention = intervene(self.model, "embedding", self._average_vectors(is_removed))
            with torch.inference_mode(), intervention:
                logits = batch_logits(self.model, batch, inputs)
            yield rows, logits

    def _without(self, text: EncodedText, words: WordSet) -> EncodedText:
        if self.how == "delete":
            return text.without(words)
        if self.how == "replace":
            assert self.stand_in is not None
            return text.with_token(self.stand_in, words)
        return text

    def _average_vectors(self, is_removed: Bool[Tensor, "batch token"]) -> Callable[[Tensor], Tensor]:
        average = self.mean_vector
        assert average is not None
        return lambda vectors: torch.where(is_removed[..., None], average.to(vectors), vectors)


def make_remover(
    model: PreTrainedModel, how: Removal, tokenizer: PreTrainedTokenizerBase, texts: Sequence[EncodedText]
) -> Remover:
    """What removes words in one way.

    Args:
        model: A model; it runs in evaluation mode.
        how: One of `REMOVALS`.
        tokenizer: Its tokenizer, which knows the token that takes a word's place.
        texts: The texts whose words are averaged.

    Raises:
        InputError: The tokenizer has no token to replace words by, or the model still reads what would be removed, as a
            language model reads a last word that nothing attends to, or a decoder the text itself.
    """
    if how == "replace":
        if (token := replacement_id(tokenizer)) is None:
            raise InputError("words can't be replaced: the tokenizer has no token for masked or unknown words")
        return Remover(model, how, stand_in=token)
    remover = Remover(model, how, mean_vector=_mean_vector(model, texts) if how == "average" else None)
    if how in ("hide", "average") and _leaks(remover, texts):
        raise InputError(f"words can't be removed by {how}: this model still reads them; leave it out of --removals")
    return remover


def replacement_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Id of the token that takes a word's place: the mask token, or the unknown word's, or none that is not padding."""
    token = tokenizer.unk_token_id if tokenizer.mask_token_id is None else tokenizer.mask_token_id
    return None if token == tokenizer.pad_token_id else token


def _leaks(remover: Remover, texts: Sequence[EncodedText]) -> bool:
    """Whether a prediction changes with what stands in the place of a removed word: the last one of the longest texts.

    Several texts and all outputs are looked at, since where an answer is sure its probability hardly moves.
    """
    longest = sorted(texts, key=lambda text: -len(text.words))[:LEAK_TEXTS]
    last_words = [frozenset({len(text.words) - 1}) for text in longest]
    word_tokens = dict.fromkeys(
        token for text in texts for token, word in zip(text.ids, text.word_of_token, strict=True) if word is not None
    )
    shares = []
    for token in (next(iter(word_tokens)), next(reversed(word_tokens))):
        changed = [text.with_token(token, words) for text, words in zip(longest, last_words, strict=True)]
        by_text = {
            number: row
            for rows, logits in remover.iter_logits(changed, [[words] for words in last_words])
            for (number, _), row in zip(rows, probabilities(remover.model, logits).numpy(force=True), strict=True)
        }
        shares.append([by_text[number] for number in range(len(longest))])
    first, second = shares
    return not np.allclose(first, second, rtol=0, atol=1e-5)


def _mean_vector(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Float[Tensor, " width"]:
    """Mean of what enters the layers over all words' tokens of some texts."""
    total, count = torch.zeros(()), 0
    for batch, trace in iter_traces(model, texts, ("embedding", "vmask")):
        vectors = trace.vectors.get("vmask", trace.vectors["embedding"])
        total = total.to(vectors.device) + vectors[batch.content_mask].double().sum(dim=0)
        count += int(batch.content_mask.sum())
    return (total / max(count, 1)).float().cpu()  # each of several processes takes it to a device of its own


def _removed_tokens(
    removed: Sequence[tuple[EncodedText, WordSet]], content_mask: Bool[Tensor, "batch token"]
) -> Bool[Tensor, "batch token"]:
    """Which tokens of a batch belong to words that are removed."""
    rows = [[word is not None and word in words for word in text.word_of_token] for text, words in removed]
    length = content_mask.shape[1]
    return torch.tensor([row + [False] * (length - len(row)) for row in rows], device=content_mask.device)
