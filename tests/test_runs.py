import json
import shutil
from pathlib import Path

import pytest
import torch

import safr
from safr import runs
from safr.config import Recipe, Settings
from safr.errors import InputError
from safr.runs import Run, check_is_new, create_run, open_run, open_trained_run
from safr.storage import CHECKSUMS_FILE, keep_checksums, read_json, write_json, write_text
from tests import tiny

EXAMPLE_SCORES = Path(__file__).parents[1] / "experiments" / "results" / "demo" / "safr.json"
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
    with pytest.raises(InputError, match=r"a run: already holds a run; continue it by --resume, or choose another"):
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
    with pytest.raises(InputError, match=r"its training is not finished; continue with `safr train --resume .*a run`"):
        open_trained_run(run.folder)
    write_json(run.model_folder / "config.json", {})
    assert run.is_trained
    assert open_trained_run(run.folder) == open_run(run.folder)


def test_a_run_that_is_not_evaluated_says_how(run):
    with pytest.raises(InputError, match=r"a run: not evaluated yet; run `safr evaluate .*a run` first"):
        run.scores  # noqa: B018 - reading it is what fails


def test_scores_are_read_back(run):
    scores = read_json(EXAMPLE_SCORES)
    write_json(run.scores_file, scores)
    assert run.scores == scores


def test_history_has_an_entry_per_line_and_is_empty_before_training(run):
    assert run.history == []
    write_text(run.history_file, '{"epoch": 1, "task": 0.5}\n{"epoch": 2, "task": 0.25}\n')
    assert run.history == [{"epoch": 1, "task": 0.5}, {"epoch": 2, "task": 0.25}]


@pytest.mark.parametrize("content", [b'{"a": 1', b"", b"\xff\xfe", b"{'a': 1}"])
def test_damaged_files_are_named(run, content):
    run.scores_file.write_bytes(content)
    with pytest.raises(InputError, match=r"scores\.json: expected JSON, but it is damaged \(.+\); "):
        run.scores  # noqa: B018
    run.history_file.write_bytes(b'{"epoch": 1}\n' + (content or b"\n"))
    with pytest.raises(InputError, match=r"history\.jsonl(, line \d)?: expected JSON, but it is damaged \(.+\); "):
        run.history  # noqa: B018


def test_settings_of_another_version_are_named(run):
    record = run.record
    record["settings"]["recipe"]["momentum"] = 0.9
    write_json(run.config_file, record)
    with pytest.raises(InputError, match=r"config\.json: unknown settings of Recipe: momentum; known are .*seed"):
        run.settings  # noqa: B018


def test_a_crash_while_a_run_is_made_leaves_none(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "replace", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        create_run(tmp_path / "run", Settings(), DATA)
    with pytest.raises(InputError, match="holds no config"):
        open_run(tmp_path / "run")


@pytest.mark.parametrize(
    ("data", "model", "tokenizer"),
    [
        ("rotten_tomatoes", "transformer", "words"),
        ("sst2_paper", "transformer", "auto"),
        ("rotten_tomatoes", "bert-base-uncased", "auto"),
    ],
)
def test_a_run_from_before_there_were_subwords_keeps_its_words(run, data, model, tokenizer):
    record = run.record
    record["settings"] |= {"data": data, "model": model}
    del record["settings"]["tokenizer"]
    write_json(run.config_file, record)
    assert run.settings.tokenizer == tokenizer


def test_a_run_brings_its_model_and_checks_its_data(safr_run, monkeypatch):
    model, tokenizer = safr_run.load_model(device="cpu")
    assert not model.training
    assert model.device == torch.device("cpu")
    assert tokenizer("a film")["input_ids"] == tiny.tokenizer()("a film")["input_ids"]
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: tiny.dataset())
    assert safr_run.load_data().fingerprint() == tiny.dataset().fingerprint()
    monkeypatch.setattr(runs, "load_data", lambda *_, **__: tiny.dataset(seed=9))
    with pytest.raises(InputError, match="was trained on other data than"):
        safr_run.load_data()


