"""Texts with double brackets around what is asked about: a word whose tag is explained, or an answer in a text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from transformers import PreTrainedTokenizerBase

from safr.data.encoding import EncodedText, Span, encode
from safr.data.splits import Text, split_pair
from safr.data.targets import IGNORED
from safr.errors import InputError, shorten_text

FIRST_ASKED, LAST_ASKED = 1, 2
"""What `label_asked` adds up for a token: the first one that is asked about, and the last one."""

_MARK = re.compile(r"\[\[(?=\S)(.*?\S)\]\](?!\])", re.DOTALL)
_EXAMPLE = "John saw [[Paris]]"


def add_mark(text: str, place: Span) -> str:
    """The text with double brackets around a place in it.

    >>> add_mark("John saw Paris .", (9, 14))
    'John saw [[Paris]] .'
    """
    start, end = place
    return f"{text[:start]}[[{text[start:end]}]]{text[end:]}"


def has_brackets(text: str) -> bool:
    """Whether a text holds double brackets itself, so that a mark in it could not be told from them."""
    return "[[" in text or "]]" in text


def count_marks(text: str) -> int:
    """How many places of a text are marked."""
    return len(_MARK.findall(text))


def remove_mark(text: str) -> tuple[str, Span]:
    """The text without the double brackets around what is asked about, and where that stands in it.

    Raises:
        InputError: Nothing is marked, or more than one place.

    >>> remove_mark("John saw [[Paris]] .")
    ('John saw Paris .', (9, 14))
    """
    marks = list(_MARK.finditer(text))
    if len(marks) != 1:
        raise InputError(
            f"expected a text with one mark at what is asked about, such as {_EXAMPLE}, got {len(marks)} marks in "
            f"{shorten_text(text, 40)!r}"
        )
    start, marked = marks[0].start(), marks[0][1]
    return text[:start] + marked + text[marks[0].end() :], (start, start + len(marked))


def encode_marked(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_tokens: int | None = None
) -> list[EncodedText]:
    """The tokens and the words of texts in each of which one place is marked; see `encode`.

    In a pair it is a place of the second text. The model does not read the marks. They stay on the words, which are for
    people to read.

    Args:
        tokenizer: A fast tokenizer.
        texts: Texts or pairs with double brackets around what is asked about.
        max_tokens: See `encode`.

    Raises:
        InputError: As `encode` and `remove_mark`, or what is marked is not among the tokens that are read.
    """
    plain = [unmark(text) for text in texts]
    places = [place for _, place in plain]
    marked = []
    for text, read in zip(
        texts, encode(tokenizer, [text for text, _ in plain], max_tokens, places=places), strict=True
    ):
        if not read.asked:
            raise InputError(
                f"what is marked in {shorten_text(split_pair(text)[-1], 40)!r} is not among the tokens that are read; "
                "raise `max_tokens`, or mark another place"
            )
        marked.append(mark_words(read))
    return marked


def drop_mark(text: Text) -> Text:
    """A text, or a pair whose second text may be marked, without the mark if there is one."""
    return unmark(text)[0] if count_marks(split_pair(text)[-1]) == 1 else text


def unmark(text: Text) -> tuple[Text, Span]:
    """A text, or a pair whose second text is marked, without the mark, and where that was; see `remove_mark`."""
    plain, place = remove_mark(split_pair(text)[-1])
    return (plain if isinstance(text, str) else (text[0], plain)), place


def mark_words(text: EncodedText) -> EncodedText:
    """The text with double brackets around the words that are asked about, so that people see which they are."""
    names = list(text.words)
    names[text.asked[0]] = f"[[{names[text.asked[0]]}"
    names[text.asked[-1]] = f"{names[text.asked[-1]]}]]"
    return replace(text, words=tuple(names))


def label_asked(text: EncodedText) -> tuple[int, ...]:
    """For every token of the last text `FIRST_ASKED` and `LAST_ASKED` where they hold, else 0; `IGNORED` for others.

    Tokens that belong to no word are ignored too, since nobody can ask about them.
    """
    last_text = max(text.text_of_word, default=0)
    labels = [IGNORED if word is None or text.text_of_word[word] != last_text else 0 for word in text.word_of_token]
    for token, what in zip(text.asked_tokens, (FIRST_ASKED, LAST_ASKED), strict=False):
        labels[token] += what
    return tuple(labels)
