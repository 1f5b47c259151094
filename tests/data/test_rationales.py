from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoTokenizer

from safr.data import load_data
from safr.data import rationales as module
from safr.data.archives import parse_tree
from safr.data.encoding import EncodedText, encode
from safr.data.planted import planted, planted_truth
from safr.data.planted_pairs import planted_pair_truth, planted_pairs
from safr.data.rationales import load_rationales, load_sst_rationales
from safr.data.tokenizer import train_subword_tokenizer, train_word_tokenizer
from safr.errors import InputError

LINES = ["(3 (2 It) (3 (2 's) (4 moving)))", "(1 (2 not) (1 (3 good) (2 3\u00a0\\/4)))", "(2 (2 no) (1 news))"]


def words(*each, **options):
    return EncodedText(tuple(range(len(each))), each, tuple(range(len(each))), **{"truncated": False, **options})


@pytest.fixture
def small_treebank(monkeypatch):
    """A treebank of three sentences, one of them neutral."""
    trees = {"train": tuple(map(parse_tree, LINES)), "dev": (), "test": ()}

    class Archive:
        read = staticmethod(lambda path: trees)

    monkeypatch.setattr(module, "SST", Archive)
    monkeypatch.setattr(module, "locate_archive", lambda archive, data_dir: None)


def as_tuples(found):
    return [None if each is None else tuple(each.tolist()) for each in found]


def test_planted_sentences_have_the_grammars_rationale(minilm):
    texts = planted(train=2, dev=2, test=50).test.texts
    truths = [planted_truth(text).rationale for text in texts]
    for tokenizer in (train_word_tokenizer(texts), AutoTokenizer.from_pretrained(minilm)):
        assert as_tuples(load_rationales("planted", encode(tokenizer, texts))) == truths


def test_a_cut_planted_sentence_has_the_rationale_of_what_is_left():
    assert as_tuples(load_rationales("planted", [words("not", "the", truncated=True)])) == [(False, False)]


def test_words_that_the_grammar_does_not_have_have_no_rationale():
    assert load_rationales("planted", [words("not", "gruesome"), words("good", "film", second=1)]) == [None, None]


def test_planted_pairs_have_the_grammars_rationale_over_the_words_of_both_texts(minilm):
    pairs = planted_pairs(train=2, dev=2, test=50).test.texts
    truths = [planted_pair_truth(*pair).rationale for pair in pairs]
    tokenizers = (train_word_tokenizer(pairs), train_subword_tokenizer(pairs), AutoTokenizer.from_pretrained(minilm))
    for tokenizer in tokenizers:
        assert as_tuples(load_rationales("planted_pairs", encode(tokenizer, pairs))) == truths


def test_single_texts_and_other_words_are_no_planted_pairs():
    texts = [words("red", "the", second=1), words("red", "the"), words("red", "gruesome", second=1)]
    assert as_tuples(load_rationales("planted_pairs", texts)) == [(True, False), None, None]


def test_a_word_of_the_treebank_counts_unless_it_is_neutral(small_treebank):
    assert load_sst_rationales() == {"It 's moving": (False, False, True), "not good 3\u00a0\\/4": (False, True, False)}


@pytest.mark.parametrize(
    ("text", "rationale"),
    [
        (words("It", "'s", "moving"), (False, False, True)),
        (words("It", "'", "s", "mov", "ing"), (False, False, False, True, True)),
        (words("not", "good", "3\u00a0\\/4"), (False, True, False)),
        (words("not", "good", "3", "\\/4"), (False, True, False, False)),
        (words("It's", "moving"), None),  # one word of two judged ones
        (words("It", "'sm", "oving"), None),
        (words("It", "'s"), None),
        (words("It", "'s", "moving", truncated=True), None),
        (words("It", "'s", "moving", second=1), None),
        (words("no", "news"), None),  # neutral, so in neither data set
        (words(), None),
    ],
)
@pytest.mark.parametrize("name", ["sst2", "sst2_paper"])
def test_a_rationale_is_never_shifted(small_treebank, name, text, rationale):
    assert as_tuples(load_rationales(name, [text])) == [rationale]


@given(st.sets(st.integers(1, 9)))
def test_any_cut_gives_each_piece_its_words_judgement_or_none(cuts):
    judged = {"It'smoving": ("It 's moving", (False, False, True))}
    places = [0, *sorted(cuts), 10]
    pieces = ["It'smoving"[start:end] for start, end in pairwise(places)]
    found = module._find_sst_rationale(words(*pieces), judged)
    if {2, 4} <= cuts:
        assert found is not None
        assert found.tolist() == [start >= 4 for start in places[:-1]]
    else:
        assert found is None


@pytest.mark.parametrize("name", ["sst2", "sst2_paper"])
def test_every_test_sentence_of_sst_has_the_rationale_of_its_own_words(sst_archive, name):
    data = load_data(name, data_dir=sst_archive.parent)
    judged = load_sst_rationales(sst_archive.parent)
    texts = encode(train_word_tokenizer(data.train.texts), data.test.texts, 128)
    assert all(text.words == tuple(whole.split(" ")) for text, whole in zip(texts, data.test.texts, strict=True))
    assert as_tuples(load_rationales(name, texts, sst_archive.parent)) == [judged[text] for text in data.test.texts]


def test_a_pretrained_tokenizers_words_find_their_rationales_too(sst_archive, minilm):
    data = load_data("sst2", data_dir=sst_archive.parent)
    texts = encode(AutoTokenizer.from_pretrained(minilm), data.test.texts, 128)
    found = load_rationales("sst2", texts, sst_archive.parent)
    assert all(each is not None and len(each) == len(text.words) for each, text in zip(found, texts, strict=True))
    assert np.concatenate(found).mean() == pytest.approx(0.14, abs=0.02)


def test_other_data_are_answered_with_those_that_have_rationales():
    with pytest.raises(
        InputError,
        match=r"^expected data with rationales, planted, planted_pairs, planted_tags, sst2, sst2_paper, got 'imdb'$",
    ):
        load_rationales("imdb", [])
