"""Stanford Sentiment Treebank and IMDB: finds, downloads and reads the published archives.

Archives are read in place. Only the expected members are read, and nothing is extracted.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import http.client
import os
import re
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from safr.data.messages import shorten_path
from safr.data.splits import Example
from safr.errors import InputError, shorten_text
from safr.progress import Progress
from safr.storage import hash_file, replace_file

_LARGEST_TREES = 10_000_000  # bytes of a file of trees; SST's training file has 2 million
_LARGEST_REVIEW = 200_000  # bytes; the longest has 14 thousand
_LARGEST_REVIEWS = 200_000_000  # bytes of all reviews; they have 66 million
_LARGEST_MEMBER = 200_000_000  # bytes of a member that is skipped, as IMDB's bags of words, of which one has 67 million
_LARGEST_CONTENT = 2_000_000_000  # bytes of all members; IMDB's have 500 million
_MOST_MEMBERS = 200_000  # IMDB's archive has 100 thousand
_LARGEST_DOWNLOAD = 200_000_000  # bytes; IMDB's archive has 84 million
_CHUNK = 1 << 16  # bytes
_SECONDS_OF_SILENCE = 30
_REVIEWS_PER_CLASS = 12_500
_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)
_FETCH_AGAIN = "delete the file and download it again"
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
    """A published data file: its folder, its name, its address, its SHA-256, and the function that reads it.

    Only what is downloaded is held to the SHA-256. A file of the user's own may be packed in another way.
    """

    folder: str
    file_name: str
    address: str
    sha256: str
    read: Callable[[Path], Any]


def read_sst_trees(path: Path) -> dict[str, tuple[SentimentTree, ...]]:
    """The sentences of the Stanford Sentiment Treebank in "train", "dev" and "test", in the order of its files."""
    with _refuse_broken(path, "zip"), zipfile.ZipFile(path) as archive:
        return {split: _read_trees(archive, f"trees/{split}.txt", path) for split in ("train", "dev", "test")}


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
    size = 0
    with (
        _refuse_broken(path, "tar.gz"),
        gzip.open(path) as unpacked,
        tarfile.open(fileobj=cast(Any, _BoundedReader(unpacked)), mode="r:") as archive,
    ):
        for number, member in enumerate(archive):
            cast(Any, archive).members = []  # else it keeps what it knows of every member
            if number >= _MOST_MEMBERS:
                raise InputError(f"{shorten_path(path)}: expected at most {_MOST_MEMBERS:,} members; {_FETCH_AGAIN}")
            match = _REVIEW.fullmatch(member.name)
            if match and member.isreg():
                size += member.size
                if size > _LARGEST_REVIEWS:
                    raise _make_size_error(path, "its reviews", _LARGEST_REVIEWS)
                reviews[match[1], int(match[3]), int(match[2] == "pos")] = _read_review(archive, member, path)
    _check_reviews(reviews, path)
    splits: dict[str, list[Example]] = {"train": [], "test": []}
    for split, number, label in sorted(reviews):
        splits[split].append((reviews[split, number, label], label))
    return splits


SST = Archive(
    folder="sst2",
    file_name="trainDevTestTrees_PTB.zip",
    address="https://nlp.stanford.edu/sentiment/trainDevTestTrees_PTB.zip",
    sha256="5c613a4f673fc74097d523a2c83f38e0cc462984d847b82c7aaf36b01cbbbfcc",
    read=read_sst_trees,
)

IMDB = Archive(
    folder="imdb",
    file_name="aclImdb_v1.tar.gz",
    address="https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz",
    sha256="c40f74a18d3b61f90feba1e17730e0d38e8b97c05fde7008942e91923d1658fe",
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
        raise InputError(f"{data_dir}: expected a folder with data, but it is not a folder; check the path")
    for folder in search_folders(data_dir):
        for path in (folder / archive.file_name, folder / archive.folder / archive.file_name):
            if os.path.isfile(path):
                return path
    return None


def search_folders(data_dir: Path | None = None) -> list[Path]:
    """The folders that are searched for archives, in order: `data_dir`, $SAFR_DATA, the user's cache."""
    from_environment = os.environ.get("SAFR_DATA")
    folders = [data_dir, Path(from_environment) if from_environment else None]
    with contextlib.suppress(InputError):  # without a home only the download needs the cache
        folders.append(cache_folder())
    return [Path(folder) for folder in folders if folder is not None]


