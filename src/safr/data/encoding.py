"""Where a text's tokens stand in it in, where its words stand and which of them each token belongs to out."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tokenizers import Encoding
from transformers import PreTrainedTokenizerBase

from safr.errors import InputError

Span = tuple[int, int]
"""First character and the one after the last."""


_SPACES = ("Ġ", "▁")
"""How byte-level BPE and SentencePiece write the space that begins a word."""


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


def find_word_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the tokens that continue the word before them, and of those that nothing continues.

    Known by the vocabulary alone, so that a model can tell from the ids it is given: WordPiece marks what continues a
    word, byte-level BPE and SentencePiece mark what begins one, and a word-level tokenizer has no pieces. Punctuation,
    white space and special tokens are words of their own: they neither continue a word nor are continued.

    Raises:
        InputError: The tokenizer is not a fast one, or marks where words end, so that a token's id doesn't tell.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{type(tokenizer).__name__} is not a fast tokenizer, so its pieces of words can't be told")
    if getattr(backend.model, "end_of_word_suffix", None):
        raise InputError(f"{type(tokenizer).__name__} marks where words end, not where they begin; whole_words=False")
    vocabulary = tokenizer.get_vocab()
    prefix = getattr(backend.model, "continuing_subword_prefix", None)
    if prefix:
        marked = {number for token, number in vocabulary.items() if token.startswith(prefix)}
    else:
        marks = Counter(token[0] for token in vocabulary if token.startswith(_SPACES))
        mark = marks.most_common(1)[0][0] if marks else ""
        marked = {number for token, number in vocabulary.items() if not token.startswith(mark)}
    closed = {number for token, number in vocabulary.items() if _stands_alone(tokenizer, token, prefix or "")}
    closed |= set(tokenizer.all_special_ids)
    return frozenset(marked - closed), frozenset(closed)


@dataclass(frozen=True)
class EncodedText:
    """One text, or a pair of them, as a model reads it and as a person does."""

    ids: tuple[int, ...]
    """Token ids, special tokens included."""

    words: tuple[str, ...]
    """The words that were kept, in order, as they stand in the text."""

    word_of_token: tuple[int | None, ...]
    """Index of each token's word; None for special tokens and white space, which never count."""

    truncated: bool
    """Whether the text went on after the last token."""

    second: int | None = None
    """Index of the second text's first word, which is the number of the first one's; None where there is no pair."""

    token_types: tuple[int, ...] = ()
    """Token type ids, which tell a pair's texts apart; empty where the tokenizer makes none."""

    @property
    def text_of_word(self) -> tuple[int, ...]:
        """For each word the text that it is from: 0, or 1 for the second of a pair."""
        return tuple(int(self.second is not None and word >= self.second) for word in range(len(self.words)))

    def without(self, deleted: Collection[int]) -> EncodedText:
        """The text with some words' tokens taken out of the sequence, never decoded and tokenised again."""
        kept = [n for n, word in enumerate(self.word_of_token) if word is None or word not in deleted]
        renumbered = {old: new for new, old in enumerate(n for n in range(len(self.words)) if n not in deleted)}
        words = [self.word_of_token[n] for n in kept]
        return EncodedText(
            ids=tuple(self.ids[n] for n in kept),
            words=tuple(self.words[n] for n in renumbered),
            word_of_token=tuple(None if word is None else renumbered[word] for word in words),
            truncated=self.truncated,
            second=None if self.second is None else sum(word < self.second for word in renumbered),
            token_types=tuple(self.token_types[n] for n in kept) if self.token_types else (),
        )


