import shutil
from pathlib import Path

import pytest

from safr.config import Settings
from safr.errors import InputError
from safr.experiments.paper import (
    ablation_weights,
    best_paper_weights,
    compare_capacity,
    compare_with_paper,
    paper_jobs,
    paper_numbers,
    paper_run_name,
    paper_settings,
    weights_label,
)
from safr.experiments.paper_tables import paper_tables, size_tables
from safr.experiments.runner import Outcome
from safr.report.reproduction import reproduce_paper, write_reproduction
from safr.runs import Run
from safr.storage import read_json, write_json
from tests import tiny

EXAMPLE_SCORES = Path(__file__).parents[2] / "experiments" / "results" / "demo" / "safr.json"


def row(weights, seed, **scores):
    """A run's row, with narrow intervals over texts."""
    importance, interaction = weights or (0.0, 0.0)
    found = {
        "data": "sst2_paper",
        "vmask": weights is not None,
        "importance": importance,
        "interaction": interaction,
        "seed": seed,
    }
    for name, value in scores.items():
        found |= {name: value, f"{name}_low": value - 0.001, f"{name}_high": value + 0.001}
    return found


def scores(accuracy, srs):
    return {"accuracy": accuracy, "random": accuracy - 0.03, "capacity": accuracy - srs, "srs": srs}


def test_the_papers_numbers_add_up():
    for version in paper_numbers()["versions"].values():
        for dataset in ("sst2", "imdb"):
            for each in version["ablation"][dataset]:
                assert each["srs"] == pytest.approx(each["accuracy"] - each["capacity"], abs=0.011)


def test_all_settings_of_both_versions_are_run_with_every_seed():
    assert len(ablation_weights("sst2")) == len(ablation_weights("imdb")) == 15
    assert {(10.0, 10.0), (0.1, 1.0), None} <= set(ablation_weights("sst2"))
    asked = paper_jobs("sst2", 3)
    assert len(asked) == 3 * (15 + 3)
    first = ("mask,baseline", "mask,importance=0,interaction=0", "mask,importance=0.1,interaction=0.1")
    assert list(asked)[:3] == [f"sst2,{each},seed=0" for each in first], "Table 1 is there before the rest"
    published = asked["sst2,count,importance=0.1,interaction=0.1,seed=2"]
    assert (published.regularization.padding, published.regularization.exclude_self) == ("count", True)
    assert published.regularization.interaction_estimator == "exact"
    assert (published.recipe.patience, published.recipe.seed, published.data) == (3, 2, "sst2_paper")
    assert asked["sst2,mask,importance=1,interaction=0.1,seed=0"] == Settings(data="sst2_paper").changed(
        importance=1.0, interaction=0.1
    )
    assert not asked["sst2,mask,baseline,seed=0"].regularization.vmask
    assert {each.recipe.patience for each in paper_jobs("imdb", 1).values()} == {3}
    assert {each.data for each in paper_jobs("sst2", 1, quick=True).values()} == {"rotten_tomatoes"}


def test_a_verdict_goes_by_the_interval_and_then_by_the_direction():
    # The paper's baseline has 70.21 and 4.00, weights 0.1 and 0.1 have 72.96 and 17.21.
    ours = [row(None, 0, **scores(0.70, 0.0400)), row((0.1, 0.1), 0, **scores(0.705, 0.10))]
    found = compare_with_paper(ours, "sst2")
    assert found[None]["srs"].verdict == "within"
    assert found[None]["accuracy"].verdict == "no"
    assert found[0.1, 0.1]["accuracy"].verdict == "direction"
    assert found[0.1, 0.1]["srs"].verdict == "direction"
    assert found[0.1, 0.1]["srs"].printed["naacl"] == pytest.approx(0.1721)
    worse = compare_with_paper([ours[0], row((0.1, 0.1), 0, **scores(0.69, 0.03))], "sst2")
    assert (worse[0.1, 0.1]["accuracy"].verdict, worse[0.1, 0.1]["srs"].verdict) == ("no", "no")
    assert compare_with_paper([row(None, 0, **scores(0.7, 0.01))], "sst2")[None]["srs"].verdict == "direction"


def test_several_seeds_are_judged_by_the_interval_over_seeds():
    ours = [row((1.0, 0.1), seed, **scores(0.70, srs)) for seed, srs in enumerate((0.14, 0.155, 0.17))]
    found = compare_with_paper(ours, "sst2")[1.0, 0.1]["srs"]
    assert found.ours.value == pytest.approx(0.155)
    assert found.ours.low < 0.1543 < found.ours.high
    assert found.verdict == "within"


