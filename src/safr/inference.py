"""The one place where models are run on texts: traces, logits, predictions, probabilities and log-odds."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float, Float32, Int, Shaped
from numpy.typing import NDArray
from torch import Tensor
from transformers import PreTrainedModel

from safr.data.batches import Batch, iter_batches
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.model.trace import Trace, trace


def iter_traces(
    model: PreTrainedModel, texts: Sequence[EncodedText], sites: Collection[str]
) -> Iterator[tuple[Batch, Trace]]:
    """Run texts through a model batch by batch, without gradients; yields batches with their traces.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        sites: See `safr.trace`.
    """
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            batch_trace = trace(model, batch.inputs, sites, content_mask=batch.content_mask)
        yield batch, batch_trace


def iter_logits(
    model: PreTrainedModel, texts: Sequence[EncodedText]
) -> Iterator[tuple[Batch, Float[Tensor, "batch label"]]]:
    """Run texts through a model batch by batch, without gradients; yields batches with the logits of their texts.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            logits = batch_logits(model, batch)
        yield batch, logits


def iter_model_batches(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Iterator[Batch]:
    """Batches as this model needs them: on its device, with its padding, or one text at a time where it has none."""
    config = model.config.get_text_config()
    alone = {"tokens_per_batch": 1} if config.pad_token_id is None else {}
    return iter_batches(
        texts,
        padding_id=config.pad_token_id or 0,
        padded_length=getattr(config, "padded_length", None),
        token_types=getattr(config, "type_vocab_size", 0) > 1,  # one embedding for all types tells no texts apart
        device=model.device,
        **alone,
    )


def batch_logits(
    model: PreTrainedModel, batch: Batch, inputs: Mapping[str, Tensor] | None = None
) -> Float[Tensor, "batch label"]:
    """Run a model on one batch; returns the logits of its texts as wholes.

    Gradients and interventions are the caller's: they hold where this is called inside their block.

    Args:
        model: A model in evaluation mode.
        batch: The batch.
        inputs: What the model gets in place of the batch's inputs, such as a mask that hides some tokens.
    """
    return text_logits(model, model(**(batch.inputs if inputs is None else inputs)).get("logits"), batch)


def text_logits(model: PreTrainedModel, logits: Tensor | None, batch: Batch) -> Float[Tensor, "batch label"]:
    """The logits of texts as wholes: of their classes, or of the token that would come next.

    Args:
        model: A classifier or a causal language model.
        logits: (batch, label), (batch, token, label) of a language model, or None of a model without a head.
        batch: What the model was given.

    Raises:
        InputError: The model has no head, or says something about every token, and not what comes next, or its logits
            are not numbers.
    """
    if logits is None:
        raise InputError(f"expected a model that classifies texts or goes on with them, got {type(model).__name__}")
    if not (logits < torch.inf).all():  # of the tokens that a language model rules out they are minus infinity
        raise InputError(
            f"the logits of this {type(model).__name__} are not finite numbers, as after a training that diverged; "
            "train it again with a lower learning rate"
        )
    if logits.dim() == 2:
        return logits
    if logits.dim() != 3 or not model.can_generate() or model.config.is_encoder_decoder:
        raise InputError(
            f"expected a model that classifies texts or goes on with them, got {type(model).__name__}, whose logits "
            f"have the shape {tuple(logits.shape)}"
        )
    last = (batch.inputs["attention_mask"].sum(dim=-1) - 1).clamp_min(0)  # of a text without tokens, its padding
    return logits[torch.arange(len(last), device=last.device), last]


def predict(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Int[np.ndarray, " text"]:
    """The class, or of a language model the next token, that every text gets, (text,).

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts. Those with the same tokens are run once.
    """
    return _read_logits(model, texts, lambda logits: logits.argmax(dim=-1)).astype(np.int64)


def predict_probabilities(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Float[np.ndarray, "text label"]:
    """Probability of every class, or of a language model of every next token, (text, label).

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts. Those with the same tokens are run once.
    """
    return _read_logits(model, texts, lambda logits: probabilities(model, logits)).astype(np.float32)


def text_log_odds(
    model: PreTrainedModel, texts: Sequence[EncodedText], classes: Int[np.ndarray, " text"]
) -> Float[np.ndarray, " text"]:
    """Log-odds of one class for every text, (text,).

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
        classes: The class whose log-odds are asked for, (text,).
    """
    odds = np.zeros(len(texts))
    for batch, logits in iter_logits(model, texts):
        indices = list(batch.indices)
        odds[indices] = to_numpy(log_odds(model, logits, torch.from_numpy(classes[indices]).to(logits.device)))
    return odds


def probabilities(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> Float[Tensor, "batch label"]:
    """Probability of every class or next token, as in transformers' own pipeline.

    Where several classes can be right, every class has a probability of its own.
    """
    return logits.float().softmax(dim=-1) if has_exclusive_classes(model, logits) else logits.float().sigmoid()


def log_odds(
    model: PreTrainedModel, logits: Float[Tensor, "batch label"], classes: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    r"""By how much a class is preferred to all others together, $\log(p / (1 - p))$: it does not saturate as p does.

    Where several classes can be right it is the class's own logit, as of one with a single logit.
    """
    if not has_exclusive_classes(model, logits):
        return logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf).logsumexp(dim=-1)
    return logits.gather(1, classes[:, None])[:, 0] - others


def has_exclusive_classes(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> bool:
    """Whether only one class can be right, so that their probabilities sum to 1."""
    return logits.shape[-1] > 1 and model.config.problem_type != "multi_label_classification"


def to_numpy(values: Shaped[Tensor, "*axis"]) -> Float32[np.ndarray, "*axis"]:
    """A tensor of any precision, on any device, as an array; numpy has no bfloat16."""
    return values.float().numpy(force=True)


def _read_logits(model: PreTrainedModel, texts: Sequence[EncodedText], read: Callable[[Tensor], Tensor]) -> NDArray:
    """What is read in the logits of the texts; those with the same tokens are run once."""
    first: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    for number, text in enumerate(texts):
        first.setdefault((text.ids, text.token_types), number)
    distinct = [texts[number] for number in first.values()]
    values: dict[int, NDArray] = {}
    for batch, logits in iter_logits(model, distinct):
        values |= dict(zip(batch.indices, read(logits).numpy(force=True), strict=True))
    place = {key: number for number, key in enumerate(first)}
    return np.array([values[place[text.ids, text.token_types]] for text in texts])
