import json
import os
import sys
from contextlib import suppress
from types import SimpleNamespace
from typing import ClassVar

import pytest
from transformers import TrainerCallback
from transformers.integrations import integration_utils

from safr.cli.commands import COMMANDS, main
from safr.cli.parse import parse_command
from safr.config import Recipe, setting_names
from safr.data import TextDataset
from safr.errors import InputError
from safr.runs import Run
from safr.training import prepare, reporting, train
from safr.training.reporting import check_report_to, choose_logging_steps, prepare_trackers
from tests.test_training import StopAfter, same, small_data, weights, with_recipe

VARIABLES = ("TENSORBOARD_LOGGING_DIR", "WANDB_DIR", "WANDB_PROJECT", "MLFLOW_EXPERIMENT_NAME", "MLFLOW_EXPERIMENT_ID")


class Tracker(TrainerCallback):
    """Stands for an integration: notes what it is told, and what it finds in the environment."""

    made: ClassVar[list["Tracker"]] = []

    def __init__(self):
        self.logs, self.environment, self.names = [], {}, ()
        Tracker.made.append(self)

    def on_train_begin(self, args, state, control, **kwargs):
        self.environment = {name: os.environ[name] for name in VARIABLES if name in os.environ}
        self.names = args.project, args.run_name

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.logs.append({"step": state.global_step, **logs})


@pytest.fixture(autouse=True)
def trackers(monkeypatch):
    """Every integration is a `Tracker`; the list holds those that were made."""
    for name in (*VARIABLES, "TRACKIO_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Tracker, "made", [])
    for name in reporting._IS_AVAILABLE:
        monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, name, Tracker)
        monkeypatch.setitem(reporting._IS_AVAILABLE, name, lambda: True)
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(run=None))
    return Tracker.made


def history(run: Run) -> list[dict]:
    return [{name: value for name, value in line.items() if name != "seconds"} for line in run.history]


def test_reporting_changes_no_number(tmp_path):
    settings = with_recipe(epochs=2).changed(information=0.1, warmup_steps=3, gradient_accumulation=2)
    plain = train(settings, small_data(), tmp_path / "plain")
    reported = train(settings, small_data(), tmp_path / "reported", report_to="tensorboard")
    assert same(weights(plain), weights(reported))
    assert history(plain) == history(reported)
    for name in ("settings", "data", "versions"):
        assert plain.record[name] == reported.record[name]
    assert not plain.logs_folder.exists()


def test_a_warmup_that_nobody_chose_is_as_long_as_without_reporting(tmp_path, monkeypatch):
    """One of 5 steps fits in a training of 6, but a Trainer with the public callback would make it 1."""

    def attach_by_default(model, regularization, *, tokenizer=None, attach=prepare.attach):
        attach(model, regularization, tokenizer=tokenizer)
        model.safr.has_default_warmup = True

    monkeypatch.setattr(prepare, "attach", attach_by_default)
    settings = with_recipe(epochs=1).changed(warmup_steps=5)
    plain = train(settings, small_data(), tmp_path / "plain")
    reported = train(settings, small_data(), tmp_path / "reported", report_to="tensorboard")
    assert same(weights(plain), weights(reported))
    assert reported.load_model()[0].safr.regularization.warmup_steps == 5


def test_the_logs_hold_the_terms_and_the_dev_metrics(tmp_path, trackers):
    run = train(with_recipe(epochs=2).changed(information=0.1), small_data(), tmp_path / "run", report_to="mlflow")
    terms = {"task_loss", "importance", "interaction", "information"}
    steps = [logs for logs in trackers[0].logs if "loss" in logs]
    evaluations = [logs for logs in trackers[0].logs if "eval_loss" in logs]
    assert [logs["step"] for logs in steps] == [logs["step"] for logs in evaluations] == [6, 12]
    for logs, evaluation, line in zip(steps, evaluations, run.history, strict=True):
        assert terms <= set(logs)
        assert {f"eval_{term}" for term in terms} <= set(evaluation)
        assert evaluation["eval_accuracy"] == line["dev_accuracy"]
        assert logs["task_loss"] == pytest.approx(line["task"], rel=1e-5)
        assert logs["importance"] == pytest.approx(line["importance"], rel=1e-5)


def test_every_tracker_is_told_the_project_the_run_and_the_folder(tmp_path, trackers):
    before = dict(os.environ)
    run = train(with_recipe(epochs=1), small_data(), tmp_path / "run", report_to=["tensorboard", "mlflow", "trackio"])
    assert dict(os.environ) == before
    assert len(trackers) == 3
    assert {tracker.names for tracker in trackers} == {("safr", "run")}
    logs = str((tmp_path / "run" / "logs").resolve())
    assert run.logs_folder.is_dir()
    for tracker in trackers:
        assert tracker.environment == {
            "TENSORBOARD_LOGGING_DIR": logs,
            "WANDB_DIR": logs,
            "WANDB_PROJECT": "safr",
            "MLFLOW_EXPERIMENT_NAME": "safr",
        }


def test_what_the_environment_says_counts(tmp_path, monkeypatch, trackers):
    chosen = {"WANDB_PROJECT": "mine", "MLFLOW_EXPERIMENT_ID": "7", "TENSORBOARD_LOGGING_DIR": "elsewhere"}
    for name, value in {**chosen, "TRACKIO_PROJECT": "my project"}.items():
        monkeypatch.setenv(name, value)
    run = train(with_recipe(epochs=1), small_data(), tmp_path / "run", report_to="trackio")
    assert trackers[0].environment == {**chosen, "WANDB_DIR": str(run.logs_folder.resolve())}
    assert trackers[0].names == ("my project", "run")
    assert os.environ["WANDB_PROJECT"] == "mine"


