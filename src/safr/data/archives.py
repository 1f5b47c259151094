"""Stanford Sentiment Treebank and IMDB: finds, downloads and reads the published archives.

Archives are read in place. Only the expected members are read, and nothing is extracted.
"""

from __future__ import annotations

import http.client
import os
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safr.data.splits import Example
from safr.errors import InputError
from safr.progress import Progress
from safr.storage import replace_file

_LARGEST_MEMBER = 50_000_000  # bytes; SST's training file has 2 million, the longest review 14 thousand
_LARGEST_DOWNLOAD = 200_000_000  # bytes; IMDB's archive has 84 million
_CHUNK = 1 << 16  # bytes
_SECONDS_OF_SILENCE = 30
_REVIEWS_PER_CLASS = 12_500
_FETCH_AGAIN = "delete the file and fetch it again"
_REVIEW = re.compile(r"aclImdb/(train|test)/(neg|pos)/([0-9]{1,6})_[0-9]{1,2}\.txt")
_ROOT = re.compile(r"\(([0-4]) ")
# A leaf may hold a no-break space, so it ends only at a parenthesis.
_LEAF = re.compile(r"\(([0-4]) ([^()]+)\)")


@dataclass(frozen=True)
class SentimentTree:
    """One sentence with its label, its words and their labels, from 0 (very negative) to 4 (very positive)."""

    label: int
    words: tuple[str, ...]
    word_labels: tuple[int, ...]

    @property
    def text(self) -> str:
        """The words joined by spaces."""
        return " ".join(self.words)


@dataclass(frozen=True)
class Archive:
    """A published data file: its folder, its name, its address, and the function that reads it."""

    folder: str
    file_name: str
    address: str
    read: Callable[[Path], Any]


def read_sst_trees(path: Path) -> dict[str, tuple[SentimentTree, ...]]:
    """The sentences of the Stanford Sentiment Treebank in "train", "dev" and "test", in the order of its files."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {split: _read_trees(archive, f"trees/{split}.txt", path) for split in ("train", "dev", "test")}
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError, OSError, UnicodeDecodeError):
        raise _make_broken_error(path, "zip") from None


def parse_tree(line: str) -> SentimentTree | None:
    """The sentence of a line in the Penn Treebank's notation, or None for a line that is not in it.

    >>> parse_tree("(3 (2 a) (4 (4 good) (2 film)))")
    SentimentTree(label=3, words=('a', 'good', 'film'), word_labels=(2, 4, 2))
    """
    root = _ROOT.match(line)
    leaves = _LEAF.findall(line)
    if not root or not leaves or line.count("(") != line.count(")"):
        return None
    return SentimentTree(int(root[1]), tuple(word for _, word in leaves), tuple(int(label) for label, _ in leaves))


def read_imdb_reviews(path: Path) -> dict[str, list[Example]]:
    """The labelled reviews of "train" and "test", sorted by the number in the file name; negative before positive."""
    reviews: dict[tuple[str, int, int], str] = {}  # split, number, label
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                match = _REVIEW.fullmatch(member.name)
                if match and member.isreg():
                    reviews[match[1], int(match[3]), int(match[2] == "pos")] = _read_review(archive, member, path)
    except (tarfile.TarError, zlib.error, EOFError, OSError, UnicodeDecodeError):
        raise _make_broken_error(path, "tar.gz") from None
    _check_reviews(reviews, path)
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    for split, number, label in sorted(reviews):
        splits[split].append((reviews[split, number, label], label))
    return splits


SST = Archive(
    folder="sst2",
    file_name="trainDevTestTrees_PTB.zip",
    address="https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
    read=read_sst_trees,
)

IMDB = Archive(
    folder="imdb",
    file_name="aclImdb_v1.tar.gz",
    address="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    read=read_imdb_reviews,
)


def locate_archive(
    archive: Archive, *, data_dir: Path | None = None, download: bool = True, progress: Progress | None = None
) -> Path:
    """Path of the archive's file; if no folder has it and `download` allows it, it is downloaded into the cache."""
    path = find_archive(archive, data_dir)
    if path:
        return path
    if not download:
        folders = ", ".join(str(folder) for folder in search_folders(data_dir))
        raise InputError(f"{archive.file_name} is in none of {folders}; {download_instructions(archive)}")
    return _download(archive, cache_folder(), progress)


