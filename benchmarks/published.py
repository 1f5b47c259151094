"""Token ids in, the loss out: the published formulation, written from its equations for comparison.

Every text is padded to one length, padding counts in every sum, all pairs of tokens stand in full matrices, and
autograd differentiates them (Chang et al. 2025, sections 3 and 4).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Published(nn.Module):
    """Embedding, VMASK, positions, one layer of attention and feed-forward, mean, classifier; and the two losses."""

    def __init__(self, vocabulary: int, length: int, width: int = 256, heads: int = 8, neurons: int = 1024) -> None:
        super().__init__()
        self.heads = heads
        self.embedding = nn.Embedding(vocabulary, width)
        self.gate = nn.Sequential(nn.Linear(width, 1024), nn.Tanh(), nn.Linear(1024, 2))
        self.query, self.key, self.value, self.out = (nn.Linear(width, width) for _ in range(4))
        self.fc1, self.fc2 = nn.Linear(width, neurons), nn.Linear(neurons, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(2))
        self.dropout = nn.Dropout(0.1)
        self.classifier = nn.Linear(width, 2)
        self.register_buffer("positions", _positions(length, width))

    def forward(self, ids: Tensor, labels: Tensor) -> Tensor:
        """Cross-entropy, importance at weight 1 and interaction at weight 0.1."""
        embedded = self.embedding(ids) * math.sqrt(self.embedding.embedding_dim)
        gate = F.gumbel_softmax(self.gate(embedded), hard=True)[..., 1:]
        vectors = embedded * gate
        hidden = self.dropout(vectors + self.positions)
        attended, weights = self._attend(hidden, ids != 0)
        hidden = self.norms[0](hidden + self.dropout(attended))
        hidden = self.norms[1](hidden + self.dropout(self.fc2(F.relu(self.fc1(hidden)))))
        task = F.cross_entropy(self.classifier(hidden.mean(dim=1)), labels)
        return task + importance(vectors) + 0.1 * interaction(weights)

    def _attend(self, hidden: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        texts, tokens, width = hidden.shape
        query, key, value = (
            project(hidden).view(texts, tokens, self.heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.mT / math.sqrt(width // self.heads)
        weights = scores.masked_fill(~visible[:, None, None], -1e9).softmax(dim=-1)
        return self.out((weights @ value).transpose(1, 2).reshape(texts, tokens, width)), weights


def importance(vectors: Tensor) -> Tensor:
    """Mean over all tokens of sqrt(P_i / E)."""
    directions = vectors / (vectors.norm(dim=-1, keepdim=True) + 1e-5)
    shared = (directions @ vectors.mT).square() * (1 - torch.eye(vectors.shape[1], device=vectors.device))
    return (shared.sum(dim=-1) / vectors.shape[-1] + 1e-12).sqrt().mean()


def interaction(weights: Tensor) -> Tensor:
    """Mean over texts, heads and all pairs of A_ij (1 - (A A^T)_ij), without i = j in A A^T."""
    overlap = weights @ weights.mT * (1 - torch.eye(weights.shape[-1], device=weights.device))
    return (weights * (1 - overlap)).mean()


def _positions(length: int, width: int) -> Tensor:
    angle = torch.arange(length)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10000.0) / width))
    return torch.stack((angle.sin(), angle.cos()), dim=-1).flatten(start_dim=-2)
