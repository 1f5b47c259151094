"""How well a model writes what the data hold: perplexity, the share of tokens that are right, and of whole texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.data import Split
from safr.data.targets import IGNORED, TargetRow, tokenize_targets
from safr.errors import InputError, shorten_text
from safr.evaluation.statistics import SHARE, Estimate, bootstrap_mean, format_number, format_percent
from safr.inference import iter_target_logits
from safr.processes import share_texts
from safr.rounding import format_share

_SHOWN = 30
"""Letters of a token in a sentence."""


def judge_tokens(
    logits: Float[Tensor, "batch token label"], labels: Int[Tensor, "batch target"], *, encoder_decoder: bool
) -> Float[Tensor, "batch 4"]:
    """What each text adds to the metrics of generation, each token being given those before it (teacher forcing).

    Args:
        logits: The model's, for each token of a causal model, or of a decoder's output.
        labels: Token ids to write, -100 where nothing is. In a causal model they are those of the tokens themselves,
            and a token's logits are about the next one.
        encoder_decoder: Whether the model is one, whose logits are about the label at their own place.

    Returns:
        For each text the sum of its tokens' negative log-likelihoods (nats), how many of them have the highest logit,
        how many there are, and whether all have it, in which case greedy decoding writes this very text.

    >>> judge_tokens(torch.tensor([[[0.0, 9.0], [9.0, 0.0]]]), torch.tensor([[1, 1]]), encoder_decoder=True)[0, 1:]
    tensor([1., 2., 0.])
    """
    if not encoder_decoder:
        logits, labels = logits[:, :-1], labels[:, 1:]
    losses = F.cross_entropy(logits.float().mT, labels, reduction="none", ignore_index=IGNORED)  # (batch, target)
    counted = labels != IGNORED
    right = (logits.argmax(dim=-1) == labels) & counted
    sums = [losses.sum(dim=1), right.sum(dim=1), counted.sum(dim=1), (right == counted).all(dim=1)]
    return torch.stack([column.float() for column in sums], dim=1)


def compute_generation_metrics(judged: Float[np.ndarray, "text 4"]) -> dict[str, float]:
    """The metrics of generation in `DEV_METRICS`, from what `judge_tokens` gives for every text.

    >>> compute_generation_metrics(np.array([[0.0, 2, 2, 1], [0.0, 1, 2, 0]]))
    {'perplexity': 1.0, 'token_accuracy': 0.75, 'exact_match': 0.5}
    """
    losses, right, counts, exact = judged[judged[:, 2] > 0].T
    return {
        "perplexity": float(np.exp(losses.sum() / counts.sum())),
        "token_accuracy": float(right.sum() / counts.sum()),
        "exact_match": float(exact.mean()),
    }


def score_generation(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None
) -> dict[str, Any]:
    r"""Perplexity, token accuracy and exact matches with 95 % bootstrap intervals over texts.

    Perplexity is $\exp$ of the mean negative log-likelihood of a token, over all tokens that are to be written.

    Args:
        model: A causal language model or an encoder-decoder that writes text; it runs in evaluation mode.
        tokenizer: Its tokenizer.
        split: Texts and what is to be written after each; see `tokenize_targets`.
        max_tokens: Most tokens of a text. Default: all.

    Returns:
        As JSON values: `perplexity`, at least 1; `token_accuracy` and `exact_match`, fractions; `tokens`, how many.

    Raises:
        InputError: Fewer than two texts hold a token to write.
    """
    encoder_decoder = model.config.is_encoder_decoder
    rows = tokenize_targets(tokenizer, split, max_tokens, encoder_decoder=encoder_decoder)
    # A causal model writes nothing before its first token.
    rows = [row for row in rows if any(label != IGNORED for label in row.labels[0 if encoder_decoder else 1 :])]
    by_row = _judge_rows(model, rows)
    _, owners = np.unique([row.text for row in rows], return_inverse=True)
    judged = np.zeros((len(set(owners.tolist())), 4))
    np.add.at(judged, owners, by_row)
    judged[:, 3] = judged[:, 3] == np.bincount(owners)  # a text is whole if all its pieces are
    if len(judged) < 2:
        raise InputError(f"expected at least 2 texts with tokens to write, got {len(judged)}; bring more texts")
    losses, right, counts, exact = judged.T
    loss = bootstrap_mean(losses / counts, counts)
    perplexity = Estimate(*(float(np.exp(value)) for value in (loss.value, loss.low, loss.high)))
    return {
        "perplexity": perplexity.to_dict(),
        "token_accuracy": bootstrap_mean(right / counts, counts, limits=SHARE).to_dict(),
        "exact_match": bootstrap_mean(exact, limits=SHARE).to_dict(),
        "tokens": int(counts.sum()),
    }


@share_texts("rows")
def _judge_rows(model: PreTrainedModel, rows: Sequence[TargetRow]) -> Float[np.ndarray, "row 4"]:
    """What `judge_tokens` gives for every row."""
    by_row = np.zeros((len(rows), 4))
    for batch, logits, labels in iter_target_logits(model, rows):
        with torch.inference_mode():
            sums = judge_tokens(logits, labels, encoder_decoder=model.config.is_encoder_decoder)
        by_row[list(batch.indices)] = sums.numpy(force=True)
    return by_row


def describe_generation(scores: Mapping[str, Any]) -> str:
    """A sentence on how well a model writes, from the scores in `scores.json`; "" of other models."""
    written = scores.get("generation")
    if not written:
        return ""
    name = shorten_text(repr(written["majority"]["label"]), _SHOWN)
    always = f"always {name} as the next token would be right in {format_share(written['majority']['share'])} %"
    if "perplexity" not in written:
        return always
    return (
        f"perplexity {format_number(written['perplexity'])}, of {written['tokens']:,} tokens to write "
        f"{format_percent(written['token_accuracy'])} are right, of whole texts "
        f"{format_percent(written['exact_match'])}; {always}"
    )
