import json
from pathlib import Path

import pytest

from safr.errors import InputError
from safr.storage import create_folder, hash_file, read_json, update_folder, write_bytes, write_json, write_text


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
