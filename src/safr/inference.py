"""Where models are run: traces, logits, predictions and log-odds of many texts."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float, Int
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
    """Run texts through a model batch by batch, without gradients; yields each batch with what it showed."""
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            seen = trace(model, batch.inputs, sites, content_mask=batch.content_mask)
        yield batch, seen


def iter_logits(
    model: PreTrainedModel, texts: Sequence[EncodedText]
) -> Iterator[tuple[Batch, Float[Tensor, "batch label"]]]:
    """Run texts through a model batch by batch, without gradients; yields each batch with what the model answers."""
    for batch in iter_model_batches(model, texts):
        with torch.inference_mode():
            logits = text_logits(model, model(**batch.inputs).get("logits"), batch)
        yield batch, logits


def predict(model: PreTrainedModel, texts: Sequence[EncodedText]) -> NDArray[np.int64]:
    """The class, or for a language model the next token, that each text gets, (text,)."""
    classes = np.zeros(len(texts), dtype=np.int64)
    for batch, logits in iter_logits(model, texts):
        classes[list(batch.indices)] = logits.argmax(dim=-1).numpy(force=True)
    return classes


def iter_model_batches(model: PreTrainedModel, texts: Sequence[EncodedText]) -> Iterator[Batch]:
    """Batches as this model needs them: on its device, with its padding, or one text at a time where it has none."""
    config = model.config.get_text_config()
    alone = {"tokens_per_batch": 1} if config.pad_token_id is None else {}
    return iter_batches(
        texts,
        padding_id=config.pad_token_id or 0,
        padded_length=getattr(config, "padded_length", None),
        token_types=getattr(config, "type_vocab_size", 0)
        > 1,  # a model with one embedding for all, or none, has no use
        device=model.device,
        **alone,
    )


def text_logits(model: PreTrainedModel, logits: Tensor | None, batch: Batch) -> Float[Tensor, "batch label"]:
    """What the model makes of each text as a whole: a class's logits, or those of the token that would come next.

    Args:
        model: A classifier or a causal language model.
        logits: (batch, label), (batch, token, label) of a language model, or None of a model without a head.
        batch: What the model was given.

    Raises:
        InputError: The model has no head, or says something about each token, and not what comes next.
    """
    if logits is None:
        raise InputError(f"expected a model that classifies texts or goes on with them, got {type(model).__name__}")
    if logits.dim() == 2:
        return logits
    if logits.dim() != 3 or not model.can_generate() or model.config.is_encoder_decoder:
        raise InputError(
            f"expected a model that classifies texts or goes on with them, got {type(model).__name__}, whose logits "
            f"have the shape {tuple(logits.shape)}"
        )
    last = (batch.inputs["attention_mask"].sum(dim=-1) - 1).clamp_min(0)  # of a text without tokens, its padding
    return logits[torch.arange(len(last), device=last.device), last]


def class_probabilities(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> Float[Tensor, "batch label"]:
    """Probability of each class or next token, as in transformers' own pipeline.

    Where classes don't exclude each other, each has a probability of its own.
    """
    return logits.float().softmax(dim=-1) if has_exclusive_classes(model, logits) else logits.float().sigmoid()


def has_exclusive_classes(model: PreTrainedModel, logits: Float[Tensor, "batch label"]) -> bool:
    """Whether only one class can be right, so that their probabilities sum to 1."""
    return logits.shape[-1] > 1 and model.config.problem_type != "multi_label_classification"


def to_numpy(values: Tensor) -> NDArray[np.float32]:
    """A tensor of any precision, on any device, as an array; numpy has no bfloat16."""
    return values.float().numpy(force=True)


def log_odds(
    model: PreTrainedModel, logits: Float[Tensor, "batch label"], classes: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    r"""By how much a class is preferred to all others together, $\log(p / (1 - p))$: it does not saturate as p does.

    Of a model whose classes don't exclude each other it is the class's own logit, as of one with a single logit.
    """
    if not has_exclusive_classes(model, logits):
        return logits.gather(1, classes[:, None])[:, 0]
    others = logits.scatter(1, classes[:, None], -torch.inf).logsumexp(dim=-1)
    return logits.gather(1, classes[:, None])[:, 0] - others


def text_log_odds(
    model: PreTrainedModel, texts: Sequence[EncodedText], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Log-odds of one class each, (text,)."""
    found = np.zeros(len(texts))
    for batch, logits in iter_logits(model, texts):
        numbers = list(batch.indices)
        found[numbers] = to_numpy(log_odds(model, logits, torch.from_numpy(classes[numbers]).to(logits.device)))
    return found


def predict_distinct(model: PreTrainedModel, texts: Sequence[EncodedText]) -> NDArray[np.int64]:
    """The class or next token that the model gives each text, (text,).

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    return _read_answers(model, texts, lambda logits: logits.argmax(dim=-1)).astype(np.int64)


def predict_probabilities(model: PreTrainedModel, texts: Sequence[EncodedText]) -> NDArray[np.float32]:
    """Probability that the model gives every class or next token, (text, label).

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts.
    """
    return _read_answers(model, texts, lambda logits: class_probabilities(model, logits)).astype(np.float32)


def _read_answers(model: PreTrainedModel, texts: Sequence[EncodedText], read: Callable[[Tensor], Tensor]) -> NDArray:
    """What is read in the logits of each text. Texts with the same tokens are run once."""
    first: dict[tuple[tuple[int, ...], tuple[int, ...]], int] = {}
    for number, text in enumerate(texts):
        first.setdefault((text.ids, text.token_types), number)
    distinct = [texts[number] for number in first.values()]
    found: dict[int, NDArray] = {}
    for batch, logits in iter_logits(model, distinct):
        found |= dict(zip(batch.indices, read(logits).numpy(force=True), strict=True))
    place = {key: number for number, key in enumerate(first)}
    return np.array([found[place[text.ids, text.token_types]] for text in texts])
