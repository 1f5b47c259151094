"""Tokenizes texts, finds their words, and says which word a token belongs to."""

from __future__ import annotations

import json
import string
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Integral
from typing import Any

from tokenizers import Encoding, Tokenizer
from transformers import PreTrainedTokenizerBase

from safr.data.segmentation import find_boundaries
from safr.data.splits import Text, split_pair
from safr.errors import InputError, describe_value, shorten_text

Span = tuple[int, int]
"""First character and the one after the last."""

_SPACES = ("Ġ", "▁")
"""How byte-level BPE and SentencePiece write the space that begins a word."""

_MOST_NAMED, _LONGEST_NAMED = 5, 18
"""How many words a sentence names, and how many characters of each."""


def find_word_spans(
    text: str, tokens: Sequence[Span], groups: Sequence[int | None]
) -> tuple[list[Span], list[int | None]]:
    """The words of a text, as its tokenizer sees them and cut at white space, and the word of every token.

    Differs from the paper: words may be made of several tokens, where the paper's are one each.

    Two neighbouring tokens belong to one word if the tokenizer gives both the same group and no white space lies
    between them, or if they share a character, as the byte tokens of one character do. In scripts that write no spaces,
    and inside what is read as one character, `find_boundaries` decides in place of the tokenizer. A token is never cut:
    a token with white space inside joins the words around it. A token of white space alone, such as the mark of a
    word's beginning, belongs to the word after it if the tokenizer gives both the same group, and otherwise to no word.

    Args:
        text: The text.
        tokens: Spans of the tokens; white space at the ends of a token is not part of a word.
        groups: For every token the tokenizer's number of its word; None for a token without a word.

    Returns:
        Spans of the words, in the order of the text, without overlap and without white space at their ends; and for
        every token the index of its word, or None.

    >>> find_word_spans("so so", [(0, 2), (2, 4), (4, 5)], [0, 0, 0])
    ([(0, 2), (3, 5)], [0, 1, 1])
    """
    spans: list[Span] = []
    word_of_token: list[int | None] = []
    boundaries = find_boundaries(text)
    group_of_last, marks = None, 0  # marks: number of empty tokens of the same group directly before this one
    for number, ((start, end), group) in enumerate(zip(tokens, groups, strict=True)):
        marks = marks if number and group == groups[number - 1] else 0
        if len(text[start:end].strip()) != end - start:  # seldom, and a call costs more than all else here
            start, end = trim_span(text, start, end)
        word_of_token.append(None)
        if group is None or start == end:
            marks += 1
            continue
        last = spans[-1][1] if spans else 0
        is_new = group != group_of_last or _has_white_space(text[last:start])
        if start == last:
            is_new = boundaries.get(start, is_new)
        if spans and (start < last or not is_new):
            spans[-1] = spans[-1][0], max(last, end)
        else:
            spans.append((start, end))
        word_of_token[number - marks :] = [len(spans) - 1] * (marks + 1)
        group_of_last, marks = group, 0
    return spans, word_of_token


