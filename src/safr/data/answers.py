"""Questions with the text that answers them: where the answers stand, and what a model is trained on and judged by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from safr.data.encoding import EncodedText, Span, encode, trim_span
from safr.data.marks import add_mark, has_brackets, label_asked, remove_mark
from safr.data.splits import Split, Text
from safr.data.targets import IGNORED, TargetRow
from safr.errors import InputError, shorten_text

ANSWER_NAMES = ("another answer", "the answer", "all other answers")
"""What a model can choose where an answer is asked about: the likeliest other, that answer, or any of the rest."""

THE_ANSWER = 1
"""Number of the answer that is asked about among them."""


def list_spans(label: str) -> list[Span]:
    """The places in a question's label, which `read_answers` has made.

    Raises:
        InputError: It is none.

    >>> list_spans("4:9 6:9")
    [(4, 9), (6, 9)]
    """
    spans = []
    for place in label.split():
        start, colon, end = place.partition(":")
        if not (colon and start.isdecimal() and end.isdecimal() and int(start) < int(end)):
            raise InputError(
                "expected the places of answers as START:END in characters, such as 4:9, separated by spaces, got "
                f"{shorten_text(label, 40)!r}"
            )
        spans.append((int(start), int(end)))
    return spans


def list_answer_texts(split: Split) -> list[list[str]]:
    """The right answers to every question of a split, as they stand in its text."""
    return [
        [context[start:end] for start, end in list_spans(str(label))]
        for (_, context), label in zip(read_questions(split.texts), split.labels, strict=True)
    ]


def encode_answers(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None
) -> list[EncodedText]:
    """Questions with their texts, whose answer is what is asked about; of several the one that most people gave.

    Args:
        tokenizer: A fast tokenizer.
        split: Pairs of a question and a text, and for each the places of its answers in the text.
        max_tokens: Most tokens of a pair, special ones included. Default: no limit.

    Returns:
        The encoded pairs. `asked` is empty where not all of the answer is read.

    Raises:
        InputError: A text is no pair, or a label says no place in it.
    """
    pairs = read_questions(split.texts)
    places = [_choose_place(context, str(label)) for (_, context), label in zip(pairs, split.labels, strict=True)]
    encoded = encode(tokenizer, pairs, max_tokens, places=places)
    # Of a text that is cut, the answer is read if it is as many tokens as in the whole text. Characters don't tell,
    # since a tokenizer may leave some out.
    cut = [number for number, read in enumerate(encoded) if read.truncated]
    wholes = encode(tokenizer, [pairs[number] for number in cut], places=[places[number] for number in cut])
    for number, whole in zip(cut, wholes, strict=True):
        if _count_asked_tokens(encoded[number]) < _count_asked_tokens(whole):
            encoded[number] = replace(encoded[number], asked=(), asked_tokens=(), asked_text="")
    return encoded


def tokenize_answers(
    tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None
) -> list[TargetRow]:
    """The rows that a model which finds answers is trained on; arguments and errors are those of `encode_answers`.

    The labels are those of `label_asked`, and all are `IGNORED` where the answer is not read.
    """
    return [
        TargetRow(
            read.ids, label_asked(read) if read.asked else (IGNORED,) * len(read.ids), token_types=read.token_types
        )
        for read in encode_answers(tokenizer, split, max_tokens)
    ]


def mark_answers(tokenizer: PreTrainedTokenizerBase, split: Split, max_tokens: int | None = None) -> Split:
    """Each question with a mark at the answer in its text, by which a model is judged; see `encode_answers`.

    Left out are texts that hold double brackets, and those whose answer is not read.

    Returns:
        The marked pairs, all with the label `THE_ANSWER`.

    Raises:
        InputError: As `encode_answers`, or fewer than two questions are left.
    """
    texts: list[Text] = []
    for (question, context), label, read in zip(
        read_questions(split.texts), split.labels, encode_answers(tokenizer, split, max_tokens), strict=True
    ):
        place = _choose_place(context, str(label))
        marked = add_mark(context, place)
        # A bracket just before or behind the answer could be read as part of the mark.
        if read.asked and not has_brackets(context) and remove_mark(marked) == (context, place):
            texts.append((question, marked))
    if len(texts) < 2:
        raise InputError(
            "expected at least 2 questions whose answer is among the tokens that are read, in texts without double "
            f"brackets, got {len(texts)} of {len(split)}; raise `max_tokens`, or bring others"
        )
    return Split(tuple(texts), (THE_ANSWER,) * len(texts))


def read_questions(texts: Sequence[Text]) -> list[tuple[str, str]]:
    """The texts, if each is a pair of a question and the text that answers it.

    Raises:
        InputError: One is a single text.
    """
    pairs: list[tuple[str, str]] = []
    for text in texts:
        if isinstance(text, str):
            raise InputError(
                "expected a pair of a question and the text that answers it, got the single text "
                f"{shorten_text(text, 40)!r}"
            )
        pairs.append(text)
    return pairs


def _choose_place(context: str, label: str) -> Span:
    """The place of the answer that most people gave, of several the first, without white space at its ends."""
    spans = list_spans(label)
    start, end = Counter(spans).most_common(1)[0][0] if spans else (0, 0)
    if not context[start:end].strip() or end > len(context):
        raise InputError(
            f"expected the place of an answer in {shorten_text(context, 40)!r}, got {shorten_text(label, 40)!r}"
        )
    return trim_span(context, start, end)


def _count_asked_tokens(read: EncodedText) -> int:
    return read.asked_tokens[1] - read.asked_tokens[0] + 1 if read.asked else 0
