"""Embeddings in, masked embeddings out: the variational word mask of Chen and Ji (EMNLP 2020)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F


class Masked(NamedTuple):
    """What VMASK makes of a batch of embeddings."""

    vectors: Float[Tensor, "batch token width"]
    """The embeddings, each times its gate."""

    keep: Float[Tensor, "batch token"]
    """Keep probability of each token in [0, 1]; 1 for tokens that don't count."""


class VMASK(nn.Module):
    r"""Learns which words to let through.

    $$r_i = softmax(W_2 \tanh(W_1 e_i + b_1) + b_2)_1$$

    In training each embedding is multiplied by a hard sample of its gate (straight-through Gumbel-softmax), in
    evaluation by $r_i$ itself.

    Source: Chen and Ji 2020 (VMASK), with the sizes of SAFR's published code.

    Args:
        width: Width of the embeddings.
        hidden: Hidden width of the gate's network.
    """

    def __init__(self, width: int, hidden: int = 1024) -> None:
        super().__init__()
        self.inner = nn.Linear(width, hidden)
        self.outer = nn.Linear(hidden, 2)

    def forward(
        self, embeddings: Float[Tensor, "batch token width"], counting: Bool[Tensor, "batch token"] | None = None
    ) -> Masked:
        """Mask a batch of embeddings.

        Args:
            embeddings: One vector per token.
            counting: True where a token may be masked; the others pass unchanged. Default: all.
        """
        logits = self.outer(torch.tanh(self.inner(embeddings))).float()  # (batch, token, 2)
        keep = logits.softmax(dim=-1)[..., 1]  # (batch, token)
        gate = F.gumbel_softmax(logits, hard=True)[..., 1] if self.training else keep
        if counting is not None:
            keep, gate = (torch.where(counting, each, 1.0) for each in (keep, gate))
        return Masked(embeddings * gate[..., None].to(embeddings.dtype), keep)
