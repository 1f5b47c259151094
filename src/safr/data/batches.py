"""Texts in, batches of token ids out, with the words that the tokens belong to."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Encoding
from torch import Tensor
from torch.utils.data import Sampler
from transformers import PreTrainedTokenizerBase

from safr.data.spans import find_word_spans
from safr.errors import InputError

TOKENS_PER_BATCH = 4096
"""Padded tokens in a batch when nothing is trained; larger batches leave the processor's cache."""

_POOL = 16
"""Batches in a pool: enough that little is padded, few enough that a batch stays a mixed sample of the texts."""


class LengthGroupedSampler(Sampler[int]):
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
    """One text, or a pair of them, as a model reads it and as a person does."""

    ids: tuple[int, ...]
    """Token ids, special tokens included."""

    words: tuple[str, ...]
    """The words that were kept, in order, as they stand in the text."""

    word_of_token: tuple[int | None, ...]
    """Index of each token's word; None for special tokens and white space, which never count."""

    truncated: bool
    """Whether the text went on after the last token."""

    second: int | None = None
    """Index of the second text's first word, which is the number of the first one's; None where there is no pair."""

    token_types: tuple[int, ...] = ()
    """Token type ids, which tell a pair's texts apart; empty where the tokenizer makes none."""

    @property
    def text_of_word(self) -> tuple[int, ...]:
        """For each word the text that it is from: 0, or 1 for the second of a pair."""
        return tuple(int(self.second is not None and word >= self.second) for word in range(len(self.words)))

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
            second=None if self.second is None else sum(word < self.second for word in renumbered),
            token_types=tuple(self.token_types[n] for n in kept) if self.token_types else (),
        )


@dataclass(frozen=True)
class Batch:
    """Some of the texts, padded to the longest among them."""

    numbers: tuple[int, ...]
    """Which of the texts these are."""

    inputs: dict[str, Tensor]
    """`input_ids` and `attention_mask`, and `token_type_ids` where any is not 0, as in a pair; (batch, token)."""

    counting: Tensor
    """True where a token belongs to a word, (batch, token)."""