def test_a_setting_of_one_version_alone_is_judged_by_that_one():
    found = compare_with_paper([row(None, 0, **scores(0.7, 0.05)), row((10.0, 10.0), 0, **scores(0.6, 0.05))], "sst2")
    # The preprint prints 13.84, and -3.15 for its baseline: above ours is the same side.
    assert found[10.0, 10.0]["srs"].printed["naacl"] is None
    assert found[10.0, 10.0]["srs"].verdict == "no"
    higher = compare_with_paper([row(None, 0, **scores(0.7, 0.05)), row((10.0, 10.0), 0, **scores(0.6, 0.07))], "sst2")
    assert higher[10.0, 10.0]["srs"].verdict == "direction"


def test_other_data_get_no_verdict():
    found = compare_with_paper([row(None, 0, **scores(0.7021, 0.04)) | {"data": "rotten_tomatoes"}], "sst2")
    assert {each.verdict for each in found[None].values()} == {None}


def test_each_versions_best_setting_is_that_of_its_table_1():
    printed = {"naacl": {"sst2": 17.21, "imdb": 28.48}, "preprint": {"sst2": 18.24, "imdb": 27.04}}
    for version, numbers in printed.items():
        for dataset, srs in numbers.items():
            best = best_paper_weights(dataset, version)
            rows = paper_numbers()["versions"][version]["ablation"][dataset]
            assert [each["srs"] for each in rows if (each["importance"], each["interaction"]) == best] == [srs]


def test_without_a_baseline_of_ours_there_are_no_sides():
    found = compare_with_paper([row((0.1, 0.1), 0, **scores(0.7296, 0.3))], "sst2")[0.1, 0.1]
    assert found["accuracy"].verdict == "within"
    assert found["srs"].verdict is None


@pytest.mark.parametrize(
    ("values", "verdicts"),
    [
        ((0.2981, 0.5745, 0.1794), ["within"] * 3),
        ((0.5, 0.7, 0.4), ["no", "direction", "direction"]),
        ((0.5, 0.4, 0.7), ["no", "no", "no"]),
    ],
)
def test_average_capacity_is_judged_by_the_side_of_all_words(tmp_path, values, verdicts):
    run = Run(tmp_path)
    groups = zip(("all", "important", "rest"), values, strict=True)
    capacity = {name: {"value": value, "low": value - 0.001, "high": value + 0.001} for name, value in groups}
    write_json(run.scores_file, read_json(EXAMPLE_SCORES) | {"capacity": capacity})
    data = {"origin": "here", "fingerprint": "f00", "labels": ["negative", "positive"]}
    write_json(run.config_file, {"settings": paper_settings("sst2", "mask", (0.1, 0.1), 0).to_dict(), "data": data})
    assert [each.verdict for each in compare_capacity([run], "sst2").values()] == verdicts


@pytest.fixture
def runs(tmp_path, tmp_path_factory):
    """Small runs under the names of the paper's."""
    found = {}
    for weights in (None, (0.0, 0.0), (0.1, 0.1), (1.0, 0.0), (1.0, 0.1)):
        made = tiny.evaluated_run("baseline" if weights is None else "safr", tmp_path_factory)
        name = paper_run_name("sst2", "mask", weights, 0)
        run = Run(tmp_path / "runs" / name)
        shutil.copytree(made.folder, run.folder)
        record = read_json(run.config_file)
        record["settings"] = paper_settings("sst2", "mask", weights, 0).to_dict()
        record["data"]["name"] = "sst2_paper"
        write_json(run.config_file, record)
        found[name] = run
    return found


def test_the_tables_hold_what_the_runs_say(runs):
    tables = {table.name: table for table in [*paper_tables(runs, "sst2", 1), *size_tables(runs)]}
    assert set(tables) == {"table_1_sst2_mask", "table_2_and_6_sst2_mask", "table_3_sst2_mask", "table_4", "table_5"}
    first = tables["table_1_sst2_mask"]
    assert [line[0] for line in first.rows] == [
        "baseline",
        "importance=0,interaction=0",
        "importance=0.1,interaction=0.1, SAFR of the paper",
        "importance=1,interaction=0.1, SAFR of the preprint",
    ]
    assert first.rows[3][first.columns.index("SRS") + 2] == "18.24"  # what the preprint's Table 1 prints
    value = runs["sst2,mask,baseline,seed=0"].scores["srs"]["30"]["value"]
    assert first.rows[0][first.columns.index("SRS")].startswith(f"{100 * value:.1f} [")
    beside = first.columns.index("SRS") + 1
    assert first.rows[0][beside : beside + 2] == ("4.00", "-3.15")
    assert len(tables["table_2_and_6_sst2_mask"].rows) == 5
    third = tables["table_3_sst2_mask"]
    assert third.title.startswith("Table 3, sst2_paper, padding masked: ")
    assert third.rows[0][2] == "0.2981"
    assert first.to_csv().splitlines()[0] == ",".join(first.columns)
    assert third.title.endswith(
        "importance=0.1,interaction=0.1; the preprint's presumably with importance=1,interaction=0.1"
    )
    assert first.to_markdown().count("\n| ") == 6


