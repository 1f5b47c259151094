import io
import tarfile
import zipfile

import pytest

from safr.data import archives
from safr.data.archives import SentimentTree, parse_tree, read_imdb_reviews, read_sst_trees
from safr.errors import InputError

TREES = "(3 (2 a) (4 (4 good) (2 film)))\n\n(0 (0 bad))\n"


def sst(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for split, content in {"train": TREES, "dev": TREES, "test": TREES, **members}.items():
            archive.writestr(f"trees/{split}.txt", content)
    return path


def imdb(path, members, kind=tarfile.REGTYPE):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size, member.type = len(content), kind
            archive.addfile(member, io.BytesIO(content))
    return path


def reviews(numbers=(10, 9)):
    return {
        f"aclImdb/{split}/{folder}/{number}_7.txt": f"{split} {folder} {number} ü".encode()
        for split in ("train", "test")
        for folder in ("pos", "neg")
        for number in numbers
    }


@pytest.fixture
def two_a_class(monkeypatch):
    monkeypatch.setattr(archives, "_REVIEWS_PER_CLASS", 2)


def test_a_tree_gives_its_label_and_those_of_its_words():
    tree = parse_tree("(3 (2 a) (4 (4 good) (2 3\u00a01\\/2)))")
    assert tree == SentimentTree(label=3, words=("a", "good", "3\u00a01\\/2"), word_labels=(2, 4, 2))
    assert tree.text == "a good 3\u00a01\\/2"


@pytest.mark.parametrize("line", ["", "a good film", "(5 (2 a))", "(3 (2 a)", "(3 )"])
def test_a_line_that_is_no_tree_gives_none(line):
    assert parse_tree(line) is None


def test_the_published_treebank_has_its_11855_sentences(sst_archive):
    trees = read_sst_trees(sst_archive)
    assert {split: len(sentences) for split, sentences in trees.items()} == {"train": 8544, "dev": 1101, "test": 2210}
    assert trees["dev"][0].text == "It 's a lovely film with lovely performances by Buy and Accorsi ."
    assert all(len(tree.words) == len(tree.word_labels) for sentences in trees.values() for tree in sentences)


def test_blank_lines_between_trees_are_skipped(tmp_path):
    assert len(read_sst_trees(sst(tmp_path / "a.zip"))["dev"]) == 2


def test_a_line_that_is_no_tree_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"a\.zip, trees/dev\.txt, line 3: expected a tree such as"):
        read_sst_trees(sst(tmp_path / "a.zip", dev="(0 (0 bad))\n\nbad\n"))


def test_a_missing_member_is_an_error(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../trees/train.txt", TREES)
    with pytest.raises(InputError, match=r"expected a member trees/train\.txt, found none; delete the file and fetch"):
        read_sst_trees(tmp_path / "a.zip")


def test_a_file_that_is_no_zip_is_an_error(write):
    with pytest.raises(
        InputError, match=r"a\.zip: not a zip file, or a broken one; delete the file and fetch it again"
    ):
        read_sst_trees(write("a.zip", "<html>"))


def test_a_zip_with_changed_bytes_is_an_error(tmp_path):
    path = sst(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"good", b"gOOd"))
    with pytest.raises(InputError, match=r"not a zip file, or a broken one"):
        read_sst_trees(path)


@pytest.mark.parametrize("read", [read_sst_trees, read_imdb_reviews])
def test_a_member_that_is_too_large_is_an_error(read, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_MEMBER", 10)
    make = {read_sst_trees: sst, read_imdb_reviews: lambda path: imdb(path, reviews())}[read]
    with pytest.raises(InputError, match=r"expected at most 10 bytes in .*train.*\.txt, it has more"):
        read(make(tmp_path / "a"))


def test_reviews_come_by_number_and_then_negative_before_positive(tmp_path, two_a_class):
    others = {"aclImdb/train/unsup/0_0.txt": b"no", "../aclImdb/train/pos/1_7.txt": b"no", "aclImdb/README": b"no"}
    splits = read_imdb_reviews(imdb(tmp_path / "a.tar.gz", reviews() | others))
    assert splits["train"] == [
        ("train neg 9 ü", 0),
        ("train pos 9 ü", 1),
        ("train neg 10 ü", 0),
        ("train pos 10 ü", 1),
    ]
    assert len(splits["test"]) == 4


def test_too_few_reviews_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"expected 12500 reviews in aclImdb/train/neg, found 2; delete the file"):
        read_imdb_reviews(imdb(tmp_path / "a.tar.gz", reviews()))


def test_links_are_not_followed(tmp_path):
    with pytest.raises(InputError, match=r"expected 12500 reviews in aclImdb/train/neg, found 0"):
        read_imdb_reviews(imdb(tmp_path / "a.tar.gz", dict.fromkeys(reviews(), b""), kind=tarfile.SYMTYPE))


def test_an_archive_that_breaks_off_is_an_error(tmp_path, two_a_class):
    path = imdb(tmp_path / "a.tar.gz", reviews())
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(InputError, match=r"a\.tar\.gz: not a tar\.gz file, or a broken one; delete the file"):
        read_imdb_reviews(path)


def test_a_review_that_is_not_utf_8_is_an_error(tmp_path):
    with pytest.raises(InputError, match=r"not a tar\.gz file, or a broken one"):
        read_imdb_reviews(imdb(tmp_path / "a.tar.gz", {"aclImdb/train/pos/0_9.txt": b"\xff"}))
