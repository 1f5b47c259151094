"""Damaged, odd and hostile data files: each is read, or refused in one short line, and nothing is made up."""

import csv
import gzip
import io
import json
import os
import random
import signal
import sys
import unicodedata
from contextlib import contextmanager

import datasets
import pyarrow
import pytest
from pyarrow import parquet

from safr.data import load_data
from safr.errors import InputError

LONGEST_MESSAGE = 300
SECONDS = 20
WORDS = [
    "a",
    "fine",
    "film,",
    "dull;",
    "the",
    "plot",
    "|",
    "is\tthin",
    "\U0001f642",
    "na\u00efve",
    "\u6f22\u5b57",
    '"so"',
]


@contextmanager
def time_limit(seconds):
    def stop(*_):
        raise TimeoutError("a data file was read for too long")

    previous = signal.signal(signal.SIGALRM, stop)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


def try_to_load(path):
    """The data set, or the line that refuses it."""
    with time_limit(SECONDS):
        try:
            return load_data(path)
        except InputError as error:
            message = str(error)
    assert len(message.splitlines()) == 1, message
    assert len(message) <= LONGEST_MESSAGE, message
    return message


# --- good tables in every format, and what can happen to them


def make_rows(draw):
    labels = draw.choice([("pos", "neg"), ("0", "1"), ("1.0", "2"), ("True", "False"), ("a", "b", "c")])
    return [
        (f"{' '.join(draw.choices(WORDS, k=draw.randint(1, 8)))} {n}", draw.choice(labels))
        for n in range(draw.randint(12, 40))
    ]


def write_csv(rows, delimiter):
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([("text", "label"), *rows])
    return file.getvalue().encode()


def write_jsonl(rows):
    return "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows).encode()


def write_parquet(rows):
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(dict(zip(("text", "label"), zip(*rows, strict=True), strict=True))), file)
    return file.getvalue()


FORMATS = {
    ".csv": lambda rows: write_csv(rows, ","),
    ".tsv": lambda rows: write_csv(rows, "\t"),
    ".jsonl": write_jsonl,
    ".parquet": write_parquet,
    ".csv.gz": lambda rows: gzip.compress(write_csv(rows, ",")),
}


def flip_bytes(content, draw):
    damaged = bytearray(content)
    for _ in range(draw.randint(1, 8)):
        damaged[draw.randrange(len(damaged))] = draw.randrange(256)
    return bytes(damaged)


def cut(content, draw):
    return content[: draw.randrange(len(content))]


def cut_out(content, draw):
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 50) :]


def insert(content, draw):
    place = draw.randrange(len(content))
    odd = draw.choice([b"\0", b'"', b"\r", b"\n", b"\xff", b"\xed\xa0\x80", b"\\", b"\t", b"{", b"\xe2\x80\xa8"])
    return content[:place] + odd * draw.randint(1, 3) + content[place:]


def recode(content, draw):
    encoding = draw.choice(["utf-16", "utf-16-le", "utf-32", "cp1252", "utf-8-sig", "utf-7"])
    return content.decode("utf-8", "replace").encode(encoding, "replace")


def swap_separators(content, draw):
    return content.replace(draw.choice([b",", b"\t", b":"]), draw.choice([b";", b"|", b" ", b"", b"\t"]))


DAMAGES = (flip_bytes, cut, cut_out, insert, recode, swap_separators)


def change_labels(rows, draw):
    odd = ["nan", "", "NA", "None", "POS", " pos", "x" * 500, "\0", "1e400", "-1", "\ud800", "999", "TRUE", "\u0130"]
    return [(text, draw.choice(odd) if draw.random() < 0.3 else label) for text, label in rows]


def test_damaged_tables_are_read_or_refused_in_one_line(tmp_path, pick_size):
    draw, tried, loaded, refused = random.Random(0), pick_size(60, 250), 0, 0
    for number in range(tried):
        ending = list(FORMATS)[number % len(FORMATS)]
        rows = make_rows(draw)
        content = FORMATS[ending](rows)
        damage = draw.choice(DAMAGES)
        for _ in range(draw.choice([1, 1, 2])):
            content = damage(content, draw) if content else content
        path = tmp_path / f"{number}{ending}"
        path.write_bytes(content)
        outcome = try_to_load(path)
        if isinstance(outcome, str):
            refused += 1
        else:
            loaded += 1
            check_texts_are_in_file(outcome, path, content)
    sys.stdout.write(f"damaged data files: {tried} tried, {loaded} read, {refused} refused in one line, 0 tracebacks\n")


