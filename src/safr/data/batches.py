"""Texts in, batches of token ids out, with the words that the tokens belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import torch
from tokenizers import Encoding
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

TOKENS_PER_BATCH = 4096
"""Padded tokens in a batch when nothing is trained; larger batches leave the processor's cache."""

_POOL = 16
"""Batches in a pool: enough that little is padded, few enough that a batch stays a mixed sample of the texts."""


class LengthGroups(Sampler[int]):
    """Puts texts of about one length into a batch, for training.

    Random pools of 16 batches are sorted by length and cut into batches, which then come in random order. (The
    Trainer's own grouping hands a pool's batches over from the longest to the shortest text, so that length drifts as
    it trains.)

    Args:
        lengths: Tokens of each text.
        batch_size: Texts in a batch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int) -> None:
        self.lengths = torch.tensor(lengths)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        shuffled = torch.randperm(len(self.lengths))
        pools = shuffled.split(_POOL * self.batch_size)
        ordered = torch.cat([pool[self.lengths[pool].argsort(stable=True)] for pool in pools])
        groups = ordered.split(self.batch_size)
        # A group that is not full stays last, or the groups after it would be cut elsewhere.
        full = [group for group in groups if len(group) == self.batch_size]
        rest = [group for group in groups if len(group) < self.batch_size]
        mixed = [full[number] for number in torch.randperm(len(full)).tolist()]
        return iter(torch.cat([*mixed, *rest]).tolist())


@dataclass(frozen=True)
class EncodedText:
    """One text as a model reads it and as a person does."""

    ids: tuple[int, ...]
    """Token ids, special tokens included."""

    words: tuple[str, ...]
    """The words that were kept, in order, as they stand in the text."""

    word_of_token: tuple[int | None, ...]
    """Index of each token's word; None for special tokens, which never count."""

    truncated: bool
    """Whether the text went on after the last token."""

    def without(self, deleted: Collection[int]) -> EncodedText:
        """The text with some words' tokens taken out of the sequence, never decoded and tokenised again."""
        kept = [n for n, word in enumerate(self.word_of_token) if word is None or word not in deleted]
        renumbered = {old: new for new, old in enumerate(n for n in range(len(self.words)) if n not in deleted)}
        words = [self.word_of_token[n] for n in kept]
        return EncodedText(
            ids=tuple(self.ids[n] for n in kept),
            words=tuple(self.words[n] for n in renumbered),
            word_of_token=tuple(None if word is None else renumbered[word] for word in words),
            truncated=self.truncated,
        )


@dataclass(frozen=True)
class Batch:
    """Some of the texts, padded to the longest among them."""

    numbers: tuple[int, ...]
    """Which of the texts these are."""

    inputs: dict[str, Tensor]
    """`input_ids` and `attention_mask`, (batch, token)."""

    counting: Tensor
    """True where a token belongs to a word, (batch, token)."""


def readable(text: str) -> str:
    r"""The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD.

    >>> readable("a\ud800b")
    'a\ufffdb'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int | None = None
) -> list[EncodedText]:
    """Tokenize texts and say which word each token belongs to.

    Args:
        tokenizer: A fast tokenizer, which knows its words.
        texts: Any strings.
        max_tokens: Tokens kept of each text, special ones included. Default: all.
    """
    if not texts:
        return []
    texts = [readable(text) for text in texts]
    limit = {} if max_tokens is None else {"truncation": True, "max_length": max_tokens}
    encoded = tokenizer(texts, add_special_tokens=True, **limit)
    special = special_ids_of(tokenizer)
    return [_encoded(text, encoded.encodings[number], special) for number, text in enumerate(texts)]


def special_ids_of(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All special ids but those that stand for words: unknown words count, and so do masked ones."""
    # One token may serve as padding and as the unknown word's, as in GPT-2; then padding is known by the mask alone.
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}


def batches(
    texts: Sequence[EncodedText],
    padding_id: int,
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    padded_length: int | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Batches of about equally long texts, longest first, so that little is padded and memory is seen at once.

    Args:
        texts: Encoded texts; one without tokens becomes a row of padding.
        padding_id: Id that fills the rows.
        tokens_per_batch: Padded tokens in a batch at most, unless one text alone is longer.
        padded_length: Pad to at least this length, as the authors' published code does. Default: the batch's longest.
        device: Where the tensors go.
    """
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number].ids))
    while order:
        longest = max(padded_length or 1, len(texts[order[0]].ids))
        size = max(tokens_per_batch // longest, 1)
        numbers, order = order[:size], order[size:]
        yield _batch(texts, tuple(numbers), longest, padding_id, device)


def _batch(
    texts: Sequence[EncodedText], numbers: tuple[int, ...], length: int, padding_id: int, device: torch.device | str
) -> Batch:
    ids = torch.full((len(numbers), length), padding_id, dtype=torch.long)
    attended = torch.zeros((len(numbers), length), dtype=torch.long)
    counting = torch.zeros((len(numbers), length), dtype=torch.bool)
    for row, number in enumerate(numbers):
        text = texts[number]
        size = len(text.ids)
        ids[row, :size] = torch.tensor(text.ids, dtype=torch.long)
        attended[row, :size] = 1
        counting[row, :size] = torch.tensor([word is not None for word in text.word_of_token], dtype=torch.bool)
    inputs = {"input_ids": ids.to(device), "attention_mask": attended.to(device)}
    return Batch(numbers, inputs, counting.to(device))


def _encoded(text: str, encoding: Encoding, special: Collection[int]) -> EncodedText:
    """Words in the order of the text, each from its first token's start to its last token's end."""
    # A special token is no word even where somebody wrote it into the text: a model can't tell the two apart.
    words = [None if token in special else word for token, word in zip(encoding.ids, encoding.word_ids, strict=True)]
    spans: dict[int, tuple[int, int]] = {}
    for word, (start, end) in zip(words, encoding.offsets, strict=True):
        if word is not None:
            first, last = spans.get(word, (start, end))
            spans[word] = (min(first, start), max(last, end))
    index = {word: n for n, word in enumerate(spans)}
    return EncodedText(
        ids=tuple(encoding.ids),
        words=tuple(text[start:end] for start, end in spans.values()),
        word_of_token=tuple(None if word is None else index[word] for word in words),
        truncated=bool(encoding.overflowing),
    )
