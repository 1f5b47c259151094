import dataclasses
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safr.data import downloads
from safr.data.downloads import Archive, find_archive, locate_archive
from safr.errors import InputError

CONTENT = b"the archive" * 20_000


def read(path):
    if path.read_bytes() != CONTENT:
        raise InputError(f"{path}: not the archive")


ARCHIVE = Archive("mine", "mine.zip", "http://127.0.0.1:9/mine.zip", read)


@pytest.fixture
def serve(monkeypatch):
    """A function that serves a body at an address of this machine and gives the archive that is fetched from there."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    servers = []

    def start(body, *, status=200, length=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                if length != "none":
                    self.send_header("Content-Length", str(length or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return dataclasses.replace(ARCHIVE, address=f"http://127.0.0.1:{server.server_port}/mine.zip")

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def assert_refused(archive, message, cache):
    """The error has one line, says what to do by hand, and nothing is left in the cache."""
    with pytest.raises(InputError, match=message) as caught:
        locate_archive(archive)
    assert str(caught.value).endswith(f"; fetch {archive.address} by hand and put the file into {cache}")
    assert len(str(caught.value).splitlines()) == 1
    assert list(cache.iterdir()) == []


def test_a_download_goes_to_the_cache_and_reports_its_progress(serve, cache):
    reports = []
    path = locate_archive(serve(CONTENT), progress=lambda done, total: reports.append((done, total)))
    assert path == cache / "mine.zip"
    assert path.read_bytes() == CONTENT
    assert list(cache.iterdir()) == [path]
    assert reports[-1] == (len(CONTENT), len(CONTENT))
    assert reports == sorted(reports)
    assert len(reports) > 1


def test_a_download_of_unannounced_length_reports_no_total(serve):
    reports = []
    locate_archive(serve(CONTENT, length="none"), progress=lambda done, total: reports.append((done, total)))
    assert reports[-1] == (len(CONTENT), None)


def test_what_is_in_the_cache_is_not_downloaded_again(serve):
    first = locate_archive(serve(CONTENT))
    assert locate_archive(ARCHIVE) == first


def test_a_download_that_breaks_off_is_an_error(serve, cache):
    archive = serve(CONTENT[:100_000], length=len(CONTENT))
    assert_refused(archive, r"could not be downloaded \(it broke off after 100000 of 220000 bytes\)", cache)


def test_a_wrong_file_is_an_error(serve, cache):
    assert_refused(serve(b"<html>log in</html>"), r"gave a file that is not mine\.zip, or a broken one", cache)


def test_an_address_that_serves_nothing_is_an_error(serve, cache):
    assert_refused(serve(b"", status=404), r"could not be downloaded \(HTTP Error 404: Not Found\)", cache)


def test_a_server_that_is_down_is_an_error(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert_refused(ARCHIVE, r"could not be downloaded \(.*refused.*\)", cache)


@pytest.mark.parametrize("length", [None, "none"])
def test_a_download_that_is_too_large_is_an_error(length, serve, cache, monkeypatch):
    monkeypatch.setattr(downloads, "_LARGEST_DOWNLOAD", 1000)
    archive = serve(CONTENT, length=length)
    assert_refused(archive, r"could not be downloaded \(expected at most 1000 bytes, it is larger\)", cache)


def test_a_cache_that_cannot_be_written_is_an_error(serve, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match=r"could not be downloaded \(.*File exists.*\); fetch .* by hand"):
        locate_archive(serve(CONTENT))


def test_an_interrupted_download_leaves_nothing_behind(serve, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locate_archive(serve(CONTENT), progress=interrupt)
    assert list(cache.iterdir()) == []


def test_without_a_download_the_error_names_the_folders_and_the_address(cache, tmp_path):
    message = rf"mine\.zip is in none of {tmp_path}, {cache}; fetch {ARCHIVE.address} by hand and put the file into"
    with pytest.raises(InputError, match=message):
        locate_archive(ARCHIVE, data_dir=tmp_path, download=False)


@pytest.mark.parametrize("place", ["mine.zip", "mine/mine.zip"])
def test_folders_are_searched_in_order_also_the_archives_own(place, cache, tmp_path, monkeypatch):
    folders = [tmp_path / "given", tmp_path / "environment", cache]
    monkeypatch.setenv("SAFR_DATA", str(folders[1]))
    folders[0].mkdir()
    assert find_archive(ARCHIVE, folders[0]) is None
    for folder in reversed(folders):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        (folder / place).write_bytes(CONTENT)
        assert find_archive(ARCHIVE, folders[0]) == folder / place


def test_a_data_folder_that_does_not_exist_is_an_error():
    with pytest.raises(InputError, match=r"nowhere: expected a folder with data, and it is none; check the path"):
        find_archive(ARCHIVE, Path("nowhere"))


def test_the_cache_is_the_users_own(monkeypatch):
    monkeypatch.undo()
    assert "safr" in downloads.cache_folder().parts