def test_odd_labels_are_read_or_refused_in_one_line(tmp_path, pick_size):
    draw, tried, loaded = random.Random(1), pick_size(20, 100), 0
    for number in range(tried):
        rows = change_labels(make_rows(draw), draw)
        path = tmp_path / f"{number}.jsonl"
        path.write_bytes(write_jsonl(rows))
        outcome = try_to_load(path)
        if not isinstance(outcome, str):
            loaded += 1
            texts = {text for text, _ in rows}
            assert {text for split in (outcome.train, outcome.dev, outcome.test) for text in split.texts} <= texts
            folded = [unicodedata.normalize("NFC", name.casefold()) for name in outcome.label_names]
            assert len(set(folded)) == len(folded)
    sys.stdout.write(f"odd labels: {tried} tried, {loaded} read, {tried - loaded} refused in one line, 0 tracebacks\n")


def check_texts_are_in_file(data, path, content):
    """Every text stands in the file; Parquet and gzip can't be searched, and JSON may write it in another way."""
    if path.suffix in (".parquet", ".gz"):
        return
    encoding = "utf-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    written = content.decode(encoding, "surrogatepass")
    texts = {text for split in (data.train, data.dev, data.test) for text in split.texts}
    if path.suffix == ".jsonl":
        assert texts <= {json.loads(line)["text"] for line in written.split("\n") if line.strip()}
    else:
        assert all(text in written for text in texts if "\ufffd" not in text and '"' not in text)


# --- files that somebody has made by hand

ROWS = "".join(f"text {n},{n % 2}\n" for n in range(30))
GOOD = f"text,label\n{ROWS}"
JSON_ROWS = "".join(json.dumps({"text": f"text {n}", "label": n % 2}) + "\n" for n in range(30))
LONG = "word " * 3_000

REFUSED = {
    "header.csv": "text,label\n",
    "nothing.csv": "",
    "long.csv": f"pos,{LONG}\n{ROWS}",
    "long_header.csv": f"{LONG},{LONG}\n{ROWS}",
    "many_columns.csv": ",".join(f"column {n} {LONG}" for n in range(100)) + "\n",
    "one_class.csv": "text,label\n" + "".join(f"text {n},1\n" for n in range(30)),
    "quote.csv": GOOD + '"never closed,1\n' + ROWS,
    "uneven.csv": GOOD + "a,b,c\n",
    "twice.csv": "text,text,label\n" + "".join(f"a {n},b,{n % 2}\n" for n in range(30)),
    "latin.csv": (GOOD + "na\u00efve,1\n").encode("latin-1"),
    "utf32.csv": GOOD.encode("utf-32"),
    "utf16.csv": GOOD.encode("utf-16-le"),
    "utf16be.csv": GOOD.encode("utf-16-be"),
    "nuls.csv": b"\0" * 10_000,
    "pickle.csv": b"\x80\x04\x95\n\0\0\0\0\0\0\0\x8c\x06system\x94.",
    "array.jsonl": json.dumps([{"text": "a", "label": 1}] * 30),
    "pretty.jsonl": json.dumps([{"text": "a", "label": 1}] * 30, indent=2),
    "deep.jsonl": '{"text": ' + "[" * 100_000,
    "deep_object.jsonl": '{"text": ' * 50_000,
    "digits.jsonl": '{"text": "a", "label": ' + "1" * 5_000 + "}\n" + JSON_ROWS,
    "digits_short.jsonl": '{"text": "a", "label": ' + "1" * 4_000 + "}\n" + JSON_ROWS,
    "list_label.jsonl": JSON_ROWS + '{"text": "a", "label": [1, 2]}\n',
    "object_text.jsonl": JSON_ROWS + '{"text": {"a": "' + LONG + '"}, "label": 1}\n',
    "key_twice.jsonl": JSON_ROWS + '{"text": "a", "text": "b", "label": 1}\n',
    "long_key.jsonl": JSON_ROWS + json.dumps({LONG: 1}) + "\n",
    "long_label.jsonl": JSON_ROWS + json.dumps({"text": "a", "label": LONG}) + "\n",
    "text.gz": gzip.compress(GOOD.encode()),
    "cut.csv.gz": gzip.compress(GOOD.encode())[:-20],
    "plain.csv.gz": GOOD,
    "cut.parquet": b"PAR1" + b"\0" * 100 + b"PAR1",
    "page.zip": b"PK\x03\x04",
    "data.xlsx": b"PK\x03\x04",
    f"{'n' * 240}.csv": "",
    "two\nlines.csv": "",
    "one_test/train.csv": GOOD,
    "one_test/test.csv": "text,label\na,1\n",
    "empty_test/test.jsonl": '{"text": "", "label": 1}\n',
    "empty_test/train.csv": GOOD,
    "strange_test/train.csv": GOOD,
    "strange_test/test.csv": f"text,label\na,1\nb,{'z' * 150}\n",
}

