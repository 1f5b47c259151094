"""Queries, keys and values in, mixed values out; the weights are handed to whoever records the pass.

Registered with transformers as the attention implementation `safr`, so that every model that goes through its
attention interface shows its weights. Where nobody asks for them it is torch's fused attention.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask

from safr.errors import InputError
from safr.model.recording import current_pass

NAME = "safr"
"""What transformers calls this implementation."""


def attention(
    module: nn.Module,
    query: Float[Tensor, "batch head query size"],
    key: Float[Tensor, "batch groups key size"],
    value: Float[Tensor, "batch groups key size"],
    attention_mask: Float[Tensor, "#batch #head #query key"] | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> tuple[Float[Tensor, "batch query head size"], Float[Tensor, "batch head query key"] | None]:
    r"""Scaled dot-product attention, $A = softmax(Q K^\top / \sqrt{d} + mask)$, out $= A V$.

    Args:
        module: The attention module that calls; its `num_key_value_groups` says how many heads share a key.
        query: Queries, one head beside the other.
        key: Keys, possibly fewer heads than queries.
        value: Values.
        attention_mask: Added to the scores: 0 where a key may be seen, very negative where not.
        scaling: Factor on the scores. Default: 1 / sqrt(size).
        dropout: Probability with which a weight is dropped before the values are mixed.
        options: What a family passes besides; an option that changes the scores and isn't known here is refused.

    Returns:
        Mixed values, and the weights before dropout where the open pass asked for this layer's, else None.
    """
    now = current_pass()
    if now is None or not now.wants("attention", now.next_layer("attention")):
        # The mask is always explicit here, so nothing is left for the fused kernel to mask by itself.
        options["is_causal"] = False
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **options
        )
    _refuse_unknown(module, options)
    groups = getattr(module, "num_key_value_groups", 1)
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = query @ key.mT * scale  # (batch, head, query, key)
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = torch.softmax(scores, dim=-1)
    now.attention[now.seen["attention"] - 1] = weights
    mixed = F.dropout(weights, dropout, module.training) @ value  # (batch, head, query, size)
    return mixed.transpose(1, 2).contiguous(), weights


def _refuse_unknown(module: nn.Module, options: dict[str, Any]) -> None:
    """Options that change the scores would make the recorded weights wrong without a word."""
    changing = [name for name in ("position_bias", "softcap", "s_aux") if options.get(name) is not None]
    if changing:
        raise InputError(
            f"{type(module).__name__} passes {', '.join(changing)} to its attention, which SAFR can't record yet; "
            "set interaction=0 and ask for no attention"
        )


AttentionInterface.register(NAME, attention)
# Explicit additive masks, also causal ones, so that one code path serves every mask.
AttentionMaskInterface.register(NAME, eager_mask)
