"""An archive in, its texts and labels out: read in place, only the members that belong there, nothing extracted."""

from __future__ import annotations

import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from safr.data.splits import Example
from safr.errors import InputError

_LARGEST_MEMBER = 50_000_000  # bytes; SST's training file has 2 million, the longest review 14 thousand
_REVIEWS_PER_CLASS = 12_500
_AGAIN = "delete the file and fetch it again"
_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/([0-9]{1,6})_[0-9]{1,2}\.txt")
_ROOT = re.compile(r"\(([0-4]) ")
# A leaf may hold a no-break space, so it ends only at a parenthesis.
_LEAF = re.compile(r"\(([0-4]) ([^()]+)\)")


@dataclass(frozen=True)
class SentimentTree:
    """One sentence: its label, its words, and a label for each word; from 0, very negative, to 4, very positive."""

    label: int
    words: tuple[str, ...]
    word_labels: tuple[int, ...]

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(self.words)


def read_sst_trees(path: Path) -> dict[str, tuple[SentimentTree, ...]]:
    """The trees of "train", "dev" and "test" of the Stanford Sentiment Treebank, in its order."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {split: _read_trees(archive, f"trees/{split}.txt", path) for split in ("train", "dev", "test")}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, UnicodeDecodeError):
        raise _broken(path, "zip") from None


def parse_tree(line: str) -> SentimentTree | None:
    """The sentence that a line in the Penn Treebank's notation stands for, or None where it is no such line.

    >>> parse_tree("(3 (2 a) (4 (4 good) (2 film)))")
    SentimentTree(label=3, words=('a', 'good', 'film'), word_labels=(2, 4, 2))
    """
    root = _ROOT.match(line)
    leaves = _LEAF.findall(line)
    if not root or not leaves or line.count("(") != line.count(")"):
        return None
    return SentimentTree(int(root[1]), tuple(word for _, word in leaves), tuple(int(label) for label, _ in leaves))


def read_imdb_reviews(path: Path) -> dict[str, list[Example]]:
    """The labelled reviews of "train" and "test", by the number in their file's name, then negative before positive."""
    reviews: dict[tuple[str, int, int], str] = {}  # split, number, label
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                name = _REVIEW.fullmatch(member.name)
                if name and member.isreg():
                    reviews[name[1], int(name[3]), int(name[2] == "pos")] = _read_review(archive, member, path)
    except (tarfile.TarError, zlib.error, EOFError, OSError, UnicodeDecodeError):
        raise _broken(path, "tar.gz") from None
    _check_reviews(reviews, path)
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    for split, number, label in sorted(reviews):
        splits[split].append((reviews[split, number, label], label))
    return splits


def _read_trees(archive: zipfile.ZipFile, member: str, path: Path) -> tuple[SentimentTree, ...]:
    if member not in archive.namelist():
        raise InputError(f"{path}: expected a member {member}, found none; {_AGAIN}")
    if archive.getinfo(member).file_size > _LARGEST_MEMBER:
        raise _too_large(path, member)
    trees = []
    for number, line in enumerate(archive.read(member).decode("utf-8").split("\n"), start=1):
        if line.strip():
            tree = parse_tree(line.strip())
            if tree is None:
                raise InputError(
                    f"{path}, {member}, line {number}: expected a tree such as (3 (2 a) (4 hit)); {_AGAIN}"
                )
            trees.append(tree)
    return tuple(trees)


def _read_review(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    if member.size > _LARGEST_MEMBER:
        raise _too_large(path, member.name)
    file = archive.extractfile(member)
    assert file is not None  # it is a regular file
    return file.read().decode("utf-8")


def _check_reviews(reviews: dict[tuple[str, int, int], str], path: Path) -> None:
    for split in ("train", "test"):
        for label, folder in enumerate(("neg", "pos")):
            count = sum(key[0] == split and key[2] == label for key in reviews)
            if count != _REVIEWS_PER_CLASS:
                raise InputError(
                    f"{path}: expected {_REVIEWS_PER_CLASS} reviews in aclImdb/{split}/{folder}, found {count}; "
                    + _AGAIN
                )


def _broken(path: Path, kind: str) -> InputError:
    return InputError(f"{path}: not a {kind} file, or a broken one; {_AGAIN}")


def _too_large(path: Path, member: str) -> InputError:
    return InputError(f"{path}: expected at most {_LARGEST_MEMBER} bytes in {member}, it has more; {_AGAIN}")
