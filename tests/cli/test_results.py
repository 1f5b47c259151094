import io
from pathlib import Path

from safr.cli.console import CommandConsole
from safr.cli.results import list_score_notes, print_benchmark, print_titled_table, scores_table
from safr.evaluation.srs import DELETION_PERCENTS
from safr.evaluation.statistics import format_percent
from safr.experiments.benchmark_table import BenchmarkTables, GroupTables
from safr.experiments.text_table import TextTable
from safr.storage import read_json

EXAMPLE_SCORES = Path(__file__).parents[2] / "experiments" / "results" / "demo" / "safr.json"


def estimate(value):
    return {"value": value, "low": value - 0.01, "high": value + 0.01}


def test_an_estimate_in_percent():
    assert format_percent({"value": 0.7256, "low": 0.69949, "high": 0.75}) == "72.6 [69.9, 75.0]"
    assert format_percent({"value": -0.01, "low": -0.125, "high": 1.0}) == "-1.0 [-12.5, 100.0]"
    assert format_percent(None) == "–"


def at_all_percents(value):
    return {str(percent): value for percent in DELETION_PERCENTS}


def list_notes(run):
    return list_score_notes(run.name, run.scores, run.settings.max_tokens)


def make_scores(accuracy, srs):
    """Scores of a run whose deletions leave an accuracy of 0.6 and 0.5."""
    return read_json(EXAMPLE_SCORES) | {
        "accuracy": estimate(accuracy),
        "deletion": {"random": at_all_percents(estimate(0.6)), "capacity": at_all_percents(estimate(0.5))},
        "srs": {**at_all_percents(srs), "above_random": at_all_percents(estimate(0.1))},
    }


def test_the_table_has_a_row_per_run_with_its_numbers():
    table = scores_table(
        {"[bold]first": make_scores(0.7, estimate(0.2)), "sec\x1bond": make_scores(0.8, estimate(0.2))}
    )
    others = ("60.0 [59.0, 61.0]", "50.0 [49.0, 51.0]", "20.0 [19.0, 21.0]")
    assert table.rows == (
        ("[bold]first", "70.0 [69.0, 71.0]", *others),
        ("sec\\x1bond", "80.0 [79.0, 81.0]", *others),
    )


def test_the_table_fits_eighty_columns_with_its_intervals_and_forty_with_srs():
    low = {"value": -0.101, "low": -0.123, "high": -0.098}
    table = scores_table({"sst2_paper-1-0.1-seed0": make_scores(0.7, low)})
    shown = {}
    for width in (80, 40):
        console = CommandConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        print_titled_table(console, table, "scores.json", left_out_first=["random", "capacity"])
        shown[width] = [line.rstrip() for line in console.file.getvalue().splitlines()]
        assert max(map(len, shown[width])) <= width
    assert shown[80][-2].split() == ["sst2_paper-1-0.1-seed0", "70.0", "60.0", "50.0", "-10.1"]
    assert shown[80][-1].split("[")[1:] == ["69.0, 71.0] ", "59.0, 61.0] ", "49.0, 51.0] ", "-12.3, -9.8]"]
    assert any(line.split()[-2:] == ["70.0", "-10.1"] for line in shown[40])
    said = " ".join(shown[40])
    assert "Left out here: the intervals, random, capacity. All numbers are in scores.json." in said


def make_benchmark():
    """The results of two settings by three metrics."""
    table = TextTable(
        "evidence",
        "baseline, 1 run, 400 texts",
        ("method", "srs ↑", "comprehensiveness ↑", "sufficiency ↓", "aopc ↑", "naopc ↑ (n = 100)"),
        tuple(
            (method, *["0.371 [0.245, 0.496]"] * 5)
            for method in ("capacity", "absolute_integrated_gradients", "random")
        ),
        frozenset({(0, 1)}),
    )
    differences = TextTable(
        "settings",
        "Capacity under one setting against another",
        ("metric", "one", "other", "one - other", "adjusted p", "one is"),
        (("comprehensiveness ↑", "baseline", "SAFR", "0.245 [0.206, 0.284]", "0.00013", "better"),),
    )
    conclusions = ("Capacity is more faithful than random (blind to the class), and so on and on and on and on.",)
    return BenchmarkTables((GroupTables(table, conclusions, table),), differences)


def test_a_benchmark_fits_the_terminal_and_says_where_the_rest_is(tmp_path):
    for width in (40, 80, 200):
        console = CommandConsole(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
        print_benchmark(console, make_benchmark(), tmp_path / "evidence.md")
        *lines, last = console.file.getvalue().splitlines()
        assert last == f"all numbers, and how they were tested: {(tmp_path / 'evidence.md').resolve()}"
        assert max(map(len, lines)) <= width
        (row,) = [line for line in lines if line.startswith("absolute_integrated_gradients")]
        assert row.count("0.371") == {40: 1, 80: 4, 200: 5}[width]
        assert any(line.startswith("capacity ") and ("0.371*" in line or "0.496]*" in line) for line in lines)
        assert any(line.startswith("  ") and "and on" in line for line in lines) == (width < 200)
        said = " ".join(line.strip() for line in lines)
        assert "*: the best, and all whose interval overlaps it." in said
        if width == 80:
            assert "Left out here: the intervals, naopc ↑ (n = 100)." in said


def test_a_benchmark_in_a_pipe_has_all_columns_and_intervals(tmp_path):
    console = CommandConsole(file=io.StringIO())
    print_benchmark(console, make_benchmark(), tmp_path / "evidence.md")
    shown = console.file.getvalue()
    assert shown.count("0.371 [0.245, 0.496]") == 15
    assert "Left out here" not in shown


def test_a_run_without_srs_has_dashes_in_the_table_and_the_reason_below_it(single_word_run):
    (row,) = scores_table({single_word_run.name: single_word_run.scores}).rows
    assert row == ("single words", format_percent(single_word_run.scores["accuracy"]), "–", "–", "–")
    assert "single words: each of the 12 texts holds one word, so nothing can be deleted" in list_notes(single_word_run)


def test_texts_of_one_word_are_told_below_the_table(safr_run):
    count = safr_run.scores["undeletable"]
    assert 0 < count < 17
    assert f"safr: {count} of 17 texts hold one word, so nothing can be deleted from them" in list_notes(safr_run)


def test_texts_that_were_cut_are_told_below_the_table(safr_run):
    assert safr_run.scores["truncated"] == 1
    assert "safr: 1 of 17 texts were cut to 12 tokens" in list_notes(safr_run)
