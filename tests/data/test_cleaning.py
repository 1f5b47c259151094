import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.data.cleaning import LabelledText, build_dataset, clean_rows, normalize_label, sort_label_names
from safr.data.files import Columns, RawRow
from safr.data.labels import guess_task
from safr.errors import InputError

COLUMNS = Columns()


def cells(*rows):
    return [RawRow(f"a.csv, line {line}", row) for line, row in enumerate(rows, start=2)]


def rows(count, labels=("no", "yes"), start=0):
    return [LabelledText(f"text {n}", labels[n % len(labels)], f"a.csv, line {n}") for n in range(start, start + count)]


def build(parts, **options):
    return build_dataset("mine", parts, COLUMNS, origin="a.csv", cleaned={}, **options)


def test_what_cannot_be_used_is_left_out_and_counted():
    usable, cleaned = clean_rows(
        cells(("a", 1), ("", 1), (" \n\t\u3000", 1), (None, 1), ("b", None), ("c", " ")), COLUMNS
    )
    assert usable == [LabelledText("a", "1", "a.csv, line 2")]
    assert cleaned == {"empty text left out": 3, "missing label left out": 2}


def test_words_and_numbers_for_a_missing_text_are_left_out_and_counted():
    usable, cleaned = clean_rows(cells(("nan", 1), (float("nan"), 1), ("NULL ", 0), ("nano", 0), ("none", 1)), COLUMNS)
    assert [row.text for row in usable] == ["nano", "none"]
    assert cleaned == {"empty text left out": 1, "text that only says that it is missing, such as NaN, left out": 2}


def test_lone_surrogates_are_replaced_and_counted():
    usable, cleaned = clean_rows(cells(("\ud800a\udfff", "x"), ("🙂", "x")), COLUMNS)
    assert [row.text for row in usable] == ["\ufffda\ufffd", "🙂"]
    assert cleaned == {"lone surrogates replaced": 2}


@pytest.mark.parametrize("text", [1, 1.5, True, ["a"], {"a": 1}, b"a"])
def test_a_text_that_is_no_string_is_an_error(text):
    with pytest.raises(InputError, match=rf"a\.csv, line 2, column 'text': expected text, got {type(text).__name__} "):
        clean_rows(cells((text, 1)), COLUMNS)


@pytest.mark.parametrize("label", [[[1]], {"a": 1}, b"1"])
def test_a_label_that_is_neither_text_nor_number_is_an_error(label):
    with pytest.raises(InputError, match=r"a\.csv, line 2, column 'label': expected a label that is text or a number"):
        clean_rows(cells(("a", label)), COLUMNS)


@pytest.mark.parametrize("label", [1, 1.0, "1", "1.0", "1.", " 1.00 "])
def test_a_number_is_the_same_class_however_it_is_written(label):
    assert normalize_label(label) == "1"


@pytest.mark.parametrize("label", [0, -0.0, "-0", "0.0"])
def test_zero_has_no_sign(label):
    assert normalize_label(label) == "0"


@pytest.mark.parametrize("label", ["007", "1e3", "1_0", "١", "nan", "inf", "v1.0", "-"])
def test_a_name_that_only_looks_like_a_number_stays(label):
    assert normalize_label(label) == label


@given(st.integers() | st.floats() | st.booleans() | st.none() | st.text(st.characters(exclude_categories=())))
def test_the_name_of_a_class_names_itself(label):
    name = normalize_label(label)
    assert name is None or (name == name.strip() and normalize_label(name) == name and name.encode())


def test_numbers_are_sorted_by_value_and_names_by_alphabet():
    assert sort_label_names(["10", "-1", "2.5", "10"]) == ("-1", "2.5", "10")
    assert sort_label_names(["b", "10", "9", "a"]) == ("10", "9", "a", "b")


def test_one_part_is_split_into_three_and_the_origin_says_so():
    dataset = build({"train": rows(100)})
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [70, 10, 20]
    assert dataset.origin == "a.csv; dev and test taken from train by hash"
    assert dataset.label_names == ("no", "yes")
    assert set(dataset.train.labels) == set(dataset.dev.labels) == set(dataset.test.labels) == {0, 1}


def test_only_the_part_that_is_absent_is_taken_from_train():
    dataset = build({"train": rows(100), "test": rows(5, start=100)})
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [90, 10, 5]
    assert dataset.origin == "a.csv; dev taken from train by hash"


def test_parts_that_are_all_given_stay_as_they_are():
    dataset = build({"train": rows(10), "dev": rows(2), "test": rows(3)})
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [10, 2, 3]
    assert dataset.origin == "a.csv"


def test_given_label_names_decide_the_ids():
    dataset = build({"train": rows(10), "dev": rows(2), "test": rows(2)}, label_names=("yes", "maybe", "no"))
    assert dataset.label_names == ("yes", "maybe", "no")
    assert dataset.test.labels == (2, 0)


def test_fewer_than_ten_rows_are_an_error():
    with pytest.raises(InputError, match=r"a\.csv: expected at least 10 rows with a text and a label .*, found 9"):
        build({"train": rows(9)})


def test_a_single_class_is_an_error():
    with pytest.raises(InputError, match=r"a\.csv: expected at least two classes, but all rows have the label 'no'"):
        build({"train": rows(20, labels=("no",))})


def test_a_label_that_train_does_not_have_is_an_error():
    stranger = [LabelledText("text", "maybe", "dev.csv, line 5")]
    with pytest.raises(
        InputError, match=r"dev\.csv, line 5: the label 'maybe' does not occur in train; .* 'no', 'yes'"
    ):
        build({"train": rows(10), "dev": stranger})


def test_a_given_part_without_usable_rows_is_an_error():
    with pytest.raises(InputError, match=r"a\.csv: no row with a text and a label in dev; fill it, or leave it out"):
        build({"train": rows(10), "dev": []})


def test_classes_too_small_to_be_split_are_an_error():
    with pytest.raises(InputError, match=r"no class has 3 different texts, .* give more texts to a class"):
        build({"train": rows(10, labels=tuple("abcde"))})


def test_names_that_the_data_declare_are_not_taken_apart():
    names = [f"{one};{other}" for one in "abc" for other in "abc"]
    assert guess_task(names, most_classes=20) == "multi_label"
    assert guess_task(names, most_classes=20, declared=True) == "classification"