READ = {
    "good.csv": GOOD,
    "mark.csv": GOOD.encode("utf-8-sig"),
    "utf16_mark.csv": GOOD.encode("utf-16"),
    "mac.csv": GOOD.replace("\n", "\r"),
    "windows.csv": GOOD.replace("\n", "\r\n"),
    "semicolon.csv": GOOD.replace(",", ";"),
    "tab.csv": GOOD.replace(",", "\t"),
    "bar.csv": GOOD.replace(",", "|"),
    "comma.tsv": GOOD,
    "nul.csv": GOOD + "a\0b,1\n",
    "huge_field.csv": GOOD + f"{'a' * 2_000_000},1\n",
    "packed.csv.gz": gzip.compress(GOOD.encode()),
    "packed.jsonl.gz": gzip.compress(JSON_ROWS.encode()),
    "separators.jsonl": JSON_ROWS + '{"text": "a\u2028b\x85c", "label": 1}\n',
    "nan.jsonl": JSON_ROWS + '{"text": NaN, "label": 1}\n{"text": "a", "label": NaN}\n{"text": null, "label": 1}\n',
    "folder/train.csv": GOOD,
    "folder/validation.jsonl": JSON_ROWS,
    "folder/test.tsv": GOOD.replace(",", "\t"),
}


def write_all(folder, files):
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return sorted({folder / name.split("/")[0] for name in files})


def test_bad_files_are_refused_in_one_line(tmp_path):
    paths = write_all(tmp_path, REFUSED)
    for path in paths:
        assert isinstance(try_to_load(path), str), path
    sys.stdout.write(f"bad data files: {len(paths)} tried, {len(paths)} refused in one line, 0 tracebacks\n")


def test_unusual_files_are_read(tmp_path):
    for path in write_all(tmp_path, READ):
        outcome = try_to_load(path)
        assert not isinstance(outcome, str), outcome
        assert len(outcome.train) + len(outcome.dev) + len(outcome.test) >= 30


@pytest.mark.parametrize(
    "column",
    [
        pyarrow.array([[[1, 2]]] * 30),
        pyarrow.array([{"a": 1}] * 30),
        pyarrow.array([b"a"] * 30),
        pyarrow.array([2**62] * 30, pyarrow.timestamp("us")),
        pyarrow.array([0] * 30, pyarrow.timestamp("us", "UTC")),
        pyarrow.array([0] * 30, pyarrow.duration("ns")),
        pyarrow.nulls(30),
    ],
    ids=str,
)
def test_parquet_columns_of_other_types_are_refused_in_one_line(tmp_path, column):
    good = {"text": [f"text {n}" for n in range(30)], "label": [n % 2 for n in range(30)]}
    for name in good:
        parquet.write_table(pyarrow.table(good | {name: column}), tmp_path / "a.parquet")
        assert isinstance(try_to_load(tmp_path / "a.parquet"), str)


def test_parquet_columns_of_usual_types_are_read(tmp_path):
    texts, labels = pyarrow.array([f"text {n}" for n in range(30)]), pyarrow.array(["a", "b"] * 15)
    for number, (text, label) in enumerate(
        [
            (texts.dictionary_encode(), labels.dictionary_encode()),
            (texts.cast(pyarrow.large_string()), pyarrow.array([True, False] * 15)),
            (texts, pyarrow.array([1.0, 2.0, None] * 10)),
            (texts, pyarrow.array([1, 2] * 15).cast(pyarrow.decimal128(38, 2))),
        ]
    ):
        parquet.write_table(pyarrow.table({"text": text, "label": label}), tmp_path / f"{number}.parquet")
        assert len(try_to_load(tmp_path / f"{number}.parquet").label_names) == 2


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_what_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    os.mkfifo(tmp_path / "pipe.parquet")
    (tmp_path / "link.csv").symlink_to(tmp_path / "nowhere.csv")
    (tmp_path / "loop.csv").symlink_to(tmp_path / "loop.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    (tmp_path / "folder.csv").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "piped").mkdir()
    os.mkfifo(tmp_path / "piped" / "train.csv")
    paths = [*sorted(tmp_path.iterdir()), "/dev/zero", "/dev/null", "/dev/stdin", "/dev/random", "/proc/self/mem", "/"]
    for path in paths:
        assert isinstance(try_to_load(path), str), path


@pytest.mark.parametrize("damage", [flip_bytes, cut, cut_out])
def test_damaged_folders_of_save_to_disk_are_read_or_refused_in_one_line(tmp_path, damage, pick_size):
    draw = random.Random(2)
    rows = {"text": [f"text {n}" for n in range(30)], "label": [n % 2 for n in range(30)]}
    datasets.disable_progress_bars()
    for number in range(pick_size(4, 30)):
        folder = tmp_path / str(number)
        datasets.DatasetDict(train=datasets.Dataset.from_dict(rows)).save_to_disk(str(folder))
        path = draw.choice([path for path in sorted(folder.rglob("*")) if path.is_file()])
        path.write_bytes(damage(path.read_bytes(), draw))
        try_to_load(folder)