def test_runs_without_srs_have_dashes_and_no_verdicts(single_word_run, tmp_path):
    name = paper_run_name("sst2", "mask", (0.1, 0.1), 0)
    run = Run(shutil.copytree(single_word_run.folder, tmp_path / "runs" / name))
    record = read_json(run.config_file)
    record["settings"] = paper_settings("sst2", "mask", (0.1, 0.1), 0).to_dict()
    record["data"]["name"] = "sst2_paper"
    write_json(run.config_file, record)
    tables = {table.name: table for table in paper_tables({name: run}, "sst2", 1)}
    table_1, table_3 = tables["table_1_sst2_mask"], tables["table_3_sst2_mask"]
    (line,) = table_1.rows
    for title in ("SRS", "random deletion", "by capacity"):
        place = table_1.columns.index(title)
        assert (line[place], line[place + 3]) == ("–", "")
    assert line[table_1.columns.index("accuracy")] != "–"
    assert table_1.note == "each of the 12 texts holds one word, so nothing can be deleted"
    assert [(cells[0], cells[1] == "–", cells[-1] == "") for cells in table_3.rows] == [
        ("all", False, False),
        ("most important 30 %", True, True),
        ("the rest", False, False),
    ]
    text = write_reproduction({name: run}, tmp_path, asked=1, seeds=1, missing={}).read_text()
    assert text.count(table_1.note) == (tmp_path / "tables.md").read_text().count(table_1.note) == 1
    assert "Figure 3" not in text
    assert "Figure 2 (a)" in text


def test_the_page_holds_tables_figures_and_what_is_missing(runs, tmp_path):
    missing = {"sst2,mask,importance=1,interaction=1,seed=0": "no memory <left>"}
    page = write_reproduction(runs, tmp_path, asked=6, seeds=1, missing=missing, quick=True)
    text = page.read_text()
    assert "beside 5 of 6 runs" in text
    assert "This is a small version" in text
    assert "no memory &lt;left&gt;" in text
    assert text.count("data:image/svg+xml") == 5
    assert "safr train --data sst2_paper" in text
    assert {path.name for path in tmp_path.iterdir()} >= {
        "tables.md",
        "table_4.csv",
        "figure_3_sst2.svg",
        "figures_4_and_5_sst2.png",
    }
    assert "default-src 'none'" in text


def outcomes(*found):
    """What stands in for running: these outcomes, and then whoever runs it stops it."""

    def run(jobs, *_):
        assert {outcome.name for outcome in found} <= set(jobs)
        yield from found
        raise KeyboardInterrupt

    return run


def test_a_reproduction_that_is_stopped_shows_what_is_finished(runs, tmp_path, monkeypatch):
    lost = Outcome(paper_run_name("sst2", "mask", (1.0, 1.0), 0), 1.0, "no memory left")
    monkeypatch.setattr("safr.experiments.runner._run_on_this_machine", outcomes(lost))
    told = []
    with pytest.raises(KeyboardInterrupt):
        reproduce_paper(tmp_path, seeds=1, progress=lambda *each: told.append(each))
    assert told == [(None, 0, 13), (lost, 1, 13)]  # 15 with padding masked, 3 with it counted; 5 finished
    text = (tmp_path / "reproduction.html").read_text()
    assert "beside 5 of 18 runs" in text
    assert "no memory left" in text
    assert text.count("not run yet") == 12


def test_a_reproduction_without_a_finished_run_says_why(tmp_path, monkeypatch):
    lost = Outcome(paper_run_name("sst2", "mask", None, 0), 1.0, "no memory left")
    monkeypatch.setattr("safr.experiments.runner._run_on_this_machine", lambda *_: iter([lost]))
    with pytest.raises(InputError, match="all 18 runs failed; the first: no memory left"):
        reproduce_paper(tmp_path, seeds=1)
    assert not (tmp_path / "reproduction.html").exists()
    with pytest.raises(InputError, match="expected at least one seed and one data set, got 1 and 0"):
        reproduce_paper(tmp_path, [], seeds=1)


def test_names_are_those_of_folders():
    assert paper_run_name("imdb", "count", (0.01, 1.0), 2) == "imdb,count,importance=0.01,interaction=1,seed=2"
    assert weights_label(None) == "baseline"
