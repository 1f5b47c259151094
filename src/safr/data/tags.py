"""Texts whose words have tags: what a model that gives tags is trained on, and texts with one word to judge it by."""

from __future__ import annotations

import re
from collections.abc import Mapping

from transformers import PreTrainedTokenizerBase

from safr.data.encoding import Span, encode, find_tokens, replace_surrogates, tokenize, trim_span
from safr.data.labels import OUTSIDE
from safr.data.marks import add_mark, count_marks, has_brackets, remove_mark
from safr.data.splits import Split, hash_text
from safr.data.targets import IGNORED, TargetRow
from safr.errors import InputError, shorten_text

_WORD = re.compile(r"[^ ]+")  # a number such as 10 000 may hold another white space


def mark_word(text: str, number: int) -> str:
    """The text with double brackets around one of its words, which are parted by spaces.

    >>> mark_word("John saw Paris .", 2)
    'John saw [[Paris]] .'
    """
    return add_mark(text, trim_span(text, *_find_words(text)[number]))


def tokenize_tags(
    tokenizer: PreTrainedTokenizerBase, split: Split, ids: Mapping[str, int], max_tokens: int | None = None
) -> list[TargetRow]:
    """The rows that a model which gives tags is trained on: the first token of each word has the id of its tag.

    Args:
        tokenizer: A fast tokenizer.
        split: Texts, and for each the tags of its words with spaces between.
        ids: Numbers of the tags.
        max_tokens: Most tokens of a text. Default: no limit.

    Raises:
        InputError: A text has not as many tags as words, or a tag has no number.
    """
    texts = [replace_surrogates(str(text)) for text in split.texts]
    rows = []
    for text, label, encoding in zip(
        texts, split.labels, tokenize(tokenizer, [(text,) for text in texts], max_tokens), strict=True
    ):
        words, tags = _find_words(text), _check_tags(text, str(label), ids)
        labels = [IGNORED] * len(encoding.ids)
        for place, tag in zip(words, tags, strict=True):
            for token in find_tokens(encoding, place)[:1]:
                labels[token] = ids[tag]
        rows.append(TargetRow(tuple(encoding.ids), tuple(labels)))
    return rows


def mark_texts(
    tokenizer: PreTrainedTokenizerBase, split: Split, ids: Mapping[str, int], max_tokens: int | None = None
) -> Split:
    """Each text with a mark at one word and the number of that word's tag as label, by which a model is judged.

    The word is one that the text's SHA-256 chooses among those with another tag than O, if there are any, else among
    all. Left out are texts that hold double brackets, and those of which no such word is read.

    Args:
        tokenizer: A fast tokenizer.
        split: Texts, and for each the tags of its words with spaces between.
        ids: Numbers of the tags.
        max_tokens: Most tokens of a text. Default: no limit.

    Raises:
        InputError: As `tokenize_tags`, or fewer than two texts are left.
    """
    texts: list[str] = []
    labels: list[int] = []
    plain = [replace_surrogates(str(text)) for text in split.texts]
    encodings = tokenize(tokenizer, [(text,) for text in plain], max_tokens)
    encoded = encode(tokenizer, plain, max_tokens)
    for text, label, encoding, read in zip(plain, split.labels, encodings, encoded, strict=True):
        tags = _check_tags(text, str(label), ids)
        numbers = [
            number
            for number, place in enumerate(_find_words(text))
            if any(read.word_of_token[token] is not None for token in find_tokens(encoding, place))
        ]
        chosen = [number for number in numbers if tags[number] != OUTSIDE] or numbers
        if not chosen or has_brackets(text):
            continue
        number = chosen[int(hash_text(text), 16) % len(chosen)]
        marked = mark_word(text, number)
        # A bracket at the word's end could be read as part of the mark.
        if count_marks(marked) == 1 and remove_mark(marked)[0] == text:
            texts.append(marked)
            labels.append(ids[tags[number]])
    if len(texts) < 2:
        raise InputError(f"expected at least 2 texts with a word to judge, got {len(texts)} of {len(split)}")
    return Split(tuple(texts), tuple(labels))


def _check_tags(text: str, label: str, ids: Mapping[str, int]) -> list[str]:
    """The tags of a text's words; an InputError where they are not as many, or one has no number."""
    tags, words = label.split(), len(_find_words(text))
    if len(tags) != words:
        raise InputError(f"expected a tag for each of the {words} words of {shorten_text(text, 40)!r}, got {len(tags)}")
    if unknown := [tag for tag in tags if tag not in ids]:
        raise InputError(f"the tag {shorten_text(unknown[0])!r} is not one of the model's; it has {', '.join(ids)}")
    return tags


def _find_words(text: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(text)]
