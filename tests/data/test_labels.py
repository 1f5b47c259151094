import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data import load_data
from safr.data.labels import normalize_label_names, resolve_labels
from safr.errors import InputError

names = st.text("aAbBnN/é\u0301 ", min_size=1, max_size=4) | st.sampled_from(["nan", "NA", "None", "none", "NULL"])


def load(write, labels, name="a.csv"):
    """The data set of 84 texts that have these labels in turn."""
    return load_data(write(name, "text,label\n" + "".join(f"t {n},{labels[n % len(labels)]}\n" for n in range(84))))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["TRUE", "True", "false", "False"], ("False", "TRUE")),
        (["Positive", "positive", "POSITIVE", "positive", "negative", "NEGATIVE"], ("NEGATIVE", "positive")),
        (["cafe\u0301", "caf\u00e9", "caf\u00e9", "bar"], ("bar", "caf\u00e9")),
        (["pos ", "pos", "neg", " neg"], ("neg", "pos")),
        (["1", "1.0", "0", "0.00"], ("0", "1")),
    ],
)
def test_spellings_of_one_name_are_one_class_called_as_most_have_it(write, labels, classes):
    data = load(write, labels)
    assert data.label_names == classes
    assert len(data.train) + len(data.dev) + len(data.test) == 84


def test_what_was_read_as_another_spelling_is_counted(write):
    data = load(write, ["Positive", "Positive", "positive", "negative"])
    assert data.cleaned == {"label 'positive' read as 'Positive'": 21}
    assert load(write, ["a ", "b"], "b.csv").cleaned == {"white space around a label left out": 42}


def test_words_for_a_missing_label_are_left_out_and_named(write):
    data = load(write, ["pos", "neg", "nan", "NaN", "NA", "None"])
    assert data.label_names == ("neg", "pos")
    assert data.cleaned == {"text without a label ('NA', 'NaN', 'None', 'nan') left out": 56}


def test_none_is_a_class_where_only_one_other_is_left_and_it_is_said(write):
    data = load(write, ["toxic", "None"])
    assert data.label_names == ("None", "toxic")
    (line,) = data.cleaned
    assert line.startswith("label 'None' kept as a class")


def test_none_is_a_class_where_it_is_one_in_another_spelling(write):
    assert load(write, ["for", "against", "none", "none", "None"]).label_names == ("against", "for", "none")


def test_nan_is_never_a_class(write):
    with pytest.raises(InputError, match="expected at least two classes, all rows have the label 'pos'"):
        load(write, ["pos", "nan"])


def test_typed_labels_are_read_as_written_ones(write):
    labels = ["true", '"TRUE"', '"true"', "false", "null", "NaN", '""']
    lines = "".join(f'{{"text": "t {n}", "label": {labels[n % 7]}}}\n' for n in range(70))
    data = load_data(write("a.jsonl", lines))
    assert len(data.label_names) == 2
    assert data.cleaned["missing label left out"] == 30


def test_classes_of_other_splits_are_found_in_any_spelling(write):
    write("mine/train.csv", "text,label\n" + "".join(f"t {n},{('Yes', 'No')[n % 2]}\n" for n in range(20)))
    data = load_data(write("mine/test.csv", "text,label\na,YES\nb,no\nc,NA\n").parent)
    assert data.test.labels == (1, 0)


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda n: f"{n * 0.37 + 0.001:.3f}", r"values to predict \(regression\)"),
        (lambda n: 1000 + n, r"ids, or values to predict"),
        (lambda n: f"a whole answer {n}", "ids or free text"),
    ],
)
def test_a_column_with_a_class_for_every_row_is_told_what_it_looks_like(write, make, what):
    with pytest.raises(InputError, match=rf"found 84 classes in 84 rows; the column seems to hold {what}"):
        load(write, [make(n) for n in range(84)])


def test_many_numbers_with_fractions_are_pointed_out(write):
    data = load(write, [f"{n}.5" for n in range(24)])
    assert data.cleaned == {"different numbers as classes; values to predict (regression)?": 24}


def test_a_label_that_is_a_text_is_an_error(write):
    with pytest.raises(
        InputError, match=r"line 2, column 'label': expected the name of a class, got 15,000 characters"
    ):
        load(write, ["word " * 2999 + "words", "b"])


def test_declared_names_stay_as_they_are_where_they_would_become_one():
    assert normalize_label_names(["1.0", "x"]) == ["1", "x"]
    assert normalize_label_names(["1.0", "1"]) == ["1.0", "1"]


@given(st.dictionaries(names.map(str.strip).filter(bool), st.integers(1, 9), min_size=1), st.randoms())
def test_every_label_has_a_class_of_the_training_texts_or_none_in_any_order(counts, shuffler):
    resolved = resolve_labels(counts)
    assert set(resolved) == set(counts)
    assert {label for label in resolved.values() if label is not None} <= set(counts)
    assert all(resolved[label] == label for label in resolved.values() if label is not None)
    shuffled = list(counts.items())
    shuffler.shuffle(shuffled)
    assert resolve_labels(dict(shuffled)) == resolved
