"""SAFR's attention implementation: it records attention weights, or the queries and keys that they are made of.

Registered with transformers as the attention implementation `safr`, so that every model that goes through its
attention interface shows its weights. It is torch's own attention, and the losses read the queries and keys, unless the
weights are to be kept, or a soft cap, a sink or a trained position bias goes into them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import eager_mask

from safr.errors import InputError
from safr.losses.blocked_attention import BlockedAttention
from safr.model.forward_pass import ForwardPass, TextLayout, current_pass, recording_pass

ATTENTION_NAME = "safr"
"""What transformers calls this implementation."""


def safr_attention(
    module: nn.Module,
    query: Float[Tensor, "batch head query size"],
    key: Float[Tensor, "batch groups key size"],
    value: Float[Tensor, "batch groups key size_out"],
    attention_mask: Float[Tensor, "#batch #head #query key"] | Bool[Tensor, "#batch #head #query key"] | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    position_bias: Float[Tensor, "#batch #head #query key"] | None = None,
    softcap: float | None = None,
    s_aux: Float[Tensor, ...] | None = None,
    **options: Any,
) -> tuple[Float[Tensor, "batch query head size_out"], Float[Tensor, "batch head query key"] | None]:
    r"""Scaled dot-product attention, $A = softmax(Q K^\top / \sqrt{d} + mask)$, out $= A V$.

    Args:
        module: The attention module that calls; its `num_key_value_groups` says how many heads share a key.
        query: Queries, one head beside the other.
        key: Keys, possibly fewer heads than queries.
        value: Values.
        attention_mask: Added to the scores: 0 where a key may be seen, very negative where not. Or True and False. A
            query that may see no key sees them all.
        scaling: Factor on the scores. Default: 1 / sqrt(size).
        dropout: Probability with which a weight is dropped before the values are mixed.
        position_bias: Added to the scores, as in T5.
        softcap: Bound that a tanh keeps the scores within, as in Gemma 2.
        s_aux: Score of each head for looking nowhere (an attention sink), as in gpt-oss; rows then sum to less than 1.
        options: What a family passes besides, for the fused attention.

    Returns:
        Mixed values, and the weights, after dropout as in eager attention, where the model's output is to hold them.
    """
    forward_pass = recording_pass()
    if attention_mask is not None:
        attention_mask = to_additive(attention_mask, query.dtype, forward_pass)
    name = "" if forward_pass is None else forward_pass.next_layer("attention")
    request = None if forward_pass is None or not forward_pass.request.wants(name) else forward_pass.request
    keeps_weights = request is not None and request.keeps(name)
    opened = current_pass()
    returns_weights = opened is not None and opened.request.returns_attention
    groups = getattr(module, "num_key_value_groups", 1)
    weights = None
    if request is not None or returns_weights or softcap is not None or s_aux is not None:
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        heads = BlockedAttention(query, repeat_kv(key, groups), _add_bias(position_bias, attention_mask), scale)
        if softcap is not None or s_aux is not None:
            weights = _bounded_weights(heads, softcap, s_aux)
        elif keeps_weights or returns_weights or (heads.bias is not None and heads.bias.requires_grad):
            weights = heads.compute_weights()
    if forward_pass is not None and request is not None:
        if name in request.readers and query.shape[2] != key.shape[2]:
            raise InputError("SAFR's losses need whole texts, got keys from a cache; pass no past_key_values")
        check_tokens(query, forward_pass.record.layout, name)
        forward_pass.report(name, heads if weights is None else weights, attention_mask)
    if weights is None:
        # Without a mask the fused kernel looks at the module: another thread may have set this implementation between
        # the model's making of its masks and this call. Masks that were made for it are always explicit.
        with nullcontext() if attention_mask is None else _without_cudnn():
            return sdpa_attention_forward(
                module,
                query,
                key,
                value,
                attention_mask,
                dropout=dropout,
                scaling=scaling,
                position_bias=position_bias,
                **options,
            )
    dropped = F.dropout(weights, dropout, module.training).to(value.dtype)
    mixed = dropped @ repeat_kv(value, groups)  # (batch, head, query, size)
    return mixed.transpose(1, 2).contiguous(), dropped if returns_weights else None


def check_tokens(query: Tensor, layout: TextLayout | None, name: str) -> None:
    """Check that attention is that of the batch's tokens.

    Args:
        query: Queries or weights, (batch, head, query, ...).
        layout: How the model lays the batch out; None where the batch says nothing about its tokens.
        name: The site, with its layer.

    Raises:
        InputError: It has other queries.
    """
    if layout is not None and (query.shape[0], query.shape[2]) != (layout.texts, layout.tokens):
        raise InputError(
            f"expected {layout.texts} x {layout.tokens} tokens at {name} of {layout.model_name}, got "
            f"{query.shape[0]} x {query.shape[2]}, so it is unclear which token a weight is of; pass interaction=0"
        )


@torch.no_grad()
def received_attention(
    attention: Float[Tensor, "batch head query key"] | BlockedAttention, attended: Bool[Tensor, "batch query"] | None
) -> Float[Tensor, "batch key"]:
    """Attention that each token receives from all that are no padding, special ones too; a mean over heads.

    Args:
        attention: Attention weights, or the heads that make them.
        attended: True where a query is no padding. Default: all.
    """
    if isinstance(attention, Tensor):
        heads = attention.float().mean(dim=1)  # (batch, query, key)
        return heads.sum(dim=1) if attended is None else (heads * attended[..., None]).sum(dim=1)
    received = attention.key.new_zeros(attention.key.shape[0], attention.key.shape[2], dtype=torch.float32)
    with torch.autocast(received.device.type, enabled=False):
        for texts, rows, weights in attention.to_full_precision().iter_blocks():
            share = weights.shape[1] / attention.key.shape[1]
            received[texts] += share * received_attention(weights, None if attended is None else attended[texts, rows])
    return received


def _add_bias(position_bias: Tensor | None, attention_mask: Tensor | None) -> Tensor | None:
    if position_bias is None or attention_mask is None:
        return attention_mask if position_bias is None else position_bias
    return position_bias + attention_mask


def _bounded_weights(
    heads: BlockedAttention, softcap: float | None, sink: Tensor | None
) -> Float[Tensor, "batch head query key"]:
    """Weights whose scores a tanh bounds, or that may go nowhere."""
    scores = heads.query @ heads.key.mT * heads.scale
    if softcap is not None:
        scores = softcap * torch.tanh(scores / softcap)
    if heads.bias is not None:
        scores = scores + heads.bias
    if sink is None:
        return scores.softmax(dim=-1)
    nowhere = sink.reshape(1, -1, 1, 1).expand(*scores.shape[:-1], 1)
    return torch.cat([scores, nowhere], dim=-1).softmax(dim=-1)[..., :-1]


def _additive_mask(*, allow_is_bidirectional_skip: bool = False, **options: Any) -> Tensor | None:
    """Explicit additive masks, also causal ones, so that one code path serves every mask; or none without padding."""
    # Whether there is padding is read from the mask, for which a GPU would have to stop.
    on_cpu = torch.device(options.get("device", "cpu")).type == "cpu"
    mask = eager_mask(allow_is_bidirectional_skip=allow_is_bidirectional_skip and on_cpu, **options)
    if mask is None:
        return None
    mask = _make_finite(mask)
    if (forward_pass := recording_pass()) is not None:
        forward_pass.caches.additive_masks.append((mask, mask))
    return mask


def to_additive(mask: Tensor, dtype: torch.dtype, forward_pass: ForwardPass | None) -> Tensor:
    """What is added to the scores for a mask, computed once in a pass: layers share a mask, or two that take turns.

    Args:
        mask: True and False, or what is added already.
        dtype: Of what is added for True and False.
        forward_pass: The pass that keeps it. Default: none.
    """
    for cached_mask, additive in () if forward_pass is None else forward_pass.caches.additive_masks:
        if cached_mask is mask:
            return additive
    if mask.dtype == torch.bool:
        additive = torch.zeros_like(mask, dtype=dtype).masked_fill(~mask, torch.finfo(dtype).min)
    else:
        additive = mask
    additive = _make_finite(additive)
    if forward_pass is not None:
        forward_pass.caches.additive_masks.append((mask, additive))
    return additive


@contextmanager
def _without_cudnn() -> Iterator[None]:
    """Keep torch from choosing cuDNN's kernel, which it prefers for bfloat16 on an H200.

    Its gradient of a query is not a number here and there where a mask hides keys, whatever the mask holds (torch
    2.11); the other kernels' gradients of the same numbers are right.
    """
    cudnn_before = torch.backends.cuda.cudnn_sdp_enabled()
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(cudnn_before)


def _make_finite(mask: Tensor) -> Tensor:
    """The same mask in finite numbers, with a row of zeros for a query that would see no key.

    Fused attention would give such a query's gradient T times its size, and one of minus infinity no number at all.
    """
    lowest = torch.finfo(mask.dtype).min
    return mask.clamp_min(lowest).masked_fill((mask <= lowest / 2).all(dim=-1, keepdim=True), 0.0)


AttentionInterface.register(ATTENTION_NAME, safr_attention)
AttentionMaskInterface.register(ATTENTION_NAME, _additive_mask)
