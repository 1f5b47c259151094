import json
import shutil

import numpy as np
import pyarrow.parquet
import pytest

from safr.errors import InputError
from safr.evaluation.benchmark import benchmark
from safr.evaluation.per_text_results import read_results, write_results
from safr.evaluation.statistics import seed_mean
from safr.experiments.benchmark_table import group_runs, pool_seeds, seed_group_table, write_benchmark_table
from safr.experiments.text_table import TextTable
from safr.report import write_report
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny


def copied(made, folder, name, seed):
    """A benchmarked run under another name and seed."""
    shutil.copytree(made.folder, folder / name)
    run = Run(folder / name)
    record = read_json(run.config_file)
    record["settings"]["recipe"]["seed"] = seed
    write_json(run.config_file, record)
    return run


@pytest.fixture(scope="module")
def judged(tmp_path_factory, baseline, safr_run):
    """A baseline, and SAFR with two seeds whose values differ by a known amount."""
    folder = tmp_path_factory.mktemp("judged")
    runs = [copied(baseline, folder, "plain", 0), copied(safr_run, folder, "safr-0", 0)]
    for run in runs:
        benchmark(run, tiny.dataset(), methods=["capacity"], removals=["delete"])
    second = copied(runs[1], folder, "safr-1", 1)
    result = read_json(second.benchmark_file)
    result["methods"]["capacity"]["values"]["delete"]["srs"]["value"] += 0.1
    for name in ("own", "capacity_own"):
        result["methods"]["capacity"]["values"]["none"][name]["value"] += 0.5
    write_json(second.benchmark_file, result)
    return [*runs, second]


def test_runs_that_differ_in_their_seed_alone_are_pooled_and_the_baseline_comes_first(judged):
    found = group_runs(judged[::-1])
    assert [(each.label, len(each.runs)) for each in found] == [("baseline", 1), ("SAFR", 2)]
    first, second = (each["methods"]["capacity"]["values"]["delete"]["srs"]["value"] for each in found[1].results)
    expected = seed_mean([first, second], least=-np.inf, most=np.inf)
    assert pool_seeds(found[1])["capacity"]["delete"]["srs"] == expected
    causes = pool_seeds(found[1])["capacity"]["none"]
    assert causes["own"].high > 1  # 12.7 standard errors above the mean of two seeds
    assert (causes["capacity_own"].low, causes["capacity_own"].high) == (-1, 1)  # a correlation goes no further
    own = found[0].results[0]["methods"]["capacity"]["values"]["delete"]["srs"]
    assert pool_seeds(found[0])["capacity"]["delete"]["srs"].to_dict() == own  # of one seed, over texts


def test_the_evidence_is_written_and_compares_settings_on_the_same_texts(judged, tmp_path):
    text = write_benchmark_table(judged, tmp_path).to_markdown()
    assert (tmp_path / "evidence.md").read_text() == text
    assert "Capacity is " in text or "Neither more nor less faithful: " in text or "More faithful than" in text
    assert (
        text.index("### baseline, 1 run, 16 texts")
        < text.index("### SAFR, 2 runs, 16 texts")
        < text.index("### Capacity under one")
    )
    assert "| srs ↑ | baseline | SAFR |" in text
    numbers = json.loads((tmp_path / "evidence.json").read_text())
    assert numbers["settings"]["SAFR"]["runs"] == ["safr-0", "safr-1"]
    means = [read_json(run.benchmark_file)["methods"]["capacity"]["values"]["delete"]["srs"]["value"] for run in judged]
    found = next(each for each in numbers["between_settings"] if each["metric"] == "srs")
    assert found["value"]["value"] == pytest.approx(means[0] - (means[1] + means[2]) / 2)
    assert found["verdict"] == "not tested"  # of the baseline there is one seed


def test_the_same_run_twice_and_other_texts_are_refused(judged, tmp_path):
    with pytest.raises(InputError, match="another run has the same settings and seed"):
        write_benchmark_table([*judged, judged[0]], tmp_path)
    other = copied(judged[2], tmp_path, "other", 7)
    write_results(other.benchmark_values_file, {("capacity", "delete"): {"srs": np.ones(2)}}, [0, 1])
    with pytest.raises(InputError, match=r"other: was judged on other texts than plain; benchmark all with the same"):
        write_benchmark_table([*judged, other], tmp_path)


