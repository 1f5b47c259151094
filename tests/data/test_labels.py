import json

import pytest
from datasets import ClassLabel, Dataset, Features, Sequence, Value
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
    assert load(write, ["a ", "b"], "b.csv").cleaned == {"white space around a label removed": 42}


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
    with pytest.raises(InputError, match="expected at least two classes, but all rows have the label 'pos'"):
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
        (lambda n: 1000 + n, r"ids, or values to predict"),
        (
            lambda n: f"a whole answer {n}",
            "ids or free text, so name the one with the classes, or pass --task generation",
        ),
    ],
)
def test_a_column_with_a_class_for_every_row_is_told_what_it_looks_like(write, make, what):
    with pytest.raises(InputError, match=rf"found 84 classes in 84 rows; the column seems to hold {what}"):
        load(write, [make(n) for n in range(84)])


def test_many_numbers_with_fractions_are_values_to_predict(write):
    data = load(write, [f"{n}.5" for n in range(24)])
    assert (data.task, data.label_names) == ("regression", ("label",))
    assert sorted(label for split in (data.train, data.dev, data.test) for label in split.labels)[::21][:2] == [
        0.5,
        5.5,
    ]
    assert [len(split) for split in (data.train, data.dev, data.test)] == [59, 8, 17]
    assert any(line.startswith("numbers to predict (label) in train: 0.5 to 23.5, mean") for line in data.describe())


def test_whole_numbers_are_classes_unless_the_task_is_regression(write):
    path = write("a.csv", "text,label\n" + "".join(f"text {n},{n % 5}\n" for n in range(60)))
    assert load_data(path).task == "classification"
    data = load_data(path, task="regression")
    assert set(data.train.labels) == {0.0, 1.0, 2.0, 3.0, 4.0}
    assert all(isinstance(label, float) for label in data.train.labels)


@pytest.mark.parametrize(("cell", "value"), [("1e-3", 0.001), ("+.5", 0.5), ("-2", -2.0), ("007", 7.0)])
def test_a_value_may_be_written_in_any_usual_way(write, cell, value):
    rows = "".join(f"text {n},{n}.25\n" for n in range(40))
    data = load_data(write("a.csv", f"text,label\n{rows}the one,{cell}\n"), task="regression")
    assert read_labels(data)["the one"] == value


@pytest.mark.parametrize("cell", ["good", "1,5", "inf", "1e999", "0x10"])
def test_a_value_that_is_no_finite_number_is_an_error(write, cell):
    rows = "".join(f"text {n},{n}.25\n" for n in range(40))
    with pytest.raises(InputError, match=r"a\.csv, line 42: expected a number to predict \(--task regression\), got "):
        load_data(write("a.csv", f'text,label\n{rows}the one,"{cell}"\n'), task="regression")


def test_a_missing_value_is_left_out_and_counted(write):
    rows = "".join(f"text {n},{n}.25\n" for n in range(40))
    data = load_data(write("a.csv", f"text,label\n{rows}a,NaN\nb,\n"))
    assert data.task == "regression"
    assert data.cleaned == {"text without a number to predict left out": 1, "missing label left out": 1}


LISTS = [("toxic",), ("toxic", "insult"), (), ("insult",), ("threat", "toxic")]


def as_jsonl(lists):
    return "a.jsonl", "".join(json.dumps({"text": f"t {n}", "label": names}) + "\n" for n, names in enumerate(lists))


def as_joined(lists):
    return "a.csv", "text,label\n" + "".join(f"t {n},{'; '.join(names) or ';'}\n" for n, names in enumerate(lists))


def as_columns(lists):
    rows = "".join(
        f"t {n},{','.join(str(int(name in names)) for name in ('insult', 'threat', 'toxic'))}\n"
        for n, names in enumerate(lists)
    )
    return "a.csv", f"text,insult,threat,toxic\n{rows}"


def read_labels(data):
    splits = (data.train, data.dev, data.test)
    return {text: label for split in splits for text, label in zip(split.texts, split.labels, strict=True)}


