"""Labels of texts beside the classes of the model that is judged by them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from torch import Tensor
from transformers import PreTrainedModel

from safr.data import Split, TextDataset
from safr.data.encoding import EncodedText, Text
from safr.errors import InputError, describe_value
from safr.inference import check_model, is_regression, iter_logits


def check_labels(texts: Sequence[Text], labels: Sequence[Any] | np.ndarray | Tensor) -> Int[np.ndarray, " text"]:
    """The labels as an array, (text,).

    Raises:
        InputError: There are fewer than two texts or not as many labels, or the labels are no numbers of classes.
    """
    values = (
        labels.detach().float().numpy(force=True)
        if isinstance(labels, Tensor) and labels.is_floating_point()
        else labels
    )
    try:
        classes = np.asarray(values.numpy(force=True) if isinstance(values, Tensor) else values)
    except ValueError as error:  # rows of different lengths
        raise InputError("expected one label for each text, got lists of different lengths") from error
    if classes.ndim == 2 and len(classes) == len(texts):
        raise InputError(
            f"expected one label for each text, got {classes.shape[1]}; of one-hot labels take labels.argmax(axis=1)"
        )
    if isinstance(texts, str) or classes.shape != (len(texts),):
        count = "one string" if isinstance(texts, str) else f"{len(texts)} texts"
        size = f"{classes.size} labels" if classes.ndim else describe_value(labels)
        raise InputError(f"expected a list of texts and as many labels, got {count} and {size}")
    if len(texts) < 2:
        raise InputError(f"an interval needs at least 2 texts, got {len(texts)}; bring more data")
    if not np.issubdtype(classes.dtype, np.integer):
        raise InputError(
            f"expected labels as numbers of classes, 0, 1, ..., got {describe_value(classes.tolist()[0])}; "
            "see model.config.id2label for the number of each name"
        )
    return classes.astype(np.int64)


def check_classes(model: PreTrainedModel, texts: Sequence[EncodedText], classes: Int[np.ndarray, " text"]) -> None:
    """Raise an InputError unless the model chooses among classes, and every label is one of them.

    One text is run, since what the config says of the classes need not fit the model's outputs.
    """
    check_model(model)
    (_, logits), *_ = iter_logits(model, texts[:1])
    outputs = logits.shape[-1]
    if outputs < 2 or is_regression(model):
        raise InputError("expected a model that chooses among classes, got one with a single answer")
    if not ((classes >= 0) & (classes < outputs)).all():
        raise InputError(f"expected labels from 0 to {outputs - 1}, got {classes.min()} to {classes.max()}")


def number_by_name(model: PreTrainedModel, data: TextDataset | Split, split: Split) -> tuple[int, ...]:
    """The labels of a split as the model numbers its classes.

    Data and a model from two sources may number the same classes in another order. Where the model has a class of
    every name that the data have, upper and lower case alike, a label is the class of its name. Where it has none of
    the names, such as LABEL_0, or the data have no names, the numbers stay.

    Raises:
        InputError: Some names are in both under other numbers, and others only in the data.
    """
    names_of_model = getattr(model.config, "id2label", None)
    if not isinstance(data, TextDataset) or not names_of_model or model.can_generate():
        return split.labels
    numbers: dict[str, list[int]] = {}
    for number, name in names_of_model.items():
        numbers.setdefault(str(name).casefold(), []).append(int(number))
    names = [name.casefold() for name in data.label_names]
    if all(label in numbers.get(name, [label]) for label, name in enumerate(names)):
        return split.labels
    if all(len(numbers.get(name, ())) == 1 for name in names) and len(set(names)) == len(names):
        return tuple(numbers[names[label]][0] for label in split.labels)
    of_model = _list_names(names_of_model.values())
    raise InputError(
        f"the data's classes are {_list_names(data.label_names)}, the model's {of_model}"
        "; give labels by the model's numbers: Split(texts, labels)"
    )


def _list_names(names: Any) -> str:
    return ", ".join(str(name)[:20] for name in list(names)[:5])
