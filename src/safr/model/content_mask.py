"""Which tokens of a batch count, and which word each token belongs to.

The content mask is True where a token counts: padding and special tokens such as [CLS] do not. Only tokens that count
enter a sum, a mean or a matrix of this package.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor


def compute_content_mask(batch: Mapping[str, Any], special: Collection[int]) -> Bool[Tensor, "batch token"] | None:
    """True where a token is neither padding nor special; None where the batch says nothing about its tokens.

    The choices of a multiple choice count as texts, (batch, choice, token) as (batch * choice, token).
    """
    ids, attended = batch.get("input_ids"), batch.get("attention_mask")
    if not isinstance(attended, Tensor):  # a cache of fixed size brings a mask for every kind of layer
        attended = None
    elif attended.dim() == 4:  # (batch, 1, query, key): what no query may see is padding
        attended = (attended if attended.dtype == torch.bool else attended == 0).any(dim=2).any(dim=1)
    if ids is None:
        return None if attended is None else attended.flatten(0, -2).bool()
    ids = ids.flatten(0, -2) if ids.dim() > 1 else ids[None]
    # While text is generated the mask covers the tokens that are cached too, and the ids only the new ones.
    not_padding = None if attended is None else attended.flatten(0, -2)[:, -ids.shape[1] :].bool()
    content_mask = torch.ones_like(ids, dtype=torch.bool) if not_padding is None else not_padding
    for special_id in special:
        content_mask = content_mask & (ids != special_id)
    return content_mask


def index_words(
    ids: Int[Tensor, "batch token"], pieces: Bool[Tensor, "2 word"] | None
) -> Int[Tensor, "batch token"] | None:
    """Number of every token's word, counted from 0 in its text; None where pieces of words are not told apart.

    Special tokens are words of their own, and so are ids that the vocabulary did not hold when it was looked through.

    Args:
        ids: Token ids.
        pieces: Which ids of the vocabulary continue a word, and which close one so that nothing continues it.
    """
    if pieces is None:
        return None
    is_known = ids < pieces.shape[1]
    continues, closes = pieces[:, ids.where(is_known, 0)] & is_known  # (batch, token)
    begins = ~continues
    begins[:, 1:] |= closes[:, :-1]
    begins[:, 0] = True
    return begins.cumsum(dim=-1) - 1
