import csv
import json
import os

import pyarrow
import pytest
from pyarrow import parquet

from safr.data.files import read_rows, split_files
from safr.errors import InputError

COLUMNS = ("text", "label")


def values(path):
    return [row.values for row in read_rows(path, COLUMNS)]


def test_csv_is_read_by_column_name_with_the_line_where_each_row_starts(write):
    path = write("a.csv", 'label,id,text\r\n1,7,"two\r\nlines, ""quoted"""\r\n\r\n0,8,plain\r\n')
    rows = read_rows(path, COLUMNS)
    assert [row.values for row in rows] == [('two\r\nlines, "quoted"', "1"), ("plain", "0")]
    assert [row.place for row in rows] == [f"{path}, line 2", f"{path}, line 5"]


def test_tsv_takes_commas_as_text(write):
    assert values(write("a.TSV", "text\tlabel\nthis, that\tgood\n")) == [("this, that", "good")]


def test_jsonl_keeps_line_separators_inside_texts_and_skips_blank_lines(write):
    path = write("a.jsonl", '\n{"text": "a\u2028b\x85c", "label": 1}\r\n\n{"label": true, "text": "d"}')
    assert values(path) == [("a\u2028b\x85c", 1), ("d", True)]


def test_parquet_is_read_by_column_name_whatever_its_folder_is_called(tmp_path):
    path = tmp_path / "label=3" / "a.parquet"
    path.parent.mkdir()
    parquet.write_table(pyarrow.table({"label": [1, None], "x.y": [0, 0], "text": ["a", "b"]}), path)
    rows = read_rows(path, COLUMNS)
    assert [row.values for row in rows] == [("a", 1), ("b", None)]
    assert rows[1].place == f"{path}, row 2"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_files_may_be_in(encoding, write):
    assert values(write("a.csv", "text,label\nnaïve 🙂,1\n".encode(encoding))) == [("naïve 🙂", "1")]


def test_fields_may_be_longer_than_the_limit_of_csv_which_stays_as_it_was(write):
    limit = csv.field_size_limit()
    assert values(write("a.csv", f"text,label\n{'a' * 200_000},1\n")) == [("a" * 200_000, "1")]
    assert csv.field_size_limit() == limit


def test_nuls_control_characters_and_right_to_left_stay_as_they_are(write):
    text = "a\0b\x07c\u202edef\u200bשלום"
    assert values(write("a.csv", f"text,label\n{text},1\n")) == [(text, "1")]


