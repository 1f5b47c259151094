"""VMASK, the variational word mask of Chen and Ji (EMNLP 2020)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F


class MaskedEmbeddings(NamedTuple):
    """What VMASK makes of a batch of embeddings."""

    vectors: Float[Tensor, "batch token width"]
    """The embeddings times their gates."""

    keep: Float[Tensor, "batch token"]
    """Keep probability of every token in [0, 1]; 1 for tokens that don't count."""


class VMASK(nn.Module):
    r"""Learns which words to let through.

    $$r_i = softmax(W_2 \tanh(W_1 e_i + b_1) + b_2)_1$$

    In training an embedding is multiplied by a hard sample of its gate (straight-through Gumbel-softmax), in
    evaluation by $r_i$ itself.

    Source: Chen and Ji 2020 (VMASK), with the sizes of SAFR's published code.

    Args:
        width: Width of the embeddings.
        hidden: Hidden width of the gate's network.
    """

    scale: Tensor

    def __init__(self, width: int, hidden: int = 1024) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 2)
        self.register_buffer("scale", torch.ones(()))

    @torch.no_grad()
    def open_to(self, keep: float, embeddings: Float[Tensor, "word width"]) -> None:
        """Start with about one keep probability for every word, so that pretrained weights see what they know.

        Differs from the paper: open mask, where the paper's starts half closed beside embeddings that are as new as
        itself. Pretrained embeddings are also of another length: the gate's network reads them divided by the standard
        deviation of the table's entries.

        Args:
            keep: Keep probability in (0, 1).
            embeddings: The vocabulary's.
        """
        logit = math.log(keep / (1 - keep))
        self.outer.bias.copy_(torch.tensor([-logit / 2, logit / 2]))
        self.outer.weight.mul_(0.1)  # the words differ little at first, and yet the network gets a gradient
        self.scale.copy_(1 / embeddings.float().std().clamp_min(1e-6))

    def forward(
        self,
        embeddings: Float[Tensor, "batch token width"],
        content_mask: Bool[Tensor, "batch token"] | None = None,
        words: Int[Tensor, "batch token"] | None = None,
        ids: Int[Tensor, "batch token"] | None = None,
    ) -> MaskedEmbeddings:
        """Mask a batch of embeddings.

        Args:
            embeddings: One vector per token.
            content_mask: True where a token may be masked; the others pass unchanged. Default: all.
            words: Number of every token's word; the pieces of a word share the mean of their logits and one sample, so
                that a word goes whole or not at all. Default: every token for itself.
            ids: Numbers that equal embeddings have in common, so that the gate's network reads them only once. The
                gradient then reaches one of the equal embeddings, in place of all that are the same row of a table.
        """
        logits = self._logits(embeddings) if ids is None else self._logits_by_id(embeddings, ids)  # (batch, token, 2)
        if words is not None:
            logits = _mean_by_word(logits, words)
        keep = logits.softmax(dim=-1)[..., 1]  # (batch, token), or (batch, word) with words
        gate = F.gumbel_softmax(logits, hard=True)[..., 1] if self.training else keep
        if words is not None:
            keep, gate = keep.gather(1, words), gate.gather(1, words)
        if content_mask is not None:
            keep, gate = torch.where(content_mask, keep, 1.0), torch.where(content_mask, gate, 1.0)
        return MaskedEmbeddings(embeddings * gate[..., None].to(embeddings.dtype), keep)

    def _logits(self, embeddings: Tensor) -> Tensor:
        return self.outer(torch.tanh(self.inner(embeddings * self.scale))).float()

    def _logits_by_id(self, embeddings: Tensor, ids: Tensor) -> Tensor:
        distinct, place = ids.unique(return_inverse=True)
        if 4 * len(distinct) > 3 * ids.numel():  # finding the few that repeat costs as much as it saves
            return self._logits(embeddings)
        somewhere = torch.empty_like(distinct, dtype=torch.long).scatter_(
            0, place.flatten(), torch.arange(ids.numel(), device=ids.device)
        )
        logits = self._logits(embeddings.flatten(0, 1).index_select(0, somewhere))
        return F.embedding(place, logits)


def _mean_by_word(
    logits: Float[Tensor, "batch token 2"], words: Int[Tensor, "batch token"]
) -> Float[Tensor, "batch token 2"]:
    """Row n holds the mean over the pieces of word n; there are no more words than tokens."""
    pieces = torch.zeros_like(logits[..., 0]).scatter_add(1, words, torch.ones_like(logits[..., 0]))
    total = torch.zeros_like(logits).scatter_add(1, words[..., None].expand_as(logits), logits)
    return total / pieces.clamp_min(1)[..., None]