def set_value(path, place, value):
    """Write another value into a JSON file, at a place given as keys."""
    content = part = json.loads(path.read_text())
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    path.write_text(json.dumps(content))


def copy(run, folder):
    return Run(Path(shutil.copytree(run.folder, folder)))


def test_a_changed_digit_is_found_when_it_is_read(safr_run, tmp_path):
    copied = copy(safr_run, tmp_path / "run")
    set_value(copied.scores_file, ["accuracy", "value"], 0.99)
    with pytest.raises(
        InputError, match=r"scores\.json: was changed since it was written, .*run `safr evaluate .*` again"
    ):
        copied.scores  # noqa: B018
    words = copied.words_file.read_bytes()
    copied.words_file.write_bytes(words[:200] + bytes([words[200] ^ 1]) + words[201:])
    with pytest.raises(InputError, match=r"tokens\.parquet: was changed since it was written"):
        copied.read_words({"text": "integer"})
    weights = copied.model_folder / "model.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=r"model\.safetensors: was changed since it was written"):
        copied.load_model()


@pytest.mark.parametrize("old", ['"<good>"', '"importance": 0.1', '"vmask_width": 8', '"sha256"'])
def test_one_changed_byte_in_the_models_config_is_found(safr_run, tmp_path, old):
    """A label's name, a setting of SAFR's, the table of checksums: each would be read as if nothing were wrong."""
    copied = copy(safr_run, tmp_path / "run")
    path = copied.model_folder / "config.json"
    content = path.read_bytes()
    place = content.index(old.encode()) + len(old) - 2
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InputError, match=r"model/config\.json: was changed since it was written"):
        copied.load_model()
    path.write_bytes(content)
    assert copied.load_model()[0].config.id2label == {0: "bad", 1: "<good>"}


def test_a_model_that_is_saved_into_a_run_again_is_read(safr_run, tmp_path):
    copied = copy(safr_run, tmp_path / "run")
    model, words = copied.load_model()
    model.config.id2label = {0: "no", 1: "yes"}
    safr.save(model, copied.model_folder, tokenizer=words)
    assert copied.load_model()[0].config.id2label == {0: "no", 1: "yes"}


def test_another_runs_file_is_found(safr_run, baseline, tmp_path):
    copied = copy(safr_run, tmp_path / "run")
    shutil.copy(baseline.scores_file, copied.scores_file)
    with pytest.raises(InputError, match="was changed since it was written"):
        copied.scores  # noqa: B018


def test_a_run_without_checksums_is_read_as_before(safr_run, tmp_path):
    copied = copy(safr_run, tmp_path / "run")
    (copied.folder / CHECKSUMS_FILE).unlink()
    assert copied.scores == safr_run.scores
    set_value(copied.scores_file, ["accuracy", "value"], 0.25)
    assert copied.scores["accuracy"]["value"] == 0.25


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (["accuracy"], [], r'expected type "object" of accuracy, got \[\]'),
        (["accuracy", "value"], float("nan"), r'expected type "number" of accuracy\.value, got NaN'),
        (["srs", "30", "value"], 1e308, r"of srs\.30\.value, got 1e\+308"),
        (["deletion", "random"], {}, r"expected '10' in deletion\.random, found none"),
        (["texts"], "x", r'expected type "integer" of texts, got "x"'),
        (["srs", "30"], None, r'expected type "object" of srs\.30, got null'),
        (["deletion", "keep", "30"], None, r'expected type "object" of deletion\.keep\.30, got null'),
        (["srs", "above_random", "30"], None, r"of srs\.above_random\.30, got null"),
    ],
)
def test_values_of_another_shape_are_named_with_their_place(safr_run, tmp_path, place, value, message):
    copied = copy(safr_run, tmp_path / "run")
    (copied.folder / CHECKSUMS_FILE).unlink()
    set_value(copied.scores_file, place, value)
    with pytest.raises(InputError, match=message):
        copied.scores  # noqa: B018


