"""The grammar of planted tags, and what is known about its texts."""

from collections import Counter

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from safr.data import load_data
from safr.data.encoding import encode
from safr.data.marks import encode_marked, remove_mark
from safr.data.planted_tags import CUES, KIND_OF_TAG_WORD, NOUNS, planted_tags
from safr.data.rationales import load_rationales
from safr.data.tags import mark_texts
from safr.data.tokenizer import train_subword_tokenizer, train_word_tokenizer
from safr.errors import InputError

CUE_WORDS = {cue for cues in CUES.values() for cue in cues}
IDS = {"B-ANIMAL": 0, "B-THING": 1, "O": 2}


@pytest.fixture(scope="module")
def data():
    return load_data("planted_tags")


def read_rows(split):
    return [(text.split(), label.split()) for text, label in zip(split.texts, split.labels, strict=True)]


def test_the_texts_are_the_same_everywhere_and_differ_from_each_other(data):
    assert data.fingerprint() == planted_tags().fingerprint()
    assert data.fingerprint() != planted_tags(seed=1).fingerprint()
    texts = [*data.train.texts, *data.dev.texts, *data.test.texts]
    assert len(set(texts)) == len(texts) == 5_500
    assert planted_tags(train=10, dev=2, test=4).test.texts == data.test.texts[:4]
    assert data.task == "token_classification"


def test_each_text_has_one_noun_with_the_tag_that_its_one_cue_says(data):
    for words, tags in read_rows(data.train):
        assert 6 <= len(words) == len(tags) <= 14
        (noun,) = [number for number, word in enumerate(words) if word in NOUNS]
        (cue,) = [word for word in words if word in CUE_WORDS]
        kind = "ANIMAL" if cue in CUES["ANIMAL"] else "THING"
        assert tags == [f"B-{kind}" if number == noun else "O" for number in range(len(words))]


def test_only_the_cue_tells_the_tag(data):
    def without_cues(split):
        rows = read_rows(split)
        texts = [" ".join(word for word in words if word not in CUE_WORDS) for words, _ in rows]
        return texts, ["B-ANIMAL" in tags for _, tags in rows]

    texts, labels = without_cues(data.train)
    counts = CountVectorizer().fit(texts)
    model = MultinomialNB().fit(counts.transform(texts), labels)
    texts, labels = without_cues(data.test)
    assert abs((model.predict(counts.transform(texts)) == labels).mean() - 0.5) < 0.05
    animals = Counter(word for words, tags in read_rows(data.train) if "B-ANIMAL" in tags for word in words)
    things = Counter(word for words, tags in read_rows(data.train) if "B-THING" in tags for word in words)
    shares = [animals[noun] / (animals[noun] + things[noun]) for noun in NOUNS]
    assert max(abs(share - 0.5) for share in shares) < 0.08


@pytest.mark.parametrize("train_tokenizer", [train_word_tokenizer, train_subword_tokenizer])
def test_the_cue_is_the_rationale_of_the_marked_noun(data, train_tokenizer):
    words = train_tokenizer(data.train.texts)
    marked = mark_texts(words, data.test, IDS)
    assert {remove_mark(text)[0].split()[0] for text in marked.texts} <= set(KIND_OF_TAG_WORD)
    texts = encode_marked(words, marked.texts)
    for text, rationale in zip(texts, load_rationales("planted_tags", texts), strict=True):
        assert text.words[text.asked[0]].strip("[]") in NOUNS
        assert [word for word, decides in zip(text.words, rationale, strict=True) if decides] == [
            word for word in text.words if word in CUE_WORDS
        ]
    plain = encode(words, data.test.texts[:2])
    assert load_rationales("planted_tags", plain) == [None, None]
    other = encode_marked(words, ["the [[sea]] bat fur", "a [[strange]] word"])
    assert load_rationales("planted_tags", other) == [None, None]


def test_a_split_needs_both_tags():
    with pytest.raises(InputError, match="`dev` must be at least 2 texts, one with each tag, got 1"):
        planted_tags(dev=1)


def test_cues_of_either_kind_have_as_many_letters():
    lengths = [sorted(map(len, cues)) for cues in CUES.values()]
    assert lengths[0] == lengths[1]
    assert np.intersect1d(*CUES.values()).size == 0