def test_runs_of_other_data_are_not_compared(judged, tmp_path):
    other = copied(judged[0], tmp_path, "other", 0)
    record = read_json(other.config_file)
    record["data"]["fingerprint"] = "0"
    write_json(other.config_file, record)
    with pytest.raises(InputError, match="other was made from other data than"):
        write_benchmark_table([*judged, other], tmp_path)


def test_the_best_stand_out_with_all_that_overlap(judged):
    table = seed_group_table(group_runs(judged)[0])
    column = table.columns.index("comprehensiveness ↑")
    best = {table.rows[row][0] for row, place in table.best if place == column}
    assert best
    assert best <= {"capacity", "random"}
    shown = TextTable("a", "A", ("x", "y"), (("1", "2"),), frozenset({(0, 1)}))
    assert shown.to_markdown().splitlines()[-1] == "| 1 | **2** |"


def test_the_report_shows_what_was_judged(judged, tmp_path):
    text = write_report(judged[:2], tmp_path / "report.html").read_text()
    assert "<h2>Beside other attribution methods</h2>" in text
    assert "comprehensiveness ↑" in text
    assert text.count("<caption>baseline, 1 run, 16 texts</caption>") == 1
    again = Run(shutil.copytree(judged[0].folder, tmp_path / "again"))
    apart = write_report([judged[0], again], tmp_path / "apart.html").read_text()  # the same seed twice is no two seeds
    assert apart.count("<caption>plain, 1 run, 16 texts</caption>") == 1
    assert apart.count("<caption>again, 1 run, 16 texts</caption>") == 1
    (judged[0].folder / "kept.json").write_text("")
    plain = shutil.copytree(judged[0].folder, tmp_path / "plain")
    (plain / "benchmark.json").unlink()
    assert "Beside other" not in write_report([Run(plain)], tmp_path / "other.html").read_text()


def test_values_come_back_and_an_old_part_is_not_taken_for_a_new_one(tmp_path):
    table = {("a", "delete"): {"srs": np.array([0.5, np.nan, 1.0])}, ("b", ""): {"auprc": np.array([1.0, 2.0, 3.0])}}
    write_results(tmp_path / "v.parquet", table, [4, 7, 9], "key")
    found = read_results(tmp_path / "v.parquet", [4, 7, 9], "key")
    assert found.keys() == table.keys()
    for place, values in table.items():
        for metric, numbers in values.items():
            np.testing.assert_array_equal(found[place][metric], numbers)
    assert read_results(tmp_path / "v.parquet", [4, 7, 9], "another") is None
    assert read_results(tmp_path / "none.parquet", [4]) is None


def test_relevance_is_compared_with_the_methods_that_know_the_class(tmp_path, safr_run):
    run = copied(safr_run, tmp_path, "alone", 0)
    benchmark(run, tiny.dataset(), methods=["capacity", "relevance", "gradient_x_input"], removals=["delete"])
    text = write_benchmark_table([run], tmp_path).to_markdown()
    (summary,) = read_json(tmp_path / "evidence.json")["settings"].values()
    compared = summary["signed_comparisons"]
    assert {entry["one"] for entry in compared} == {"relevance"}
    assert {entry["other"] for entry in compared} == {"gradient_x_input"}
    texts = pyarrow.parquet.read_table(run.benchmark_values_file)["text"].unique().to_pylist()
    values = read_results(run.benchmark_values_file, texts)
    for entry in compared:
        if (entry["removal"], entry["metric"]) == ("delete", "comprehensiveness"):
            gaps = values["relevance", "delete"]["comprehensiveness"]
            gaps = gaps - values["gradient_x_input", "delete"]["comprehensiveness"]
            assert entry["value"]["value"] == pytest.approx(np.nanmean(gaps))
            break
    else:
        pytest.fail("comprehensiveness was not compared")
    heading = text.index("### Relevance against other methods that know the class, SAFR")
    assert "| comprehensiveness ↑ | gradient_x_input |" in text[heading:]
    assert "capacity" not in text[heading:]
