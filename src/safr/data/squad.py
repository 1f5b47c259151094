"""Reads SQuAD files: articles of paragraphs, each a text with questions and with their answers in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

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


def _read_list(value: Any, name: str, place: str) -> list[dict[str, Any]]:
    """The list of objects under a name of an object."""
    items = value.get(name) if isinstance(value, dict) else None
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise InputError(
            f'{place}: expected SQuAD\'s form, {{"data": [{{"paragraphs": [{{"context": ..., "qas": [...]}}]}}]}}, got '
            f"{describe_cell(items)} for {name!r}"
        )
    return items
