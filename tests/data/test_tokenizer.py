import subprocess
import sys
import unicodedata

import pytest
import regex
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from safr.data.encoding import encode
from safr.data.tokenizer import (
    MASK,
    PADDING,
    UNKNOWN,
    describe_tokenizer,
    train_subword_tokenizer,
    train_word_tokenizer,
)
from tests import tiny_tokenizers

TEXTS = ["a good film", "a Good day , a day", "film"]


def test_ids_are_in_the_order_in_which_words_first_occur():
    assert train_word_tokenizer(TEXTS).get_vocab() == {PADDING: 0, UNKNOWN: 1, "a": 2, "film": 3, "day": 4}


def test_words_seen_once_are_unknown():
    tokenizer = train_word_tokenizer(TEXTS)
    assert tokenizer("good , rare Good")["input_ids"] == [1, 1, 1, 1]
    assert tokenizer("day film a")["input_ids"] == [4, 3, 2]


def test_words_are_counted_over_all_texts_and_the_least_count_can_be_set():
    assert len(train_word_tokenizer(TEXTS, minimum_count=1)) == 2 + 6
    assert train_word_tokenizer(TEXTS, minimum_count=3).get_vocab() == {PADDING: 0, UNKNOWN: 1, "a": 2}


def test_words_are_split_at_white_space_alone_and_keep_their_case():
    tokenizer = train_word_tokenizer(["don't  Stop\t!\nfilm\u3000x", "don't Stop ! film x"])
    assert set(tokenizer.get_vocab()) == {PADDING, UNKNOWN, "don't", "Stop", "!", "film", "x"}
    assert tokenizer("don't\nStop stop don't!")["input_ids"] == [2, 3, 1, 1]


def test_nothing_is_put_around_a_text():
    assert train_word_tokenizer(TEXTS)("")["input_ids"] == []


@pytest.mark.parametrize("again", [1, 2])
def test_a_saved_tokenizer_comes_back_the_same(tmp_path, again):
    tokenizer = loaded = train_word_tokenizer(TEXTS)
    for _ in range(again):
        loaded.save_pretrained(tmp_path)
        loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.pad_token_id, loaded.unk_token_id) == (0, 1)
    text = ["a good\x00film , day", "[PAD] a[UNK] film", ""]
    assert loaded(text) == tokenizer(text)
    assert encode(loaded, text) == encode(tokenizer, text)
    assert loaded.decode([2, 3]) == tokenizer.decode([2, 3])


def test_a_batch_is_padded_with_the_padding_id_and_a_mask():
    padded = train_word_tokenizer(TEXTS)(["a film", "a"], padding=True)
    assert padded["input_ids"] == [[2, 3], [2, 0]]
    assert padded["attention_mask"] == [[1, 1], [1, 0]]
    assert set(padded) == {"input_ids", "attention_mask"}


def test_the_special_tokens_in_training_texts_do_not_move_their_ids():
    tokenizer = train_word_tokenizer([f"{UNKNOWN} {PADDING} film"] * 3)
    assert tokenizer.get_vocab() == {PADDING: 0, UNKNOWN: 1, "film": 2}


def test_padding_written_into_a_text_is_no_word_and_an_unknown_word_stays_one():
    encoded = encode(train_word_tokenizer(TEXTS), [f"a {PADDING} {UNKNOWN} film"])[0]
    assert encoded.words == ("a", UNKNOWN, "film")
    assert encoded.ids == (2, 0, 1, 3)
    assert encoded.word_of_token == (0, None, 1, 2)


def test_no_texts_give_a_tokenizer_that_knows_no_word():
    assert train_word_tokenizer([])("a film")["input_ids"] == [1, 1]


@given(st.lists(st.text(st.characters(exclude_categories=()))))
@example(["good\ud800 \udfff", "\x00 [PAD]"])
def test_any_texts_make_a_tokenizer_that_reads_them(texts):
    tokenizer = train_word_tokenizer(texts * 2)
    for encoded in encode(tokenizer, texts):
        assert all(0 <= token < len(tokenizer) for token in encoded.ids)


@pytest.fixture(scope="module")
def subwords():
    return train_subword_tokenizer(["A good film, a Good day.", "It wasn't well-made", "film"] * 2)


PARTS = {
    "It wasn't GOOD!": ("It", "wasn't", "GOOD", "!"),
    "It wasn\u2019t \u201cgood\u201d\u2026": ("It", "wasn\u2019t", "\u201c", "good", "\u201d", "\u2026"),
    "a well-made film... wow!!! ?!": ("a", "well", "-", "made", "film", "...", "wow", "!!!", "?", "!"),
    "3.5/5 stars, 1,000 km, 10% of 2nd": ["3.5", "/", "5", "stars", ",", "1,000", "km", ",", "10", "%", "of", "2nd"],
    "see https://a.org/b?c=1. Or mail x.y@z.org": ["see", "https://a.org/b?c=1", ".", "Or", "mail", "x.y@z.org"],
    "R&amp;D **bold** #wow @you": ["R", "&amp;", "D", "**", "bold", "**", "#wow", "@you"],
    "fan\u00adtas\u00adtic": ("fan\u00adtas\u00adtic",),
    "\u200fהסרט\u200e נפלא.": ("הסרט", "נפלא", "."),
    "zero\u200bwidth": ("zero", "width"),
    "می\u200cخواهم": ("می\u200cخواهم",),
    "👨‍👩‍👧👍🏽 🇩🇪🇫🇷": ("👨‍👩‍👧", "👍🏽", "🇩🇪", "🇫🇷"),
    "这部电影非常无聊，演员很好": ["这", "部", "电影", "非常", "无聊", "，", "演员", "很", "好"],
    "नमस्ते दुनिया": ("नमस्ते", "दुनिया"),
    "a [MASK] b": ("a", "[MASK]", "b"),
}


