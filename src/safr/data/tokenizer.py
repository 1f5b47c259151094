"""Trains tokenizers: sub-words for text as people write it, and the paper's words, split at white space."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Iterable

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE, WordLevel
from tokenizers.processors import TemplateProcessing
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from safr.data.encoding import replace_surrogates
from safr.data.segmentation import SPACELESS
from safr.data.splits import Text, split_pair

PADDING, UNKNOWN, MASK, SEPARATOR = "[PAD]", "[UNK]", "[MASK]", "[SEP]"

SUBWORDS = 4_000
"""Size of the vocabulary of sub-words; chosen on the dev split of `rotten_tomatoes`."""

_INVISIBLE = "[\u00ad\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]"  # soft hyphens, marks of direction, ...
_CONTINUES = "##"  # begins a sub-word that is not a word's first
_LETTER = rf"[[\p{{L}}\p{{N}}_]&&[^{SPACELESS}]]"
_LETTER_OR_MARK = rf"[[\p{{L}}\p{{M}}\p{{N}}_\u200c\u200d]&&[^{SPACELESS}]]"  # and the joiners of Persian and Hindi
_PARTS = "|".join(
    [
        r"(?:https?://|www\.)[^\s<>\"]*[^\s<>\".,;:!?)'\]]",  # an address
        r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+",  # an e-mail address
        r"&(?:#\d+|#x[\da-fA-F]+|[a-zA-Z]+);",  # an HTML entity
        rf"[@#]?{_LETTER}{_LETTER_OR_MARK}*(?:(?:'{_LETTER}|(?<=\d)[.,]\d){_LETTER_OR_MARK}*)*",  # don't, 1,000, #film
        r"([^\s\w])\1+",  # ..., !!!, **
        r"(?!\s)\X",  # any other grapheme cluster
    ]
)
"""What sub-words never cross, as an expression of Oniguruma. Scripts without spaces come one character a part."""


def train_subword_tokenizer(texts: Iterable[Text], *, vocabulary_size: int = SUBWORDS) -> PreTrainedTokenizerFast:
    """A tokenizer for text as people write it, which can read any text: no word is unknown to it.

    Its sub-words are learned by byte pair encoding (Sennrich et al. 2016) over the bytes of the training texts. Before
    that, letters become lower case, compatibility forms plain (Unicode's NFKC) and typographic quotes straight, soft
    hyphens and marks of direction go, and words, numbers, addresses and punctuation are parted.

    Args:
        texts: The training texts, or pairs.
        vocabulary_size: Most sub-words, among them each of the 256 bytes twice, at a word's beginning and inside one.

    Returns:
        A tokenizer that puts no special tokens around a text, and [SEP] between the texts of a pair if there are pairs.

    >>> tokenizer = train_subword_tokenizer(["a good film", "a good day"] * 2)
    >>> tokenizer.tokenize("A good-day!")
    ['a', 'good', '-', 'day', '!']
    """
    parts, separator = _split_pairs(texts)
    tokenizer = Tokenizer(BPE(continuing_subword_prefix=_CONTINUES))
    tokenizer.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex("[\u2018\u2019]"), "'"),
            normalizers.Replace(Regex("[\u201c\u201d]"), '"'),
            normalizers.Replace("\u200b", " "),
            normalizers.Replace(Regex(_INVISIBLE), ""),
        ]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PARTS), "removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = BpeTrainer(
        vocab_size=vocabulary_size,
        min_frequency=2,
        # Bytes inside words are given a number here: those that training has not met would vanish from texts, and it
        # numbers the others in an order that changes from one process to the next, and with it what it learns.
        special_tokens=[PADDING, MASK, *separator, *(f"{_CONTINUES}{byte}" for byte in alphabet)],
        initial_alphabet=alphabet,
        continuing_subword_prefix=_CONTINUES,
        show_progress=False,
    )
    tokenizer.train_from_iterator(map(replace_surrogates, parts), trainer)
    tokenizer = _keep_special(tokenizer, (PADDING, MASK, *separator))
    return PreTrainedTokenizerFast(
        tokenizer_object=_separate_pairs(tokenizer, *separator),
        pad_token=PADDING,
        mask_token=MASK,
        sep_token=next(iter(separator), None),
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )


def train_word_tokenizer(texts: Iterable[Text], *, minimum_count: int = 2) -> PreTrainedTokenizerFast:
    """The tokenizer of the paper's recipe, whose vocabulary holds the frequent words of the training texts.

    Source: the authors' published code, which keeps the case of words and splits at white space only.

    Args:
        texts: The training texts, or pairs.
        minimum_count: How often a word must occur; rarer words share the unknown token.

    Returns:
        A tokenizer that puts no special tokens around a text, and [SEP] between the texts of a pair if there are pairs;
        ids follow the order in which words first occur.

    >>> tokenizer = train_word_tokenizer(["a good film", "a good day"])
    >>> tokenizer("a bad film")["input_ids"]
    [2, 1, 1]
    """
    parts, separator = _split_pairs(texts)
    counts = Counter(word for text in parts for word in replace_surrogates(text).split())
    special = [PADDING, UNKNOWN, *separator]
    words = [word for word, count in counts.items() if count >= minimum_count and word not in special]
    vocabulary = {word: number for number, word in enumerate([*special, *words])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=_separate_pairs(tokenizer, *separator),
        pad_token=PADDING,
        unk_token=UNKNOWN,
        sep_token=next(iter(separator), None),
        model_input_names=["input_ids", "attention_mask"],
        # Cleaning up spaces would change words, and the vocabulary holds them unchanged.
        clean_up_tokenization_spaces=False,
    )


def describe_tokenizer(tokenizer: PreTrainedTokenizerBase) -> str:
    """How large a fast tokenizer's vocabulary is, of what kind, and whether there are words that it does not know.

    >>> describe_tokenizer(train_word_tokenizer(["a good film"] * 2))
    '5 tokens (WordLevel), and all other words are unknown'
    """
    model = tokenizer.backend_tokenizer.model
    spells_all = tokenizer.unk_token is None or getattr(model, "byte_fallback", False)
    if spells_all or (isinstance(model, BPE) and model.unk_token is None):
        unknown = "no word is unknown"
    elif isinstance(model, WordLevel):
        unknown = "all other words are unknown"
    else:
        unknown = "words that they can't spell are unknown"
    return f"{len(tokenizer):,} tokens ({type(model).__name__}), and {unknown}"


def _split_pairs(texts: Iterable[Text]) -> tuple[list[str], list[str]]:
    """The single texts, and the token that separates those of pairs, or none where there are no pairs."""
    texts = list(texts)
    parts = [part for text in texts for part in split_pair(text)]
    return parts, [SEPARATOR] if len(parts) > len(texts) else []


def _separate_pairs(tokenizer: Tokenizer, *separator: str) -> Tokenizer:
    """The tokenizer, which now puts the separator between the texts of a pair."""
    for token in separator:
        number = tokenizer.token_to_id(token)
        tokenizer.post_processor = TemplateProcessing(
            single="$A", pair=f"$A {token} $B", special_tokens=[(token, number)]
        )
    return tokenizer


def _keep_special(tokenizer: Tokenizer, tokens: Collection[str]) -> Tokenizer:
    """The tokenizer with these special tokens alone; its others stay in the vocabulary and are found in words only."""
    content = json.loads(tokenizer.to_str())
    content["added_tokens"] = [token for token in content["added_tokens"] if token["content"] in tokens]
    return Tokenizer.from_str(json.dumps(content))
