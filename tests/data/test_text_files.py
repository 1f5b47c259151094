import gzip
import itertools
import json

import pandas
import pytest

from safr.data.text_files import iter_texts
from safr.errors import InputError

TEXTS = ["a film", "un été, 漢字", 'she said "no"']


@pytest.fixture
def write(tmp_path):
    def write_file(name):
        path, table = tmp_path / name, pandas.DataFrame({"id": [7, 8, 9], "review": TEXTS})
        match path.suffixes:
            case [".csv"]:
                table.to_csv(path, index=False)
            case [".csv", ".gz"]:
                path.write_bytes(gzip.compress(table.to_csv(index=False).encode()))
            case [".tsv"]:
                table.to_csv(path, index=False, sep="\t")
            case [".jsonl"]:
                path.write_text("\n".join(json.dumps({"review": text}) for text in TEXTS))
            case [".parquet"]:
                table.to_parquet(path)
            case [".txt"]:
                path.write_text("\n".join(TEXTS) + "\n", encoding="utf-8-sig")
        return path

    return write_file


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv", "a.jsonl", "a.parquet", "a.txt"])
def test_texts_come_in_the_order_of_the_file(write, name):
    assert list(iter_texts(write(name), ("review",))) == TEXTS


def test_a_file_is_read_as_its_texts_are_asked_for(tmp_path):
    path = tmp_path / "a.txt"
    path.write_bytes(b"a film\n" * 100_000 + b"\xff\n")
    texts = iter_texts(path)
    assert list(itertools.islice(texts, 3)) == ["a film"] * 3
    with pytest.raises(InputError, match=r"a\.txt, line 100001: not UTF-8; save the file as UTF-8"):
        list(texts)


def test_windows_line_ends_are_no_part_of_a_text_and_other_separators_are(tmp_path):
    (tmp_path / "a.txt").write_bytes("a film\r\nthe\u2028plot".encode())
    assert list(iter_texts(tmp_path / "a.txt")) == ["a film", "the\u2028plot"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "a film\n\ndull", r"a\.txt, line 2: expected a text with at least one word, got an empty one; leave"),
        ("a.csv", "text,id\na film,1\n  ,2", r"a\.csv, line 3: expected a text with at least one word, got an empty"),
        ("a.jsonl", '{"text": "a"}\n{"text": null}', r"a\.jsonl, line 2: expected a text or a pair .*, got None"),
        ("a.csv", "review,id\na film,1", r"a\.csv: expected a column 'text', found"),
        (
            "a.pdf",
            "",
            r"a\.pdf: expected a file ending in \.csv, \.tsv, \.jsonl, \.parquet, \.txt, \.conll, \.json, got '\.pdf'",
        ),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(tmp_path, name, content, message):
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message):
        list(iter_texts(tmp_path / name))


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone\.txt: no such file"):
        list(iter_texts(tmp_path / "gone.txt"))


def test_a_file_of_lines_holds_no_pairs(tmp_path):
    path = tmp_path / "lines.txt"
    path.write_text("a film\n")
    with pytest.raises(InputError, match=r"lines\.txt: holds one text a line, not pairs; write pairs into a \.csv"):
        list(iter_texts(path, ("premise", "hypothesis")))
