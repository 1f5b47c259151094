import errno
import json
import os
import stat
import threading
import time
from pathlib import Path

import pyarrow
import pytest

from safr.errors import InputError
from safr.storage import (
    CHECKSUMS_FILE,
    alone_in,
    create_folder,
    hash_file,
    keep_checksums,
    name_disk_errors,
    read_json,
    read_json_lines,
    read_parquet,
    update_folder,
    write_bytes,
    write_json,
    write_parquet,
    write_text,
)


@pytest.mark.parametrize(
    "value", ["漢字 \x00 \u2028 </script>", "lone \ud800 surrogate \udcff", {"a": [1.5, None, True], "b\n": {}}]
)
def test_json_comes_back_as_it_was_written(tmp_path, value):
    path = tmp_path / "new folder" / "some.json"
    write_json(path, value)
    assert read_json(path) == value
    path.read_bytes().decode("utf-8")


def test_json_can_be_read_by_people(tmp_path):
    write_json(tmp_path / "some.json", {"text": "漢字"})
    assert (tmp_path / "some.json").read_bytes() == '{\n  "text": "漢字"\n}\n'.encode()


def test_writing_leaves_one_file(tmp_path):
    write_text(tmp_path / "a.txt", "one")
    write_text(tmp_path / "a.txt", "two")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "two"


def test_a_folder_in_the_files_place_is_told(tmp_path):
    with pytest.raises(InputError, match=r"expected a file's name, found a folder there; name a file in it$"):
        write_text(tmp_path, "text")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("step", ["write_text", "replace"])
