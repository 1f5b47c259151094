"""A tokenizer in; which of its tokens continue the word of the token before them out."""

from __future__ import annotations

import string
from collections import Counter

from transformers import PreTrainedTokenizerBase

from safr.errors import InputError

_SPACES = ("Ġ", "▁")
"""How byte-level BPE and SentencePiece write the space that begins a word."""


def continuing_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Ids of the tokens that continue a word; punctuation and special tokens are words of their own.

    Known by the vocabulary alone, so that a model can tell from the ids it is given: WordPiece marks what continues a
    word, byte-level BPE and SentencePiece mark what begins one, and a word-level tokenizer has no pieces.

    Raises:
        InputError: The tokenizer is not a fast one, or marks where words end, so that a token's id doesn't tell.
    """
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise InputError(f"{type(tokenizer).__name__} is not a fast tokenizer, so its pieces of words can't be told")
    if getattr(backend.model, "end_of_word_suffix", None):
        raise InputError(f"{type(tokenizer).__name__} marks where words end, not where they begin; whole_words=False")
    vocabulary = {token: number for token, number in tokenizer.get_vocab().items() if not _is_word(token)}
    special = set(tokenizer.all_special_ids)
    if prefix := getattr(backend.model, "continuing_subword_prefix", None):
        found = {number for token, number in vocabulary.items() if token.startswith(prefix)}
    else:
        marks = Counter(token[0] for token in vocabulary if token.startswith(_SPACES))
        mark = marks.most_common(1)[0][0] if marks else ""
        found = {number for token, number in vocabulary.items() if not token.startswith(mark)}
    return frozenset(found - special)


def _is_word(token: str) -> bool:
    return all(character in string.punctuation for character in token)
