import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.tree import DecisionTreeClassifier

from safr.data import load_data
from safr.data.planted import LETTERS
from safr.data.planted_pairs import (
    COLOURS,
    FILLERS,
    KIND_OF_PAIR_WORD,
    SHAPES,
    PlantedPairTruth,
    planted_pair_truth,
    planted_pairs,
)
from safr.errors import InputError

BY_CHANCE = 1e-3
"""Below this share of equally odd draws a dependence is taken for real; the seed is fixed, so it is tested once."""


@pytest.fixture(scope="module")
def data():
    """The data set as it is loaded by its name."""
    return planted_pairs()


def find_kind(text, kind):
    """The one word of a kind in a text."""
    (word,) = [word for word in text.split() if KIND_OF_PAIR_WORD[word] == kind]
    return word


def is_independent(first, second):
    """Whether two columns of categories pass for independent, by a chi-square test."""
    rows, columns = sorted(set(first)), sorted(set(second))
    counts = Counter(zip(first, second, strict=True))
    return stats.chi2_contingency([[counts[row, column] for column in columns] for row in rows]).pvalue > BY_CHANCE


# --- the truth


@pytest.mark.parametrize(
    ("first", "second", "rationale", "label"),
    [
        ("red", "red", "11", 1),
        ("the red box", "a blue box", "010010", 0),
        ("red big", "big red", "1001", 1),
        ("the box", "red", "001", None),
        ("red blue", "red", "111", None),  # which of the two is meant cannot be told
        ("red red", "red", "111", None),
        ("", "", "", None),
    ],
)
def test_the_truth_by_hand(first, second, rationale, label):
    assert planted_pair_truth(first, second) == PlantedPairTruth(tuple(bit == "1" for bit in rationale), label)


def test_labels_are_those_of_a_slow_reading(data):
    for split in (data.train, data.dev, data.test):
        for (first, second), label in zip(split.texts, split.labels, strict=True):
            assert int(find_kind(first, "colour") == find_kind(second, "colour")) == label
            truth = planted_pair_truth(first, second)
            assert truth.label == label
            words = [*first.split(), *second.split()]
            marked = [word for word, decides in zip(words, truth.rationale, strict=True) if decides]
            assert marked == [find_kind(first, "colour"), find_kind(second, "colour")]


@given(st.text(), st.text())
def test_any_two_texts_have_a_truth(first, second):
    assert len(planted_pair_truth(first, second).rationale) == len(first.split()) + len(second.split())


# --- nothing but both colours together gives the label away