def find_word_pieces(tokenizer: PreTrainedTokenizerBase) -> tuple[frozenset[int], frozenset[int]]:
    """Ids of the tokens that continue the word before them, and of those that no token continues.

    Both follow from the vocabulary alone, so a model can tell them from its input ids. WordPiece marks the tokens that
    continue a word, byte-level BPE and SentencePiece mark those that begin one, and a word-level tokenizer has no
    pieces. Punctuation, white space and special tokens are whole words: they neither continue a word nor are continued.

    Raises:
        InputError: The tokenizer is not a fast one, or it marks the ends of words, so a token's id doesn't tell.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(
            f"{type(tokenizer).__name__} is not a fast tokenizer, so the pieces of a word can't be recognised"
        )
    if getattr(backend.model, "end_of_word_suffix", None):
        raise InputError(
            f"{type(tokenizer).__name__} marks where words end, not where they begin; pass whole_words=False"
        )
    vocabulary = tokenizer.get_vocab()
    prefix = getattr(backend.model, "continuing_subword_prefix", None)
    if prefix:
        continuing = {number for token, number in vocabulary.items() if token.startswith(prefix)}
    else:
        marks = Counter(token[0] for token in vocabulary if token.startswith(_SPACES))
        mark = marks.most_common(1)[0][0] if marks else ""
        continuing = {number for token, number in vocabulary.items() if not token.startswith(mark)}
    standalone = {number for token, number in vocabulary.items() if _stands_alone(tokenizer, token, prefix or "")}
    standalone |= set(tokenizer.all_special_ids)
    return frozenset(continuing - standalone), frozenset(standalone)


@dataclass(frozen=True)
class EncodedText:
    """One text or a pair of texts: the token ids that a model reads and the words that a person reads."""

    ids: tuple[int, ...]
    """Token ids, special tokens included."""

    words: tuple[str, ...]
    """The words that were kept, in order and spelled as in the text."""

    word_of_token: tuple[int | None, ...]
    """Index of every token's word; None for special tokens and white space, which never count."""

    truncated: bool
    """Whether the text was longer than it was allowed to be, so that something of it was left out."""

    second: int | None = None
    """Index of the second text's first word, which equals the number of words in the first; None for a single text."""

    token_types: tuple[int, ...] = ()
    """Token type ids, which tell the texts of a pair apart; empty if the tokenizer makes none."""

    unknown: frozenset[int] = frozenset()
    """Indices of the words that were not read as they are: to the model, all unknown tokens are one and the same."""

    asked: tuple[int, ...] = ()
    """Indices of the words that are asked about, next to each other: the word whose tag is explained, or an answer.
    They are never deleted. Empty where the model says something about the whole text."""

    asked_tokens: tuple[int, ...] = ()
    """Positions of the first and of the last token that is asked about; empty like `asked`."""

    asked_text: str = ""
    """What is asked about as it stands in the text, as far as it is read."""

    rivals: tuple[EncodedText, ...] = ()
    """Of a question with one of its choices, the same question with each of the others."""

    cut_at_start: bool = False
    """Whether what is left out of a long text stands at its beginning, and not at its end."""

    @cached_property
    def text_of_word(self) -> tuple[int, ...]:
        """Index of the text that a word is from: 0, or 1 for the second text of a pair."""
        first = len(self.words) if self.second is None else self.second
        return (0,) * first + (1,) * (len(self.words) - first)

    @cached_property
    def group_of_word(self) -> tuple[int, ...]:
        """The same, with 2 for the words that are asked about: words are deleted from the texts 0 and 1 alone."""
        return tuple(2 if word in self.asked else text for word, text in enumerate(self.text_of_word))

    @property
    def most_deletable(self) -> int:
        """How many words can be deleted together: of each text one stays, and so do those that are asked about."""
        return len(self.words) - len(self.asked) - len({group for group in self.group_of_word if group < 2})

    def without_end(self, count: int) -> EncodedText:
        """The text without its last tokens, which belong to no word."""
        if not count:
            return self
        return replace(
            self,
            ids=self.ids[:-count],
            word_of_token=self.word_of_token[:-count],
            token_types=self.token_types[:-count],
        )

    @property
    def is_unknown(self) -> tuple[bool, ...]:
        """For every word whether it was not read as it is."""
        if not self.unknown:
            return (False,) * len(self.words)
        return tuple(word in self.unknown for word in range(len(self.words)))

    def without(self, deleted: Collection[int]) -> EncodedText:
        """The text without the tokens of the deleted words; it is not decoded and tokenized again."""
        deleted = set(deleted).difference(self.asked) if self.asked else deleted
        kept = [token for token, word in enumerate(self.word_of_token) if word is None or word not in deleted]
        kept_words = (word for word in range(len(self.words)) if word not in deleted)
        new_index = {word: index for index, word in enumerate(kept_words)}
        words = [self.word_of_token[token] for token in kept]
        return EncodedText(
            ids=tuple(self.ids[token] for token in kept),
            words=tuple(self.words[word] for word in new_index),
            word_of_token=tuple(None if word is None else new_index[word] for word in words),
            truncated=self.truncated,
            second=None if self.second is None else sum(word < self.second for word in new_index),
            token_types=tuple(self.token_types[token] for token in kept) if self.token_types else (),
            unknown=frozenset(new_index[word] for word in self.unknown if word in new_index),
            asked=tuple(new_index[word] for word in self.asked),
            asked_tokens=tuple(kept.index(token) for token in self.asked_tokens),
            asked_text=self.asked_text,
            rivals=tuple(rival.without(self._find_shared(deleted, rival)) for rival in self.rivals),
            cut_at_start=self.cut_at_start,
        )

    def with_token(self, token: int, words: Collection[int]) -> EncodedText:
        """The text with one token in the place of every token of some words."""
        ids_and_words = zip(self.ids, self.word_of_token, strict=True)
        return replace(
            self,
            ids=tuple(token if word in words else token_id for token_id, word in ids_and_words),
            rivals=tuple(rival.with_token(token, self._find_shared(words, rival)) for rival in self.rivals),
        )

    @property
    def model_input(self) -> tuple[Any, ...]:
        """All that decides what a model says about it."""
        return self.ids, self.token_types, self.asked_tokens, tuple(rival.model_input for rival in self.rivals)

    def _find_shared(self, words: Collection[int], rival: EncodedText) -> set[int]:
        """Numbers, in a rival, of those of some words that stand in the question itself, as far as it has read it."""
        own, others = self.second or 0, rival.second or 0
        shift = others - own if self.cut_at_start else 0  # beside a longer choice, less of the question is read
        return {word + shift for word in words if word < own and 0 <= word + shift < others}