ERRORS = {
    "no_rows.csv": ("text,label\n", r"no_rows\.csv: no rows; expected one labelled text a row"),
    "empty.csv": ("", r"empty\.csv: the file is empty"),
    "mark_only.csv": (b"\xff\xfe", r"mark_only\.csv: the file is empty"),
    "blank.jsonl": (" \n\n", r"blank\.jsonl: the file is empty"),
    "column.csv": (
        "review,label\na,1\n",
        r"expected a column 'text', found 'review', 'label'; pass --text-column review",
    ),
    "twice.csv": ("text,text,label\na,b,1\n", r"the column 'text' occurs 2 times; rename all but one"),
    "latin.csv": (b"text,label\na,1\nna\xefve,1\n", r"latin\.csv, line 3: not UTF-8; save the file as UTF-8"),
    "odd.csv": ("text,label\na,1\n".encode("utf-16") + b"b", r"odd\.csv, line 3: not UTF-16; save the file as UTF-8"),
    "open.csv": ('text,label\na,1\n"b,1\nc,1\n', r"open\.csv, line 3: broken quoting \(unexpected end of data\)"),
    "after.csv": ('text,label\n"a"b,1\n', r"after\.csv, line 2: broken quoting .* write a quoted text as"),
    "more.csv": ("text,label\na,b,1\n", r"line 2: expected 2 fields as in the header, found 3; .* holds a comma"),
    "fewer.tsv": ("text\tlabel\na\n", r"line 2: expected 2 fields as in the header, found 1; .* holds a tab"),
    "broken.jsonl": ('{"text": "a", "label": 1}\n{"text"\n', r"broken\.jsonl, line 2: invalid JSON \(.*\); write one"),
    "deep.jsonl": ("[" * 100_000, r"deep\.jsonl, line 1: invalid JSON"),
    "digits.jsonl": ('{"text": "a", "label": ' + "1" * 5000 + "}", r"digits\.jsonl, line 1: invalid JSON"),
    "list.jsonl": ('["a", 1]\n', r"line 1: expected a JSON object such as .*, got '\[\"a\", 1\]'"),
    "key.jsonl": ('{"text": "a", "label": 1}\n{"text": "b"}\n', r"line 2: expected a column 'label', found 'text'"),
    "text.parquet": ("text,label\n", r"text\.parquet: not a Parquet file, or a broken one; write it again"),
    "a.xlsx": ("", r"a\.xlsx: expected a file ending in \.csv, \.tsv, \.jsonl, \.parquet, got '\.xlsx'"),
    "README": ("", r"expected a file ending in .*, got 'no ending'"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_one_line_says_what_is_wrong_with(name, write):
    content, message = ERRORS[name]
    with pytest.raises(InputError, match=message) as caught:
        read_rows(write(name, content), COLUMNS)
    assert len(str(caught.value).splitlines()) == 1


def test_parquet_without_the_column_lists_those_it_has(tmp_path):
    parquet.write_table(pyarrow.table({"review": ["a"], "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"expected a column 'text', found 'review', 'label'"):
        read_rows(tmp_path / "a.parquet", COLUMNS)


def test_parquet_with_a_text_that_is_no_utf_8_is_an_error(tmp_path):
    broken = pyarrow.StringArray.from_buffers(1, pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0"), pyarrow.py_buffer(b"\xff"))
    parquet.write_table(pyarrow.table({"text": broken, "label": [1]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match=r"a text in it is not UTF-8; write the file again"):
        read_rows(tmp_path / "a.parquet", COLUMNS)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a\.csv: no such file; check the path"):
        read_rows(tmp_path / "a.csv", COLUMNS)


def test_a_folder_that_is_named_like_a_file_is_an_error(tmp_path):
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(InputError, match=r"expected a file, and it is none"):
        read_rows(tmp_path / "a.csv", COLUMNS)


@pytest.mark.parametrize(
    ("read", "owner", "refused"), [(lambda path: read_rows(path, COLUMNS), os, "open"), (split_files, None, "iterdir")]
)
def test_what_may_not_be_read_is_an_error(read, owner, refused, write, monkeypatch):
    def refuse(*arguments):
        raise PermissionError(13, "Permission denied")

    path = write("a.csv", "text,label\na,1\n")
    monkeypatch.setattr(owner or type(path), refused, refuse)
    with pytest.raises(InputError, match=r"a\.csv: cannot be read \(Permission denied\); check its permissions"):
        read(path)


def test_the_files_of_a_folder_are_found_by_any_of_their_names(write):
    for name in ("train.csv", "validation.jsonl", "TEST.tsv", "notes.txt", "other.csv"):
        folder = write(f"mine/{name}", "").parent
    names = {split: path.name for split, path in split_files(folder).items()}
    assert names == {"train": "train.csv", "dev": "validation.jsonl", "test": "TEST.tsv"}


def test_a_folder_without_a_training_file_is_an_error(write):
    folder = write("mine/dev.csv", json.dumps({})).parent
    with pytest.raises(InputError, match=r"mine: expected a file train\.csv, .* found dev\.csv; name one file"):
        split_files(folder)


def test_two_files_for_one_split_are_an_error(write):
    write("mine/val.csv", "")
    folder = write("mine/dev.csv", "").parent
    write("mine/train.csv", "")
    with pytest.raises(InputError, match=r"expected one file for dev, found dev\.csv, val\.csv; keep one of them"):
        split_files(folder)


def test_a_quote_that_swallows_lines_of_a_tsv_is_told(write):
    path = write("odd.tsv", 'text\tlabel\n"Odd start\t1\nplain row\t0\nanother with an end quote"\t1\n')
    with pytest.raises(InputError, match=r"odd\.tsv, line 2: a quote at the start of a field runs on to another line"):
        read_rows(path, ("text", "label"))
    whole = write("whole.tsv", 'text\tlabel\n"two\nlines"\t1\n')
    assert read_rows(whole, ("text", "label"))[0].values == ("two\nlines", "1")
