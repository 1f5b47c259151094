import io
import json
import re
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from safr.attribution.explain import explain
from safr.cli.console import (
    EpochLines,
    ProgressBar,
    TrainingProgress,
    list_score_notes,
    list_words,
    printable,
    scores_table,
    shade_words,
)
from safr.config import Regularization
from safr.evaluation.srs import DELETION_PERCENTS
from safr.evaluation.statistics import format_percent
from safr.runs import Run
from safr.storage import read_json
from tests import tiny

EXAMPLE_SCORES = Path(__file__).parents[2] / "experiments" / "results" / "demo" / "safr.json"


def plain_console(**options):
    return Console(file=io.StringIO(), width=200, **options)


def estimate(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def written(console):
    return console.file.getvalue()


def explanation(text="the film was funny but the cast was dull"):
    return explain(tiny.model(Regularization(vmask_width=8)), tiny.tokenizer(), text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a good film", "a good film"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("a\nb\r\tc", "a\\nb\\r\\tc"),
        ("\u202efilm\u200b", "\\u202efilm\\u200b"),
        ("\x9b1m", "\\x9b1m"),
        ("\ud800", "\\ud800"),
        ("漢字 é 👩 '\"\\", "漢字 é 👩 '\"\\"),
        ("", ""),
    ],
)
def test_what_could_drive_a_terminal_is_shown_as_an_escape(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(exclude_categories=())))
def test_printable_text_is_printable_and_nothing_else_is_changed(text):
    assert printable(text).isprintable()
    printable(text).encode("utf-8")
    if text.isprintable():
        assert printable(text) == text


def test_every_word_is_coloured_by_its_capacity():
    made = explanation()
    line = shade_words(made)
    assert line.plain == "the film was funny but the cast was dull "
    assert [line.plain[span.start : span.end] for span in line.spans] == list(made.words)
    assert str(line.spans[int(np.argmax(made.capacity))].style) == "bold underline #ffffff on #08519c"
    darkness = [sum(span.style_colour) for span in map(_Shade, line.spans)]
    order = np.argsort(made.capacity)
    assert [darkness[number] for number in order] == sorted(darkness, reverse=True)


class _Shade:
    """The red, green and blue of a span's background."""

    def __init__(self, span):
        background = str(span.style).partition(" on #")[2]
        self.style_colour = [int(background[place : place + 2], 16) for place in (0, 2, 4)]


def test_without_colours_every_word_is_listed_with_its_capacity():
    made = explanation()
    lines = list_words(made).splitlines()
    assert [line.split() for line in lines] == [[f"{c:.2f}", w] for w, c in zip(made.words, made.capacity, strict=True)]


def test_unknown_words_are_marked_in_letters_too():
    made = explanation("a Brilliant! film")
    assert shade_words(made).plain == "a Brilliant! (?) film "
    assert [line.split("  ")[1] for line in list_words(made).splitlines()] == ["a", "Brilliant! (?)", "film"]
    assert list_words(replace(made, unknown=())) == list_words(made).replace(" (?)", "")


def test_words_that_look_like_commands_are_shown_as_words():
    console = plain_console(force_terminal=True, color_system="truecolor")
    console.print(shade_words(explanation("[bold]film[/bold] \x1b[2Jdull [/x]")))
    for word in ("[bold]film[/bold]", "\\x1b[2Jdull", "[/x]"):
        assert word in written(console)
    assert "\x1b[2J" not in written(console)


def test_an_estimate_in_percent():
    assert format_percent({"value": 0.7256, "low": 0.69949, "high": 0.75}) == "72.6 [69.9, 75.0]"
    assert format_percent({"value": -0.01, "low": -0.125, "high": 1.0}) == "-1.0 [-12.5, 100.0]"
    assert format_percent(None) == "–"


def at_all_percents(value):
    return {str(percent): value for percent in DELETION_PERCENTS}


def list_notes(run):
    return list_score_notes(run.name, run.scores, run.settings.max_tokens)


