import hashlib

import numpy as np
import pytest

from safr.attribution.scores import InternalScores
from safr.data import Split
from safr.data.batches import EncodedText
from safr.evaluation.examples import EXAMPLES_PER_OUTCOME, MAX_WORDS, MIN_WORDS, PAPER_SENTENCE, choose_examples

SENTIMENTS = ("negative", "positive")
TEN = [f"text {number} of exactly ten words , that is so" for number in range(12)]


def encoded(text, *, truncated=False):
    words = tuple(text.split())
    return EncodedText(tuple(range(len(words))), words, tuple(range(len(words))), truncated=truncated)


def chosen(texts, predictions=None, *, labels=None, names=("no", "yes"), truncated=()):
    labels = labels or [number % 2 for number in range(len(texts))]
    scored = [InternalScores(guess, None, {"fc1.0": np.ones(1)}) for guess in predictions or labels]
    split = Split(tuple(texts), tuple(labels))
    return choose_examples(split, [encoded(text, truncated=text in truncated) for text in texts], scored, names)


def by_hash(texts):
    return sorted(texts, key=lambda text: hashlib.sha256(text.encode()).hexdigest())


def test_the_first_by_hash_of_the_right_and_of_the_wrong_are_chosen():
    predictions = [number % 2 if number < 6 else 1 - number % 2 for number in range(12)]
    shown = chosen(TEN, predictions)
    assert [each["origin"] for each in shown] == ["right"] * EXAMPLES_PER_OUTCOME + ["wrong"] * EXAMPLES_PER_OUTCOME
    assert [each["text"] for each in shown] == by_hash(TEN[:6])[:EXAMPLES_PER_OUTCOME] + by_hash(TEN[6:])[
        :EXAMPLES_PER_OUTCOME
    ]
    assert [each["label"] for each in shown] == [("no", "yes")[TEN.index(each["text"]) % 2] for each in shown]


def test_the_order_of_the_texts_changes_nothing():
    forwards = chosen(TEN, labels=[0] * 12, predictions=[0] * 6 + [1] * 6)
    backwards = chosen(TEN[::-1], labels=[0] * 12, predictions=[1] * 6 + [0] * 6)
    assert forwards == backwards


@pytest.mark.parametrize(
    ("words", "shown"), [(MIN_WORDS - 1, False), (MIN_WORDS, True), (MAX_WORDS, True), (MAX_WORDS + 1, False)]
)
def test_examples_are_neither_short_nor_long(words, shown):
    assert len(chosen([" ".join(["word"] * words)])) == shown


def test_a_text_that_was_cut_is_no_example():
    assert chosen(TEN[:1], truncated=TEN[:1]) == []


def test_the_papers_sentence_comes_first_where_the_classes_are_its():
    first, *others = chosen(TEN, names=SENTIMENTS)
    assert first == {"text": PAPER_SENTENCE, "label": "negative", "origin": "paper"}
    assert {each["origin"] for each in others} == {"right"}
    assert chosen(TEN, names=SENTIMENTS[::-1])[0]["origin"] == "paper"
    assert all(each["origin"] != "paper" for each in chosen(TEN, names=(*SENTIMENTS, "neutral")))


def test_the_papers_sentence_is_spelled_as_in_the_data():
    assert chosen([*TEN, PAPER_SENTENCE.lower()], names=SENTIMENTS)[0]["text"] == PAPER_SENTENCE.lower()


def test_any_text_can_be_an_example():
    text = "lone \ud800 surrogates and \x00 are letters of texts too"
    assert chosen([text])[0]["text"] == text


def test_where_nothing_fits_nothing_is_shown():
    assert chosen(["too short"]) == chosen([]) == []
