import json
from pathlib import Path

import pytest

from safr.config import Recipe, Settings
from safr.errors import InputError
from safr.runs import Run, create_run, open_run, open_trained_run
from safr.storage import read_json, write_json, write_text

DATA = {"origin": "here", "fingerprint": "f00", "labels": ["<no>", "ja"]}


@pytest.fixture
def run(tmp_path):
    return create_run(tmp_path / "a run", Settings(recipe=Recipe(seed=5)), DATA)


def test_a_new_run_remembers_settings_data_versions_and_machine(run):
    assert open_run(run.folder).settings == Settings(recipe=Recipe(seed=5))
    assert run.record["data"] == DATA
    assert {"safr", "python", "torch", "transformers"} <= set(run.record["versions"])
    assert set(run.record["machine"]) == {"platform", "cores"}


def test_a_runs_name_is_its_folders(run, monkeypatch):
    assert run.name == "a run"
    monkeypatch.chdir(run.folder)
    assert Run(Path()).name == "a run"


def test_a_run_is_made_with_its_parents_and_in_an_empty_folder(tmp_path):
    assert create_run(tmp_path / "deep" / "down", Settings(), DATA).config_file.is_file()
    (tmp_path / "empty").mkdir()
    assert create_run(str(tmp_path / "empty"), Settings(), DATA).config_file.is_file()


def test_a_folder_that_holds_a_run_is_refused(run):
    before = run.config_file.read_bytes()
    with pytest.raises(InputError, match=r"a run: holds a run already; go on with it by --resume, or choose another"):
        create_run(run.folder, Settings(), {})
    assert run.config_file.read_bytes() == before


@pytest.mark.parametrize("inside", [True, False], ids=["a full folder", "a file"])
def test_a_place_that_holds_something_else_is_refused_and_kept(tmp_path, inside):
    path = tmp_path / "taken"
    thesis = path / "thesis.tex" if inside else path
    thesis.parent.mkdir(exist_ok=True)
    thesis.write_text("years of work")
    with pytest.raises(InputError, match="taken: expected a new or empty folder, found something else there"):
        create_run(path, Settings(), DATA)
    assert thesis.read_text() == "years of work"


def test_a_folder_that_is_not_there_is_no_run(tmp_path):
    with pytest.raises(InputError, match="nowhere: expected the folder of a run, found none there"):
        open_run(tmp_path / "nowhere")


def test_a_folder_without_a_config_is_no_run(tmp_path):
    with pytest.raises(InputError, match=r"expected the folder of a run, but it holds no config\.json"):
        open_run(tmp_path)


def test_a_run_is_trained_when_its_model_is_there(run):
    assert not run.is_trained
    with pytest.raises(InputError, match=r"its training is not finished; go on with `safr train --resume .*a run`"):
        open_trained_run(run.folder)
    write_json(run.model_folder / "config.json", {})
    assert run.is_trained
    assert open_trained_run(run.folder) == open_run(run.folder)


def test_a_run_that_is_not_evaluated_says_how(run):
    with pytest.raises(InputError, match=r"a run: not evaluated yet; run `safr evaluate .*a run` first"):
        run.scores  # noqa: B018 - reading it is what fails


def test_scores_are_read_back(run):
    write_json(run.scores_file, {"accuracy": {"value": 0.1 + 0.2}})
    assert run.scores == {"accuracy": {"value": 0.1 + 0.2}}


def test_history_has_an_entry_per_line_and_is_empty_before_training(run):
    assert run.history == []
    write_text(run.history_file, '{"epoch": 1, "task": 0.5}\n{"epoch": 2, "task": 0.25}\n')
    assert run.history == [{"epoch": 1, "task": 0.5}, {"epoch": 2, "task": 0.25}]


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff\xfe", b"{'a': 1}"])
def test_damaged_files_are_named(run, content):
    run.scores_file.write_bytes(content)
    with pytest.raises(InputError, match=r"scores\.json: expected JSON, but it is damaged \(.+\)$"):
        run.scores  # noqa: B018
    run.history_file.write_bytes(b'{"epoch": 1}\n' + (content or b"\n"))
    with pytest.raises(InputError, match=r"history\.jsonl: expected lines of JSON, but it is damaged \(.+\)$"):
        run.history  # noqa: B018


def test_settings_of_another_version_are_named(run):
    record = run.record
    record["settings"]["recipe"]["momentum"] = 0.9
    write_json(run.config_file, record)
    with pytest.raises(InputError, match=r"config\.json: unknown settings of Recipe: momentum; known are .*seed"):
        run.settings  # noqa: B018


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


def test_a_crash_while_a_run_is_made_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create_run(tmp_path / "run", Settings(), DATA)
    with pytest.raises(InputError, match="holds no config"):
        open_run(tmp_path / "run")