@pytest.mark.parametrize("text", PARTS)
def test_words_are_those_that_a_person_sees(subwords, text):
    assert encode(subwords, [text])[0].words == tuple(PARTS[text])


def test_case_and_typographic_forms_make_no_difference(subwords):
    for one, other in [
        ("A GOOD Film", "a good film"),
        ("wasn\u2019t", "wasn't"),
        ("ﬁlm", "film"),
        ("fi\u00adlm", "film"),
    ]:
        assert subwords(one)["input_ids"] == subwords(other)["input_ids"]


def test_frequent_words_are_one_token_and_others_are_spelled(subwords):
    assert subwords.tokenize("a good flick") == ["a", "good", "f", "##l", "##i", "##c", "##k"]


def test_as_many_subwords_are_learned_as_asked_for(subwords):
    texts = ["a lovely film with a dull plot"] * 2
    fewer, more = (train_subword_tokenizer(texts, vocabulary_size=size).get_vocab() for size in (520, 530))
    assert set(fewer) < set(more)
    assert (len(fewer), len(more)) == (520, 530)
    assert (subwords.pad_token_id, subwords.mask_token_id, subwords.unk_token) == (0, 1, None)


mixed = st.text(
    st.sampled_from("aB é\u0301\u00ad\u200d'’-.…!&;#@/:<>[]*1,🇩🇪👩👧नम्ते很映画はหนังשעם\u200f\u200b\n\t\x00ﷺ½Ⅷ")
)


@given(st.one_of(mixed, st.text(st.characters(exclude_categories=()))))
@example(f"{PADDING} x{MASK}y ﷺ\ud800")
def test_any_text_is_read_in_order_without_a_loss(subwords, text):
    encoded = encode(subwords, [text])[0]
    assert not encoded.unknown
    place = 0
    for word in encoded.words:
        start = replaced(text).index(word, place)
        assert is_ignorable(replaced(text)[place:start]), "between two words something was not read"
        place = start + len(word)
    assert is_ignorable(replaced(text)[place:])
    assert sorted({word for word in encoded.word_of_token if word is not None}) == list(range(len(encoded.words)))


@given(mixed.filter(lambda text: "[" not in text))
def test_deleting_a_word_leaves_the_ids_of_all_others(subwords, text):
    encoded = encode(subwords, [text])[0]
    by_word = [
        [token for token, owner in zip(encoded.ids, encoded.word_of_token, strict=True) if owner == word]
        for word in range(len(encoded.words))
    ]
    for word in range(len(encoded.words)):
        kept = [token for other, tokens in enumerate(by_word) if other != word for token in tokens]
        assert encoded.without({word}).ids == tuple(kept)


@given(st.lists(st.text(st.characters(exclude_categories=()))))
def test_any_texts_make_subwords_that_read_them(texts):
    tokenizer = train_subword_tokenizer(texts * 2)
    for encoded in encode(tokenizer, texts):
        assert all(0 <= token < len(tokenizer) for token in encoded.ids)


@pytest.mark.parametrize(
    ("family", "kind", "unknown"),
    [
        ("wordpiece", "WordPiece", "words that they can't spell are unknown"),
        ("gpt2", "BPE", "no word is unknown"),
        ("t5", "Unigram", "words that they can't spell are unknown"),
        ("llama", "BPE", "no word is unknown"),
    ],
)
def test_a_tokenizer_is_described_by_its_size_and_what_it_can_not_read(family, kind, unknown):
    tokenizer = tiny_tokenizers.tokenizer(family)
    assert describe_tokenizer(tokenizer) == f"{len(tokenizer)} tokens ({kind}), and {unknown}"


def test_the_same_texts_give_the_same_subwords_in_every_process():
    code = (
        "import random; from safr.data.tokenizer import train_subword_tokenizer; draw = random.Random(0);"
        "words = [''.join(draw.choices('abcdefgh', k=5)) for _ in range(300)];"
        "print(sorted(train_subword_tokenizer(draw.choices(words, k=900)).get_vocab().items()))"
    )
    first, second = (subprocess.check_output([sys.executable, "-c", code]) for _ in range(2))
    assert first == second


def test_saved_subwords_come_back_the_same(subwords, tmp_path):
    subwords.save_pretrained(tmp_path)
    assert encode(AutoTokenizer.from_pretrained(tmp_path), list(PARTS)) == encode(subwords, list(PARTS))


def replaced(text):
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def is_ignorable(text):
    """Whether nothing of a text is to be read: white space, and what is not seen; also a special token written out."""
    text = unicodedata.normalize("NFKC", text.replace(PADDING, ""))
    return regex.fullmatch(r"[\s\u00ad\u200b\u2060\ufeff\u200e\u200f\u202a-\u202e\u2066-\u2069]*", text) is not None