@pytest.mark.parametrize(
    ("write_lists", "columns"),
    [(as_jsonl, "label"), (as_joined, "label"), (as_columns, ("insult", "threat", "toxic"))],
)
def test_lists_of_classes_are_read_however_they_are_written(write, write_lists, columns):
    lists = [LISTS[n % 5] for n in range(100)]
    data = load_data(write(*write_lists(lists)), label_column=columns)
    assert (data.task, data.label_names) == ("multi_label", ("insult", "threat", "toxic"))
    assert read_labels(data) == {
        f"t {n}": tuple(int(name in names) for name in data.label_names) for n, names in enumerate(lists)
    }
    assert [len(split) for split in (data.train, data.dev, data.test)] == [70, 10, 20]
    assert data.train.label_array.shape == (70, 3)


def test_lists_of_declared_classes_are_numbered_as_declared(tmp_path):
    features = Features({"text": Value("string"), "label": Sequence(ClassLabel(names=["a", "b", "c"]))})
    rows = {"text": [f"t {n}" for n in range(40)], "label": [[n % 3, (n + 1) % 3] for n in range(40)]}
    table = Dataset.from_dict(rows, features=features)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    for path in (tmp_path / "a.parquet", tmp_path / "saved"):
        data = load_data(path)
        assert (data.task, data.label_names, read_labels(data)["t 1"]) == ("multi_label", ("a", "b", "c"), (0, 1, 1))


def test_a_semicolon_in_class_names_is_no_list_where_the_parts_do_not_come_back(write):
    data = load(write, [("yes; always", "no; never")[n % 2] for n in range(40)])
    assert (data.task, data.label_names) == ("classification", ("no; never", "yes; always"))


def test_a_cell_that_is_neither_0_nor_1_in_one_of_several_label_columns_is_an_error(write):
    with pytest.raises(InputError, match=r"line 2, column 'b': expected 0 or 1, got .*2"):
        load_data(write("a.csv", "text,a,b\nt,1,2\n"), label_column=("a", "b"))


def test_a_single_list_among_labels_is_an_error_and_not_another_task(write):
    rows = "".join(json.dumps({"text": f"t {n}", "label": ("a", "b")[n % 2]}) + "\n" for n in range(40))
    path = write("a.jsonl", rows + '{"text": "t", "label": ["a", "b"]}\n')
    with pytest.raises(InputError, match=r"line 41: expected one class as in other rows, got the list 'a', 'b'; write"):
        load_data(path)
    data = load_data(path, task="multi_label")
    assert read_labels(data)["t"] == (1, 1)


def test_lists_are_refused_where_one_class_a_text_is_asked_for(write):
    with pytest.raises(InputError, match=r"line 1: expected one class a text, got the list 'toxic'; .* multi_label"):
        load_data(write(*as_jsonl([LISTS[n % 5] for n in range(100)])), task="classification")


def test_a_class_of_lists_that_train_does_not_have_is_an_error(write):
    write("mine/train.csv", as_joined([LISTS[n % 5] for n in range(50)])[1])
    folder = write("mine/test.csv", "text,label\na,toxic;new\nb,toxic\n").parent
    with pytest.raises(InputError, match=r"test\.csv, line 2: the label 'new' does not occur in train"):
        load_data(folder)


def test_pairs_come_from_two_columns(write):
    rows = "".join(f"it rains {n},it is wet {n},{('no', 'yes')[n % 2]}\n" for n in range(40))
    data = load_data(write("a.csv", f"premise,hypothesis,label\n{rows}"), text_column=["premise", "hypothesis"])
    assert data.has_pairs
    assert all(text[0].replace("it rains", "it is wet") == text[1] for text in data.train.texts)
    assert len(data.train) + len(data.dev) + len(data.test) == 40


def test_a_pair_without_one_of_its_texts_is_left_out(write):
    rows = "".join(f"it rains {n},it is wet {n},{('no', 'yes')[n % 2]}\n" for n in range(40))
    data = load_data(write("a.csv", f"a,b,label\n{rows}alone,,yes\n,alone,no\n"), text_column=("a", "b"))
    assert data.cleaned == {"empty text left out": 2}


def test_usual_columns_of_pairs_are_suggested(write):
    with pytest.raises(InputError, match=r"expected a column 'text', found .*; pass --text-column premise hypothesis"):
        load_data(write("a.csv", "premise,hypothesis,label\na,b,1\n"))


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
