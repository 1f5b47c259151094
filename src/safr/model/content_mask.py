"""A batch in, which of its tokens count out: neither padding nor special tokens do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor


def compute_content_mask(batch: Mapping[str, Any], special: Collection[int]) -> Bool[Tensor, "batch token"] | None:
    """True where a token is neither padding nor special; None where the batch says nothing about its tokens.

    The choices of a multiple choice count as texts, (batch, choice, token) as (batch * choice, token).
    """
    ids, attended = batch.get("input_ids"), batch.get("attention_mask")
    if not isinstance(attended, Tensor):  # a cache of fixed size brings a mask for each kind of layer
        attended = None
    elif attended.dim() == 4:  # (batch, 1, query, key): what no query may see is padding
        attended = (attended if attended.dtype == torch.bool else attended == 0).any(dim=2).any(dim=1)
    if ids is None:
        return None if attended is None else attended.flatten(0, -2).bool()
    ids = ids.flatten(0, -2) if ids.dim() > 1 else ids[None]
    # While text is generated the mask covers the tokens that are cached too, and the ids only the new ones.
    seen = None if attended is None else attended.flatten(0, -2)[:, -ids.shape[1] :].bool()
    content_mask = torch.ones_like(ids, dtype=torch.bool) if seen is None else seen
    for each in special:
        content_mask = content_mask & (ids != each)
    return content_mask