def replace_surrogates(text: str) -> str:
    r"""The text with lone surrogates, which no tokenizer takes, replaced by U+FFFD.

    >>> replace_surrogates("a\ud800b")
    'a\ufffdb'
    """
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[Text],
    max_tokens: int | None = None,
    *,
    places: Sequence[Span] | None = None,
) -> list[EncodedText]:
    """The tokens and the words of texts, or of pairs of texts.

    `find_word_spans` says what a word is.

    Args:
        tokenizer: A fast tokenizer, which knows the spans of its tokens.
        texts: Any strings, or pairs such as a premise and a hypothesis; see `read_texts`.
        max_tokens: Most tokens of a text, special ones included; of a pair the longer text is cut first. Default: no
            limit.
        places: What is asked about in every text, or in the second text of a pair. Where none of it is read, `asked`
            is empty. Default: the whole texts.

    Raises:
        InputError: The tokenizer is not a fast one, a text is neither a string nor a tuple of two, or `max_tokens` is
            below the number of its special tokens.
    """
    check_fast_tokenizer(tokenizer)
    check_max_tokens(max_tokens)
    parts = [tuple(map(replace_surrogates, split_pair(text))) for text in read_texts(texts)]
    special_ids = special_token_ids(tokenizer)
    unknown_id: int | None = tokenizer.unk_token_id  # once, since the tokenizer looks it up each time
    has_token_types = "token_type_ids" in tokenizer.model_input_names
    cut_at_start = tokenizer.truncation_side == "left"
    encoded: dict[int, EncodedText] = {}
    for count in (1, 2):  # a tokenizer takes a list of texts or one of pairs
        indices = [index for index, text in enumerate(parts) if len(text) == count]
        encodings = tokenize(tokenizer, [parts[index] for index in indices], max_tokens) if indices else []
        for index, encoding in zip(indices, encodings, strict=True):
            text = _build_encoded_text(
                parts[index], encoding, special_ids, unknown_id, has_token_types, cut_at_start=cut_at_start
            )
            encoded[index] = text if places is None else _ask_about(text, encoding, parts[index][-1], places[index])
    return [encoded[index] for index in range(len(parts))]


def find_tokens(encoding: Encoding, place: Span) -> list[int]:
    """The tokens that share a character with a place in the text, or in the second text of a pair."""
    start, end = place
    last_text = max((number for number in encoding.sequence_ids if number is not None), default=0)
    return [
        token
        for token, ((first, last), text) in enumerate(zip(encoding.offsets, encoding.sequence_ids, strict=True))
        if first < last and first < end and last > start and text == last_text
    ]


def find_span(read: EncodedText, encoding: Encoding, text: str, tokens: Span) -> Span:
    """Where the tokens from the first to the last stand in a text, or in the second text of a pair.

    Where they show nothing, as a mark of a word's beginning does, it is the place of the word that they are from.
    """
    first, last = tokens
    start, end = encoding.offsets[first][0], encoding.offsets[last][1]
    if text[start:end].strip():
        return start, end
    return start, max(
        encoding.offsets[token][1] for token, word in enumerate(read.word_of_token) if word == read.word_of_token[last]
    )


def ask_about_tokens(read: EncodedText, encoding: Encoding, text: str, tokens: Span) -> EncodedText:
    """What was read of a text with the tokens from the first to the last as what is asked about.

    Args:
        read: The text, or a pair.
        encoding: The tokenizer's encoding of it.
        text: The text that the tokens are from: of a pair, the second.
        tokens: Positions of the first and of the last token, both of words.
    """
    first, last = tokens
    start, end = find_span(read, encoding, text, tokens)
    words = dict.fromkeys(word for word in read.word_of_token[first : last + 1] if word is not None)
    return replace(read, asked=tuple(words), asked_tokens=(first, last), asked_text=text[start:end].strip())


def has_order(values: Any) -> bool:
    """Whether these are values that come one after the other, as of a list, an array or a generator; a text is none."""
    return isinstance(values, Iterable) and not isinstance(values, str | bytes | bytearray | Mapping | Set)


