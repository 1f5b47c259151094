"""Keep probabilities in, VMASK's information term out."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from safr.losses.averaging import mean_over_texts


def information_loss(
    keep: Float[Tensor, "batch token"],
    mask: Bool[Tensor, "batch token"] | None = None,
) -> Float[Tensor, ""]:
    r"""Negative entropy of the keep probabilities: low when the mask stays undecided, so that it passes little on.

    $$\frac{1}{N} \sum_n \frac{1}{T} \sum_i [r_i \log r_i + (1 - r_i) \log (1 - r_i)]$$

    Source: VMASK (Chen and Ji 2020), eq. 7; weighted there by beta, off in SAFR.

    Args:
        keep: Keep probabilities r in [0, 1].
        mask: True where a token counts. Default: all count.

    Returns:
        Mean over texts, in [-log 2, 0], in nats.
    """
    probability = keep.to(torch.promote_types(keep.dtype, torch.float32))
    # The entropy's slope is infinite at 0 and 1; a probability that has rounded to either is settled and gets slope 0.
    open_ = (probability > 0) & (probability < 1)
    safe = probability.where(open_, 0.5)
    negative_entropy = torch.where(open_, safe * safe.log() + (1 - safe) * (1 - safe).log(), 0.0)
    return mean_over_texts(negative_entropy, mask)