def test_no_word_is_of_two_kinds_and_each_kind_has_as_many_words_of_each_length():
    assert len(KIND_OF_PAIR_WORD) == len(COLOURS) + len(SHAPES) + len(FILLERS)
    for words in (COLOURS, SHAPES, FILLERS):
        assert Counter(map(len, words)) == dict.fromkeys(LETTERS, len(words) // len(LETTERS))


def test_each_text_has_6_to_14_words_with_one_colour_and_one_shape(data):
    texts = [text for pair in data.train.texts for text in pair]
    assert sorted({len(text.split()) for text in texts}) == list(range(6, 15))
    for text in texts:
        assert find_kind(text, "colour") in COLOURS
        assert find_kind(text, "shape") in SHAPES


@pytest.mark.parametrize("number", [0, 1])
def test_one_text_says_nothing_about_the_label(data, number):
    texts, labels = [pair[number] for pair in data.train.texts], data.train.labels
    assert is_independent([len(text.split()) for text in texts], labels)
    for kind in ("colour", "shape"):
        assert is_independent([find_kind(text, kind) for text in texts], labels)
        assert is_independent([text.split().index(find_kind(text, kind)) for text in texts], labels)
    words = [(word, label) for text, label in zip(texts, labels, strict=True) for word in text.split()]
    assert is_independent(*zip(*[pair for pair in words if KIND_OF_PAIR_WORD[pair[0]] == "filler"], strict=True))


@pytest.mark.parametrize("classifier", [MultinomialNB(), DecisionTreeClassifier(max_depth=8, random_state=0)])
@pytest.mark.parametrize("read", [lambda pair: pair[0], lambda pair: pair[1]])
def test_a_classifier_that_reads_one_text_alone_is_at_chance(data, read, classifier):
    vectorizer = CountVectorizer()
    classifier.fit(vectorizer.fit_transform(map(read, data.train.texts)), data.train.labels)
    accuracy = classifier.score(vectorizer.transform(map(read, data.test.texts)), data.test.labels)
    assert accuracy == pytest.approx(0.5, abs=0.05)


def test_counting_the_words_of_both_texts_is_at_chance_as_well(data):
    vectorizer = CountVectorizer()
    classifier = MultinomialNB().fit(vectorizer.fit_transform(map(" ".join, data.train.texts)), data.train.labels)
    accuracy = classifier.score(vectorizer.transform(map(" ".join, data.test.texts)), data.test.labels)
    assert accuracy == pytest.approx(0.5, abs=0.05)


def test_words_that_both_texts_hold_decide_nothing_unless_they_are_colours(data):
    labels = data.train.labels
    shapes = [find_kind(first, "shape") == find_kind(second, "shape") for first, second in data.train.texts]
    assert is_independent(shapes, labels)
    assert np.mean(shapes) == pytest.approx(0.5, abs=0.03)
    fillers = [len(set(first.split()) & set(second.split()) & set(FILLERS)) for first, second in data.train.texts]
    assert is_independent([min(count, 4) for count in fillers], labels)


def test_each_word_is_in_as_many_texts_as_any_other(data):
    counts = Counter(word for pair in data.train.texts for text in pair for word in text.split())
    assert set(counts) == set(KIND_OF_PAIR_WORD)
    colours, shapes, fillers = (np.mean([counts[word] for word in words]) for words in (COLOURS, SHAPES, FILLERS))
    assert colours == shapes == pytest.approx(fillers, rel=0.02)


# --- the data set


def test_it_is_loaded_by_its_name_and_is_the_same_everywhere(data):
    assert load_data("planted_pairs") == data
    assert data.fingerprint() == "4aebba0a48ca50308dd4b68c3e8aa37f5eaffaaba9c9960ea397404d21d85e7f"
    assert (data.name, data.label_names, data.cleaned) == ("planted_pairs", ("different", "same"), {})
    assert data.origin == "pairs of texts of a small grammar, generated when used, seed 0"
    assert data.has_pairs
    assert [len(split) for split in (data.train, data.dev, data.test)] == [4_000, 500, 1_000]
    assert [sum(split.labels) for split in (data.train, data.dev, data.test)] == [2_000, 250, 500]


def test_the_pairs_of_the_documentation_are_among_them(data):
    train = dict(zip(data.train.texts, data.train.labels, strict=True))
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^ {4}(.*\S) ‖ (.*\S) {2,}(same|different): ", page, flags=re.MULTILINE)
    assert len(quoted) == 2
    assert all(data.label_names[train[first, second]] == name for first, second, name in quoted)


def test_no_pair_comes_twice(data):
    pairs = data.train.texts + data.dev.texts + data.test.texts
    assert len(set(pairs)) == len(pairs)


def test_another_seed_gives_other_pairs(data):
    assert not set(data.test.texts) & set(planted_pairs(seed=1, train=2, dev=2).test.texts)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(2, 40), st.integers(-3, 3))
def test_any_size_is_made_and_is_the_beginning_of_a_larger_one(train, dev, test, seed):
    small = planted_pairs(train=train, dev=dev, test=test, seed=seed)
    large = planted_pairs(train=40, dev=40, test=40, seed=seed)
    for name, size in {"train": train, "dev": dev, "test": test}.items():
        part = getattr(small, name)
        assert len(part) == size
        assert part.texts == getattr(large, name).texts[:size]
        assert abs(2 * sum(part.labels) - size) <= 1


@pytest.mark.parametrize("part", ["train", "dev", "test"])
@pytest.mark.parametrize("size", [1, 0, -5])
def test_a_split_without_both_classes_is_refused(part, size):
    with pytest.raises(InputError, match=rf"^`{part}` must be at least 2 pairs, one of each class, got {size}; .*$"):
        planted_pairs(**{part: size})
