"""Questions with choices: how they are written and encoded, and what a model is trained on and judged by."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from datasets import Dataset
from transformers import PreTrainedTokenizerBase

from safr.data.answers import THE_ANSWER, read_questions
from safr.data.choice_cells import SEPARATOR
from safr.data.encoding import EncodedText, encode
from safr.data.marks import count_marks, has_brackets
from safr.data.splits import Split, Text
from safr.errors import InputError, shorten_text

_BETWEEN = re.compile(r"(?<!\S)\|(?!\S)")
_MARKED = re.compile(r"\[\[(.*)\]\]", re.DOTALL)
_EXAMPLE = "blue | green | red"


@dataclass(frozen=True)
class ChoiceQuestion:
    """A question with its choices, one of which may be asked about."""

    text: str
    choices: tuple[str, ...]
    asked: int | None = None
    """Number of the choice that is asked about."""

    def mark(self, asked: int) -> tuple[str, str]:
        """The pair of the question and its choices, with double brackets around one of them."""
        marked = [f"[[{choice}]]" if number == asked else choice for number, choice in enumerate(self.choices)]
        return self.text, SEPARATOR.join(marked)


def parse_question(text: Text) -> ChoiceQuestion:
    """The question in a pair whose second text holds the choices, with ` | ` between and double brackets around one.

    Raises:
        InputError: It is no pair, there are fewer than two choices, or more than one is in brackets.

    >>> parse_question(("Which colour has the sky?", "blue | [[green]]"))
    ChoiceQuestion(text='Which colour has the sky?', choices=('blue', 'green'), asked=1)
    """
    ((question, listed),) = read_questions([text])
    choices = [choice.strip() for choice in _BETWEEN.split(listed)]
    marked = [number for number, choice in enumerate(choices) if _MARKED.fullmatch(choice)]
    asked = marked[0] if marked else None
    if asked is not None:
        choices[asked] = _MARKED.sub(r"\1", choices[asked]).strip()
    if len(choices) < 2 or not all(choices) or len(marked) > 1 or count_marks(listed) > len(marked):
        raise InputError(
            f"expected two or more choices separated by {SEPARATOR!r}, at most one of them in double brackets, such as "
            f"{_EXAMPLE}, got {shorten_text(listed, 40)!r}"
        )
    return ChoiceQuestion(question, tuple(choices), asked)


def encode_questions(
    tokenizer: PreTrainedTokenizerBase, questions: Sequence[ChoiceQuestion], max_tokens: int | None = None
) -> list[list[EncodedText]]:
    """For every question its pairs with each choice, as a model for multiple choice reads them; see `encode`."""
    pairs: list[Text] = [(question.text, choice) for question in questions for choice in question.choices]
    encoded = iter(encode(tokenizer, pairs, max_tokens))
    return [[next(encoded) for _ in question.choices] for question in questions]


def ask_about(choices: Sequence[EncodedText], asked: int, choice: str) -> EncodedText:
    """The pair of a question with one of its choices, and the others beside it.

    Args:
        choices: The question's pairs with each choice, from `encode_questions`.
        asked: Number of the choice that is asked about.
        choice: That choice.
    """
    rivals = tuple(other for number, other in enumerate(choices) if number != asked)
    return replace(choices[asked], rivals=rivals, asked_text=choice)


def are_all_marked(texts: Sequence[Text]) -> bool:
    """Whether in every question a choice is marked."""
    return all(parse_question(text).asked is not None for text in texts)


def mark_choices(split: Split) -> Split:
    """Each question with a mark at its right choice, by which a model is judged, all with the label `THE_ANSWER`.

    Left out are questions whose choices hold double brackets.

    Args:
        split: Pairs of a question and its choices, and for each the number of the right one.

    Raises:
        InputError: A text is no question with choices, a label is no number of a choice, or fewer than two are left.
    """
    marked = [
        question.mark(right) for question, right in _read_split(split) if not any(map(has_brackets, question.choices))
    ]
    if len(marked) < 2:
        raise InputError(f"expected at least 2 questions to judge, got {len(marked)} of {len(split)}; bring more data")
    return Split(tuple(marked), (THE_ANSWER,) * len(marked))


@dataclass(frozen=True)
class ChoiceRow:
    """One question as a model for multiple choice is trained on it."""

    ids: tuple[tuple[int, ...], ...]
    """Token ids of its pair with each choice."""

    token_types: tuple[tuple[int, ...], ...]
    """Token type ids, which tell the texts of a pair apart; empty ones if the tokenizer makes none."""

    right: int
    """Number of the right choice."""


def tokenize_choices(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None
) -> list[ChoiceRow]:
    """The rows that a model for multiple choice is trained on.

    Args:
        tokenizer: A fast tokenizer.
        split: Pairs of a question and its choices, and for each the number of the right one.
        max_tokens: Most tokens of a question with one choice. Default: no limit.

    Raises:
        InputError: A text is no question with choices, or a label is no number of a choice.
    """
    questions, right = zip(*_read_split(split), strict=True)
    encoded = encode_questions(tokenizer, questions, max_tokens)
    return [
        ChoiceRow(tuple(text.ids for text in texts), tuple(text.token_types for text in texts), number)
        for texts, number in zip(encoded, right, strict=True)
    ]


def make_choice_dataset(rows: Sequence[ChoiceRow]) -> Dataset:
    """The rows for the Trainer: `input_ids`, `token_type_ids` if there are any, `labels`, and tokens as `length`."""
    types = {"token_type_ids": [row.token_types for row in rows]} if rows[0].token_types[0] else {}
    return Dataset.from_dict(
        {
            "input_ids": [row.ids for row in rows],
            "length": [max(map(len, row.ids)) for row in rows],
            "labels": [row.right for row in rows],
            **types,
        }
    )


def count_choices(split: Split) -> list[int]:
    """How many choices every question of a split has."""
    return [len(question.choices) for question, _ in _read_split(split)]


def _read_split(split: Split) -> list[tuple[ChoiceQuestion, int]]:
    """The questions of a split, unmarked, with the numbers of their right choices."""
    rows = []
    for text, label in zip(split.texts, split.labels, strict=True):
        question, right = _parse_unmarked(text), str(label)
        if not right.isdecimal() or int(right) >= len(question.choices):
            raise InputError(
                f"expected the number of a choice, 0 to {len(question.choices) - 1}, got {shorten_text(right)!r}"
            )
        rows.append((question, int(right)))
    return rows


def _parse_unmarked(text: Text) -> ChoiceQuestion:
    """The question in a pair whose choices are data, so that brackets in them are no mark."""
    ((question, listed),) = read_questions([text])
    choices = tuple(choice.strip() for choice in _BETWEEN.split(listed))
    if len(choices) < 2 or not all(choices):
        raise InputError(f"expected two or more choices separated by {SEPARATOR!r}, got {shorten_text(listed, 40)!r}")
    return ChoiceQuestion(question, choices)
