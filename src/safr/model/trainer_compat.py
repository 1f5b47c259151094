"""Fits SAFR to training loops: losses computed outside the model, label smoothing, and what can't be trained."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)
from transformers.utils.generic import ModelOutput

from safr.errors import InputError

_LANGUAGE_MODELS = {*MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values(), *MODEL_FOR_MASKED_LM_MAPPING_NAMES.values()}


class OutsideLossCheck:
    """Checks that a loss computed outside the model holds the regularizers that the model hands out."""

    def __init__(self) -> None:
        self.reached: dict[str, bool] | None = None
        """Whether the last backward pass reached the model's outputs, and the regularizers; None before the first."""

    def hand_out(self, output: Any, penalty: Tensor) -> Any:
        """The model's output with the regularizers in a field of their own, `regularization`.

        Args:
            output: The output, without a loss.
            penalty: The weighted regularizers.
        """
        if penalty.requires_grad:
            reached = self.reached = {"outputs": False, "regularization": False}
            penalty.register_hook(lambda _: reached.update(regularization=True))
            for value in output if isinstance(output, tuple) else output.values():
                if isinstance(value, Tensor) and value.requires_grad:
                    value.register_hook(lambda _: reached.update(outputs=True))
        if isinstance(output, tuple):
            return output
        regularize_label_smoothing()
        output_type: Any = type(output)
        return _with_regularization(output_type)(**output, regularization=penalty)

    def check_last(self) -> None:
        """Raise an InputError where the last backward pass reached the outputs and left the regularizers out."""
        reached, self.reached = self.reached, None  # said once: the next training step may have been corrected
        if reached is not None and reached["outputs"] and not reached["regularization"]:
            raise InputError(
                "the last training loss was computed outside the model and left SAFR's regularizers out; "
                "add `outputs.regularization` to it (with return_dict=True), or pass labels to the model"
            )


def check_forward_arguments(
    model: nn.Module, arguments: Mapping[str, Any], vmask: nn.Module | None, label_names: Collection[str]
) -> None:
    """Refuse what would train something else than the settings say, without a word.

    Args:
        model: The model that runs.
        arguments: What its forward pass is given, by name.
        vmask: The word mask, if there is one.
        label_names: Arguments that hold labels.

    Raises:
        InputError: DataParallel, an encoder's outputs or embeddings in place of ids, or a mask that adapters froze.
    """
    if getattr(model, "_is_replica", False):
        raise InputError("SAFR can't run under DataParallel, which copies its hooks; start one process per GPU")
    if arguments.get("encoder_outputs") is not None and any(arguments.get(name) is not None for name in label_names):
        raise InputError("expected input_ids, got encoder_outputs, computed where SAFR can't see the encoder")
    if vmask is None:
        return
    if arguments.get("inputs_embeds") is not None:
        raise InputError("expected input_ids, got inputs_embeds, which would bypass VMASK; attach with vmask=False")
    is_frozen = not all(weight.requires_grad for weight in vmask.parameters())
    if is_frozen and model.training and torch.is_grad_enabled() and hasattr(model, "peft_config"):
        raise InputError(
            "the adapters have frozen VMASK with the rest of the model; call model.safr.requires_grad_(True) "
            "before the optimizer is made, or attach SAFR after them"
        )


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


def averages_over_label_tokens(model: PreTrainedModel) -> bool:
    """Whether a model's loss is a mean over the label tokens of all the batches that the Trainer accumulates.

    Those language models' is that hand it to transformers' own loss function. Others' is a batch's mean, whatever their
    signature says, and there the Trainer must divide.
    """
    forward: Any = inspect.unwrap(type(model).forward)
    return type(model).__name__ in _LANGUAGE_MODELS and "loss_function" in forward.__code__.co_names


def hand_out_nothing(output: Any) -> Any:
    """The output of an evaluation without labels, with the number 0 as `regularization`.

    A loss function of one's own then serves there too. It is no item of the output, since the Trainer takes all items
    but the loss for predictions, and 0, since reading the regularizers would slow every prediction.
    """
    if not isinstance(output, ModelOutput) or torch.compiler.is_compiling():
        return None
    output_type: Any = type(output)
    return _without_regularization(output_type)(**output)


@functools.cache
def _without_regularization(output_type: Any) -> Any:
    """The same type of output, whose attribute `regularization` is 0; a pickle holds it as the type it was."""

    def reduce(output: Any) -> tuple[Any, ...]:
        return output_type, tuple(getattr(output, field.name) for field in dataclasses.fields(output_type))

    members = {"regularization": 0.0, "__module__": output_type.__module__, "__reduce__": reduce}
    return type(output_type.__name__, (output_type,), members)


@functools.cache
def _with_regularization(output_type: Any) -> Any:
    """The same type of output with one more field, which DistributedDataParallel can take apart and put together."""
    field = ("regularization", Tensor | None, None)
    return dataclasses.make_dataclass(output_type.__name__, [field], bases=(output_type,))