def read_texts(texts: Iterable[Any]) -> list[Text]:
    """Texts from a list, tuple, array, column or other iterable of them, each checked by `check_text`.

    Raises:
        InputError: It is a single text, has no order or more than one dimension, or holds something that is no text.
    """
    if not has_order(texts) or getattr(texts, "ndim", 1) != 1:
        raise InputError(f"expected a list of texts, got {describe_value(texts)}")
    return [check_text(text, f"text {number}: ") for number, text in enumerate(texts)]


def is_pair(text: Any) -> bool:
    """Whether this is a pair of texts: a tuple of exactly two strings."""
    return isinstance(text, tuple) and len(text) == 2 and all(isinstance(part, str) for part in text)


def check_text(text: Any, place: str = "") -> Text:
    """The text if it is one: a string (numpy's too), or a tuple of two strings, which is a pair.

    Args:
        text: Anything.
        place: Begins the error's message.

    Raises:
        InputError: It is something else. A list is never a pair, since it may as well be a list of texts.
    """
    if isinstance(text, str):
        return str(text)
    if is_pair(text):
        return str(text[0]), str(text[1])
    raise InputError(f"{place}expected a text or a pair of texts as a tuple, got {describe_value(text)}")


def check_max_tokens(max_tokens: Any) -> None:
    """Raise an InputError unless this is None or a whole number above 0."""
    is_whole = isinstance(max_tokens, Integral) and not isinstance(max_tokens, bool)
    if max_tokens is not None and (not is_whole or max_tokens < 1):
        raise InputError(f"`max_tokens` must be a whole number above 0, got {describe_value(max_tokens)}")


def describe_left_out(tokenizer: PreTrainedTokenizerBase, text: Text, read: EncodedText) -> tuple[int, str]:
    """How many words of a text were not read, and a sentence that says where; 0 and "" where all was read.

    A word of which a part was read counts as read.

    Args:
        tokenizer: The tokenizer that has read it.
        text: The text.
        read: What was read of it.
    """
    if not read.truncated:
        return 0, ""
    whole = encode(tokenizer, [text])[0]
    place = "at the beginning" if tokenizer.truncation_side == "left" else "at the end"
    names = ("",) if whole.second is None else (" of the first text", " of the second text")
    counts = [whole.text_of_word.count(number) - read.text_of_word.count(number) for number in range(len(names))]
    parts = [
        f"{count:,} {'word' if count == 1 else 'words'} {place}{name}"
        for count, name in zip(counts, names, strict=True)
        if count > 0
    ]
    left_out = sum(max(count, 0) for count in counts)
    if not parts:
        return 0, f"A part of a word was left out {place}."
    return left_out, f"{' and '.join(parts)} {'was' if left_out == 1 else 'were'} left out."


def describe_unknown(words: Sequence[str], unknown: Sequence[bool]) -> str:
    """Which words the tokenizer does not know, as a sentence; "" where it knows all.

    Args:
        words: The words of a text.
        unknown: Whether the tokenizer does not know the word, one per word, or nothing at all where that isn't told.

    >>> describe_unknown(("a", "masterpiece.", "Brilliant!"), (False, True, True))
    '2 of 3 words are unknown to the tokenizer, so the model did not read them (“masterpiece.”, “Brilliant!”).'
    """
    count = sum(unknown)
    if not count:
        return ""
    names = list(dict.fromkeys(word for word, is_unknown in zip(words, unknown, strict=True) if is_unknown))
    more = f" and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
    listed = ", ".join(f"“{shorten_text(name, _LONGEST_NAMED)}”" for name in names[:_MOST_NAMED])
    verb, pronoun = ("is", "it") if count == 1 else ("are", "them")
    return (
        f"{count:,} of {len(words):,} {'word' if len(words) == 1 else 'words'} {verb} unknown to the tokenizer, "
        f"so the model did not read {pronoun} ({listed}{more})."
    )


def check_fast_tokenizer(tokenizer: PreTrainedTokenizerBase) -> None:
    """Raise an InputError for what is no tokenizer, or none that is fast."""
    if not isinstance(tokenizer, PreTrainedTokenizerBase):
        raise InputError(f"expected a tokenizer, got {describe_value(tokenizer)}{_advise_about_tokenizer(tokenizer)}")
    if not tokenizer.is_fast:
        raise InputError(
            f"expected a fast tokenizer, got {type(tokenizer).__name__}, which can't say where its tokens stand in a "
            "text; use one that the tokenizers library runs (it comes as a tokenizer.json)"
        )