def test_the_table_has_a_row_per_run_with_its_numbers(tmp_path):
    runs = []
    for number, name in enumerate(["[bold]first", "second"]):
        runs.append(Run(tmp_path / name))
        runs[-1].folder.mkdir()
        scores = read_json(EXAMPLE_SCORES) | {
            "accuracy": estimate(0.7 + number / 10),
            "deletion": {"random": at_all_percents(estimate(0.6)), "capacity": at_all_percents(estimate(0.5))},
            "srs": {**at_all_percents(estimate(0.2)), "above_random": at_all_percents(estimate(0.1))},
        }
        runs[-1].scores_file.write_text(json.dumps(scores))
    console = plain_console()
    console.print(scores_table({run.name: run.scores for run in runs}))
    rows = [line for line in written(console).splitlines() if line.strip().startswith(("[bold]first", "second"))]
    cells = [re.split(r"\s+(?=-?\d+\.\d \[)", row.strip()) for row in rows]
    others = ["60.0 [59.0,61.0]", "50.0 [49.0,51.0]", "20.0 [19.0,21.0]"]
    assert cells == [
        ["[bold]first", "70.0 [69.0,71.0]", *others],
        ["second", "80.0 [79.0,81.0]", *others],
    ]


def test_the_table_fits_eighty_columns(tmp_path):
    run = Run(tmp_path / "baseline")
    run.folder.mkdir()
    low = {"value": -0.101, "low": -0.123, "high": -0.098}
    deletion = {name: at_all_percents(estimate(0.7)) for name in ("random", "capacity")}
    srs = {**at_all_percents(low), "above_random": at_all_percents(low)}
    scores = read_json(EXAMPLE_SCORES) | {"accuracy": estimate(0.7), "deletion": deletion, "srs": srs}
    run.scores_file.write_text(json.dumps(scores))
    console = Console(file=io.StringIO(), width=80)
    console.print(scores_table({run.name: run.scores}))
    assert "baseline" in written(console)
    assert written(console).count("70.0 [69.0,71.0]") == 3
    assert "-10.1 [-12.3,-9.8]" in written(console)


def test_a_run_without_srs_has_dashes_in_the_table_and_the_reason_below_it(single_word_run):
    console = plain_console()
    console.print(scores_table({single_word_run.name: single_word_run.scores}))
    (row,) = [line for line in written(console).splitlines() if line.startswith("single words")]
    accuracy = format_percent(single_word_run.scores["accuracy"]).replace(", ", ",")
    assert row.removeprefix("single words").split() == [*accuracy.split(), "–", "–", "–"]
    assert "single words: each of the 12 texts holds one word, so nothing can be deleted" in list_notes(single_word_run)


def test_texts_of_one_word_are_told_below_the_table(safr_run):
    count = safr_run.scores["undeletable"]
    assert 0 < count < 17
    assert f"safr: {count} of 17 texts hold one word, so nothing can be deleted from them" in list_notes(safr_run)


def test_texts_that_were_cut_are_told_below_the_table(safr_run):
    assert safr_run.scores["truncated"] == 1
    assert "safr: 1 of 17 texts were cut to 12 tokens" in list_notes(safr_run)


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
        "  new, epoch 1: dev accuracy 60.0% *",
        "  new, epoch 2: dev accuracy 70.0% *",
        "  new, epoch 3: dev accuracy 65.0%",
        "  older, epoch 2: dev accuracy 40.0%",
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

    def train(console, title, *, accuracy, best):
        model = tiny.model(Regularization(vmask=False))
        model.safr.terms = {"task": 0.69314, "importance": 1.5}
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
        (0.7512, None, "  my [/x] run, epoch 1: dev accuracy 75.1% *\n"),
        (0.7512, 0.75, "  my [/x] run, epoch 1: dev accuracy 75.1% *\n"),
        (0.7512, 0.7512, "  my [/x] run, epoch 1: dev accuracy 75.1%\n"),
    ],
)
def test_an_epoch_leaves_one_plain_line_where_there_is_no_terminal(trained, accuracy, best, line):
    console = plain_console()
    trained(console, "my [/x] run", accuracy=accuracy, best=best)
    assert written(console) == line


def test_a_terminal_sees_steps_and_terms(trained):
    console = plain_console(force_terminal=True)
    trained(console, "my [/x] run", accuracy=0.5, best=None)
    assert "my [/x] run, epoch 1" in written(console)
    assert "40/40" in written(console)
    assert "task 0.693  importance 1.500" in written(console)
