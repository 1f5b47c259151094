import dataclasses
import errno
import hashlib
import io
import tarfile
import threading
import tracemalloc
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from safr.data import archives
from safr.data.archives import (
    Archive,
    SentimentTree,
    find_archive,
    locate_archive,
    parse_tree,
    read_imdb_reviews,
    read_sst_trees,
)
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


CONTENT = b"the archive" * 20_000


ARCHIVE = Archive(
    "mine", "mine.zip", "http://127.0.0.1:9/mine.zip", hashlib.sha256(CONTENT).hexdigest(), read=Path.read_bytes
)


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
    assert str(caught.value).endswith(f"; download {archive.address} by hand and put the file into {cache}")
    assert len(str(caught.value).splitlines()) == 1
    assert list(cache.iterdir()) == []


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
    with pytest.raises(
        InputError, match=r"expected a member trees/train\.txt, found none; delete the file and download"
    ):
        read_sst_trees(tmp_path / "a.zip")


def test_a_file_that_is_no_zip_is_an_error(write):
    with pytest.raises(
        InputError, match=r"a\.zip: not a zip file, or a broken one; delete the file and download it again"
    ):
        read_sst_trees(write("a.zip", "<html>"))


def test_a_zip_with_changed_bytes_is_an_error(tmp_path):
    path = sst(tmp_path / "a.zip")
    path.write_bytes(path.read_bytes().replace(b"good", b"gOOd"))
    with pytest.raises(InputError, match=r"not a zip file, or a broken one"):
        read_sst_trees(path)


