"""Layer-wise relevance propagation: what each token and each neuron adds to a logit, from one pass each way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores, scores_per_word
from safr.data.batches import Batch
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import Targets, batch_logits, drop_rest, get_targets, iter_model_batches, to_numpy
from safr.model.families import picks_choices, unwrap
from safr.model.interventions import intervene
from safr.model.relevance_rules import find_unruled, relevance_rules
from safr.model.trace import borrowing_attention


@dataclass(frozen=True)
class TokenRelevance:
    """What the tokens of a text add to a logit."""

    tokens: Float[np.ndarray, " token"]
    """Relevance of every token, special ones too."""

    explained: float
    """The logit, or the difference of two, that is explained."""

    @property
    def rest(self) -> float:
        """What is left for the model's biases, positions and token types: the logit less the sum over the tokens."""
        return self.explained - float(self.tokens.sum())


class RelevanceBatch(NamedTuple):
    """What propagation through a model has found for one batch."""

    batch: Batch
    vectors: Float[Tensor, "batch token width"]
    """Of the site."""
    relevance: Float[Tensor, "batch token width"]
    """Of every entry of the vectors."""
    explained: Float[Tensor, " batch"]
    """The logit of each text, or the difference of two, that is explained."""
    classes: list[int]
    """The class of each text whose logit it is."""


def relevance(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    targets: Targets | None = None,
    contrast: Targets | None = None,
) -> Scores:
    """Relevance of every word for a logit, summed over the word's tokens.

    The vectors whose relevance is told are those that enter the layers, so behind VMASK; its keep probabilities are
    held fixed. A word that speaks for the class scores above 0, a word that speaks against it below 0. The rules are
    those of `relevance_rules`; `token_relevance` has the special tokens and the rest too, with which it adds up to the
    logit. The cost is a forward and a backward pass.

    Source: Achtibat et al. 2024 (arXiv:2402.05602), with the attention of Ali et al. 2022 (arXiv:2202.07304).

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: The class, or of a language model the next token, whose logit is explained. Default: the predicted.
        contrast: A second class, whose logit is subtracted. Default: none; of a model that picks one of several choices
            the likeliest other choice, or the one that is asked about if that is not picked.

    Raises:
        InputError: The model has a decoder of its own or computes something that has no rule, or there is no such
            class.
    """
    found = token_relevance(model, texts, targets, contrast)
    return [scores_per_word(text, part.tokens, "sum") for text, part in zip(texts, found, strict=True)]


def token_relevance(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    targets: Targets | None = None,
    contrast: Targets | None = None,
) -> list[TokenRelevance]:
    """Relevance of every token for a logit, with the logit; see `relevance`."""
    found: dict[int, TokenRelevance] = {}
    for part in iter_relevance(model, texts, "embedding", targets, contrast):
        tokens = to_numpy(part.relevance.sum(dim=-1))  # (batch, token)
        for row, number in enumerate(part.batch.indices):
            found[number] = TokenRelevance(tokens[row, : len(texts[number].ids)], float(part.explained[row]))
    return [found[number] for number in range(len(texts))]


def neuron_relevance(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    site: str = "fc1.0",
    targets: Targets | None = None,
    contrast: Targets | None = None,
) -> list[Float[np.ndarray, "token neuron"]]:
    """Relevance of every neuron of a feed-forward layer at every token for a logit.

    The sum over a text is what the logit owes to this layer: what goes past it on the residual stream and the biases
    behind it are not in it. Behind the activation (`fc1_out`) relevance is what it is before it (`fc1`), unless the
    layer has a gate: then half of it goes to the gate, and `fc1` has the other half.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        site: `fc1.N`, before the activation of layer N, or `fc1_out.N`, what the second feed-forward layer reads.
        targets: See `relevance`.
        contrast: See `relevance`.

    Returns:
        For every text (token, neuron), special tokens too; `scores_per_word` sums it over the tokens of words.

    Raises:
        InputError: As `relevance`, or the model has no such site.
    """
    found: dict[int, np.ndarray] = {}
    for part in iter_relevance(model, texts, site, targets, contrast):
        rows = to_numpy(part.relevance)
        for row, number in enumerate(part.batch.indices):
            found[number] = rows[row, : len(texts[number].ids)]
    return [found[number] for number in range(len(texts))]


