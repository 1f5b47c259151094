import csv
import gzip
import json
import os
import tempfile
from pathlib import Path

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from safr.data import lines
from safr.data.files import open_table, read_rows, split_files
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
    "more.csv": ("text,label\na,b,1\n", r"line 2: expected 2 fields as in the header, found 3; .* holds commas"),
    "fewer.tsv": ("text\tlabel\na\n", r"line 2: expected 2 fields as in the header, found 1; .* holds tabs"),
    "two.csv.gz": (b"text,label", r"two\.csv\.gz: .*not a gzip|cannot be read"),
    "wide.csv": (b"t\0e\0x\0t\0,\0", r"wide\.csv: looks like UTF-16 without a byte order mark; save the file as UTF-8"),
    "a.zip": (b"PK", r"got '\.zip'; unpack it first"),
    "broken.jsonl": ('{"text": "a", "label": 1}\n{"text"\n', r"broken\.jsonl, line 2: invalid JSON \(.*\); write one"),
    "deep.jsonl": ("[" * 100_000, r"deep\.jsonl, line 1: invalid JSON"),
    "digits.jsonl": ('{"text": "a", "label": ' + "1" * 5000 + "}", r"digits\.jsonl, line 1: invalid JSON"),
    "list.jsonl": ('["a", 1]\n', r"line 1: expected a JSON object such as .*, got '\[\"a\", 1\]'"),
    "key.jsonl": ('{"text": "a", "label": 1}\n{"text": "b"}\n', r"line 2: expected a column 'label', found 'text'"),
    "text.parquet": ("text,label\n", r"text\.parquet: not a Parquet file, or a broken one; write it again"),
    "a.xlsx": (
        "",
        r"a\.xlsx: expected a file ending in \.csv, \.tsv, \.jsonl, \.parquet, \.txt, \.conll, \.json, got '\.xlsx'",
    ),
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
    with pytest.raises(InputError, match=r"expected a file, but it is not one"):
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
    with pytest.raises(
        InputError, match=r"mine: expected a file train\.csv, .* or train\.json .* found dev\.csv; name one file"
    ):
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


@pytest.mark.parametrize(("delimiter", "words"), [(";", "semicolons"), ("\t", "tabs"), ("|", "vertical bars")])
def test_a_separator_is_found_by_the_header_and_told(delimiter, words, write):
    table = open_table(write("a.csv", f"text{delimiter}label\na, b{delimiter}1\n"), COLUMNS)
    assert [row.values for row in table.rows] == [("a, b", "1")]
    assert table.delimiter == words


def test_compressed_text_is_read(write):
    assert values(write("a.csv.gz", gzip.compress(b"text,label\na,1\n"))) == [("a", "1")]
    assert values(write("a.JSONL.GZ", gzip.compress(b'{"text": "a", "label": 1}'))) == [("a", 1)]
    folder = write("mine/train.csv.gz", b"").parent
    assert [path.name for path in split_files(folder).values()] == ["train.csv.gz"]


@pytest.mark.parametrize(
    ("header", "advice"),
    [
        ("review,sentiment", "pass --text-column review --label-column sentiment"),
        ("Text,label", "pass --text-column Text"),
        ("text,class", "pass --label-column class"),
        ("review,comment,label", "say which columns hold the text and the label"),
        ("a,b", "say which columns hold the text and the label"),
    ],
)
def test_columns_that_are_probably_meant_are_named_as_options(header, advice, write):
    with pytest.raises(InputError, match=rf"; {advice}$"):
        read_rows(write("a.csv", f"{header}\n1,2,3\n"), COLUMNS)


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet"])
def test_a_file_that_holds_far_more_than_it_stores_is_refused(name, write, monkeypatch):
    monkeypatch.setattr(lines, "_SMALL_FILE", 100_000)
    monkeypatch.setattr(lines, "_MAX_EXPANSION", 2)
    monkeypatch.setattr(lines, "_LARGEST_FILE", 1_000_000)
    rows = ["a" * 100] * 20_000
    content = ("text,label\n" + "".join(f"{text},1\n" for text in rows)).encode()
    path = write(name, gzip.compress(content) if name.endswith(".gz") else content)
    if name.endswith(".parquet"):  # one text in a dictionary, which the declared size does not count often
        parquet.write_table(pyarrow.table({"text": rows, "label": [1] * len(rows)}), path)
    with pytest.raises(InputError, match=r"expected (a file of )?at most [0-9,]+ bytes"):
        read_rows(path, COLUMNS)


def test_a_line_without_end_is_refused(write, monkeypatch):
    monkeypatch.setattr(lines, "LONGEST_LINE", 1_000)
    with pytest.raises(InputError, match=r"expected lines of at most 1,000 characters"):
        read_rows(write("a.csv", "text,label\n" + "a" * 2_000), COLUMNS)


def test_an_array_of_objects_and_repeated_keys_are_told(write):
    with pytest.raises(InputError, match="got an array of them; write each on its own line"):
        read_rows(write("a.jsonl", json.dumps([{"text": "a", "label": 1}])), COLUMNS)
    with pytest.raises(InputError, match="an array must be rewritten as one object a line"):
        read_rows(write("a.jsonl", json.dumps([{"text": "a", "label": 1}], indent=2)), COLUMNS)
    with pytest.raises(InputError, match="the key 'text' occurs twice"):
        read_rows(write("a.jsonl", '{"text": "a", "text": "b", "label": 1}'), COLUMNS)


cells = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@given(rows=st.lists(st.tuples(cells, cells), min_size=1, max_size=20))
def test_any_table_is_read_back_as_it_was_written(ending, rows):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a{ending}"
        if ending == ".parquet":
            parquet.write_table(pyarrow.table(dict(zip(COLUMNS, zip(*rows, strict=True), strict=True))), path)
        elif ending == ".jsonl":
            path.write_text("".join(json.dumps(dict(zip(COLUMNS, row, strict=True))) + "\n" for row in rows))
        else:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, delimiter=";" if ending == ".csv" else "\t", quoting=csv.QUOTE_ALL)
                writer.writerows([COLUMNS, *rows])
        if ending == ".tsv" and any("\t" in cell and "\n" in cell for row in rows for cell in row):
            return  # refused, since a quote may have swallowed lines
        assert values(path) == rows


def test_two_files_with_long_fields_are_read_in_turns(tmp_path):
    paths = [tmp_path / "one.csv", tmp_path / "other.csv"]
    before = csv.field_size_limit()
    for path in paths:
        path.write_text("text,label\n" + f'"{"a " * 100_000}",1\n' * 2)
    one, other = (open_table(path, ["text", "label"]).rows for path in paths)
    assert [len(row.values[0]) for pair in zip(one, other, strict=True) for row in pair] == [200_000] * 4
    assert csv.field_size_limit() == before
