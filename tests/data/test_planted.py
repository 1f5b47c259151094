import re
from collections import Counter, defaultdict
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from safr.data import load_data
from safr.data.planted import KIND_OF_WORD, LETTERS, WORDS, PlantedTruth, generate_sentence, planted, planted_truth
from safr.errors import InputError

SENTENCES = 6_000
BY_CHANCE = 1e-3
"""Below this share of equally odd draws a dependence is taken for real; the seed is fixed, so it is tested once."""


@pytest.fixture(scope="module")
def made():
    """Sentences, half of each class, as their words, what was planted in them, and the label that was asked for."""
    draw = Random(5)
    return [(*generate_sentence(draw, number % 2), number % 2) for number in range(SENTENCES)]


@pytest.fixture(scope="module")
def data():
    """The data set as it is loaded by its name."""
    return planted()


def reread(text):
    """The label by the rule in so many words: what a word says, turned round where a negator is near before it."""
    kinds = [KIND_OF_WORD[word] for word in text.split()]
    votes = {"negative": 0, "positive": 0}
    for place, kind in enumerate(kinds):
        if kind in votes:
            one, two = ([*["filler"] * 2, *kinds][place + 1 - back] for back in (0, 1))
            negated = one == "negator" or (one == "filler" and two == "negator")
            votes[{"negative": "positive", "positive": "negative"}[kind] if negated else kind] += 1
    return int(votes["positive"] > votes["negative"]) if votes["positive"] != votes["negative"] else None


def independent(first, second):
    """Whether two columns of categories pass for independent, by a chi-square test."""
    rows, columns = sorted(set(first)), sorted(set(second))
    counts = Counter(zip(first, second, strict=True))
    return stats.chi2_contingency([[counts[row, column] for column in columns] for row in rows]).pvalue > BY_CHANCE


def average_precision(rationale, scores, draw):
    """Mean of the precision at each word of the rationale, by falling score; ties are broken by chance."""
    order = sorted(range(len(scores)), key=lambda place: (-scores[place], draw.random()))
    hits = np.array([rationale[place] for place in order])
    return float((hits.cumsum() / np.arange(1, len(hits) + 1))[hits].mean())


def mean_precision(made, score):
    draw = Random(0)
    return np.mean([average_precision(truth.rationale, score(text.split()), draw) for text, truth, _ in made])


# --- the truth


@pytest.mark.parametrize(
    ("text", "rationale", "pairs", "label"),
    [
        ("", "", [], None),
        ("the film", "00", [], None),
        ("the good film", "010", [], 1),
        ("not good", "11", [(0, 1)], 0),
        ("never the bad", "101", [(0, 2)], 1),
        ("never the other bad", "0001", [], 0),  # too far away
        ("good not", "10", [], 1),
        ("not never good", "011", [(1, 2)], 0),  # a word has one negator
        ("not bad good", "111", [(0, 1)], 1),  # and a negator one word
        ("good bad", "11", [], None),
        ("Good\u3000unheard-of  warm", "001", [], 1),
    ],
)
def test_the_truth_by_hand(text, rationale, pairs, label):
    assert planted_truth(text) == PlantedTruth(tuple(each == "1" for each in rationale), tuple(pairs), label)


def test_what_was_planted_is_what_is_read(made):
    for text, planted_in_it, label in made:
        assert planted_truth(text) == planted_in_it
        assert planted_in_it.label == label


def test_labels_are_those_of_a_slow_reading(data):
    for split in (data.train, data.dev, data.test):
        assert [reread(text) for text in split.texts] == list(split.labels)


@given(st.lists(st.sampled_from(["good", "bad", "not", "the"]), max_size=8))
def test_the_slow_reading_agrees_on_any_words(words):
    text = " ".join(words)
    truth = planted_truth(text)
    assert truth.label == reread(text)
    assert all(truth.rationale[place] for pair in truth.pairs for place in pair)
    bearing = sum(KIND_OF_WORD[word] in ("negative", "positive") for word in words)
    assert sum(truth.rationale) == bearing + len(truth.pairs)


@given(st.text())
def test_any_text_has_a_truth(text):
    assert len(planted_truth(text).rationale) == len(text.split())


# --- nothing but the planted words gives the label or the rationale away


def test_no_word_is_in_two_kinds_and_every_kind_has_words_of_every_length():
    assert len(KIND_OF_WORD) == sum(len(words) for by_letters in WORDS.values() for words in by_letters.values())
    for by_letters in WORDS.values():
        assert list(by_letters) == list(LETTERS)
        assert len({len(words) for words in by_letters.values()}) == 1


def test_sentences_have_8_to_30_words(made):
    lengths = Counter(len(text.split()) for text, _, _ in made)
    assert sorted(lengths) == list(range(8, 31))
    assert stats.chisquare(list(lengths.values())).pvalue > BY_CHANCE