def replace_surrogates(text: str) -> str:
    r"""The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD.

    >>> replace_surrogates("a\ud800b")
    'a\ufffdb'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str | tuple[str, str]], max_tokens: int | None = None
) -> list[EncodedText]:
    """Tokenize texts, or pairs of them, and say which word each token belongs to.

    `find_word_spans` says what a word is.

    Args:
        tokenizer: A fast tokenizer, which knows where its tokens stand in a text.
        texts: Any strings, or pairs such as a premise and a hypothesis.
        max_tokens: Tokens kept of each text, special ones included; of a pair the longer text is cut first. Default:
            all.

    Raises:
        InputError: The tokenizer is not a fast one, or `max_tokens` leaves no room beside its special tokens.
    """
    check_fast_tokenizer(tokenizer)
    parts = [tuple(replace_surrogates(part) for part in ([text] if isinstance(text, str) else text)) for text in texts]
    special = special_token_ids(tokenizer)
    types = "token_type_ids" in tokenizer.model_input_names
    encoded: dict[int, EncodedText] = {}
    for count in (1, 2):  # a tokenizer takes a list of texts or one of pairs
        numbers = [number for number, text in enumerate(parts) if len(text) == count]
        made = tokenize(tokenizer, [parts[number] for number in numbers], max_tokens) if numbers else []
        for number, encoding in zip(numbers, made, strict=True):
            encoded[number] = _encoded(parts[number], encoding, special, types)
    return [encoded[number] for number in range(len(texts))]


def check_fast_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError where a tokenizer is not a fast one."""
    if not tokenizer.is_fast:
        raise InputError(
            f"expected a fast tokenizer, got {type(tokenizer).__name__}, which can't say where its tokens stand in a "
            "text; use one that the tokenizers library runs (it comes as a tokenizer.json)"
        )


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_tokens: int | None = None
) -> list[Encoding]:
    """What the tokenizer itself makes of texts, as tuples of one, or of pairs: ids and places, without words.

    Args:
        tokenizer: A fast tokenizer.
        texts: At least one, all from `replace_surrogates`; all texts or all pairs.
        max_tokens: See `encode`.

    Raises:
        InputError: `max_tokens` leaves no room beside the special tokens.
    """
    columns = [list(column) for column in zip(*texts, strict=True)]
    limit: dict[str, Any] = {}
    if max_tokens is not None:
        special = tokenizer.num_special_tokens_to_add(pair=len(columns) > 1)
        if max_tokens < special:
            raise InputError(
                f"`max_tokens` must be at least {special}, the special tokens around a text, got {max_tokens}"
            )
        limit = {"truncation": True, "max_length": max_tokens}
    return tokenizer(*columns, add_special_tokens=True, **limit).encodings


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All special ids but those that stand for words: unknown words count, and so do masked ones."""
    # One token may serve as padding and as the unknown word's, as in GPT-2; then padding is known by the mask alone.
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}


def iter_batches(
    texts: Sequence[EncodedText],
    padding_id: int,
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    padded_length: int | None = None,
    token_types: bool = True,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Batches of about equally long texts, longest first, so that little is padded and memory is seen at once.

    Args:
        texts: Encoded texts; one without tokens becomes a row of padding.
        padding_id: Id that fills the rows.
        tokens_per_batch: Padded tokens in a batch at most, unless one text alone is longer.
        padded_length: Pad to at least this length, as the authors' published code does. Default: the batch's longest.
        token_types: Whether the model tells tokens of different types apart.
        device: Where the tensors go.
    """
    order = sorted(range(len(texts)), key=lambda number: -len(texts[number].ids))
    while order:
        longest = max(padded_length or 1, len(texts[order[0]].ids))
        size = max(tokens_per_batch // longest, 1)
        numbers, order = order[:size], order[size:]
        rows = [texts[number] for number in numbers]
        inputs, counting = _inputs(rows, longest, padding_id, token_types), _counting(rows, longest)
        yield Batch(tuple(numbers), {name: each.to(device) for name, each in inputs.items()}, counting.to(device))


def _inputs(texts: Sequence[EncodedText], length: int, padding_id: int, token_types: bool) -> dict[str, Tensor]:
    inputs = {
        "input_ids": _padded([text.ids for text in texts], length, padding_id),
        "attention_mask": _padded([[1] * len(text.ids) for text in texts], length, 0),
    }
    # Models take types that they aren't given for 0, as they are where there is only one text.
    if token_types and any(any(text.token_types) for text in texts):
        inputs["token_type_ids"] = _padded([text.token_types for text in texts], length, 0)
    return inputs


def _counting(texts: Sequence[EncodedText], length: int) -> Tensor:
    return _padded([[word is not None for word in text.word_of_token] for text in texts], length, False)


def _padded(rows: Sequence[Sequence[int]], length: int, filling: int) -> Tensor:
    return torch.tensor([[*row, *[filling] * (length - len(row))] for row in rows])


def _encoded(texts: Sequence[str], encoding: Encoding, special: Collection[int], types: bool) -> EncodedText:
    """One text or two with the words of both, the first one's first."""
    words: list[str] = []
    owners: list[int | None] = [None] * len(encoding.ids)
    before = 0
    for number, text in enumerate(texts):
        # A special token is no word even where somebody wrote it into the text: a model can't tell the two apart.
        groups = [
            None if token in special or sequence != number else group
            for token, sequence, group in zip(encoding.ids, encoding.sequence_ids, encoding.word_ids, strict=True)
        ]
        spans, found = find_word_spans(text, encoding.offsets, groups)
        owners = [owner if word is None else word + len(words) for owner, word in zip(owners, found, strict=True)]
        before = len(words)
        words += [text[start:end] for start, end in spans]
    return EncodedText(
        ids=tuple(encoding.ids),
        words=tuple(words),
        word_of_token=tuple(owners),
        truncated=bool(encoding.overflowing),
        second=before if len(texts) > 1 else None,
        token_types=tuple(encoding.type_ids) if types else (),
    )
