"""A classifier and texts in, gradients of the prediction times its inputs, per word, out; Captum does the work."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores, scores_per_word
from safr.data.batches import Batch
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import iter_traces, log_odds, text_logits, to_numpy
from safr.model.interventions import intervene

INTEGRATION_STEPS = 50
"""Steps of integrated gradients, Captum's own number."""


CaptumCall = Callable[[Callable[..., Tensor], Tensor, Tensor, tuple], Tensor]
"""Captum's part: a function of the vectors and of more, the vectors, those to begin at, and the more."""


def gradient_x_input(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """Gradient of the prediction's log-odds times what enters the layers (behind VMASK), summed over a word's tokens.

    Above 0 where a word speaks for the predicted class, below where against it.

    Source: Shrikumar et al. 2016 (arXiv:1605.01713), by Captum.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """

    def attribute(function: Callable[..., Tensor], vectors: Tensor, start: Tensor, more: tuple) -> Tensor:
        return InputXGradient(function).attribute(vectors.requires_grad_(), additional_forward_args=more)

    return _attributed(model, texts, attribute)


def integrated_gradients(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """Integrated gradients of the prediction's log-odds, from zero vectors to what enters the layers, in 50 steps.

    Signed, as `gradient_x_input`. What special tokens enter with stays in place.

    Source: Sundararajan et al. 2017 (arXiv:1703.01365), whose baseline for text is the zero vector too; by Captum.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """

    def attribute(function: Callable[..., Tensor], vectors: Tensor, start: Tensor, more: tuple) -> Tensor:
        return IntegratedGradients(function).attribute(
            vectors, start, additional_forward_args=more, n_steps=INTEGRATION_STEPS, internal_batch_size=len(vectors)
        )

    return _attributed(model, texts, attribute)


def _attributed(model: PreTrainedModel, texts: Sequence[EncodedText], attribute: CaptumCall) -> Scores:
    if model.config.is_encoder_decoder:
        raise InputError(
            "gradients need a model without a decoder of its own, which reads the text once more; leave them out"
        )
    scores: dict[int, np.ndarray] = {}
    for batch, seen in iter_traces(model, texts, ("embedding", "vmask")):
        # What inference mode has made can't be differentiated; a copy can.
        vectors = seen.vectors.get("vmask", seen.vectors["embedding"]).clone()
        content_mask = batch.content_mask[..., None]
        classes = text_logits(model, seen.logits, batch).argmax(dim=-1).clone()
        names, inputs = zip(*batch.inputs.items(), strict=True)

        def function(
            vectors: Tensor, classes: Tensor, content_mask: Tensor, *inputs: Tensor, names: tuple[str, ...] = names
        ) -> Tensor:
            named = dict(zip(names, inputs, strict=True))
            with intervene(model, "embedding", lambda _: vectors):
                logits = model(**named).get("logits")
            return log_odds(model, text_logits(model, logits, Batch((), named, content_mask)), classes)

        found = attribute(
            function, vectors, torch.where(content_mask, 0.0, vectors), (classes, batch.content_mask, *inputs)
        )
        values = to_numpy((found * content_mask).sum(dim=-1))  # (batch, token)
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], values[row], "sum")
    return [scores[number] for number in range(len(texts))]
