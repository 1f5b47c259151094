"""Texts in, batches of token ids out, with the words that the tokens belong to."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Sampler

from safr.data.encoding import EncodedText

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
class Batch:
    """Some of the texts, padded to the longest among them."""

    indices: tuple[int, ...]
    """Which of the texts these are."""

    inputs: dict[str, Tensor]
    """`input_ids` and `attention_mask`, and `token_type_ids` where any is not 0, as in a pair; (batch, token)."""

    content_mask: Tensor
    """True where a token belongs to a word, (batch, token)."""


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
        inputs, content_mask = _inputs(rows, longest, padding_id, token_types), _content_mask(rows, longest)
        yield Batch(tuple(numbers), {name: each.to(device) for name, each in inputs.items()}, content_mask.to(device))


def _inputs(texts: Sequence[EncodedText], length: int, padding_id: int, token_types: bool) -> dict[str, Tensor]:
    inputs = {
        "input_ids": _padded([text.ids for text in texts], length, padding_id),
        "attention_mask": _padded([[1] * len(text.ids) for text in texts], length, 0),
    }
    # Models take types that they aren't given for 0, as they are where there is only one text.
    if token_types and any(any(text.token_types) for text in texts):
        inputs["token_type_ids"] = _padded([text.token_types for text in texts], length, 0)
    return inputs


def _content_mask(texts: Sequence[EncodedText], length: int) -> Tensor:
    return _padded([[word is not None for word in text.word_of_token] for text in texts], length, False)


def _padded(rows: Sequence[Sequence[int]], length: int, filling: int) -> Tensor:
    return torch.tensor([[*row, *[filling] * (length - len(row))] for row in rows])
