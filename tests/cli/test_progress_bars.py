import io
import json
import re
import time

import pytest
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from safr.cli.console import CommandConsole
from safr.cli.progress_bars import EpochLines, ProgressBar, TrainingProgress
from safr.config import Regularization
from tests import tiny


def plain_console(**options):
    return Console(file=io.StringIO(), width=200, **options)


def written(console):
    return console.file.getvalue()


def test_epochs_that_other_processes_finish_are_printed_once(tmp_path):
    def write(name, *accuracies):
        (tmp_path / name).mkdir(exist_ok=True)
        lines = [{"epoch": number, "dev_accuracy": value} for number, value in enumerate(accuracies, start=1)]
        (tmp_path / name / "history.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))

    write("older", 0.5)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "history.jsonl").write_text("{")
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "history.jsonl").write_text('{"epoch": 1}\n')
    console = plain_console()
    with EpochLines(console, tmp_path):
        write("new", 0.6)
        while "new" not in written(console):
            time.sleep(0.01)
        write("new", 0.6, 0.7, 0.65)
        write("older", 0.5, 0.4)
    assert sorted(written(console).splitlines()) == [
        "  new, epoch 1: dev accuracy 60.0 % *",
        "  new, epoch 2: dev accuracy 70.0 % *",
        "  new, epoch 3: dev accuracy 65.0 %",
        "  older, epoch 2: dev accuracy 40.0 %",
    ]


def test_steps_are_silent_where_there_is_no_terminal_and_move_on_one_that_is():
    quiet, terminal = plain_console(), plain_console(force_terminal=True)
    for console in (quiet, terminal):
        with ProgressBar(console, "deleting [/x] words") as steps:
            steps(0, None)
            steps(3, 12)
    assert written(quiet) == ""
    assert "deleting [/x] words" in written(terminal)
    assert "3/12" in written(terminal)


@pytest.fixture
def trained(tmp_path):
    """A function that plays one epoch of 40 steps to a progress bar."""

    def train(console, title, *, accuracy, best, terms=(("task", 0.69314), ("importance", 1.5))):
        model = tiny.model(Regularization(vmask=False))
        model.safr.terms = dict(terms)
        given = TrainingArguments(output_dir=str(tmp_path), num_train_epochs=2, report_to="none"), TrainerState()
        given[1].max_steps, given[1].epoch, given[1].best_metric = 80, 0.0, best
        control = TrainerControl()
        with TrainingProgress(console, title) as progress:
            progress.on_epoch_begin(*given, control)
            for step in range(1, 41):
                given[1].global_step = step
                progress.on_step_end(*given, control, model=model)
            given[1].epoch = 1.0
            progress.on_evaluate(*given, control, metrics={"eval_accuracy": accuracy})

    return train


@pytest.mark.parametrize(
    ("accuracy", "best", "line"),
    [
        (0.7512, None, "  my [/x] run, epoch 1: dev accuracy 75.1 % *\n"),
        (0.7512, 0.75, "  my [/x] run, epoch 1: dev accuracy 75.1 % *\n"),
        (0.7512, 0.7512, "  my [/x] run, epoch 1: dev accuracy 75.1 %\n"),
    ],
)
def test_an_epoch_leaves_one_plain_line_where_there_is_no_terminal(trained, accuracy, best, line):
    console = plain_console()
    trained(console, "my [/x] run", accuracy=accuracy, best=best)
    assert written(console) == line


def test_a_training_whose_loss_the_model_does_not_see_has_a_bar_without_one(trained):
    console = CommandConsole(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    trained(console, "run", accuracy=0.5, best=None, terms=())
    assert "40/80" in find_last_bar(console)
    assert "loss" not in find_last_bar(console)


def find_last_bar(console):
    """The last line with a bar that a terminal has been sent."""
    return [line for line in re.split(r"[\r\n]|\x1b\[[0-9;?]*[a-zA-Z]", written(console)) if "━" in line][-1]


@pytest.mark.parametrize(
    ("width", "shown", "hidden"),
    [
        (40, [], ["40/80", "loss", "a_long"]),
        (60, ["40/80", "a_long_name"], ["loss", "importance"]),
        (80, ["40/80", "a_long_name", "loss: task 0.693"], ["importance"]),
        (120, ["40/80", "a_long_name", "loss: task 0.693", "importance 1.500"], []),
    ],
)
def test_the_bar_of_a_training_stays_on_narrow_terminals(trained, width, shown, hidden):
    console = CommandConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    trained(console, "a_long_name_of_a_run-1-0.1-seed0", accuracy=0.5, best=None)
    frame = find_last_bar(console)
    assert len(frame.rstrip()) <= width
    assert len(re.findall("[━╸╺]", frame)) >= 8
    assert re.search(r"epoch 1/2 .* (-|\d+):[-\d]\S*", frame)
    assert [text for text in shown if text not in frame] == []
    assert [text for text in hidden if text in frame] == []


@pytest.mark.parametrize("width", [40, 60, 80])
def test_the_bar_of_other_work_stays_on_narrow_terminals(width):
    console = CommandConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with ProgressBar(console, "sst2_paper-1-0.1-seed0") as steps:
        steps.begin_part("removing words: replace by words of other texts")(2000, 2000)
    frame = find_last_bar(console)
    assert len(frame.rstrip()) <= width
    assert len(re.findall("[━╸╺]", frame)) >= 8
    assert "sst2_paper" in frame


def test_a_training_that_goes_on_shows_the_steps_that_are_done(tmp_path):
    console = plain_console(force_terminal=True)
    state = TrainerState()
    state.max_steps, state.epoch, state.global_step = 80, 1.0, 40
    arguments = TrainingArguments(output_dir=str(tmp_path), num_train_epochs=2, report_to="none")
    with TrainingProgress(console, "run") as progress:
        progress.on_epoch_begin(arguments, state, TrainerControl())
    assert "epoch 2/2" in written(console)
    assert "40/80" in written(console)


def test_a_pipe_that_is_closed_ends_the_lines_of_other_processes_without_a_word(tmp_path, monkeypatch):
    """The thread says nothing, which pytest would report; the next line of the command itself ends it."""

    class Closed(io.StringIO):
        def write(self, text):
            raise BrokenPipeError

    monkeypatch.setattr("safr.cli.progress_bars._SECONDS_BETWEEN_LOOKS", 0.01)
    (tmp_path / "run").mkdir()
    console = CommandConsole(file=Closed())
    with EpochLines(console, tmp_path) as lines:
        (tmp_path / "run" / "history.jsonl").write_text('{"epoch": 1, "dev_accuracy": 0.5}\n')
        lines.thread.join(timeout=10)
        assert not lines.thread.is_alive()
    with pytest.raises(BrokenPipeError):
        console.print("done")