@pytest.mark.parametrize(("first", "then"), [("none", "tensorboard"), ("tensorboard", "none"), ("mlflow", "wandb")])
def test_a_run_that_is_resumed_with_another_tracker_ends_in_the_same_weights(tmp_path, trackers, first, then):
    whole = train(with_recipe(), small_data(), tmp_path / "whole")
    before = dict(os.environ)
    with pytest.raises(KeyboardInterrupt):
        train(with_recipe(), small_data(), tmp_path / "run", report_to=first, callbacks=[StopAfter(1)])
    assert dict(os.environ) == before
    trackers.clear()
    resumed = train(with_recipe(), small_data(), tmp_path / "run", report_to=then, resume=True)
    assert same(weights(whole), weights(resumed))
    for line, expected in zip(history(resumed), history(whole), strict=True):
        assert line == pytest.approx(expected, rel=1e-6)
    if then != "none":
        assert [logs["step"] for logs in trackers[0].logs if "loss" in logs] == [12, 18]


def test_logs_come_every_50_steps_or_each_epoch():
    assert choose_logging_steps(Recipe(batch_size=8), 48) == 6
    assert choose_logging_steps(Recipe(batch_size=8), 49) == 7
    assert choose_logging_steps(Recipe(batch_size=8, gradient_accumulation=4), 49) == 2
    assert choose_logging_steps(Recipe(batch_size=8), 10**6) == 50


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_missing_package_is_named_before_anything_is_made(tmp_path, monkeypatch, name):
    monkeypatch.setitem(reporting._IS_AVAILABLE, name, lambda: False)
    with pytest.raises(InputError, match=f"^--report-to {name} needs the package {name}; run `pip install {name}`$"):
        train(with_recipe(), small_data(), tmp_path / "run", report_to=name)
    assert not (tmp_path / "run").exists()


def test_a_missing_package_is_one_line_of_the_command_before_data_are_loaded(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(reporting._IS_AVAILABLE, "tensorboard", lambda: False)
    words = ["--data", str(tmp_path / "gone.csv"), "--output", str(tmp_path / "run"), "--report-to", "tensorboard"]
    assert main(["train", *words]) == 2
    said = "safr: --report-to tensorboard needs the package tensorboard; run `pip install tensorboard`\n"
    assert capsys.readouterr().err == said
    assert not (tmp_path / "run").exists()


def test_names_are_checked():
    assert check_report_to("none") == check_report_to(()) == check_report_to(["none"]) == []
    assert check_report_to(["mlflow", "wandb", "mlflow"]) == ["mlflow", "wandb"]
    known = "none, tensorboard, wandb, mlflow or trackio"
    with pytest.raises(InputError, match=f"`report_to` must be {known}, got 'comet_ml'"):
        check_report_to("comet_ml")
    with pytest.raises(InputError, match="--report-to none can't be combined; leave it out to report to wandb, mlflow"):
        check_report_to(["wandb", "none", "mlflow"])


def test_the_option_takes_several_names_and_is_no_setting():
    parsed = parse_command(["train", "--report-to", "tensorboard", "mlflow", "--epochs", "3"], COMMANDS)
    assert parsed.keywords["report_to"] == ("tensorboard", "mlflow")
    assert parse_command(["train", "--resume", "run", "--report-to", "wandb"], COMMANDS).keywords["report_to"] == (
        "wandb",
    )
    assert parse_command(["train"], COMMANDS).keywords["report_to"] == ("none",)
    assert "report_to" not in setting_names()
    choices = "'none', 'tensorboard', 'wandb', 'mlflow' or 'trackio'"
    with pytest.raises(InputError, match=f"--report-to must be {choices}, got 'x'"):
        parse_command(["train", "--report-to", "x"], COMMANDS)


def write_reviews(folder, data: TextDataset):
    path = folder / "reviews.jsonl"
    rows = [
        {"text": f"{text} {number}", "label": label}
        for number, (text, label) in enumerate(zip(data.train.texts, data.train.labels, strict=True))
    ]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


def test_a_stopped_command_says_how_it_goes_on_with_its_trackers(tmp_path, monkeypatch, capsys):
    class Stop(Tracker):
        def on_train_begin(self, args, state, control, **kwargs):
            raise KeyboardInterrupt

    monkeypatch.setitem(integration_utils.INTEGRATION_TO_CALLBACK, "mlflow", Stop)
    folder, data = tmp_path / "run", write_reviews(tmp_path, small_data())
    small = ["--width", "16", "--heads", "2", "--feed-forward", "32", "--vmask-width", "8", "--epochs", "1"]
    words = ["--data", str(data), "--output", str(folder), *small, "--report-to", "tensorboard", "mlflow"]
    assert main(["train", *words]) == 130
    expected = f"stopped; continue with: safr train --resume {folder} --report-to tensorboard mlflow"
    assert expected in capsys.readouterr().out


@pytest.mark.parametrize("is_users_own", [False, True])
def test_a_run_of_wandb_ends_with_the_training_unless_it_was_there_before(tmp_path, monkeypatch, is_users_own):
    ended = []
    wandb = SimpleNamespace(run="the user's" if is_users_own else None, finish=lambda: ended.append(wandb.run))
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    with suppress(KeyboardInterrupt), prepare_trackers(Run(tmp_path), ["wandb"]):
        wandb.run = wandb.run or "ours"
        raise KeyboardInterrupt
    assert ended == ([] if is_users_own else ["ours"])
