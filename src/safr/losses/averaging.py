"""One value per token in, the mean over texts of each text's mean out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor


def mean_over_texts(
    values: Float[Tensor, "batch token"], mask: Bool[Tensor, "batch token"] | None
) -> Float[Tensor, ""]:
    """Mean over texts of the mean over each text's counting tokens; a text without any adds 0.

    Args:
        values: One value per token; those of tokens that don't count are ignored.
        mask: True where a token counts. Default: all count.
    """
    if mask is None:
        return (values.sum(dim=-1) / max(values.shape[-1], 1)).mean()
    return (torch.where(mask, values, 0.0).sum(dim=-1) / mask.sum(dim=-1).clamp_min(1)).mean()
