"""Any other `TrainingArguments` of the Hugging Face Trainer: whether there are such, and whether they can be used."""

from __future__ import annotations

import difflib
from dataclasses import fields
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import torch
from torch.utils.data import DataLoader, TensorDataset
from transformers import PreTrainedModel, Trainer, TrainingArguments, get_scheduler

from safr.config import Recipe, Task, parse_training_arguments
from safr.errors import InputError, describe_reason, describe_value, shorten_text

_CURRENT_NAMES = {
    "gradient_checkpointing": "activation_checkpointing",
    "gradient_checkpointing_kwargs": "activation_checkpointing_kwargs",
}
"""Names that newer versions of transformers have given to arguments; the old ones bring a warning there."""

_TYPE_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text",
    dict: "a mapping",
    list: "a list of texts",
    NoneType: "null",
}


def read_training_arguments(recipe: Recipe) -> dict[str, Any]:
    """The recipe's `training_arguments` by name.

    Raises:
        InputError: `TrainingArguments` has no such argument, or not of this type.
    """
    types = _argument_types()
    values = {}
    for name, value in parse_training_arguments(recipe.training_arguments or ()).items():
        if name not in types:
            closest = difflib.get_close_matches(name, types, n=3)
            advice = f"; did you mean {' or '.join(closest)}?" if closest else "; see transformers' documentation of it"
            raise InputError(f"`training_arguments`: TrainingArguments has no {shorten_text(name)!r}{advice}")
        _check_value(name, value, types[name])
        current = _CURRENT_NAMES.get(name, name)
        values[current if current in types else name] = value
    return values


def check_training_arguments(recipe: Recipe) -> None:
    """Make the recipe's optimizer, schedule and data loader once for next to nothing, to know what they refuse.

    Raises:
        InputError: The recipe's `training_arguments` can't be used.
    """
    if not (values := read_training_arguments(recipe)):
        return
    if "lr_scheduler_kwargs" in values and recipe.schedule in ("constant", "constant_with_warmup"):
        raise InputError(
            f"`training_arguments`: lr_scheduler_kwargs has no effect with the schedule {recipe.schedule}; choose "
            "another --schedule"
        )
    try:
        arguments = TrainingArguments(
            output_dir="unused",  # nothing is written there
            learning_rate=recipe.learning_rate,
            use_cpu=not torch.accelerator.is_available(),
            report_to="none",
            **values,
        )
        optimizer_class, options = Trainer.get_optimizer_cls_and_kwargs(arguments)
        if not (isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)):
            raise InputError(f"`training_arguments`: SAFR can't train with optim {values['optim']}; choose another")
        optimizer = optimizer_class([torch.zeros(2, 2, requires_grad=True)], **options)
        get_scheduler(recipe.schedule, optimizer, 1, 10, scheduler_specific_kwargs=values.get("lr_scheduler_kwargs"))
        DataLoader(
            TensorDataset(torch.zeros(1)),
            num_workers=arguments.dataloader_num_workers,
            prefetch_factor=arguments.dataloader_prefetch_factor,
            persistent_workers=arguments.dataloader_persistent_workers,
        )
    except (InputError, MemoryError):
        raise
    except Exception as error:  # each optimizer and schedule refuses what it is given in its own way
        reason = describe_reason(error)
        raise InputError(f"`training_arguments` can't be used ({reason})") from error


def check_arguments_fit(recipe: Recipe, model: PreTrainedModel, task: Task) -> None:
    """Raise an InputError for training arguments that this model or these labels have no use for."""
    values = read_training_arguments(recipe)
    if values.get("label_smoothing_factor") and task != "classification":
        raise InputError(
            f"`training_arguments`: label_smoothing_factor is for one class a text, but the data are for {task}; "
            "leave it out"
        )
    wants_checkpointing = any(values.get(name) for pair in _CURRENT_NAMES.items() for name in pair)
    if wants_checkpointing and not model.supports_gradient_checkpointing:
        raise InputError(f"`training_arguments`: {type(model).__name__} has no gradient checkpointing; leave it out")


@cache
def _argument_types() -> dict[str, Any]:
    hints = get_type_hints(TrainingArguments)
    return {field.name: hints[field.name] for field in fields(TrainingArguments) if field.init}


def _check_value(name: str, value: Any, kind: Any) -> None:
    members = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    choices = next((member for member in members if isinstance(member, type) and issubclass(member, Enum)), None)
    if choices is not None and isinstance(value, str):
        names = [choice.value for choice in choices]
        if value not in names:
            closest = difflib.get_close_matches(value, names, n=3)
            advice = f"did you mean {' or '.join(closest)}?" if closest else f"it has {', '.join(names[:5])}, ..."
            raise InputError(f"`training_arguments`: {name} has no {shorten_text(value)!r}; {advice}")
    elif not any(_is_instance(value, member) for member in members):
        words = list(dict.fromkeys(_TYPE_NAMES[kind] for member in members if (kind := _plain_type(member))))
        expected = " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))
        raise InputError(f"`training_arguments`: {name} must be {expected}, got {describe_value(value)}")


def _is_instance(value: Any, member: Any) -> bool:
    if get_origin(member) is Literal:
        return value in get_args(member)
    kind = _plain_type(member)
    if kind is None or (isinstance(value, bool) and kind is not bool):  # to Python, True is an int
        return False
    if kind is list:
        return isinstance(value, list) and all(isinstance(part, str) for part in value)
    return isinstance(value, int | float if kind is float else kind)


def _plain_type(member: Any) -> Any:
    """The type without its parameters; None for one that no value of JSON has."""
    kind = get_origin(member) or member
    return kind if kind in _TYPE_NAMES else None
