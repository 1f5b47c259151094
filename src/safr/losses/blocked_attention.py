"""Attention weights made from queries and keys, all at once or block by block, so that no T x T matrix is held."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = {"cpu": 2**20, "cuda": 2**24}
"""Attention weights in a block: on a processor what its cache holds a few times over, on a GPU what keeps it busy."""


@dataclass(frozen=True)
class BlockedAttention:
    r"""What the heads of one layer attend with: $A = softmax(scale \cdot Q K^\top + bias)$."""

    query: Float[Tensor, "batch head query size"]
    key: Float[Tensor, "batch head key size"]
    bias: Float[Tensor, "#batch #head #query key"] | None
    """Added to the scores: 0 where a key may be seen, very negative where not."""
    scale: float

    def compute_weights(self) -> Float[Tensor, "batch head query key"]:
        """All attention weights at once."""
        scores = self.query @ self.key.mT * self.scale
        return (scores if self.bias is None else scores + self.bias).softmax(dim=-1)

    def select_heads(self, numbers: Int[Tensor, " head"]) -> BlockedAttention:
        """Some of the heads."""
        bias = self.bias
        if bias is not None and bias.shape[1] > 1:
            bias = bias.index_select(1, numbers)
        return replace(
            self, query=self.query.index_select(1, numbers), key=self.key.index_select(1, numbers), bias=bias
        )

    def select_texts(self, numbers: Int[Tensor, " text"]) -> BlockedAttention:
        """Some of the texts."""
        bias = self.bias
        if bias is not None and bias.shape[0] > 1:
            bias = bias.index_select(0, numbers)
        return replace(
            self, query=self.query.index_select(0, numbers), key=self.key.index_select(0, numbers), bias=bias
        )

    def to_full_precision(self) -> BlockedAttention:
        """The same heads in float32 at least."""
        dtype = torch.promote_types(self.query.dtype, torch.float32)
        bias = None if self.bias is None else self.bias.to(dtype)
        return replace(self, query=self.query.to(dtype), key=self.key.to(dtype), bias=bias)

    def iter_parts(self) -> Iterator[tuple[slice, slice]]:
        """Texts and heads that go into a block together: as many as its size allows, one head of one text at least."""
        texts, heads, queries = self.query.shape[:3]
        matrices = max(self._block() // max(queries * self.key.shape[2], 1), 1)
        some_heads, some_texts = max(min(matrices, heads), 1), max(matrices // max(heads, 1), 1)
        for text in range(0, texts, some_texts):
            for head in range(0, heads, some_heads):
                yield slice(text, text + some_texts), slice(head, head + some_heads)

    def select_part(self, texts: slice, heads: slice) -> BlockedAttention:
        """Some texts and heads."""
        bias = self.bias
        if bias is not None:
            bias = bias.expand(*self.query.shape[:2], -1, -1)[texts, heads]
        return replace(self, query=self.query[texts, heads], key=self.key[texts, heads], bias=bias)

    def row_blocks(self) -> list[slice]:
        """Queries that go into a block together: all, unless one head's weights are more than a few blocks."""
        queries, keys = self.query.shape[2], self.key.shape[2]
        rows = queries if queries * keys <= 4 * self._block() else max(self._block() // keys, 1)
        return [slice(row, min(row + rows, queries)) for row in range(0, queries, max(rows, 1))]

    def select_rows(self, rows: slice) -> BlockedAttention:
        """Some of the queries."""
        bias = self.bias
        if bias is not None and bias.shape[2] > 1:
            bias = bias[:, :, rows]
        return replace(self, query=self.query[:, :, rows], bias=bias)

    def iter_blocks(self) -> Iterator[tuple[slice, slice, Float[Tensor, "batch head query key"]]]:
        """All attention weights, a block at a time, with the texts and the queries that they are of."""
        for texts, heads in self.iter_parts():
            part = self.select_part(texts, heads)
            for rows in part.row_blocks():
                yield texts, rows, part.select_rows(rows).compute_weights()

    def _block(self) -> int:
        return _BLOCK.get(self.query.device.type, _BLOCK["cpu"])