@pytest.mark.parametrize("read", [read_sst_trees, read_imdb_reviews])
def test_a_member_that_is_too_large_is_an_error(read, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_TREES", 10)
    monkeypatch.setattr(archives, "_LARGEST_REVIEW", 10)
    make = {read_sst_trees: sst, read_imdb_reviews: lambda path: imdb(path, reviews())}[read]
    with pytest.raises(InputError, match=r"expected at most 10 bytes in .*train.*\.txt, got more"):
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


def _bomb(path, size, name="aclImdb/train/pos/0_9.txt", **fields):
    """A small archive of one member that unpacks to this many zeros."""
    with tarfile.open(path, "w:gz") as archive:
        member = tarfile.TarInfo(name)
        member.size = size
        member.pax_headers = fields
        archive.addfile(member, io.BytesIO(bytes(size)))
    return path


@pytest.mark.parametrize(
    ("limit", "value", "name"),
    [
        ("_LARGEST_REVIEW", 200_000, "aclImdb/train/pos/0_9.txt"),
        ("_LARGEST_MEMBER", 200_000, "aclImdb/other"),
        ("_LARGEST_CONTENT", 1_000_000, "aclImdb/other"),
    ],
)
def test_an_archive_that_would_fill_the_memory_is_an_error_before_it_does(limit, value, name, tmp_path, monkeypatch):
    monkeypatch.setattr(archives, limit, value)
    path = _bomb(tmp_path / "a.tar.gz", 20_000_000, name)
    assert path.stat().st_size < 50_000
    tracemalloc.start()
    with pytest.raises(InputError, match=r"a\.tar\.gz: .*; delete the file and download it again"):
        read_imdb_reviews(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000


def test_a_header_that_would_fill_the_memory_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_MEMBER", 1_000_000)
    path = _bomb(tmp_path / "a.tar.gz", 10, comment="a" * 5_000_000)
    with pytest.raises(InputError, match=r"not a tar\.gz file, or a broken one"):
        read_imdb_reviews(path)


def test_too_many_members_and_too_many_reviews_are_errors(tmp_path, monkeypatch):
    path = imdb(tmp_path / "a.tar.gz", reviews())
    monkeypatch.setattr(archives, "_LARGEST_REVIEWS", 50)
    with pytest.raises(InputError, match="expected at most 50 bytes in its reviews, got more"):
        read_imdb_reviews(path)
    monkeypatch.setattr(archives, "_MOST_MEMBERS", 2)
    with pytest.raises(InputError, match="expected at most 2 members"):
        read_imdb_reviews(path)


def test_a_zip_that_would_fill_the_memory_is_an_error_before_it_does(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for split in ("train", "dev", "test"):
            archive.writestr(f"trees/{split}.txt", bytes(11_000_000))
    with pytest.raises(InputError, match=r"expected at most 10000000 bytes in trees/train\.txt, got more"):
        read_sst_trees(tmp_path / "a.zip")


def test_an_archive_that_is_larger_than_any_is_not_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_DOWNLOAD", 100)
    with pytest.raises(InputError, match="expected a file of at most 100 bytes"):
        read_sst_trees(sst(tmp_path / "a.zip"))


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


@pytest.mark.parametrize("body", [b"<html>log in</html>", CONTENT[:-1] + b"E"], ids=["another file", "one letter"])
def test_a_download_of_another_sha_256_is_an_error(body, serve, cache):
    numbers = [hashlib.sha256(content).hexdigest()[:12] for content in (body, CONTENT)]
    message = r"gave a file that is not mine\.zip, or a broken one \(SHA-256 {}\.\.\., expected {}\.\.\.\)"
    assert_refused(serve(body), message.format(*numbers), cache)


def test_a_file_of_the_users_own_may_be_packed_in_another_way(tmp_path):
    (tmp_path / "mine.zip").write_bytes(b"packed again")
    assert locate_archive(ARCHIVE, data_dir=tmp_path, download=False) == tmp_path / "mine.zip"


def test_an_address_that_serves_nothing_is_an_error(serve, cache):
    assert_refused(serve(b"", status=404), r"could not be downloaded \(HTTP Error 404: Not Found\)", cache)


def test_a_server_that_is_down_is_an_error(cache, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    assert_refused(ARCHIVE, r"could not be downloaded \(.*refused.*\)", cache)


@pytest.mark.parametrize("length", [None, "none"])
def test_a_download_that_is_too_large_is_an_error(length, serve, cache, monkeypatch):
    monkeypatch.setattr(archives, "_LARGEST_DOWNLOAD", 1000)
    archive = serve(CONTENT, length=length)
    assert_refused(archive, r"could not be downloaded \(expected at most 1000 bytes, got a larger one\)", cache)


def test_a_cache_that_cannot_be_written_is_an_error(serve, cache):
    cache.write_text("a file where the folder should be")
    with pytest.raises(InputError, match="is no folder; choose another place"):
        locate_archive(serve(CONTENT))


def test_a_full_disk_is_an_error_that_names_the_file_and_leaves_nothing(serve, cache, monkeypatch):
    def fill(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    archive = serve(CONTENT)
    monkeypatch.setattr(archives, "_fetch", fill)
    assert_refused(archive, rf"could not be downloaded \(No space left on device: {cache}/mine\.zip\)", cache)


def test_without_a_home_folder_data_are_found_and_a_download_is_refused(tmp_path, monkeypatch):
    monkeypatch.undo()
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: Path("~/.cache") / name)
    (tmp_path / "mine.zip").write_bytes(CONTENT)
    assert find_archive(ARCHIVE, tmp_path) == tmp_path / "mine.zip"
    with pytest.raises(InputError, match="expected a home folder to keep downloads in, found none; set HOME or"):
        locate_archive(dataclasses.replace(ARCHIVE, file_name="other.zip"), data_dir=tmp_path)


def test_an_interrupted_download_leaves_nothing_behind(serve, cache):
    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        locate_archive(serve(CONTENT), progress=interrupt)
    assert list(cache.iterdir()) == []


def test_without_a_download_the_error_names_the_folders_and_the_address(cache, tmp_path):
    message = rf"mine\.zip is in none of {tmp_path}, {cache}; download {ARCHIVE.address} by hand and put the file into"
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
    with pytest.raises(
        InputError, match=r"nowhere: expected a folder with data, but it is not a folder; check the path"
    ):
        find_archive(ARCHIVE, Path("nowhere"))


def test_the_cache_is_the_users_own(monkeypatch):
    monkeypatch.undo()
    assert "safr" in archives.cache_folder().parts
