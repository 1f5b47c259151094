import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data.splits import (
    Split,
    TextDataset,
    drop_duplicates,
    split_by_class,
    split_by_hash,
    split_by_rank,
    take_first_of_each_class,
)
from safr.errors import InputError

EXAMPLES = [(f"text {number}", number % 2) for number in range(1000)]
PARTS = ("train", "dev", "test")
few_examples = st.lists(st.tuples(st.text(max_size=3), st.integers(0, 2)))


def dataset(**changes):
    parts = {"train": [("a", 0), ("b", 1)], "dev": [("c", 0)], "test": [("d", 1)], **changes}
    return TextDataset.from_parts("mine", parts, label_names=("no", "yes"), origin="here", cleaned={"left out": 0})


def test_texts_and_labels_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match=r"must be equally long, got 2 and 1; give one label for each text"):
        Split(("a", "b"), (0,))


def test_a_split_is_as_long_as_its_texts():
    assert len(Split(("a", "b"), (0, 1))) == 2


def test_what_was_mended_zero_times_is_not_mentioned():
    assert dataset().cleaned == {}


def test_the_fingerprint_of_the_same_data_is_the_same():
    assert dataset().fingerprint() == dataset().fingerprint()
    assert len(dataset().fingerprint()) == 64


@pytest.mark.parametrize(
    "changes",
    [
        {"train": [("a", 0), ("B", 1)]},
        {"train": [("a", 0), ("b", 0)]},
        {"train": [("b", 1), ("a", 0)]},
        {"train": [("a", 0)], "dev": [("b", 1), ("c", 0)]},
        {"train": [("ab", 0), ("", 1)]},
    ],
    ids=["text", "label", "order", "border", "text's end"],
)
def test_the_fingerprint_sees_every(changes):
    assert dataset(**changes).fingerprint() != dataset().fingerprint()


def test_the_split_by_hash_is_about_70_10_20():
    parts = split_by_hash(EXAMPLES)
    assert [len(parts[part]) for part in PARTS] == [682, 102, 216]


def test_the_split_by_hash_depends_on_the_text_alone():
    shuffled = random.Random(0).sample(EXAMPLES, 300)
    whole, some = split_by_hash(EXAMPLES), split_by_hash(shuffled)
    assert all(set(some[part]) == set(whole[part]) & set(shuffled) for part in PARTS)


def test_the_split_by_rank_is_exact_and_independent_of_the_order():
    parts = split_by_rank(EXAMPLES, dev=100, test=250)
    assert [len(parts[part]) for part in PARTS] == [650, 100, 250]
    assert split_by_rank(EXAMPLES[::-1], dev=100, test=250) == parts


def test_the_split_by_class_gives_each_class_its_shares():
    parts = split_by_class(EXAMPLES)
    counts = {part: [sum(label == its for _, its in parts[part]) for label in (0, 1)] for part in PARTS}
    assert counts == {"train": [350, 350], "dev": [50, 50], "test": [100, 100]}


def test_a_class_of_three_texts_is_in_every_part_and_a_smaller_one_only_in_train():
    parts = split_by_class([("a", 0), ("b", 0), ("c", 0), ("d", 1), ("e", 1)])
    assert sorted(label for _, label in parts["train"]) == [0, 1, 1]
    assert [[label for _, label in parts[part]] for part in ("dev", "test")] == [[0], [0]]


def test_a_text_of_two_classes_goes_to_train():
    parts = split_by_class([*EXAMPLES, ("text 0", 1), ("both", 0), ("both", 1)])
    assert {("text 0", 0), ("text 0", 1), ("both", 0), ("both", 1)} <= set(parts["train"])


def test_a_share_of_zero_leaves_the_part_empty():
    parts = split_by_class(EXAMPLES, dev=0)
    assert [len(parts[part]) for part in PARTS] == [800, 0, 200]


@given(few_examples)
def test_the_split_by_class_loses_nothing_and_keeps_equal_texts_together(examples):
    parts = split_by_class(examples)
    assert sorted(example for part in PARTS for example in parts[part]) == sorted(examples)
    texts = [{text for text, _ in parts[part]} for part in PARTS]
    assert sum(map(len, texts)) == len(set().union(*texts))
    assert {label for _, label in parts["train"]} == {label for _, label in examples}


