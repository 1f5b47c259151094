import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from safr.data.encoding import encode
from safr.data.tokenizer import PADDING, UNKNOWN, train_word_tokenizer

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
