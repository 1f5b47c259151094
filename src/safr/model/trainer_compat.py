"""A loss that the Trainer computes outside the model, with label smoothing, gets SAFR's regularizers all the same."""

from __future__ import annotations

import functools
import inspect
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

_LANGUAGE_MODELS = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), *MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()}


@functools.cache
def regularize_label_smoothing() -> None:
    """Let transformers' label smoother add `outputs.regularization`, where an output has one.

    The Trainer takes the labels out of what it gives to the model when it smooths them, and offers no hook where it
    makes the loss. Outputs of models without SAFR are smoothed as before.
    """
    from transformers.trainer_pt_utils import LabelSmoother  # only here, since it is slow to import

    smooth = LabelSmoother.__call__

    @functools.wraps(smooth)
    def regularized(
        self: Any, model_output: Any, labels: Tensor, shift_labels: bool = False, num_items_in_batch: Any = None
    ) -> Tensor:
        loss = smooth(self, model_output, labels, shift_labels=shift_labels, num_items_in_batch=num_items_in_batch)
        penalty = model_output.get("regularization") if isinstance(model_output, dict) else None
        if penalty is None:
            return loss
        if num_items_in_batch is None:
            return loss + penalty
        return loss + batch_fraction(labels, num_items_in_batch, shift_labels) * penalty

    LabelSmoother.__call__ = regularized  # type: ignore[method-assign]


def batch_fraction(labels: Tensor, items: Tensor | int, shift_labels: bool) -> Tensor:
    """The part of a whole batch's label items that some of its texts hold, as the Trainer counts them.

    Args:
        labels: The texts' labels; -100 marks what is no item.
        items: Items of all the batches that are accumulated.
        shift_labels: Whether a language model predicts each token from the ones before it, so that the first is none.
    """
    predicted = labels[..., 1:] if shift_labels else labels
    return (predicted != -100).sum() / items


def counts_label_tokens(model: PreTrainedModel) -> bool:
    """Whether a model's loss is a mean over the label tokens of all the batches that the Trainer accumulates.

    Those language models' is that hand it to transformers' own loss function. Others' is a batch's mean, whatever their
    signature says, and there the Trainer must divide.
    """
    forward: Any = inspect.unwrap(type(model).forward)
    return type(model).__name__ in _LANGUAGE_MODELS and "loss_function" in forward.__code__.co_names
