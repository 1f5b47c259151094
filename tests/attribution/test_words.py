import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from safr.attribution.words import attention_per_word, batch_scores_per_word, pairs_per_word, scores_per_word
from safr.data.encoding import EncodedText, encode
from tests import tiny_tokenizers

# [CLS] un ##believ ##able film [SEP]
TEXT = EncodedText((1, 5, 6, 7, 8, 2), ("unbelievable", "film"), (None, 0, 0, 0, 1, None), truncated=False)
NO_WORDS = EncodedText((1, 2), (), (None, None), truncated=False)


def one_piece(count):
    return EncodedText(tuple(range(count)), tuple("abcdefgh"[:count]), tuple(range(count)), truncated=False)


def text_of_pieces(counts, special):
    """A text whose words have so many pieces, with so many special tokens before each word."""
    owners = [owner for word, count in enumerate(counts) for owner in [None] * special + [word] * count]
    owners += [None] * special
    return EncodedText(tuple(range(len(owners))), tuple("w" * len(counts)), tuple(owners), truncated=False)


def pieces(text, word):
    return [token for token, owner in enumerate(text.word_of_token) if owner == word]


def test_a_words_score_is_its_largest_pieces():
    scores = np.array([9.0, 0.1, 0.7, 0.3, 0.2, 9.0])
    assert scores_per_word(TEXT, scores).tolist() == [0.7, 0.2]


def test_negative_scores_also_give_the_largest():
    assert scores_per_word(TEXT, np.array([0.0, -3.0, -1.0, -2.0, -5.0, 0.0])).tolist() == [-1.0, -5.0]


def test_a_pair_of_words_keeps_the_overlap_of_largest_size_with_its_sign():
    matrix = np.zeros((6, 6))
    matrix[1:4, 4] = [0.5, -2.0, 1.0]
    matrix[4, 1:4] = [0.5, -1.0, 3.0]
    matrix[4, 4] = -0.25
    assert pairs_per_word(TEXT, matrix).tolist() == [[0.0, -2.0], [3.0, -0.25]]


def test_attention_is_summed_over_a_words_keys_and_averaged_over_its_queries():
    weights = np.zeros((6, 6))
    weights[1] = [0.1, 0.2, 0.1, 0.1, 0.4, 0.1]
    weights[2] = [0.0, 0.3, 0.3, 0.1, 0.3, 0.0]
    weights[3] = [0.2, 0.0, 0.0, 0.0, 0.2, 0.6]
    weights[4] = [0.1, 0.1, 0.1, 0.1, 0.5, 0.1]
    expected = [[(0.4 + 0.7 + 0.0) / 3, (0.4 + 0.3 + 0.2) / 3], [0.3, 0.5]]
    np.testing.assert_allclose(attention_per_word(TEXT, weights), expected)


def test_a_row_of_attention_between_words_sums_to_one_less_what_special_tokens_receive():
    weights = np.random.default_rng(0).dirichlet(np.ones(6), size=6)
    special = weights[:, 0] + weights[:, 5]
    rows = attention_per_word(TEXT, weights).sum(axis=1)
    np.testing.assert_allclose(rows, [1 - special[1:4].mean(), 1 - special[4]])


def test_words_of_one_piece_keep_their_numbers():
    text, random = one_piece(5), np.random.default_rng(0)
    scores, matrix = random.normal(size=5), random.normal(size=(5, 5))
    assert scores_per_word(text, scores).tolist() == scores.tolist()
    assert pairs_per_word(text, matrix).tolist() == matrix.tolist()
    assert attention_per_word(text, matrix).tolist() == matrix.tolist()


@pytest.mark.parametrize("reduce", [scores_per_word, pairs_per_word, attention_per_word])
def test_special_tokens_and_padding_are_left_out(reduce):
    axes = 1 if reduce is scores_per_word else 2
    plain = np.random.default_rng(0).normal(size=(6,) * axes)
    padded = np.full((9,) * axes, 1e6)
    inside = (slice(6),) * axes
    padded[inside] = plain
    for axis in range(axes):
        np.moveaxis(padded, axis, 0)[[0, 5]] = -1e6
    np.testing.assert_array_equal(reduce(TEXT, padded), reduce(TEXT, plain))


@pytest.mark.parametrize(
    ("reduce", "shape"), [(scores_per_word, (2,)), (pairs_per_word, (2, 2)), (attention_per_word, (2, 2))]
)
def test_a_text_without_words_has_no_scores(reduce, shape):
    assert reduce(NO_WORDS, np.ones(shape)).shape == (0,) * len(shape)


@given(st.lists(st.integers(1, 3), max_size=5), st.integers(0, 2), st.integers(0, 2**32 - 1))
def test_words_say_what_a_loop_over_their_pieces_says(counts, special, seed):
    text = text_of_pieces(counts, special)
    random, size, words = np.random.default_rng(seed), len(text.ids), range(len(text.words))
    scores, matrix = random.normal(size=size), random.normal(size=(size, size))
    of_word = [pieces(text, word) for word in words]
    assert scores_per_word(text, scores).tolist() == [max(scores[t] for t in of_word[w]) for w in words]
    largest = [[max((matrix[t, u] for t in of_word[v] for u in of_word[w]), key=abs) for w in words] for v in words]
    assert pairs_per_word(text, matrix).tolist() == largest
    summed = [[sum(np.mean([matrix[t, u] for t in of_word[v]]) for u in of_word[w]) for w in words] for v in words]
    np.testing.assert_allclose(attention_per_word(text, matrix), np.reshape(summed, (len(words),) * 2), atol=1e-12)


def test_the_pieces_of_a_real_tokenizer_come_together_as_words(minilm):
    text = encode(AutoTokenizer.from_pretrained(minilm), ["an unbelievably tedious film"])[0]
    assert text.words == ("an", "unbelievably", "tedious", "film")
    assert len(text.ids) > 6
    scores = np.arange(len(text.ids), dtype=float)
    expected = [pieces(text, word)[-1] for word in range(4)]  # the last piece has the largest score
    assert scores_per_word(text, scores).tolist() == expected
    even = np.full((len(text.ids),) * 2, 1 / len(text.ids))
    shares = [len(pieces(text, word)) / len(text.ids) for word in range(4)]
    np.testing.assert_allclose(attention_per_word(text, even), [shares] * 4)


@given(st.lists(st.sampled_from(["", " ", "a b", "don't stop", "unbelievably good film", "漢字 naïve"]), max_size=5))
def test_scores_of_a_batch_are_those_of_its_texts(texts):
    encoded = encode(tiny_tokenizers.tokenizer("wordpiece"), texts)
    scores = np.random.default_rng(0).normal(size=(len(texts), 30, 2))
    found = batch_scores_per_word(encoded, scores)
    assert len(found) == len(texts)
    for text, row, values in zip(encoded, scores, found, strict=True):
        np.testing.assert_array_equal(values, scores_per_word(text, row))