def iter_relevance(
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    site: str,
    targets: Targets | None = None,
    contrast: Targets | None = None,
) -> Iterator[RelevanceBatch]:
    """Batches with the vectors of a site, their relevance entry by entry, and what is explained; see `relevance`."""
    if model.config.is_encoder_decoder:
        raise InputError(
            "relevance needs a model without a decoder of its own, which reads the text again; leave it out"
        )
    model = getattr(model, "_orig_mod", model)  # what torch.compile has made of a model takes no rules
    # Without a class it is the highest logit's of the same pass.
    chosen = [None if classes is None else get_targets(model, texts, classes) for classes in (targets, contrast)]
    for batch in iter_model_batches(model, texts):
        indices = list(batch.indices)
        yield _propagate(model, batch, site, *(None if c is None else c[indices].tolist() for c in chosen))


def has_rules(model: PreTrainedModel) -> bool:
    """Whether relevance can be told of this model: it has no decoder of its own and a rule for all that it computes."""
    return not model.config.is_encoder_decoder and not find_missing_rule(model)


def find_missing_rule(model: PreTrainedModel) -> str:
    """Name of something that the model computes and that relevance has no rule for; "" if there is none.

    It is found by running the model on two tokens.
    """
    text = EncodedText((0, 1), ("", ""), (0, 1), truncated=False, asked=(0,), asked_tokens=(0, 0))
    if picks_choices(unwrap(model)):
        text = replace(text, rivals=(text,))
    try:
        list(iter_relevance(model, [text], "embedding"))
    except _MissingRuleError as error:
        return error.name
    return ""


class _MissingRuleError(InputError):
    """A model computes something that has no rule."""

    def __init__(self, name: str, model: PreTrainedModel) -> None:
        super().__init__(f"relevance has no rule for {name}, which {type(model).__name__} computes; leave it out")
        self.name = name


@torch.inference_mode(mode=False)  # also where a caller has it on
@torch.enable_grad()
def _propagate(
    model: PreTrainedModel, batch: Batch, site: str, targets: list[int] | None, contrast: list[int] | None
) -> RelevanceBatch:
    kept: list[Tensor] = []

    def start_here(vectors: Tensor) -> Tensor:
        return keep(vectors.detach().requires_grad_())

    def keep(vectors: Tensor) -> Tensor:
        kept.append(vectors)
        return vectors.clone()  # a model may change it in place

    batch = batch.copy()  # tensors that were made in inference mode can't be differentiated; copies can
    inner = unwrap(model)
    with (
        # Of other implementations, such as flash attention, the weights can't be held.
        borrowing_attention(inner) if inner._can_set_attn_implementation() else nullcontext(),
        relevance_rules(),
        # Also where a layer's neurons are asked for, so that its gate has its half.
        intervene(model, "embedding", start_here),
        nullcontext() if site == "embedding" else intervene(model, site, keep),
    ):
        logits = drop_rest(model, batch_logits(model, batch))
    if targets is None:
        targets = logits.argmax(dim=-1).tolist()
    if contrast is None and picks_choices(inner):  # the other choices are fixed, and alone nothing to explain
        contrast = [1 - target for target in targets]
    explained = _pick(logits, targets).float()
    if contrast is not None:
        explained = explained - _pick(logits, contrast).float()
    if name := find_unruled(explained):
        raise _MissingRuleError(name, model)
    (gradient,) = torch.autograd.grad(explained.sum(), kept[-1])
    vectors = kept[-1].detach().float()
    return RelevanceBatch(batch, vectors, gradient.float() * vectors, explained.detach(), targets)


def _pick(logits: Float[Tensor, "batch label"], classes: list[int]) -> Float[Tensor, " batch"]:
    """The logit of each text's class."""
    if wrong := [number for number in classes if not 0 <= number < logits.shape[1]]:
        raise InputError(f"expected a class from 0 to {logits.shape[1] - 1}, got {wrong[0]}")
    return logits.gather(1, torch.tensor(classes, device=logits.device)[:, None])[:, 0]
