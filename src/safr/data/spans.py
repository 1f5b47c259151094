"""Where a text's tokens stand in it in, where its words stand and which of them each token belongs to out."""

from __future__ import annotations

from collections.abc import Sequence

Span = tuple[int, int]
"""First character and the one after the last."""


def find_word_spans(
    text: str, tokens: Sequence[Span], groups: Sequence[int | None]
) -> tuple[list[Span], list[int | None]]:
    """The words of a text: what its tokenizer takes for words, cut at white space.

    Two tokens that follow each other are of one word if the tokenizer puts them in one and no white space lies between
    them, or if they share a character, as the bytes of one do. A token is never cut: one with white space inside keeps
    the words around it together. A token that shows nothing but white space is of the word after it if the tokenizer
    puts both in one, as the mark of a word's beginning is, and otherwise of none.

    Args:
        text: The text.
        tokens: Where each token stands in it; white space around a token is no part of a word.
        groups: The tokenizer's number for each token's word; None for a token of no word.

    Returns:
        Spans of the words, in the order of the text, apart from each other, without white space at their ends; and for
        each token the index of its word, or None.

    >>> find_word_spans("so so", [(0, 2), (2, 4), (4, 5)], [0, 0, 0])
    ([(0, 2), (3, 5)], [0, 1, 1])
    """
    spans: list[Span] = []
    owners: list[int | None] = []
    group_of_last, marks = None, 0  # marks: tokens just before this one, in its group, that show nothing
    for number, ((start, end), group) in enumerate(zip(tokens, groups, strict=True)):
        marks = marks if number and group == groups[number - 1] else 0
        start, end = _without_white_space(text, start, end)
        owners.append(None)
        if group is None or start == end:
            marks += 1
            continue
        last = spans[-1][1] if spans else 0
        if spans and (start < last or (group == group_of_last and not _has_white_space(text[last:start]))):
            spans[-1] = spans[-1][0], max(last, end)
        else:
            spans.append((start, end))
        owners[number - marks :] = [len(spans) - 1] * (marks + 1)
        group_of_last, marks = group, 0
    return spans, owners


def _without_white_space(text: str, start: int, end: int) -> Span:
    shown = text[start:end].lstrip()
    first = end - len(shown)
    return first, first + len(shown.rstrip())


def _has_white_space(text: str) -> bool:
    return any(character.isspace() for character in text)
