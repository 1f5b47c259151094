"""A tokenizer in; which of its tokens continue a word, and which close one, out."""

from __future__ import annotations

import string
from collections import Counter

from transformers import PreTrainedTokenizerBase

from safr.errors import InputError

_SPACES = ("Ġ", "▁")
"""How byte-level BPE and SentencePiece write the space that begins a word."""


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


def _stands_alone(tokenizer: PreTrainedTokenizerBase, token: str, prefix: str) -> bool:
    """Whether a token is punctuation or white space; a lone mark of a space is the beginning of a word."""
    if token in _SPACES:
        return False
    text = tokenizer.convert_tokens_to_string([token]).removeprefix(prefix).strip()
    return all(character in string.punctuation for character in text)