def test_a_crash_while_writing_leaves_the_old_file(tmp_path, monkeypatch, step):
    path, write = tmp_path / "scores.json", Path.write_text
    write_json(path, {"old": 1})

    def crash(target, text, *arguments, **options):
        if step == "write_text":
            write(target, text[: len(text) // 2], *arguments, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, step, crash)
    with pytest.raises(KeyboardInterrupt):
        write_json(path, {"new": 2})
    assert json.loads(path.read_text(encoding="utf-8")) == {"old": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["scores.json"]
    monkeypatch.undo()
    write_json(path, {"new": 2})
    assert read_json(path) == {"new": 2}


def test_a_new_folder_has_its_name_only_when_it_is_filled(tmp_path):
    with create_folder(tmp_path / "made") as temporary:
        write_bytes(temporary / "a", b"1")
        assert not (tmp_path / "made").exists()
    assert [path.name for path in tmp_path.rglob("*")] == ["made", "a"]
    with pytest.raises(ZeroDivisionError), create_folder(tmp_path / "other") as temporary:
        write_bytes(temporary / "a", b"1" * (1 // 0))
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_folder_is_updated_with_its_last_file_last_and_keeps_other_files(tmp_path):
    for name in ("config.json", "old.bin", "mine.txt"):
        write_text(tmp_path / name, "old")
    with update_folder(tmp_path, last="config.json", stale=lambda folder: [folder / "old.bin"]) as temporary:
        write_text(temporary / "config.json", "new")
        write_text(temporary / "inner" / "new.bin", "new")
        assert (tmp_path / "config.json").read_text() == "old"
    files = {path.relative_to(tmp_path).as_posix(): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert files == {"config.json": "new", "inner/new.bin": "new", "mine.txt": "old"}
    with pytest.raises(InputError, match="expected a folder to save the model in, found a file"):  # noqa: SIM117
        with update_folder(tmp_path / "mine.txt", last="config.json", stale=lambda _: []):
            pass


def test_a_files_hash_is_of_its_content(tmp_path):
    write_bytes(tmp_path / "a", b"a good film")
    assert hash_file(tmp_path / "a").hex()[:8] == "5392fa17"


def test_a_link_stays_and_its_file_is_replaced(tmp_path):
    write_text(tmp_path / "real" / "a.txt", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "a.txt")
    write_text(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "a.txt").read_text() == "new"


def test_a_device_stays_a_device():
    write_text(Path(os.devnull), "gone")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_pipe_gets_what_is_written_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device or address"):
        write_text(tmp_path / "pipe", "nobody reads")
    descriptor = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_text(tmp_path / "pipe", "read")
    assert os.read(descriptor, 10) == b"read"
    os.close(descriptor)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(InputError, match="pipe: expected a file, found a pipe"):
        read_json(tmp_path / "pipe")


def test_a_file_that_is_open_is_not_replaced_by_its_descriptor(tmp_path):
    with (tmp_path / "out").open("w") as file, pytest.raises(InputError, match="already open; name the file itself"):
        write_text(Path(f"/dev/fd/{file.fileno()}"), "text")


@pytest.mark.parametrize("name", ["a\0b", "file/inside", "n" * 300, "loop"], ids=["null", "in a file", "long", "loop"])
def test_a_place_that_can_hold_no_file_is_one_line(tmp_path, name):
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with pytest.raises((InputError, OSError), match=r"^[^\n]+$"):
        write_text(tmp_path / name, "text")
    with pytest.raises(InputError, match=r"^[^\n]+$"):
        read_json(tmp_path / name)


def test_permissions_are_those_of_an_ordinary_file_or_of_the_one_before(tmp_path):
    (tmp_path / "plain").touch()
    write_text(tmp_path / "new", "text")
    assert (tmp_path / "new").stat().st_mode == (tmp_path / "plain").stat().st_mode
    (tmp_path / "new").chmod(0o600)
    write_text(tmp_path / "new", "text")
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_a_file_is_on_the_disk_before_it_has_its_name_and_its_folder_after(tmp_path, monkeypatch):
    order, sync, replace = [], os.fsync, Path.replace

    def record_sync(descriptor):
        order.append("folder" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", record_sync)
    monkeypatch.setattr(Path, "replace", lambda *paths: (order.append("rename"), replace(*paths))[1])
    write_text(tmp_path / "a.txt", "text")
    assert order == ["file", "rename", "folder"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:858] . PytorchStreamWriter failed writing file data/3"),
        ValueError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
    ids=["OSError", "torch", "safetensors"],
)
def test_a_full_disk_names_the_file_whoever_tells_of_it(tmp_path, error):
    with pytest.raises(OSError, match="No space left on device") as caught, name_disk_errors(tmp_path / "a"):
        raise error
    assert caught.value.filename == str(tmp_path / "a")
    with pytest.raises(ValueError, match=r"^other$"), name_disk_errors(tmp_path / "a"):
        raise ValueError("other")


def test_checksums_are_kept_of_what_is_written_and_checked_when_it_is_read(tmp_path):
    keep_checksums(tmp_path)
    for path in (tmp_path / "a.json", tmp_path / "benchmark" / "scores" / "b.json"):
        for value in ({"a": 1}, {"a": 2}):
            write_json(path, value)
        assert read_json(path) == {"a": 2}
        for changed in ({"a": 3}, {"a": 1}):  # the last is what it was before
            path.write_text(json.dumps(changed, indent=2) + "\n")
            with pytest.raises(InputError, match=r"was changed since it was written, or is damaged"):
                read_json(path)
    (tmp_path / CHECKSUMS_FILE).write_text("[")
    with pytest.raises(InputError, match=rf"{CHECKSUMS_FILE}: expected JSON, but it is damaged .*or delete it"):
        read_json(tmp_path / "a.json")


def test_a_crash_before_a_file_has_its_name_leaves_the_old_one_readable(tmp_path, monkeypatch):
    keep_checksums(tmp_path)
    write_json(tmp_path / "a.json", 1)
    replace = Path.replace

    def crash(path, target):
        if target.name == "a.json":
            raise KeyboardInterrupt
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", crash)
    for value in (2, 3):
        with pytest.raises(KeyboardInterrupt):
            write_json(tmp_path / "a.json", value)
        assert read_json(tmp_path / "a.json") == 1


def test_whoever_is_alone_in_a_folder_finds_nothing_unfinished_there(tmp_path):
    (tmp_path / ".0.part").touch()
    with alone_in(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [".writing.lock"]
    assert list(tmp_path.iterdir()) == []


def test_a_deleted_file_leaves_no_checksum(tmp_path):
    keep_checksums(tmp_path)
    for name in ("first.json", "second.json", "third.json"):
        write_json(tmp_path / name, {})
        (tmp_path / "first.json").unlink(missing_ok=True)
    assert sorted(read_json(tmp_path / CHECKSUMS_FILE)) == ["second.json", "third.json"]


def test_writers_at_the_same_time_lose_no_checksum(tmp_path):
    keep_checksums(tmp_path)
    threads = [threading.Thread(target=write_json, args=(tmp_path / f"{number}.json", number)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(read_json(tmp_path / CHECKSUMS_FILE)) == 8


def test_writers_of_one_file_leave_the_checksum_of_the_one_that_was_last(tmp_path, monkeypatch):
    keep_checksums(tmp_path)
    replace, waiting = Path.replace, iter(range(5, 0, -1))

    def overtake(path, target):
        if target.name == "a.json":
            time.sleep(next(waiting) / 50)  # who has written down a checksum first gets the name last
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", overtake)
    threads = [threading.Thread(target=write_json, args=(tmp_path / "a.json", number)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read_json(tmp_path / "a.json") in range(5)


def test_lines_end_at_line_feeds_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": "b\u2028c"}\n{"a": "d"}\n', encoding="utf-8")
    assert [line["a"] for line in read_json_lines(tmp_path / "a.jsonl")] == ["b\u2028c", "d"]
    with pytest.raises(InputError, match=r'a\.jsonl, line 1: expected type "array" of the whole, got \{"a"'):
        read_json_lines(tmp_path / "a.jsonl", {"type": "array"})


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "'a' is given twice"),
        ('[{"a": {"b": 1, "b": 1}}]', "'b' is given twice"),
        ("[" * 100_000, "recursion"),
        ('{"a":' * 100_000, "recursion"),
        ("1" + "0" * 5000, "4300 digits"),
    ],
    ids=lambda value: value[:20],
)
def test_json_that_says_two_things_or_is_too_much_is_one_line(tmp_path, text, problem):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=rf"^[^\n]*expected JSON, but it is damaged \([^\n]*{problem}[^\n]*$"):
        read_json(tmp_path / "a.json")


def test_a_table_is_read_by_columns_of_the_right_kind(tmp_path):
    path = tmp_path / "seed=1" / "a.parquet"
    write_parquet(path, pyarrow.table({"text": [1, 2], "word": ["a", "b"], "score": [0.5, None]}))
    assert read_parquet(path, {"text": "integer", "word": "text"}).to_pydict() == {"text": [1, 2], "word": ["a", "b"]}
    for columns in ({"word": "number"}, {"other": "text"}, {"score": "number"}):
        with pytest.raises(InputError, match="expected Parquet, but it is damaged"):
            read_parquet(path, columns)


def test_a_small_table_that_would_fill_the_memory_is_refused(tmp_path):
    words = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0] * 5000, "int32"), ["x" * 1_000_000])
    write_parquet(tmp_path / "a.parquet", pyarrow.table({"word": words}))
    with pytest.raises(InputError, match="the texts in its column 'word' are too long"):
        read_parquet(tmp_path / "a.parquet", {"word": "text"})
