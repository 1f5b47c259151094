"""Labels of texts beside the classes of the model that is judged by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Int, Shaped
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.config import Task
from safr.data import Split, TextDataset
from safr.data.answers import ANSWER_NAMES, mark_answers
from safr.data.choices import are_all_marked, mark_choices
from safr.data.encoding import EncodedText
from safr.data.splits import Label, Text
from safr.data.tags import mark_texts
from safr.data.targets import make_prompts
from safr.errors import InputError, describe_value
from safr.inference import check_model, compares_answers, finds_answers, get_task, is_tagger, iter_logits
from safr.model.families import picks_choices


def check_labels(
    texts: Sequence[Text], labels: Sequence[Any] | np.ndarray | Tensor, task: Task = "classification"
) -> Shaped[np.ndarray, "text ..."]:
    """The labels as an array in the form of `Split.label_array`.

    Args:
        texts: The texts.
        labels: One for every text.
        task: What the model predicts.

    Raises:
        InputError: There are fewer than two texts or not as many labels, or the labels are none of this task.
    """
    values = (
        labels.detach().float().numpy(force=True)
        if isinstance(labels, Tensor) and labels.is_floating_point()
        else labels
    )
    try:
        array = np.asarray(values.numpy(force=True) if isinstance(values, Tensor) else values)
    except ValueError as error:  # rows of different lengths
        raise InputError("expected one label for each text, got lists of different lengths") from error
    if array.ndim == 2 and len(array) == len(texts) and task != "multi_label":
        raise InputError(
            f"expected one label for each text, got {array.shape[1]}; for one-hot labels pass labels.argmax(axis=1); "
            "if several classes can be right, set problem_type in the model's config to multi_label_classification"
        )
    if isinstance(texts, str) or array.shape[:1] != (len(texts),) or array.ndim > 1 + (task == "multi_label"):
        count = "one string" if isinstance(texts, str) else f"{len(texts)} texts"
        size = f"{array.size} labels" if array.ndim else describe_value(labels)
        raise InputError(f"expected a list of texts and as many labels, got {count} and {size}")
    if len(texts) < 2:
        raise InputError(f"an interval needs at least 2 texts, got {len(texts)}; bring more data")
    if task not in ("multi_label", "regression"):
        return _check_classes(array)
    is_number = np.issubdtype(array.dtype, np.number) or array.dtype == bool
    if not is_number or not np.isfinite(array).all():
        raise InputError(f"expected finite numbers as labels, got {describe_value(array.ravel().tolist()[0])}")
    if task == "multi_label" and (array.ndim != 2 or not np.isin(array, (0, 1)).all()):
        raise InputError(
            "expected 0 or 1 for each class as the label of a text, since several classes can be right for this model, "
            f"got {describe_value(array.tolist()[0])}"
        )
    return array.astype(np.float64)


def check_classes(model: PreTrainedModel, texts: Sequence[EncodedText], labels: Shaped[np.ndarray, "text ..."]) -> None:
    """Raise an InputError unless the labels are of the model's outputs.

    One text is run, since what the config says of the classes need not fit the model's outputs.
    """
    check_model(model)
    (_, logits), *_ = iter_logits(model, texts[:1])
    outputs, task = logits.shape[-1], get_task(model)
    if task == "regression":
        if outputs > 1:
            raise InputError(f"expected a regression model with one value, got one with {outputs}")
    elif task == "multi_label":
        if labels.shape[1] != outputs:
            raise InputError(f"expected 0 or 1 for each of the model's {outputs} classes, got {labels.shape[1]}")
    elif outputs < 2:
        raise InputError(
            "expected a model that chooses among classes, got one with a single answer; if it is a number, set "
            'model.config.problem_type = "regression"'
        )
    elif not ((labels >= 0) & (labels < outputs)).all():
        raise InputError(f"expected labels from 0 to {outputs - 1}, got {labels.min()} to {labels.max()}")


def _check_classes(array: np.ndarray) -> Int[np.ndarray, " text"]:
    if not np.issubdtype(array.dtype, np.integer):
        raise InputError(
            f"expected labels as numbers of classes, 0, 1, ..., got {describe_value(array.tolist()[0])}; "
            "see model.config.id2label for the number of each name"
        )
    return array.astype(np.int64)


def align_labels(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, data: TextDataset, max_tokens: int | None = None
) -> TextDataset:
    """The data with their labels as the model numbers its outputs, and a name for each of these.

    Of a model that writes text the labels of dev and test are ids of the tokens that come next; see `make_prompts`. Of
    one that gives tags they are numbers of the tags of words that are marked in dev and test; see `mark_texts`. Of one
    that finds answers or picks choices all are `THE_ANSWER`, and the right ones are marked; see `mark_answers` and
    `mark_choices`.

    Args:
        model: The model.
        tokenizer: Its tokenizer.
        data: The data set.
        max_tokens: Tokens read of a text. Default: all.

    Raises:
        InputError: See `number_by_name`, `make_prompts`, `mark_texts` and `mark_answers`.
    """
    if is_tagger(model):
        _check_task(model, data)
        ids = number_tags(model, data.label_names)
        return replace(
            data,
            dev=mark_texts(tokenizer, data.dev, ids, max_tokens),
            test=mark_texts(tokenizer, data.test, ids, max_tokens),
            label_names=tuple(sorted(ids, key=lambda name: ids[name])),
        )
    if compares_answers(model):
        _check_task(model, data)
        dev, test = (
            mark_choices(split) if picks_choices(model) else mark_answers(tokenizer, split, max_tokens)
            for split in (data.dev, data.test)
        )
        return replace(data, dev=dev, test=test, label_names=ANSWER_NAMES)
    if model.can_generate():
        _check_task(model, data)
        most = max(len(tokenizer), model.config.get_text_config().vocab_size)
        return replace(
            data,
            dev=_align_prompts(model, tokenizer, data.dev, max_tokens),
            test=_align_prompts(model, tokenizer, data.test, max_tokens),
            label_names=tuple(map(str, tokenizer.batch_decode([[token] for token in range(most)]))),
        )
    numbers = {part: number_by_name(model, data, getattr(data, part)) for part in ("train", "dev", "test")}
    names_of_model = {int(number): str(name) for number, name in (model.config.id2label or {}).items()}
    is_renumbered = any(getattr(data, part).labels != labels for part, labels in numbers.items())
    if data.task == "regression" or not (is_renumbered or len(names_of_model) > len(data.label_names)):
        return data
    splits: dict[str, Any] = {part: Split(getattr(data, part).texts, labels) for part, labels in numbers.items()}
    names = [names_of_model.get(number, f"LABEL_{number}") for number in range(max(names_of_model) + 1)]
    if not is_renumbered:
        names[: len(data.label_names)] = data.label_names
    return replace(data, **splits, label_names=tuple(names))


def align_split(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    data: TextDataset | Split,
    split: Split,
    max_tokens: int | None = None,
) -> Split:
    """A split of data, or data that are one, with labels as the model numbers its outputs; see `align_labels`.

    Numbers beside questions with choices are those of the right ones, unless all questions have a mark already.

    Raises:
        InputError: Also where the labels are not among the model's task.
    """
    if isinstance(data, TextDataset):
        _check_task(model, data)
    if any(isinstance(label, str) for label in split.labels):
        if model.can_generate():
            return _align_prompts(model, tokenizer, split, max_tokens)
        if is_tagger(model):
            names = data.label_names if isinstance(data, TextDataset) else ()
            return mark_texts(tokenizer, split, number_tags(model, names), max_tokens)
        if finds_answers(model):
            return mark_answers(tokenizer, split, max_tokens)
    if picks_choices(model) and not (isinstance(split.labels[0], int) and are_all_marked(split.texts)):
        return mark_choices(split)
    labels = check_labels(split.texts, number_by_name(model, data, split), get_task(model))
    is_row = labels.ndim == 2  # one number for each class
    return Split(split.texts, tuple(tuple(map(int, row)) for row in labels) if is_row else tuple(labels.tolist()))


def number_tags(model: PreTrainedModel, names: Sequence[str] = ()) -> dict[str, int]:
    """The model's number of every tag, by name.

    Args:
        model: A model that gives tags.
        names: The data's tags, in the order of their numbers, which stand for the model's where it names none of them.

    Raises:
        InputError: The model has some of the data's tags and lacks others, or has another number of them.
    """
    ids = {str(name): int(number) for number, name in (model.config.id2label or {}).items()}
    if set(names) <= set(ids):
        return ids
    if set(names) & set(ids) or len(names) != len(ids):
        missing = sorted(set(names) - set(ids))
        raise InputError(f"the data's tags {_list_names(missing)} are not among the model's {_list_names(ids)}")
    return {name: number for number, name in enumerate(names)}


def _align_prompts(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None
) -> Split:
    forced = getattr(getattr(model, "generation_config", None), "forced_bos_token_id", None)
    encoder_decoder = model.config.is_encoder_decoder
    return make_prompts(tokenizer, split, max_tokens, encoder_decoder=encoder_decoder, forced=forced)[0]


def _check_task(model: PreTrainedModel, data: TextDataset) -> None:
    if data.task != get_task(model):
        raise InputError(
            f"the data are for {data.task}, the model for {get_task(model)}; give labels of the model's kind, or load "
            f"the data with task={get_task(model)!r}"
        )


def number_by_name(model: PreTrainedModel, data: TextDataset | Split, split: Split) -> tuple[Label, ...]:
    """The labels of a split as the model numbers its classes.

    Data and a model from two sources may number the same classes in another order. Where the model has a class of
    every name that the data have, upper and lower case alike, a label is the class of its name. Where it has none of
    the names, such as LABEL_0, or the data have no names, the numbers stay.

    Raises:
        InputError: Some names are in both under other numbers, and others only in the data.
    """
    names_of_model = getattr(model.config, "id2label", None)
    if isinstance(data, TextDataset):
        _check_task(model, data)
    if not isinstance(data, TextDataset) or data.task == "regression" or not names_of_model:
        return split.labels
    numbers: dict[str, list[int]] = {}
    for number, name in names_of_model.items():
        numbers.setdefault(str(name).casefold(), []).append(int(number))
    names = [name.casefold() for name in data.label_names]
    if all(label in numbers.get(name, [label]) for label, name in enumerate(names)):
        return split.labels
    if all(len(numbers.get(name, ())) == 1 for name in names) and len(set(names)) == len(names):
        number_of_label = [numbers[name][0] for name in names]
        if data.task == "multi_label":
            rows = np.zeros((len(split), max(map(int, names_of_model)) + 1), dtype=int)
            rows[:, number_of_label] = split.label_array
            return tuple(map(tuple, rows.tolist()))
        return tuple(number_of_label[label] for label in split.labels if isinstance(label, int))
    of_model = _list_names(names_of_model.values())
    raise InputError(
        f"the data's classes are {_list_names(data.label_names)}, the model's {of_model}"
        "; give labels by the model's numbers: Split(texts, labels)"
    )


def _list_names(names: Any) -> str:
    return ", ".join(str(name)[:20] for name in list(names)[:5])
