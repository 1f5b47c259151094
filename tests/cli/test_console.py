import io
import os
import subprocess
import sys

import pytest

from safr.cli.console import CommandConsole, print_table
from safr.experiments.text_table import TextTable

TABLE = TextTable(
    "scores",
    "Scores",
    ("run", "accuracy", "random", "SRS", "verdict"),
    (
        ("short", "70.0 [69.0, 71.0]", "60.0 [59.0, 61.0]", "-10.1 [-12.3, -9.8]", "better"),
        ("a run with a name of many words", "9.0 [8.0, 10.0]", "–", "20.0 [19.0, 21.0]", "no difference"),
    ),
    frozenset({(0, 1)}),
)


def draw(width, **options):
    """The lines of the table on a terminal of a width, and what is left out."""
    console = CommandConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    left_out = print_table(console, TABLE, **options)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines], left_out


def test_a_wide_terminal_shows_everything_on_one_line_a_row():
    lines, left_out = draw(120)
    assert left_out == []
    assert len(lines) == 3
    assert lines[1].split("  ")[0] == "short"
    assert "70.0 [69.0, 71.0]* 60.0 [59.0, 61.0] -10.1 [-12.3, -9.8] better" in lines[1]


def test_intervals_stand_below_their_values_before_anything_is_left_out():
    lines, left_out = draw(90)
    assert left_out == []
    assert len(lines) == 5
    assert lines[1].split() == ["short", "70.0", "60.0", "-10.1", "better"]
    assert lines[2].split() == ["[69.0,", "71.0]*", "[59.0,", "61.0]", "[-12.3,", "-9.8]"]


def test_a_narrow_terminal_shows_values_and_says_what_is_left_out():
    lines, left_out = draw(60)
    assert left_out == ["the intervals"]
    assert lines[1].split() == ["short", "70.0*", "60.0", "-10.1", "better"]
    lines, left_out = draw(40)
    assert left_out == ["the intervals", "verdict"]
    assert lines[0].split() == ["run", "accuracy", "random", "SRS"]
    lines, left_out = draw(30, left_out_first=["random"])
    assert left_out == ["the intervals", "random", "verdict"]
    assert lines[1].split() == ["short", "70.0*", "-10.1"]


def test_labels_are_broken_only_where_they_may_be():
    assert any("many words" in line for line in draw(60, folded=False)[0])
    assert draw(60, folded=False, stacked=False)[1] == ["the intervals", "verdict"]


def test_a_pipe_gets_whole_lines_without_spaces_at_their_ends():
    console = CommandConsole(file=io.StringIO())
    assert print_table(console, TABLE) == []
    console.print_wrapped("a sentence of words " * 30)
    lines = console.file.getvalue().splitlines()
    assert len(lines) == 4
    assert lines == [line.rstrip() for line in lines]
    assert lines[-1] == ("a sentence of words " * 30).rstrip()


def test_a_terminal_gets_sentences_broken_between_words():
    console = CommandConsole(file=io.StringIO(), width=20, force_terminal=True, color_system=None)
    console.print_wrapped("the film was moving and often funny")
    assert [line.rstrip() for line in console.file.getvalue().splitlines()] == [
        "the film was moving",
        "and often funny",
    ]


@pytest.mark.parametrize("option", [{}, {"no_color": True, "force_terminal": True}])
def test_a_pipe_and_a_terminal_without_colours_have_none(option):
    assert not CommandConsole(file=io.StringIO(), **option).has_colours


def test_texts_are_shown_as_they_are():
    console = CommandConsole(file=io.StringIO(), width=80, force_terminal=True, color_system="truecolor")
    console.print("[bold]1.5[/bold] :smile:")
    assert console.file.getvalue() == "[bold]1.5[/bold] :smile:\n"


@pytest.mark.parametrize("arguments", ["train --help", "--help", "data", "--version", "report RUN"])
def test_a_closed_pipe_ends_a_command_without_a_word(tmp_path, arguments):
    """Its status is that of a program which SIGPIPE ends."""
    program = (
        "import sys; from safr.cli import commands; from safr.cli.console import CommandConsole\n"
        "def report(runs: tuple[str, ...]) -> None: CommandConsole().print('report')\n"
        "if 'report' in sys.argv: commands.COMMANDS['report'] = report\n"
        "sys.exit(commands.main(sys.argv[1:]))"
    )
    script = f'{sys.executable} -c "$PROGRAM" {arguments.replace("RUN", "--runs a")} | true; echo "${{PIPESTATUS[0]}}"'
    tried = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, env={**os.environ, "PROGRAM": program}
    )
    assert (tried.stdout, tried.stderr) == ("141\n", "")
