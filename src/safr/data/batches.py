"""Batches of encoded texts: texts of similar length together, padded, for training and for inference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.utils.data import Sampler

from safr.data.encoding import EncodedText
from safr.data.marks import label_asked
from safr.data.targets import IGNORED

TOKENS_PER_BATCH = 4096
"""Padded tokens in a batch when nothing is trained; larger batches leave the processor's cache."""

_BATCHES_PER_POOL = 16
"""Enough that little is padded, and few enough that a batch stays a mixed sample of the texts."""


class LengthGroupedSampler(Sampler[int]):
    """Order of the texts for training in which the texts of a batch have about the same length.

    Differs from the paper: batches hold texts of about one length, in the published code any texts. Random pools of 16
    batches are sorted by length and cut into batches, which then come in random order. (The
    Trainer's own grouping orders the batches of a pool from long to short texts, so the length drifts in training.)

    Args:
        lengths: Number of tokens of every text.
        batch_size: Number of texts in a batch.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int) -> None:
        self.lengths = torch.tensor(lengths)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[int]:
        shuffled = torch.randperm(len(self.lengths))
        pools = shuffled.split(_BATCHES_PER_POOL * self.batch_size)
        ordered = torch.cat([pool[self.lengths[pool].argsort(stable=True)] for pool in pools])
        groups = ordered.split(self.batch_size)
        # An incomplete group stays last: it would shift the borders of the groups after it.
        full = [group for group in groups if len(group) == self.batch_size]
        incomplete = [group for group in groups if len(group) < self.batch_size]
        mixed = [full[index] for index in torch.randperm(len(full)).tolist()]
        return iter(torch.cat([*mixed, *incomplete]).tolist())


@dataclass(frozen=True)
class Batch:
    """A batch of texts, padded to the longest of them."""

    indices: tuple[int, ...]
    """Positions of these texts in the sequence that was batched."""

    inputs: dict[str, Int[Tensor, "batch token"]]
    """`input_ids` and `attention_mask`, and `token_type_ids` if the model needs them, as for a pair; (batch, token)."""

    content_mask: Bool[Tensor, "batch token"]
    """True where a token belongs to a word, (batch, token)."""

    asked: Int[Tensor, "batch token"] | None = None
    """Which tokens are asked about, as `label_asked` says; None where the model says something about whole texts."""

    rivals: Float[Tensor, "batch rival"] | None = None
    """Logits of a question's other choices; None where a text is no choice."""

    def copy(self) -> Batch:
        """The batch with copies of its tensors."""
        return replace(
            self,
            inputs={name: tensor.clone() for name, tensor in self.inputs.items()},
            content_mask=self.content_mask.clone(),
            asked=None if self.asked is None else self.asked.clone(),
            rivals=None if self.rivals is None else self.rivals.clone(),
        )


def iter_batches(
    texts: Sequence[EncodedText],
    padding_id: int,
    *,
    tokens_per_batch: int = TOKENS_PER_BATCH,
    padded_length: int | None = None,
    token_types: bool = True,
    zero_types: bool = False,
    equal_lengths: bool = False,
    device: torch.device | str = "cpu",
) -> Iterator[Batch]:
    """Batches of about equally long texts, longest first: little is padded, and the first batch needs the most memory.

    Args:
        texts: Encoded texts; a text without tokens becomes a row of padding.
        padding_id: Token id that fills the rows.
        tokens_per_batch: Most padded tokens in a batch, unless a single text is longer.
        padded_length: Pad to at least this length, as the authors' published code does. Default: the batch's longest.
        token_types: Whether the model uses token types.
        zero_types: Whether token types that are all 0 say something else to the model than none.
        equal_lengths: Whether a batch takes only texts of one length, so that nothing is padded.
        device: Where the tensors go.
    """
    order = sorted(range(len(texts)), key=lambda index: -len(texts[index].ids))
    while order:
        longest = max(padded_length or 1, len(texts[order[0]].ids))
        size = max(tokens_per_batch // longest, 1)
        if equal_lengths:
            size = min(size, sum(len(texts[index].ids) == len(texts[order[0]].ids) for index in order[:size]))
        indices, order = order[:size], order[size:]
        rows = [texts[index] for index in indices]
        types = token_types and (zero_types or any(any(text.token_types) for text in rows))
        inputs, content_mask = _build_inputs(rows, longest, padding_id, types), _build_content_mask(rows, longest)
        inputs = {name: tensor.to(device) for name, tensor in inputs.items()}
        asked = _pad([label_asked(text) for text in rows], longest, IGNORED).to(device) if rows[0].asked else None
        yield Batch(tuple(indices), inputs, content_mask.to(device), asked)


def _build_inputs(texts: Sequence[EncodedText], length: int, padding_id: int, token_types: bool) -> dict[str, Tensor]:
    inputs = {
        "input_ids": _pad([text.ids for text in texts], length, padding_id),
        "attention_mask": _pad([[1] * len(text.ids) for text in texts], length, 0),
    }
    if token_types and any(text.token_types for text in texts):
        inputs["token_type_ids"] = _pad([text.token_types for text in texts], length, 0)
    return inputs


def _build_content_mask(texts: Sequence[EncodedText], length: int) -> Tensor:
    return _pad([[word is not None for word in text.word_of_token] for text in texts], length, False)


def _pad(rows: Sequence[Sequence[int]], length: int, filling: int) -> Tensor:
    return torch.tensor([[*row, *[filling] * (length - len(row))] for row in rows])
