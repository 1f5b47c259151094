"""Reads questions with answers in a text: SQuAD files, of articles and paragraphs, and the cells of any table."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from safr.data.labels import replace_lone_surrogates
from safr.data.lines import iter_lines
from safr.data.messages import complain_of_key, describe_cell, shorten_path
from safr.errors import InputError, shorten_text
from safr.storage import build_object

QUESTION, CONTEXT, ANSWERS = "question", "context", "answers"
"""Names of the columns, as in SQuAD on the hub."""


def iter_squad(path: Path, *, with_answers: bool = True) -> Iterator[tuple[str, tuple[Any, Any, Any]]]:
    """The questions of a file with their places, each with its text and its answers as they stand there.

    Args:
        path: The file.
        with_answers: Whether each question must have answers, or say that it has none; a file to predict on has none.

    Raises:
        InputError: It is no JSON, or not of this form.
    """
    shown, text = shorten_path(path), "".join(iter_lines(path, newline="\n"))
    try:
        content = json.loads(text, object_pairs_hook=partial(build_object, complaint=complain_of_key))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{shown}: invalid JSON ({shorten_text(error, 100)}); a .json file is read as SQuAD, and one object a line "
            "belongs into a .jsonl file"
        ) from None
    number = 0
    for article in _read_list(content, "data", shown):
        for paragraph in _read_list(article, "paragraphs", f"{shown}, after question {number}"):
            for question in _read_list(paragraph, "qas", f"{shown}, after question {number}"):
                number += 1
                place = f"{shown}, question {number}"
                has_answers = with_answers and question.get("is_impossible") is not True
                missing = [name for name in (QUESTION, ANSWERS)[: 1 + has_answers] if name not in question]
                missing += [] if CONTEXT in paragraph else [CONTEXT]
                if missing:
                    raise InputError(f"{place}: expected the key {missing[0]!r}, found none")
                answers = question[ANSWERS] if has_answers else []
                yield place, (question[QUESTION], paragraph[CONTEXT], answers)


def read_answers(value: Any, context: str, place: str) -> tuple[str | None, bool]:
    """Where the answers to a question stand in its text, as the label of the question.

    Args:
        value: A cell: lists of `text` and `answer_start` in one object, as SQuAD has on the hub; a list of objects with
            one of each, as in SQuAD's files; either of them as JSON; or the answer alone, which stands where it occurs
            first. None, NaN, and an empty list, of a question without an answer.
        context: The text.
        place: Begins the error's message.

    Returns:
        The places with spaces between, each as the numbers of its first character and the one after its last, or None
        where there is no answer; and whether the answer alone is given and occurs more than once.

    Raises:
        InputError: It is something else, or the text holds another string there.

    >>> read_answers({"text": ["a cat"], "answer_start": [4]}, "See a cat.", "")
    ('4:9', False)
    """
    if isinstance(value, str) and value.lstrip().startswith(("{", "[")):
        with suppress(ValueError, RecursionError):  # an answer may begin so, and [12] is JSON besides
            read = json.loads(value)
            value = read if isinstance(read, dict) or all(isinstance(item, dict) for item in read) else value
    is_missing = not value.strip() if isinstance(value, str) else isinstance(value, float) and math.isnan(value)
    if value is None or is_missing:
        return None, False
    if isinstance(value, str):
        return _find_answer(replace_lone_surrogates(value.strip())[0], context, place)
    pairs = _list_answers(value, place)
    for start, text in pairs:
        if context[start : start + len(text)] != text:
            raise InputError(
                f"{place}: expected the answer {shorten_text(text, 40)!r} at character {start} of the text, found "
                f"{shorten_text(context[start : start + len(text)], 40)!r}; count from 0, in characters"
            )
    return " ".join(f"{start}:{start + len(text)}" for start, text in pairs) or None, False


def _read_list(value: Any, name: str, place: str) -> list[dict[str, Any]]:
    """The list of objects under a name of an object."""
    items = value.get(name) if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(
            f'{place}: expected SQuAD\'s form, {{"data": [{{"paragraphs": [{{"context": ..., "qas": [...]}}]}}]}}, got '
            f"{describe_cell(items)} for {name!r}"
        )
    return items


def _find_answer(answer: str, context: str, place: str) -> tuple[str, bool]:
    """Where an answer stands, as words of its own if it does anywhere, and whether it does more than once."""
    start = context.find(answer)
    if alone := re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", context):
        start = alone.start()
    if start < 0:
        raise InputError(
            f"{place}: expected an answer that stands in its text, got {shorten_text(answer, 40)!r}; give it as the "
            "text spells it"
        )
    return f"{start}:{start + len(answer)}", context.count(answer) > 1


def _list_answers(value: Any, place: str) -> list[tuple[int, str]]:
    """First character and text of every answer in a cell that is no string."""
    if isinstance(value, dict):
        starts, texts = value.get("answer_start"), value.get("text")
        if isinstance(starts, list | tuple) and isinstance(texts, list | tuple) and len(starts) == len(texts):
            value = [{"answer_start": start, "text": text} for start, text in zip(starts, texts, strict=True)]
        else:
            value = [value]
    answers: list[tuple[int, str]] = []
    for item in value if isinstance(value, list | tuple) else [value]:
        start, text = (item.get("answer_start"), item.get("text")) if isinstance(item, dict) else (None, None)
        if isinstance(start, bool) or not isinstance(start, int) or start < 0 or not isinstance(text, str):
            raise InputError(
                f'{place}: expected answers such as {{"text": ["a cat"], "answer_start": [4]}}, got '
                f"{describe_cell(value)}"
            )
        if text.strip():
            answers.append((start, replace_lone_surrogates(text)[0]))
    return answers