@given(few_examples, st.randoms(use_true_random=False))
def test_the_split_by_class_is_independent_of_the_order(examples, shuffler):
    shuffled = shuffler.sample(examples, len(examples))
    first, second = split_by_class(examples), split_by_class(shuffled)
    assert all(sorted(first[part]) == sorted(second[part]) for part in PARTS)


def test_the_first_of_each_class_keep_their_order():
    assert take_first_of_each_class([("a", 1), ("b", 0), ("c", 1), ("d", 1)], 2) == (
        [("a", 1), ("b", 0), ("c", 1)],
        [("d", 1)],
    )


def test_of_duplicates_the_first_stays():
    assert drop_duplicates([("a", 1), ("b", 0), ("a", 0)]) == ([("a", 1), ("b", 0)], 1)


def test_texts_that_occur_more_than_once_are_counted():
    train = [("a", 0), ("b", 1), ("b", 0), ("  both\twords ", 1)]
    found = dataset(train=train, dev=[("a", 1), ("c", 0)], test=[("b", 1), ("c", 0), ("both words", 1)]).duplicates
    assert found.to_dict() == {
        "test_in_train": 2,
        "test_in_dev": 1,
        "dev_in_train": 1,
        "repeated": 1,
        "contradicting": 2,
    }


def test_data_say_their_classes_and_what_is_odd_about_them():
    lines = dataset(train=[("a", 0), ("d ", 1)]).describe()
    assert lines == [
        "1 test texts that are in train too, so the test accuracy may be too high",
        "classes in train: no 1, yes 1",
    ]


def test_of_many_classes_the_first_ten_are_said():
    train = [(f"text {number}", number) for number in range(30)]
    names = [f"{number} {'x' * 200}" for number in range(30)]
    data = TextDataset.from_parts(
        "mine", {"train": train, "dev": [], "test": []}, label_names=names, origin="here", cleaned={}
    )
    (line,) = data.describe()
    assert line.endswith("9 xxxxxxxxxxxxxxxxxxxxxxxxx... 1, and 20 more")
    assert len(line) < 400


def test_shared_texts_are_left_out_where_the_model_learns_and_not_where_it_is_tested():
    train = [("a", 0), ("b", 1), ("c", 0), ("d", 1), ("e", 0)]
    data = dataset(train=train, dev=[("c", 0), ("d", 1), ("f", 0)], test=[("d ", 1), ("e", 0)]).without_shared_texts()
    assert (data.train.texts, data.dev.texts, data.test.texts) == (("a", "b"), ("c", "f"), ("d ", "e"))
    assert data.cleaned == {
        "texts of train that are in dev or test left out": 3,
        "texts of dev that are in test left out": 1,
    }
    assert data.duplicates.test_in_train == data.duplicates.dev_in_train == 0


def test_splits_that_are_all_the_same_have_nothing_left():
    with pytest.raises(InputError, match=r"`drop_duplicates` would leave 0 texts with 0 labels .*; bring splits that"):
        dataset(train=EXAMPLES, dev=EXAMPLES, test=EXAMPLES).without_shared_texts()


@pytest.mark.parametrize(
    ("texts", "labels", "said"),
    [
        (("a", None), (0, 1), "text 1: expected a string, got None"),
        ("ab", (0, 1), "expected a list of texts, got "),
        ((("a", 1),), (0,), "text 0: expected a string, got a tuple of 2"),
        (("a", "b"), (0, -1), "label 1: expected a class id, a whole number of at least 0, got -1"),
        (("a", "b"), ("0", 1), "label 0: expected a class id"),
        (("a",), (True,), "label 0: expected a class id"),
        (("a",), (float("nan"),), "expected finite numbers as labels"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_a_split_of_what_is_no_text_or_class_is_refused(texts, labels, said):
    with pytest.raises(InputError, match=said):
        Split(texts, labels)


@pytest.mark.usefixtures("without_type_checks")
def test_lists_and_numpys_numbers_make_a_split():
    split = Split(["a", "b"], np.array([1, 0]))
    assert (split.texts, split.labels) == (("a", "b"), (1, 0))
    assert type(split.labels[0]) is int