def tokenize(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, ...]], max_tokens: int | None = None
) -> list[Encoding]:
    """The tokenizer's own encodings of texts (tuples of one) or of pairs: ids and offsets, without our words.

    Args:
        tokenizer: A fast tokenizer.
        texts: At least one, all from `replace_surrogates`; all texts or all pairs.
        max_tokens: See `encode`.

    Raises:
        InputError: `max_tokens` is below the number of special tokens.
    """
    columns = [list(column) for column in zip(*texts, strict=True)]
    limit: dict[str, Any] = {}
    if max_tokens is not None:
        special_count = tokenizer.num_special_tokens_to_add(pair=len(columns) > 1)
        if max_tokens < special_count:
            raise InputError(
                f"`max_tokens` must be at least {special_count}, the special tokens around a text, got {max_tokens}"
            )
        limit = {"truncation": True, "max_length": int(max_tokens)}
    return tokenizer(*columns, add_special_tokens=True, **limit).encodings


def count_end_tokens(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many special tokens the tokenizer puts behind a text, such as an end token."""
    mask = tokenizer("a").encodings[0].special_tokens_mask
    return len(mask) - max((position + 1 for position, is_special in enumerate(mask) if not is_special), default=0)


def read_backend(tokenizer: PreTrainedTokenizerBase) -> dict[str, Any] | None:
    """What a fast tokenizer does, as JSON, whatever its last call has left there; None if a part of it is Python."""
    try:
        backend = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # tokenizers raises a bare Exception for such a part
        return None
    return backend | {"truncation": None, "padding": None}


def special_token_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """All special ids except those that stand for words, which are the unknown token and the mask token."""
    # One token may be both padding and the unknown token, as in GPT-2; then only the mask tells what is padding.
    return frozenset(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}


def _advise_about_tokenizer(value: Any) -> str:
    if isinstance(value, str):
        return "; load it first: AutoTokenizer.from_pretrained(...)"
    if isinstance(value, Tokenizer):
        return "; wrap it: PreTrainedTokenizerFast(tokenizer_object=...)"
    if hasattr(value, "forward") and hasattr(value, "config"):
        return "; the model comes first, then its tokenizer"
    return ""


def _ask_about(read: EncodedText, encoding: Encoding, text: str, place: Span) -> EncodedText:
    """What was read of a text with the tokens and words at a place as what is asked about; as it is where none is."""
    tokens = [token for token in find_tokens(encoding, place) if read.word_of_token[token] is not None]
    return ask_about_tokens(read, encoding, text, (tokens[0], tokens[-1])) if tokens else read


def trim_span(text: str, start: int, end: int) -> Span:
    """A place in a text without the white space at its ends."""
    visible = text[start:end].lstrip()
    first = end - len(visible)
    return first, first + len(visible.rstrip())


def _has_white_space(text: str) -> bool:
    return any(character.isspace() for character in text)


def _stands_alone(tokenizer: PreTrainedTokenizerBase, token: str, prefix: str) -> bool:
    """Whether a token is punctuation or white space; a mark of a space alone begins a word, so it is neither."""
    if token in _SPACES:
        return False
    text = tokenizer.convert_tokens_to_string([token]).removeprefix(prefix).strip()
    return all(character in string.punctuation for character in text)


def _build_encoded_text(
    texts: Sequence[str],
    encoding: Encoding,
    special_ids: Collection[int],
    unknown_id: int | None,
    has_token_types: bool,
    *,
    cut_at_start: bool,
) -> EncodedText:
    """One text or a pair with its words, those of the first text first."""
    words: list[str] = []
    word_of_token: list[int | None] = [None] * len(encoding.ids)
    words_before = 0
    for number, text in enumerate(texts):
        # A special token is no word, even if a user wrote it into the text: a model can't tell the two apart.
        groups = [
            None if token in special_ids or sequence != number else group
            for token, sequence, group in zip(encoding.ids, encoding.sequence_ids, encoding.word_ids, strict=True)
        ]
        spans, text_words = find_word_spans(text, encoding.offsets, groups)
        word_of_token = [
            previous if word is None else word + len(words)
            for previous, word in zip(word_of_token, text_words, strict=True)
        ]
        words_before = len(words)
        words += [text[start:end] for start, end in spans]
    return EncodedText(
        ids=tuple(encoding.ids),
        words=tuple(words),
        word_of_token=tuple(word_of_token),
        truncated=bool(encoding.overflowing),
        second=words_before if len(texts) > 1 else None,
        token_types=tuple(encoding.type_ids) if has_token_types else (),
        unknown=frozenset(
            word
            for token, word in zip(encoding.ids, word_of_token, strict=True)
            if token == unknown_id and word is not None
        ),
        cut_at_start=cut_at_start,
    )