def find_archive(archive: Archive, data_dir: Path | None = None) -> Path | None:
    """The archive's file in the first folder that has it, directly or in the archive's subfolder, or None."""
    if data_dir is not None and not os.path.isdir(data_dir):
        raise InputError(f"{data_dir}: expected a folder with data, and it is none; check the path")
    for folder in search_folders(data_dir):
        for path in (folder / archive.file_name, folder / archive.folder / archive.file_name):
            if os.path.isfile(path):
                return path
    return None


def search_folders(data_dir: Path | None = None) -> list[Path]:
    """The folders that are searched for archives, in order: `data_dir`, $SAFR_DATA, the user's cache."""
    from_environment = os.environ.get("SAFR_DATA")
    folders = [data_dir, Path(from_environment) if from_environment else None]
    return [Path(folder) for folder in folders if folder is not None] + [cache_folder()]


def cache_folder() -> Path:
    """The folder that downloads go to."""
    import platformdirs

    return platformdirs.user_cache_path("safr")


def download_instructions(archive: Archive) -> str:
    """What to do where the archive cannot be downloaded."""
    return f"fetch {archive.address} by hand and put the file into {cache_folder()}"


def _read_trees(archive: zipfile.ZipFile, member: str, path: Path) -> tuple[SentimentTree, ...]:
    if member not in archive.namelist():
        raise InputError(f"{path}: expected a member {member}, found none; {_FETCH_AGAIN}")
    if archive.getinfo(member).file_size > _LARGEST_MEMBER:
        raise _make_size_error(path, member)
    trees = []
    for number, line in enumerate(archive.read(member).decode("utf-8").split("\n"), start=1):
        if line.strip():
            tree = parse_tree(line.strip())
            if tree is None:
                raise InputError(
                    f"{path}, {member}, line {number}: expected a tree such as (3 (2 a) (4 hit)); {_FETCH_AGAIN}"
                )
            trees.append(tree)
    return tuple(trees)


def _read_review(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> str:
    if member.size > _LARGEST_MEMBER:
        raise _make_size_error(path, member.name)
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
                    + _FETCH_AGAIN
                )


def _make_broken_error(path: Path, kind: str) -> InputError:
    return InputError(f"{path}: not a {kind} file, or a broken one; {_FETCH_AGAIN}")


def _make_size_error(path: Path, member: str) -> InputError:
    return InputError(f"{path}: expected at most {_LARGEST_MEMBER} bytes in {member}, it has more; {_FETCH_AGAIN}")


def _download(archive: Archive, folder: Path, progress: Progress | None) -> Path:
    """Path of the downloaded and checked file in `folder`; the file gets its name only when it is complete."""
    path = folder / archive.file_name
    try:
        with replace_file(path) as partial:
            with partial.open("wb") as file:
                _fetch(archive.address, file, progress)
            _check_download(archive, partial)
        return path
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection open
        raise InputError(
            f"{archive.address} could not be downloaded ({error}); {download_instructions(archive)}"
        ) from None


def _fetch(address: str, file: IO[bytes], progress: Progress | None) -> None:
    """Write the response of `address` to `file`; one that is too large or breaks off raises an OSError."""
    with urllib.request.urlopen(address, timeout=_SECONDS_OF_SILENCE) as response:  # noqa: S310, the addresses are ours
        announced = response.headers.get("Content-Length", "")
        total = int(announced) if announced.isdigit() else None
        done = 0
        while chunk := response.read(_CHUNK):
            done += len(chunk)
            if max(done, total or 0) > _LARGEST_DOWNLOAD:
                raise OSError(f"expected at most {_LARGEST_DOWNLOAD} bytes, it is larger")
            file.write(chunk)
            if progress:
                progress(done, total)
    if total is not None and done != total:
        raise OSError(f"it broke off after {done} of {total} bytes")


def _check_download(archive: Archive, path: Path) -> None:
    try:
        archive.read(path)
    except InputError:
        raise InputError(
            f"{archive.address} gave a file that is not {archive.file_name}, or a broken one; "
            + download_instructions(archive)
        ) from None