def test_scores_without_a_number_are_read_with_their_reason_alone(single_word_run, tmp_path):
    assert single_word_run.scores["srs"]["30"] is None
    copied = copy(single_word_run, tmp_path / "run")
    (copied.folder / CHECKSUMS_FILE).unlink()
    write_json(copied.scores_file, {name: value for name, value in copied.scores.items() if name != "srs_reason"})
    with pytest.raises(InputError, match=r'expected type "object" of deletion\.\w+\.\d0, got null; run `safr eval'):
        copied.scores  # noqa: B018


def test_a_folder_that_holds_only_what_a_killed_process_left_is_new(tmp_path):
    keep_checksums(tmp_path)
    (tmp_path / ".0123.part").touch()
    check_is_new(Run(tmp_path))


def test_whoever_locks_a_run_clears_what_dead_processes_were_writing_anywhere_in_it(run):
    mine, left = run.folder / "deep" / "er" / ".notes", [f".{'0' * 32}.part", ".saving-x", ".model"]
    mine.mkdir(parents=True)
    for name in left:
        (mine.parent / name).touch()
    with run.lock():
        assert list(mine.parent.iterdir()) == [mine]


@pytest.mark.parametrize(
    "line",
    [
        {"epoch": 0},
        {"epoch": 0.5, "capacity": [], "prediction": [], "probability": []},
        {"epoch": 0, "capacity": [[1.5]], "prediction": ["good"], "probability": [0.5]},
        {"epoch": 0, "capacity": [[0.5]], "prediction": ["good"], "probability": ["high"]},
    ],
)
def test_a_word_history_of_another_form_is_named(run, line):
    assert run.word_history == []
    write_text(run.word_history_file, f"{json.dumps(line)}\n")
    with pytest.raises(InputError, match=r"word_history\.jsonl, line 1: expected "):
        run.word_history  # noqa: B018


def test_a_link_to_nowhere_is_no_empty_history(run):
    run.history_file.symlink_to(run.history_file)
    with pytest.raises(InputError, match=r"history\.jsonl: "):
        run.history  # noqa: B018


def test_a_history_may_hold_a_line_separator_and_losses_that_are_no_numbers(run):
    write_text(run.history_file, '{"epoch": 1, "task": NaN, "a\u2028b": 1}\n')
    assert run.history[0]["a\u2028b"] == 1
    write_text(run.history_file, "[]\n")
    with pytest.raises(InputError, match=r'history\.jsonl, line 1: expected type "object" of the whole, got \[\]'):
        run.history  # noqa: B018


def test_a_folder_near_a_run_is_told_with_the_runs(safr_run, tmp_path):
    copied = copy(safr_run, tmp_path / "runs" / "one")
    (copied.checkpoints_folder / "checkpoint-8").mkdir(parents=True)
    for inside in (copied.model_folder, copied.checkpoints_folder, copied.checkpoints_folder / "checkpoint-8"):
        with pytest.raises(InputError, match=r"; give the folder of the run: .*/runs/one$"):
            open_trained_run(inside)
    with pytest.raises(InputError, match=r"it holds runs, so give one of them, such as .*/runs/one$"):
        open_trained_run(tmp_path / "runs")
    with pytest.raises(InputError, match=r"give the folder that it is in: .*/runs/one$"):
        open_trained_run(copied.scores_file)


def test_a_tokenizer_beyond_the_models_embeddings_is_refused(safr_run, tmp_path):
    copied = copy(safr_run, tmp_path / "run")
    tokenizer = copied.load_model()[1]
    tokenizer.add_tokens([f"new{number}" for number in range(5)])
    tokenizer.save_pretrained(copied.model_folder)
    (copied.folder / CHECKSUMS_FILE).unlink()
    set_value(copied.model_folder / "config.json", ["safr", "sha256"], {})
    with pytest.raises(InputError, match="its tokenizer does not fit its model"):
        copied.load_model()
