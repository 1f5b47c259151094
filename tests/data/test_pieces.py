import pytest
from tokenizers import Tokenizer, models
from transformers import CLIPTokenizer, PreTrainedTokenizer, PreTrainedTokenizerFast

from safr.data.pieces import find_word_pieces
from safr.data.tokenizer import train_word_tokenizer
from safr.errors import InputError
from tests.tiny_tokenizers import FAMILIES, tokenizer

WORDPIECE = ["[UNK]", "film", "##s", "##ing", ",", "un"]
BYTE_LEVEL = ["<unk>", "\u0120film", "film", "s", "\u0120", ",", "\u0120("]
METASPACE = ["<unk>", "\u2581film", "s", "\u2581", ",", "\u2581("]


def fast(model, unknown):
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(model), unk_token=unknown)


def numbered(tokens):
    return {token: number for number, token in enumerate(tokens)}


@pytest.mark.parametrize(
    ("model", "tokens", "continuing"),
    [
        (models.WordPiece(numbered(WORDPIECE), unk_token="[UNK]"), WORDPIECE, {"##s", "##ing"}),
        (models.BPE(numbered(BYTE_LEVEL), [], unk_token="<unk>"), BYTE_LEVEL, {"film", "s"}),
        (models.BPE(numbered(METASPACE), [], unk_token="<unk>"), METASPACE, {"s"}),
        (models.Unigram([(token, -1.0) for token in METASPACE], 0), METASPACE, {"s"}),
    ],
    ids=["WordPiece", "byte-level BPE", "SentencePiece BPE", "Unigram"],
)
def test_what_continues_a_word_is_known_by_its_mark(model, tokens, continuing):
    assert {tokens[number] for number in find_word_pieces(fast(model, tokens[0]))[0]} == continuing


@pytest.mark.parametrize("family", FAMILIES)
def test_special_tokens_and_punctuation_are_words_of_their_own(family):
    words, (continuing, closing) = tokenizer(family), find_word_pieces(tokenizer(family))
    vocabulary = words.get_vocab()
    alone = set(words.all_special_ids) | {vocabulary[mark] for mark in (",", ":", "'") if mark in vocabulary}
    assert continuing
    assert not continuing & alone
    assert alone <= closing


def test_a_word_level_tokenizer_has_no_pieces():
    continuing, _ = find_word_pieces(train_word_tokenizer(["a good film", "a good film"]))
    assert continuing == frozenset()


class Slow(PreTrainedTokenizer):
    vocab_size = 1

    def get_vocab(self):
        return {"a": 0}


def test_a_tokenizer_that_does_not_tell_is_refused():
    with pytest.raises(InputError, match="Slow is not a fast tokenizer"):
        find_word_pieces(Slow())
    clip = CLIPTokenizer(vocab={"a</w>": 0, "<|startoftext|>": 1, "<|endoftext|>": 2}, merges=[])
    with pytest.raises(InputError, match="CLIPTokenizer marks where words end, not where they begin"):
        find_word_pieces(clip)