def replace_surrogates(text: str) -> str:
    r"""The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD.

    >>> replace_surrogates("a\ud800b")
    'a\ufffdb'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[str | tuple[str, str]], max_tokens: int | None = None
) -> list[EncodedText]:
    """Tokenize texts, or pairs of them, and say which word each token belongs to.

    `find_word_spans` says what a word is.

    Args:
        tokenizer: A fast tokenizer, which knows where its tokens stand in a text.
        texts: Any strings, or pairs such as a premise and a hypothesis.
        max_tokens: Tokens kept of each text, special ones included; of a pair the longer text is cut first. Default:
            all.

    Raises:
        InputError: The tokenizer is not a fast one, or `max_tokens` leaves no room beside its special tokens.
    """
    check_fast_tokenizer(tokenizer)
    parts = [tuple(replace_surrogates(part) for part in ([text] if isinstance(text, str) else text)) for text in texts]
    special = special_token_ids(tokenizer)
    types = "token_type_ids" in tokenizer.model_input_names
    encoded: dict[int, EncodedText] = {}
    for count in (1, 2):  # a tokenizer takes a list of texts or one of pairs
        numbers = [number for number, text in enumerate(parts) if len(text) == count]
        made = tokenize(tokenizer, [parts[number] for number in numbers], max_tokens) if numbers else []
        for number, encoding in zip(numbers, made, strict=True):
            encoded[number] = _encoded(parts[number], encoding, special, types)
    return [encoded[number] for number in range(len(texts))]


def check_fast_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError where a tokenizer is not a fast one."""
    if not tokenizer.is_fast:
        raise InputError(
            f"expected a fast tokenizer, got {type(tokenizer).__name__}, which can't say where its tokens stand in a "
            "text; use one that the tokenizers library runs (it comes as a tokenizer.json)"
        )


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_tokens: int | None = None
) -> list[Encoding]:
    """What the tokenizer itself makes of texts, as tuples of one, or of pairs: ids and places, without words.

    Args:
        tokenizer: A fast tokenizer.
        texts: At least one, all from `replace_surrogates`; all texts or all pairs.
        max_tokens: See `encode`.

    Raises:
        InputError: `max_tokens` leaves no room beside the special tokens.
    """
    columns = [list(column) for column in zip(*texts, strict=True)]
    limit: dict[str, Any] = {}
    if max_tokens is not None:
        special = tokenizer.num_special_tokens_to_add(pair=len(columns) > 1)
        if max_tokens < special:
            raise InputError(
                f"`max_tokens` must be at least {special}, the special tokens around a text, got {max_tokens}"
            )
        limit = {"truncation": True, "max_length": max_tokens}
    return tokenizer(*columns, add_special_tokens=True, **limit).encodings


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All special ids but those that stand for words: unknown words count, and so do masked ones."""
    # One token may serve as padding and as the unknown word's, as in GPT-2; then padding is known by the mask alone.
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}


def _without_white_space(text: str, start: int, end: int) -> Span:
    shown = text[start:end].lstrip()
    first = end - len(shown)
    return first, first + len(shown.rstrip())


def _has_white_space(text: str) -> bool:
    return any(character.isspace() for character in text)


def _stands_alone(tokenizer: PreTrainedTokenizerBase, token: str, prefix: str) -> bool:
    """Whether a token is punctuation or white space; a lone mark of a space is the beginning of a word."""
    if token in _SPACES:
        return False
    text = tokenizer.convert_tokens_to_string([token]).removeprefix(prefix).strip()
    return all(character in string.punctuation for character in text)


def _encoded(texts: Sequence[str], encoding: Encoding, special: Collection[int], types: bool) -> EncodedText:
    """One text or two with the words of both, the first one's first."""
    words: list[str] = []
    owners: list[int | None] = [None] * len(encoding.ids)
    before = 0
    for number, text in enumerate(texts):
        # A special token is no word even where somebody wrote it into the text: a model can't tell the two apart.
        groups = [
            None if token in special or sequence != number else group
            for token, sequence, group in zip(encoding.ids, encoding.sequence_ids, encoding.word_ids, strict=True)
        ]
        spans, found = find_word_spans(text, encoding.offsets, groups)
        owners = [owner if word is None else word + len(words) for owner, word in zip(owners, found, strict=True)]
        before = len(words)
        words += [text[start:end] for start, end in spans]
    return EncodedText(
        ids=tuple(encoding.ids),
        words=tuple(words),
        word_of_token=tuple(owners),
        truncated=bool(encoding.overflowing),
        second=before if len(texts) > 1 else None,
        token_types=tuple(encoding.type_ids) if types else (),
    )