def test_the_label_says_nothing_about_the_counts_in_a_sentence(made):
    labels = [label for _, _, label in made]
    assert independent([len(text.split()) for text, _, _ in made], labels)
    assert independent([len(truth.pairs) for _, truth, _ in made], labels)
    assert independent([sum(truth.rationale) for _, truth, _ in made], labels)


def test_the_label_says_nothing_about_words_that_do_not_bear_it(made):
    words = [(word, label) for text, _, label in made for word in text.split()]
    for kind in ("filler", "negator"):
        assert independent(*zip(*[pair for pair in words if KIND_OF_WORD[pair[0]] == kind], strict=True))
    assert independent([len(word) for word, _ in words], [label for _, label in words])


def test_the_label_says_nothing_about_places(made):
    eighths = [
        (place * 8 // len(truth.rationale), label)
        for _, truth, label in made
        for place, relevant in enumerate(truth.rationale)
        if relevant
    ]
    assert independent(*zip(*eighths, strict=True))


def test_a_words_letters_say_nothing_about_its_relevance(made):
    words = [pair for text, truth, _ in made for pair in zip(map(len, text.split()), truth.rationale, strict=True)]
    assert independent(*zip(*words, strict=True))


def test_a_quarter_of_the_words_is_relevant_at_every_length(made):
    share = defaultdict(list)
    for _, truth, _ in made:
        share[len(truth.rationale)].append(np.mean(truth.rationale))
    for values in share.values():
        assert np.mean(values) == pytest.approx(0.25, abs=0.02)


def test_scores_that_read_no_meaning_are_at_chance(made):
    some, counts = made[:2_000], Counter(word for text, _, _ in made for word in text.split())
    chance = mean_precision(some, lambda words: [0] * len(words))
    scores = (
        lambda words: np.arange(len(words)),
        lambda words: np.abs(np.linspace(-1, 1, len(words))),
        lambda words: np.array([len(word) for word in words]),
        lambda words: np.array([counts[word] for word in words]),
    )
    for score in scores:
        assert mean_precision(some, score) < chance + 0.03
        assert mean_precision(some, lambda words, score=score: -score(words)) < chance + 0.03
    assert mean_precision(some, lambda words: planted_truth(" ".join(words)).rationale) == pytest.approx(1)


def test_counting_words_without_their_negators_is_wrong_in_every_negating_sentence(made):
    majority = [
        int(sum({"positive": 1, "negative": -1}.get(KIND_OF_WORD[word], 0) for word in text.split()) > 0)
        for text, _, _ in made
    ]
    right = np.mean([guess == label for guess, (_, _, label) in zip(majority, made, strict=True)])
    assert right == pytest.approx(0.6, abs=0.03)


# --- the data set


def test_it_is_loaded_by_its_name_and_is_the_same_everywhere(data):
    assert load_data("planted") == data
    assert data.fingerprint() == "fcb4a5dc6a6590286f2dfc520e4866c45ccd9fe54b3585d1dbd1f72738c11ec5"
    assert (data.name, data.label_names, data.cleaned) == ("planted", ("negative", "positive"), {})
    assert data.origin == "sentences of a small grammar, generated when used, seed 0"
    assert [len(split) for split in (data.train, data.dev, data.test)] == [4_000, 500, 1_000]
    assert [sum(split.labels) for split in (data.train, data.dev, data.test)] == [2_000, 250, 500]


def test_the_sentences_of_the_documentation_are_among_them(data):
    train = dict(zip(data.train.texts, data.train.labels, strict=True))
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    quoted = re.findall(r"^ {4}(.*\S) {2,}negative: ", page, flags=re.MULTILINE)
    assert [train[text] for text in quoted] == [0, 0]


def test_no_text_comes_twice(data):
    texts = data.train.texts + data.dev.texts + data.test.texts
    assert len(set(texts)) == len(texts)


def test_another_seed_gives_other_sentences(data):
    assert not set(data.test.texts) & set(planted(seed=1, train=2, dev=2).test.texts)


@given(st.integers(2, 40), st.integers(2, 40), st.integers(2, 40), st.integers(-3, 3))
def test_any_size_is_made_and_is_the_beginning_of_a_larger_one(train, dev, test, seed):
    small, large = (
        planted(train=train, dev=dev, test=test, seed=seed),
        planted(train=40, dev=40, test=40, seed=seed),
    )
    for name, size in {"train": train, "dev": dev, "test": test}.items():
        part = getattr(small, name)
        assert len(part) == size
        assert part.texts == getattr(large, name).texts[:size]
        assert abs(2 * sum(part.labels) - size) <= 1


@pytest.mark.parametrize("part", ["train", "dev", "test"])
@pytest.mark.parametrize("size", [1, 0, -5])
def test_a_split_without_both_classes_is_refused(part, size):
    with pytest.raises(
        InputError, match=rf"^`{part}` must be at least 2 sentences, one of each class, got {size}; .*$"
    ):
        planted(**{part: size})
