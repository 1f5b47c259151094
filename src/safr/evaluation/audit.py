"""An audit of a trained model: were the losses lowered by sharing neurons well, or by cheating?

The importance loss also falls when the mask closes, when vectors shrink, or when padding counts. The interaction loss
also falls when attention flattens. The numbers of the audit move when one of these happens.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from safr.data.encoding import EncodedText
from safr.inference import iter_traces
from safr.model.families import has_visible_attention, unwrap
from safr.processes import share_texts
from safr.superposition import normalize, polysemanticity

AUDIT_MEASURES = {
    "keep": "Mean keep probability: near 0, the mask lets nothing through, and nothing can interfere.",
    "norm": "Mean length of the vectors that the mask passes on: shrinking them lowers the importance loss.",
    "embedding_norm": "Mean length of the embeddings before the mask.",
    "shared_directions": "Polysemanticity of the normalised vectors: sharing, whatever the mask does to their length.",
    "attention_entropy": "Entropy of attention: 1 where it is spread evenly over all words, 0 where it picks one.",
}
"""The audit's measures, and what they tell."""


@share_texts("texts")
def audit(model: PreTrainedModel, texts: Sequence[EncodedText]) -> dict[str, Float[np.ndarray, " text"]]:
    """The audit's measures for every text, (text,), as means over its content tokens.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.

    Returns:
        Some of `AUDIT_MEASURES`: `keep` only where the model has a VMASK, `attention_entropy` only where attention can
        be seen. A text without words gets 0.
    """
    values_by_measure: dict[str, NDArray[np.float64]] = {}
    attention = ["attention"] if has_visible_attention(unwrap(model)) else []
    for batch, trace in iter_traces(model, texts, ["embedding", "vmask", *attention]):
        masked = trace.vectors.get("vmask", trace.vectors["embedding"])
        measures = {
            "norm": _text_mean(masked.norm(dim=-1), trace.content_mask),
            "embedding_norm": _text_mean(trace.vectors["embedding"].norm(dim=-1), trace.content_mask),
            "shared_directions": _text_mean(polysemanticity(normalize(masked), trace.content_mask), trace.content_mask),
        }
        if trace.attention:
            entropies = [attention_entropy(weights, trace.content_mask) for weights in trace.attention.values()]
            measures["attention_entropy"] = torch.stack(entropies).mean(dim=0)
        if trace.keep is not None:
            measures["keep"] = _text_mean(trace.keep, trace.content_mask)
        for name, values in measures.items():
            values_by_measure.setdefault(name, np.zeros(len(texts)))[list(batch.indices)] = values.numpy(force=True)
    return values_by_measure


def attention_entropy(
    attention: Float[Tensor, "batch head query key"], content_mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, " batch"]:
    r"""Mean entropy of the attention that content tokens pay to content tokens, as a share of its largest value.

    $$-\frac{1}{M T} \sum_{\alpha i} \sum_j a_{\alpha ij} \log a_{\alpha ij} / \log T$$

    Returns:
        In [0, 1]; 0 for a text with fewer than two content tokens.
    """
    weights = torch.where(content_mask[:, None, None, :], attention, 0.0)
    weights = weights / weights.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    entropy = torch.special.entr(weights).sum(dim=-1).mean(dim=1)  # (batch, query)
    largest = content_mask.sum(dim=-1).clamp_min(2).to(entropy.dtype).log()
    return _text_mean(entropy, content_mask) / largest


def _text_mean(
    values: Float[Tensor, "batch token"], content_mask: Bool[Tensor, "batch token"]
) -> Float[Tensor, " batch"]:
    return torch.where(content_mask, values, 0.0).sum(dim=-1) / content_mask.sum(dim=-1).clamp_min(1)
