"""The paper's word-level tokenizer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast

from safr.data.encoding import replace_surrogates

PADDING, UNKNOWN = "[PAD]", "[UNK]"


def train_word_tokenizer(texts: Iterable[str], *, minimum_count: int = 2) -> PreTrainedTokenizerFast:
    """The tokenizer of the paper's recipe, whose vocabulary holds the frequent words of the training texts.

    Source: the authors' published code, which keeps the case of words and splits at white space only.

    Args:
        texts: The training texts.
        minimum_count: How often a word must occur; rarer words share the unknown token.

    Returns:
        A tokenizer that puts no special tokens around a text; ids follow the order in which words first occur.

    >>> tokenizer = train_word_tokenizer(["a good film", "a good day"])
    >>> tokenizer("a bad film")["input_ids"]
    [2, 1, 1]
    """
    counts = Counter(word for text in texts for word in replace_surrogates(text).split())
    words = [word for word, count in counts.items() if count >= minimum_count and word not in (PADDING, UNKNOWN)]
    vocabulary = {word: number for number, word in enumerate([PADDING, UNKNOWN, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PADDING,
        unk_token=UNKNOWN,
        model_input_names=["input_ids", "attention_mask"],
        # Cleaning up spaces would change words, and the vocabulary holds them unchanged.
        clean_up_tokenization_spaces=False,
    )
