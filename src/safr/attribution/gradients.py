"""Attribution by gradients: gradient times input, SmoothGrad, integrated gradients; by Captum, summed per word."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from captum.attr import InputXGradient, IntegratedGradients, NoiseTunnel, Saliency
from torch import Tensor
from transformers import PreTrainedModel

from safr.attribution.words import Scores, scores_per_word
from safr.data.batches import TOKENS_PER_BATCH, Batch
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import (
    Targets,
    batch_logits,
    drop_rest,
    get_targets,
    iter_traces,
    log_odds,
    takes_batches,
    text_logits,
    to_numpy,
)
from safr.model.interventions import intervene

INTEGRATION_STEPS = 50
"""Steps of integrated gradients; Captum's default."""

NOISE_SAMPLES = 50
"""Noisy copies of a text, for SmoothGrad; more change little (Smilkov et al. 2017)."""

NOISE_LEVEL = 0.15
"""Standard deviation of SmoothGrad's noise as a share of the vectors' range: between the paper's 10 and 20 %."""

CaptumCall = Callable[[Callable[..., Tensor], Tensor, Tensor, tuple], Tensor]
"""Calls Captum with a function, the vectors it takes first, their baseline, and the function's other arguments."""


def gradient_x_input(model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None) -> Scores:
    """Gradient of a class's log-odds times the vectors that enter the layers, summed over a word's tokens.

    With VMASK, the vectors are those behind it. A word that speaks for the class, by default the
    predicted one, scores above 0, a word that speaks against it below 0. In deep pretrained models it is known to fail:
    in fine-tuned MiniLM its scores have a rank correlation of -0.13 with those of `occlusion`.

    Source: Shrikumar et al. 2016 (arXiv:1605.01713), by Captum.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
    """

    def attribute(function: Callable[..., Tensor], vectors: Tensor, baseline: Tensor, arguments: tuple) -> Tensor:
        return InputXGradient(function).attribute(vectors.requires_grad_(), additional_forward_args=arguments)

    return _attribute_words(model, texts, attribute, targets)


def smooth_grad(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None, *, seed: int = 0
) -> Scores:
    """SmoothGrad times input: as `gradient_x_input`, with the mean gradient of 50 copies of the text with noise.

    The noise is normal and added to the vectors of words; those of special tokens and padding stay as they are. Its
    standard deviation is 15 % of the range (largest less smallest number) of the text's word vectors. The mean gradient
    is multiplied by the vectors without noise.

    Source: Smilkov et al. 2017 (arXiv:1706.03825), by Captum's NoiseTunnel.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
        seed: Seed of every text's noise, so that a text's scores do not depend on the others.
    """

    def attribute(function: Callable[..., Tensor], vectors: Tensor, baseline: Tensor, arguments: tuple) -> Tensor:
        _, content_mask, *_ = arguments
        content = content_mask[0]  # (token,), of the one text
        word_vectors = vectors[:, content]
        attributions = torch.zeros_like(vectors)
        if word_vectors.numel() == 0:
            return attributions

        def compute_log_odds(noisy: Tensor, *arguments: Tensor) -> Tensor:
            rows = vectors.repeat(len(noisy), 1, 1)
            rows[:, content] = noisy.to(rows.dtype)  # the noise is float32
            return function(rows, *arguments)

        with torch.random.fork_rng():
            torch.manual_seed(seed)
            gradients = NoiseTunnel(Saliency(compute_log_odds)).attribute(
                word_vectors,
                nt_samples=NOISE_SAMPLES,
                nt_samples_batch_size=max(TOKENS_PER_BATCH // vectors.shape[1], 1) if takes_batches(model) else 1,
                stdevs=NOISE_LEVEL * (word_vectors.max() - word_vectors.min()).item(),
                abs=False,
                additional_forward_args=arguments,
            )
        attributions[:, content] = (gradients * word_vectors).to(attributions.dtype)
        return attributions

    # One text at a time: Captum draws the noise of a batch together, and with one standard deviation.
    classes = None if targets is None else get_targets(model, texts, targets)
    return [
        scores
        for number, text in enumerate(texts)
        for scores in _attribute_words(model, [text], attribute, None if classes is None else classes[[number]])
    ]


def integrated_gradients(
    model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None
) -> Scores:
    """Integrated gradients of a class's log-odds, summed over a word's tokens.

    The path has 50 steps and leads from zero vectors to the vectors that enter the layers. The vectors of special
    tokens do not change on the way. Signed like `gradient_x_input`.

    Source: Sundararajan et al. 2017 (arXiv:1703.01365), whose baseline for text is the zero vector too; by Captum.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts.
        targets: See `get_targets`.
    """

    def attribute(function: Callable[..., Tensor], vectors: Tensor, baseline: Tensor, arguments: tuple) -> Tensor:
        return IntegratedGradients(function).attribute(
            vectors,
            baseline,
            additional_forward_args=arguments,
            n_steps=INTEGRATION_STEPS,
            internal_batch_size=len(vectors),
        )

    return _attribute_words(model, texts, attribute, targets)


@torch.inference_mode(mode=False)  # also in a caller's inference mode, whose tensors have no gradients
def _attribute_words(
    model: PreTrainedModel, texts: Sequence[EncodedText], attribute: CaptumCall, targets: Targets | None
) -> Scores:
    """Scores per word from a method of Captum's, for the class that the model predicts or for another."""
    if model.config.is_encoder_decoder:
        raise InputError(
            "gradients need a model without a decoder of its own, which reads the text again; leave them out"
        )
    chosen = None if targets is None else get_targets(model, texts, targets)
    scores: dict[int, np.ndarray] = {}
    for batch, trace in iter_traces(model, texts, ("embedding", "vmask")):
        # Tensors from inference mode can't be differentiated; copies can.
        vectors = trace.vectors.get("vmask", trace.vectors["embedding"]).clone()
        content_mask = batch.content_mask[..., None]
        if chosen is None:
            classes = drop_rest(model, text_logits(model, trace.logits, batch)).argmax(dim=-1).clone()
        else:
            classes = torch.from_numpy(chosen[list(batch.indices)]).to(vectors.device)
        names, inputs = zip(*batch.inputs.items(), strict=True)
        # Captum repeats tensors for its copies of the texts, and takes no None.
        extras = {"asked": batch.asked, "rivals": batch.rivals}
        given = tuple(name for name, tensor in extras.items() if tensor is not None)
        more = [tensor.clone() for tensor in extras.values() if tensor is not None]

        def compute_log_odds(
            vectors: Tensor,
            classes: Tensor,
            content_mask: Tensor,
            *tensors: Tensor,
            names: tuple[str, ...] = names,
            given: tuple[str, ...] = given,
        ) -> Tensor:
            more = dict(zip(given, tensors[len(names) :], strict=True))
            inputs = dict(zip(names, tensors, strict=False))
            batch = Batch((), inputs, content_mask, **more)
            with intervene(model, "embedding", lambda _: vectors):
                logits = batch_logits(model, batch)
            return log_odds(model, logits, classes)

        baseline = torch.where(content_mask, 0.0, vectors)
        attributions = attribute(compute_log_odds, vectors, baseline, (classes, batch.content_mask, *inputs, *more))
        values = to_numpy((attributions.float() * content_mask).sum(dim=-1))  # (batch, token)
        for row, number in enumerate(batch.indices):
            scores[number] = scores_per_word(texts[number], values[row], "sum")
    return [scores[number] for number in range(len(texts))]
