"""Where the tests find the published archives, and a cache of their own so that none touches the user's."""

import os
from pathlib import Path

import pytest

from safr.data import archives as archives_module

_NAMED_FOLDER = os.environ.get("SAFR_DATA")  # read before any test hides it
_NEIGHBOUR_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache folder, and no $SAFR_DATA."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(archives_module, "cache_folder", lambda: folder)
    monkeypatch.delenv("SAFR_DATA", raising=False)
    return folder


@pytest.fixture(scope="session")
def archives():
    """The folder with the published archives."""
    folder = Path(_NAMED_FOLDER) if _NAMED_FOLDER else _NEIGHBOUR_FOLDER
    if not folder.is_dir():
        pytest.skip("the published archives are not here; set SAFR_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def sst_archive(archives):
    return _found(archives_module.SST, archives)


@pytest.fixture(scope="session")
def imdb_archive(archives):
    return _found(archives_module.IMDB, archives)


@pytest.fixture
def write(tmp_path):
    """A function that writes a file, of text as UTF-8 or of bytes, and gives its path."""

    def write_file(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
        return path

    return write_file


def _found(archive, folder):
    path = archives_module.find_archive(archive, folder)
    if path is None:
        pytest.skip(f"{archive.file_name} is not in {folder}")
    return path
