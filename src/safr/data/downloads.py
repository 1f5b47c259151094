"""The name of an archive in, the path of its file out: looked for on this machine, else downloaded and checked."""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from safr.data.archives import read_imdb_reviews, read_sst_trees
from safr.errors import InputError

DownloadProgress = Callable[[int, int | None], None]  # bytes so far, bytes in all where known

_LARGEST_DOWNLOAD = 200_000_000  # bytes; IMDB's archive has 84 million
_CHUNK = 1 << 16
_SECONDS_OF_SILENCE = 30


@dataclass(frozen=True)
class Archive:
    """A published data file: its folder, its name, its address, and the function that reads it."""

    folder: str
    file_name: str
    address: str
    read: Callable[[Path], Any]


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
    archive: Archive, *, data_dir: Path | None = None, download: bool = True, progress: DownloadProgress | None = None
) -> Path:
    """Where the archive's file is, after a download into the cache if it was nowhere and `download` allows it."""
    found = find_archive(archive, data_dir)
    if found:
        return found
    if not download:
        folders = ", ".join(str(folder) for folder in search_folders(data_dir))
        raise InputError(f"{archive.file_name} is in none of {folders}; {download_instructions(archive)}")
    return _download(archive, cache_folder(), progress)


def find_archive(archive: Archive, data_dir: Path | None = None) -> Path | None:
    """The archive's file in the first folder that has it, directly or in a folder of its own, or None."""
    if data_dir is not None and not os.path.isdir(data_dir):
        raise InputError(f"{data_dir}: expected a folder with data, and it is none; check the path")
    for folder in search_folders(data_dir):
        for path in (folder / archive.file_name, folder / archive.folder / archive.file_name):
            if os.path.isfile(path):
                return path
    return None


def search_folders(data_dir: Path | None = None) -> list[Path]:
    """The folders where archives are looked for, in order: `data_dir`, $SAFR_DATA, the user's cache."""
    from_environment = os.environ.get("SAFR_DATA")
    named = [data_dir, Path(from_environment) if from_environment else None]
    return [Path(folder) for folder in named if folder is not None] + [cache_folder()]


def cache_folder() -> Path:
    """The folder that downloads go to."""
    import platformdirs

    return platformdirs.user_cache_path("safr")


def download_instructions(archive: Archive) -> str:
    """What to do where the archive cannot be downloaded."""
    return f"fetch {archive.address} by hand and put the file into {cache_folder()}"


def _download(archive: Archive, folder: Path, progress: DownloadProgress | None) -> Path:
    """The checked file in `folder`; it gets its name only when it is whole."""
    partial = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
            partial = Path(file.name)
            _fetch(archive.address, file, progress)
        _check(archive, partial)
        return partial.replace(folder / archive.file_name)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection open
        raise InputError(
            f"{archive.address} could not be downloaded ({error}); {download_instructions(archive)}"
        ) from None
    finally:
        if partial is not None:
            partial.unlink(missing_ok=True)


def _fetch(address: str, file: IO[bytes], progress: DownloadProgress | None) -> None:
    """Write what the address serves to `file`, no more than is allowed and no less than was announced."""
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


def _check(archive: Archive, path: Path) -> None:
    try:
        archive.read(path)
    except InputError:
        raise InputError(
            f"{archive.address} gave a file that is not {archive.file_name}, or a broken one; "
            + download_instructions(archive)
        ) from None
