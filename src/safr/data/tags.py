"""Texts whose words have tags: what a model that gives tags is trained on, and texts with a mark at one word."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from safr.data.encoding import EncodedText, Span, encode, replace_surrogates, tokenize
from safr.data.labels import OUTSIDE
from safr.data.splits import Split, Text, hash_text
from safr.data.targets import IGNORED, TargetRow
from safr.errors import InputError, shorten_text

_MARK = re.compile(r"\[\[(?=\S)(.*?\S)\]\](?!\])", re.DOTALL)
_WORD = re.compile(r"[^ ]+")  # a number such as 10 000 may hold another white space
_EXAMPLE = "John saw [[Paris]]"


def mark_word(text: str, number: int) -> str:
    """The text with double brackets around one of its words, which are parted by spaces.

    >>> mark_word("John saw Paris .", 2)
    'John saw [[Paris]] .'
    """
    start, end = _find_words(text)[number]
    return f"{text[:start]}[[{text[start:end]}]]{text[end:]}"


def remove_mark(text: Text) -> tuple[str, Span]:
    """The text without the double brackets around what is asked about, and where that stands in it.

    Raises:
        InputError: Nothing is marked, or more than one place, or it is a pair.

    >>> remove_mark("John saw [[Paris]] .")
    ('John saw Paris .', (9, 14))
    """
    marks = list(_MARK.finditer(text)) if isinstance(text, str) else []
    if not isinstance(text, str) or len(marks) != 1:
        shown = shorten_text(text if isinstance(text, str) else " / ".join(text), 40)
        raise InputError(
            f"expected a text with one marked word, whose tag is asked about, such as {_EXAMPLE}, got {len(marks)} "
            f"marks in {shown!r}"
        )
    start, marked = marks[0].start(), marks[0][1]
    return text[:start] + marked + text[marks[0].end() :], (start, start + len(marked))


def encode_marked(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[Text], max_tokens: int | None = None
) -> list[EncodedText]:
    """The tokens and the words of texts in each of which one place is marked; see `encode`.

    The marks are not read by the model. They stay on the words, which are for people to read.

    Args:
        tokenizer: A fast tokenizer.
        texts: Texts with double brackets around the word whose tag is asked about.
        max_tokens: See `encode`.

    Raises:
        InputError: As `encode` and `remove_mark`, or the marked word is not among the tokens that are read.
    """
    plain, places = zip(*map(remove_mark, texts), strict=True) if texts else ((), ())
    encoded = encode(tokenizer, plain, max_tokens)
    encodings = tokenize(tokenizer, [(replace_surrogates(text),) for text in plain], max_tokens) if plain else []
    asked = []
    for text, read, encoding, place in zip(texts, encoded, encodings, places, strict=True):
        inside = _find_tokens(encoding, place)
        words = dict.fromkeys(word for token in inside if (word := read.word_of_token[token]) is not None)
        if not words:
            raise InputError(
                f"the marked word of {shorten_text(str(text), 40)!r} is not among the tokens that are read; raise "
                "`max_tokens`, or mark another"
            )
        names = list(read.words)  # which word is asked about can be seen wherever words are shown
        names[min(words)] = f"[[{names[min(words)]}"
        names[max(words)] = f"{names[max(words)]}]]"
        asked.append(replace(read, words=tuple(names), asked=tuple(words)))
    return asked


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
            for token in _find_tokens(encoding, place)[:1]:
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
            if any(read.word_of_token[token] is not None for token in _find_tokens(encoding, place))
        ]
        chosen = [number for number in numbers if tags[number] != OUTSIDE] or numbers
        if chosen and not any(bracket in text for bracket in ("[[", "]]")):
            number = chosen[int(hash_text(text), 16) % len(chosen)]
            texts.append(mark_word(text, number))
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
        raise InputError(f"the tag {shorten_text(unknown[0])!r} is none of the model's; it has {', '.join(ids)}")
    return tags


def _find_words(text: str) -> list[Span]:
    return [match.span() for match in _WORD.finditer(text)]


def _find_tokens(encoding: Encoding, place: Span) -> list[int]:
    """The tokens that share a character with a place in the text."""
    start, end = place
    return [
        number for number, (first, last) in enumerate(encoding.offsets) if first < end and last > start and first < last
    ]