def cache_folder() -> Path:
    """The folder that downloads go to.

    Raises:
        InputError: The user has no home folder.
    """
    import platformdirs

    folder = platformdirs.user_cache_path("safr")
    if not folder.is_absolute():  # "~" that nothing stands for would become a folder of that name
        raise InputError("expected a home folder to keep downloads in, found none; set HOME or XDG_CACHE_HOME")
    return folder


def download_instructions(archive: Archive) -> str:
    """What to do where the archive cannot be downloaded."""
    try:
        folder = str(cache_folder())
    except InputError:
        folder = "a folder that SAFR_DATA names"
    return f"download {archive.address} by hand and put the file into {folder}"


def _read_trees(archive: zipfile.ZipFile, member: str, path: Path) -> tuple[SentimentTree, ...]:
    if member not in archive.namelist():
        raise InputError(f"{path}: expected a member {member}, found none; {_FETCH_AGAIN}")
    if archive.getinfo(member).file_size > _LARGEST_TREES:
        raise _make_size_error(path, member, _LARGEST_TREES)
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
    if member.size > _LARGEST_REVIEW:
        raise _make_size_error(path, member.name, _LARGEST_REVIEW)
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


class _BoundedReader:
    """An unpacked file as `tarfile` reads it, of which neither a part nor the whole may fill the memory."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self.file = file

    def read(self, size: int = -1) -> bytes:
        self._check(size, _LARGEST_MEMBER)
        self._check(self.file.tell() + size, _LARGEST_CONTENT)
        return self.file.read(size)

    def seek(self, position: int) -> int:
        self._check(position - self.file.tell(), _LARGEST_MEMBER)
        self._check(position, _LARGEST_CONTENT)
        return self.file.seek(position)

    def tell(self) -> int:
        return self.file.tell()

    def _check(self, size: int, largest: int) -> None:
        if size > largest:
            raise OverflowError(f"expected at most {largest:,} bytes, got more")


@contextmanager
def _refuse_broken(path: Path, kind: str) -> Iterator[None]:
    """A context that reads an archive, which may not be larger than any that is published."""
    if not path.is_file() or path.stat().st_size > _LARGEST_DOWNLOAD:
        raise InputError(f"{shorten_path(path)}: expected a file of at most {_LARGEST_DOWNLOAD:,} bytes")
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # which types a broken archive brings about is documented by neither library
        message = f"{shorten_path(path)}: not a {kind} file, or a broken one; {_FETCH_AGAIN}"
        raise InputError(message) from error


def _make_size_error(path: Path, member: str, largest: int) -> InputError:
    shown = shorten_text(member)
    return InputError(f"{shorten_path(path)}: expected at most {largest} bytes in {shown}, got more; {_FETCH_AGAIN}")


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
        reason = shorten_text(error, 100)
        if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
            reason = f"{error.strerror}: {shorten_path(error.filename or path)}"
        raise InputError(
            f"{archive.address} could not be downloaded ({reason}); {download_instructions(archive)}"
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
                raise OSError(f"expected at most {_LARGEST_DOWNLOAD} bytes, got a larger one")
            file.write(chunk)
            if progress:
                progress(done, total)
    if total is not None and done != total:
        raise OSError(f"it broke off after {done} of {total} bytes")


def _check_download(archive: Archive, path: Path) -> None:
    digest = hash_file(path).hex()
    if digest != archive.sha256:
        raise InputError(
            f"{archive.address} gave a file that is not {archive.file_name}, or a broken one "
            f"(SHA-256 {digest[:12]}..., expected {archive.sha256[:12]}...); {download_instructions(archive)}"
        )
