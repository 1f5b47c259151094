"""Sweeps on a small file of sentences, in processes of their own as users run them."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet
import pytest
import torch

from safr.config import Settings, setting_names
from safr.errors import InputError
from safr.evaluation.statistics import Estimate
from safr.evaluation.task_metrics import ACCURACY, MAE
from safr.experiments import runner
from safr.experiments.grid import BASELINE_SETTINGS, expand_grid, expand_seeds
from safr.experiments.run_table import get_score_paths, group_rows, list_undeletable_notes, recommend_setting
from safr.experiments.runner import finish_run, run_job
from safr.experiments.sweep import run_sweep, sweep_table
from safr.runs import Run
from safr.storage import write_json
from safr.training.divergence import DivergenceCheck
from tests import tiny
from tests.experiments.replaced_runs import kill_once, note_device, take_a_while

TELLING = [word for pair in zip(tiny.BAD.split(), tiny.GOOD.split(), strict=True) for word in pair]
"""Words that say the label, in turn bad and good."""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A folder of splits, and settings small enough for seconds."""
    folder = tmp_path_factory.mktemp("data")
    for seed, (name, count) in enumerate({"train": 48, "dev": 16, "test": 16}.items()):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "label"])
            writer.writerows(tiny.sentences(count, seed, longest=9))
    return tiny.settings("safr").changed(data=str(folder), epochs=6)


def jobs_of(data):
    return expand_seeds("baseline", data, BASELINE_SETTINGS, [0]) | expand_grid(data, {"importance": [0.0, 1.0]}, [0])


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """A sweep that nothing stopped, in this process: its folder, what it found, and what was told meanwhile."""
    folder, told = tmp_path_factory.mktemp("whole"), []
    found = run_sweep(jobs_of(data), folder, test=True, workers=1, progress=lambda *each: told.append(each))
    return folder, found, told


def contents(folder):
    """What the table and the runs say, but for times."""
    rows = pyarrow.parquet.read_table(folder / "runs.parquet").drop_columns(["training_seconds"]).to_pylist()
    return sorted(rows, key=str), (folder / "table.md").read_text()


def test_a_sweep_runs_all_writes_a_table_and_runs_nothing_twice(data, whole):
    (folder, found, told), jobs = whole, jobs_of(data)
    assert [(done, total) for _, done, total in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {outcome and outcome.name for outcome, *_ in told} == {None, *jobs}
    assert {row["run"] for row in found.rows} == set(jobs)
    rows, text = contents(folder)
    assert [row["split"] for row in rows].count("test") == 3
    assert "| baseline | 1 |" in text
    assert "| importance 1 | 1 |" in text
    assert (folder / "pareto.svg").stat().st_size > 0
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("scores*.json")}
    again = run_sweep(jobs, folder, test=True, progress=lambda *each: pytest.fail("something was run again"))
    assert again.table == found.table
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("scores*.json")} == before


def test_a_failed_run_is_reported_and_stops_no_other(data, tmp_path):
    jobs = jobs_of(data)
    broken = list(jobs)[1]
    jobs[broken] = jobs[broken].changed(data=str(tmp_path / "nowhere"))
    folder = tmp_path / "sweep"
    found = run_sweep(jobs, folder, workers=1)
    assert set(found.failed) == {broken}
    assert "nowhere" in found.failed[broken]
    assert f"Failed: {broken}: " in found.table.to_markdown()
    assert len(found.rows) == 2
    assert "InputError" in (folder / f"{broken}.failed.txt").read_text()


def test_a_diverged_run_stops_no_other_and_is_told_again_without_being_trained_again(data, tmp_path, monkeypatch):
    begun, folder = [], tmp_path / "sweep"

    def diverge(check, arguments, state, control, **_):
        begun.append(round(state.epoch))
        if check.recipe.learning_rate == 7e-3 and round(state.epoch) == 4:
            check.first_bad_step = torch.tensor(20.0)
            check._check()

    monkeypatch.setattr(DivergenceCheck, "on_epoch_end", diverge)
    jobs = {"good": data, "diverging": data.changed(learning_rate=7e-3)}
    for attempt in (1, 2):
        begun.clear()
        found = run_sweep(jobs, folder, workers=1)
        assert list(found.failed) == ["diverging"]
        assert "training diverged: the loss is not a finite number from step 20 on" in found.failed["diverging"]
        assert f"Failed: diverging: {found.failed['diverging']}" in (folder / "table.md").read_text()
        assert "training diverged" in (folder / "diverging.failed.txt").read_text()
        assert [row["run"] for row in found.rows] == ["good"]
        assert len(found.failed["diverging"].splitlines()) == 1
        assert begun == ([1, 2, 3, 4, 5, 6, 1, 2, 3, 4] if attempt == 1 else [])


def test_all_failing_is_an_error(tmp_path):
    jobs = {"one": Settings(data=str(tmp_path / "nowhere"))}
    with pytest.raises(InputError, match=r"all 1 runs failed; the first: .*nowhere"):
        run_sweep(jobs, tmp_path / "sweep", workers=1)
    with pytest.raises(InputError, match="at least one run"):
        run_sweep({}, tmp_path / "sweep")


def test_a_folder_with_a_run_of_other_settings_is_left_alone(data, tmp_path):
    finish_run(data, tmp_path / "run", ("dev",))
    with pytest.raises(InputError, match="holds a run with other settings"):
        finish_run(data.changed(importance=5.0), tmp_path / "run", ("dev",))
    assert Run(tmp_path / "run").settings == data


def test_layers_as_words_and_numbers_come_into_one_table(data, tmp_path):
    run_sweep(expand_grid(data, {"layers": ["all", 0]}, [0]), tmp_path / "sweep", workers=1)
    rows, text = contents(tmp_path / "sweep")
    assert {row["layers"] for row in rows} == {"all", "0"}
    assert "| layers 0 | 1 |" in text


@pytest.mark.parametrize("margin", [-0.6, float("nan"), float("inf")])
def test_a_margin_that_is_none_is_refused_before_anything_is_run(data, tmp_path, margin):
    with pytest.raises(InputError, match="--margin must be at least 0"):
        run_sweep(jobs_of(data), tmp_path / "sweep", margin=margin)
    assert not (tmp_path / "sweep").exists()


def test_a_file_in_the_folders_place_is_told(data, tmp_path):
    (tmp_path / "sweep").write_text("")
    with pytest.raises(InputError, match="expected a folder for the runs, found a file there"):
        run_sweep(jobs_of(data), tmp_path / "sweep")


def test_what_is_said_of_a_failure_goes_when_the_run_is_done(data, tmp_path):
    name, folder = "one", tmp_path / "sweep"
    finish_run(data, folder / name, ("dev",))
    runner.failure_path(folder, name).write_text("no memory")
    assert runner.find_unfinished({name: data}, folder, ("dev",)) == {}
    assert not runner.failure_path(folder, name).exists()
    assert runner.find_unfinished({name: data.changed(importance=5.0)}, folder, ("dev",)).keys() == {name}


def command(folder, data):
    settings = data.command.split()[2:]
    return [sys.executable, "-m", "safr", "sweep", "--output", str(folder), *settings, "--seeds", "1", "--vary",
            "importance=0,1", "--workers", "2", "--test"]  # fmt: skip


@pytest.mark.slow
def test_killed_sweeps_lose_no_finished_run_and_end_in_the_same_table(data, whole, tmp_path):
    folder, seen = tmp_path / "killed", {}
    for _ in range(2):
        process = subprocess.Popen(command(folder, data), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 300
        while process.poll() is None and time.monotonic() < deadline:
            if len(list(folder.glob("*/scores_dev.json"))) > len(seen):
                break
            time.sleep(0.05)
        assert process.poll() is None
        process.kill()
        process.wait()
        finished = {path: path.stat().st_mtime_ns for path in folder.glob("*/scores_dev.json")}
        assert seen.items() < finished.items()
        seen = finished
    subprocess.run(command(folder, data), check=True, capture_output=True)
    assert {path: path.stat().st_mtime_ns for path in seen} == seen
    assert contents(folder) == contents(whole[0])


@pytest.mark.slow
def test_a_run_whose_process_is_killed_is_tried_again_and_at_last_given_up(monkeypatch, tmp_path):
    monkeypatch.setattr(runner, "run_job", kill_once)
    monkeypatch.setattr(runner, "MAX_TRIES", 2)
    jobs = {name: Settings() for name in ("good", "once", "bad")}
    outcomes = {each.name: each for each in runner.run_jobs(jobs, tmp_path, ("dev",), workers=2)}
    assert outcomes["good"].error is None
    assert outcomes["once"].error is None
    assert outcomes["bad"].error == "its process was killed 2 times"
    assert (tmp_path / "bad.failed.txt").read_text() == "its process was killed 2 times\n"


def group(accuracy, srs, *, vmask=True):
    weight = 0.1 if vmask else 0.0
    return {
        "vmask": vmask,
        "importance": weight,
        "interaction": weight,
        "accuracy": Estimate(accuracy, 0, 1),
        "srs": Estimate(srs, 0, 1),
    }


def test_the_recommended_setting_has_the_highest_srs_near_the_baselines_accuracy():
    plain, near, far = group(0.75, 0.05, vmask=False), group(0.74, 0.15), group(0.7, 0.3)
    best_accuracy = group(0.8, 0.1)
    assert recommend_setting([plain, near, far, best_accuracy], 0.02) == (near, plain)
    assert recommend_setting([plain, near, far, best_accuracy], 0.06) == (far, plain)
    assert recommend_setting([near, far, best_accuracy], 0.02) == (best_accuracy, best_accuracy)


def row(value, site="fc1.0", metric=ACCURACY, **changed):
    scores = {f"{name}{end}": value for name in get_score_paths(metric) for end in ("", "_low", "_high")}
    settings = Settings().changed(**changed)
    about = {"srs_site": site, "texts": 16, "undeletable": 0}
    return {name: settings.get(name) for name in setting_names()} | about | scores


def row_of_single_words(accuracy, **changed):
    """A run whose texts all hold one word."""
    missing = [
        f"{name}{end}" for name in get_score_paths(ACCURACY) if name != "accuracy" for end in ("", "_low", "_high")
    ]
    return row(accuracy, **changed) | dict.fromkeys(missing) | {"undeletable": 16}


def test_settings_are_averaged_over_their_seeds():
    (found,) = group_rows([row(0.1, seed=0), row(0.2, seed=1), row(0.3, seed=2)])
    assert found["seeds"] == 3
    assert found["srs"].value == pytest.approx(0.2)
    assert found["srs"].high == pytest.approx(0.448, abs=1e-3)


def test_an_error_is_averaged_without_a_bound_above():
    (found,) = group_rows([row(value, metric=MAE, seed=seed) for seed, value in enumerate([10, 20, 30])])
    assert "accuracy" not in found
    assert found["mae"].value == found["srs"].value == pytest.approx(20)
    assert found["mae"].low == 0  # no error is below it
    assert found["mae"].high == pytest.approx(44.8, abs=0.1)
    assert found["srs"].low == pytest.approx(-4.8, abs=0.1)


def test_of_errors_the_recommended_setting_has_the_highest_srs_near_the_baselines():
    def error_group(mae, srs, *, vmask=True):
        return {name: value for name, value in group(0, srs, vmask=vmask).items() if name != "accuracy"} | {
            "mae": Estimate(mae, 0, 99)
        }

    plain, near, far = error_group(10.0, 1.0, vmask=False), error_group(10.1, 3.0), error_group(12.0, 6.0)
    best = error_group(9.0, 2.0)
    assert recommend_setting([plain, near, far, best], 0.02) == (near, plain)
    assert recommend_setting([plain, near, far, best], 0.2) == (far, plain)
    assert recommend_setting([near, far, best], 0.02) == (best, best)


def test_a_table_of_errors_is_in_the_labels_unit():
    rows = [row(12.5, metric=MAE, **BASELINE_SETTINGS), row(12.6, metric=MAE)]
    lines = sweep_table(group_rows(rows), {}, 0.02).to_markdown().splitlines()
    assert lines[0].startswith("### Dev split, in the labels' unit: ")
    assert lines[2] == "| setting | seeds | mean absolute error | random deletion | by capacity | SRS |"
    assert lines[4] == "| SAFR | 1 | 12.6 [12.6, 12.6] | 12.6 [12.6, 12.6] | 12.6 [12.6, 12.6] | 12.6 [12.6, 12.6] |"
    near = "the settings whose mean absolute error is at most 2 % above that of the baseline (12.5)"
    assert lines[-1] == f"Recommended: SAFR, the highest SRS among {near}."


def test_settings_are_called_by_what_tells_them_apart():
    def labels(*rows):
        return [each["label"] for each in group_rows(rows)]

    plain = {"vmask": False, "importance": 0.0, "interaction": 0.0}
    assert labels(row(0.1, **plain), row(0.2), row(0.2, seed=1)) == ["baseline", "SAFR"]
    assert labels(row(0.1, importance=1), row(0.2)) == ["importance 1", "importance 0.1"]
    assert labels(row(0.1, model="a/net"), row(0.2, model="net")) == ["model a/net", "model net"]
    assert labels(row(0.1, model="a/net"), row(0.2, model="b/other")) == ["model net", "model other"]
    weighted = {"token_weighting": "attention"}
    assert labels(row(0.1, **plain), row(0.2, **plain, **weighted)) == [
        "baseline, token_weighting auto",
        "baseline, token_weighting attention",
    ]


def test_scores_that_were_read_at_other_sites_are_not_compared_without_a_word():
    groups = group_rows([row(0.1, importance=0), row(0.2, "fc1.4", importance=2)])
    text = sweep_table(groups, {}, 0.02).to_markdown()
    assert "SRS is read at different sites: fc1.0 (importance 0), fc1.4 (importance 2). To compare it, choose" in text
    assert (
        "one site"
        not in sweep_table(group_rows([row(0.1, importance=0), row(0.2, importance=2)]), {}, 0.02).to_markdown()
    )


def test_a_setting_without_srs_has_dashes_stands_last_and_is_not_recommended():
    groups = group_rows([row_of_single_words(0.3, max_tokens=1), row(0.3, max_tokens=9), row(0.31, max_tokens=8)])
    assert [group["srs"] is None for group in groups] == [True, False, False]
    lines = sweep_table(groups, {}, 0.02).to_markdown().splitlines()
    assert [line.split(" |")[0] for line in lines[4:7]] == ["| max_tokens 8", "| max_tokens 9", "| max_tokens 1"]
    assert lines[6] == "| max_tokens 1 | 1 | 30.0 [30.0, 30.0] | – | – | – |"
    assert "Recommended: max_tokens 8, the highest SRS among " in "\n".join(lines)
    note = "Note: max_tokens 1: each of the 16 texts holds one word, so nothing can be deleted."
    assert lines.count(note) == 1


def test_over_seeds_too_a_score_that_was_not_measured_has_no_mean():
    (found,) = group_rows([row_of_single_words(0.1, seed=0), row_of_single_words(0.2, seed=1)])
    assert (found["srs"], found["above_random"], found["capacity"]) == (None, None, None)
    assert found["accuracy"].value == pytest.approx(0.15)
    assert recommend_setting([found], 0.02) == (None, found)


def test_some_texts_of_one_word_are_told_below_the_table():
    some = {"undeletable": 3}
    groups = group_rows([row(0.1, importance=0) | some, row(0.2, importance=2) | some])
    note = "3 of 16 texts hold one word, so nothing can be deleted from them"
    assert list_undeletable_notes(groups) == [note]
    assert f"Note: {note}." in sweep_table(groups, {}, 0.02).to_markdown().splitlines()
    assert "Note: " not in sweep_table(group_rows([row(0.1, importance=0)]), {}, 0.02).to_markdown()


def test_a_sweep_over_single_words_ends_with_its_accuracies_and_no_picture(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    words = [(number, " ".join([*tiny.NEITHER.split()[number % 9 :], word])) for number, word in enumerate(TELLING)]
    sentences = "".join(f"{text},{number % 2}\n" for number, text in words)
    (data / "train.csv").write_text(f"text,label\n{sentences}")
    for split in ("dev", "test"):
        singles = "".join(f"{word},{number % 2}\n" for number, word in enumerate(TELLING))
        (data / f"{split}.csv").write_text(f"text,label\n{singles}")
    folder = tmp_path / "sweep"
    folder.mkdir()
    (folder / "pareto.svg").write_text("of an earlier sweep")
    settings = tiny.settings("safr").changed(data=str(data), tokenizer="words", epochs=1)
    found = run_sweep(expand_grid(settings, {"importance": [0.0, 1.0]}, [0]), folder, test=True, workers=1)
    assert found.failed == {}
    reason = f"each of the {len(TELLING)} texts holds one word, so nothing can be deleted"
    assert found.table.to_markdown().count(f"Note: {reason}.") == found.table.to_markdown().count(reason) == 1
    assert found.table.to_markdown().count(" | – | – | – |") == 2
    assert (
        "Recommended: none, since SRS could not be measured for the settings whose accuracy is at most"
        in found.table.to_markdown()
    )
    assert not list(folder.glob("pareto.*"))
    table = pyarrow.parquet.read_table(folder / "runs.parquet")
    for name in ("srs", "srs_low", "above_random", "random", "capacity_high"):
        assert (table[name].null_count, str(table[name].type)) == (4, "double")
    assert table["accuracy"].null_count == 0
    assert table["undeletable"].to_pylist() == table["texts"].to_pylist() == [len(TELLING)] * 4


def test_runs_from_before_the_data_were_changed_are_not_taken_for_others(data, whole, tmp_path):
    folder = tmp_path / "whole"
    shutil.copytree(whole[0], folder)
    run = Run(next(path for path in folder.iterdir() if "importance=1" in path.name and path.is_dir()))
    write_json(run.config_file, run.record | {"data": run.record["data"] | {"fingerprint": "0"}})
    before = (folder / "table.md").read_text()
    with pytest.raises(
        InputError, match=r"^importance=1,seed=0 was made from other data than baseline,seed=0, or the data"
    ):
        run_sweep(jobs_of(data), folder, test=True)
    assert (folder / "table.md").read_text() == before


def test_a_run_whose_record_can_not_be_read_fails_alone(data, whole, tmp_path):
    folder = tmp_path / "whole"
    shutil.copytree(whole[0], folder)
    run = Run(folder / "importance=1,seed=0")
    settings = run.record["settings"]
    write_json(run.config_file, run.record | {"settings": settings | {"colour": "red"}})
    found = run_sweep(jobs_of(data), folder, test=True, workers=1)
    assert list(found.failed) == ["importance=1,seed=0"]
    assert f"{run.config_file}: unknown settings of Settings: colour; known are " in found.failed["importance=1,seed=0"]
    assert len(found.rows) == 2


def test_scores_of_the_dev_split_are_kept_beside_those_of_the_test_split(data, tmp_path):
    run = finish_run(data, tmp_path / "run", ("dev", "test"))
    dev = json.loads((run.folder / "scores_dev.json").read_text())
    assert (dev["split"], run.scores["split"]) == ("dev", "test")
    assert not Path(run.checkpoints_folder).exists()


def finish_but_be_killed_once(name, settings, folder, splits, data_dir=None, parent=None):
    """The real thing, whose process is killed after the first epoch of one run; says how far each run was at first."""
    marker = folder / f".{name}.killed"
    with (folder / f"{name}.begun").open("a") as begun:
        begun.write(f"{len(Run(folder / name).history)} ")

    def kill_after_an_epoch():
        while not Run(folder / name).history:
            time.sleep(0.01)
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)

    if "importance=1" in name and not marker.exists():
        threading.Thread(target=kill_after_an_epoch, daemon=True).start()
    return run_job(name, settings, folder, splits, data_dir, parent)


@pytest.fixture(scope="module")
def ray():
    """A cluster of two cores and what it takes for two GPUs."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=2, num_gpus=2, include_dashboard=False, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_gives_the_same_and_a_killed_worker_costs_only_what_it_had_begun(
    ray, data, whole, tmp_path, monkeypatch
):
    monkeypatch.setattr(runner, "run_job", finish_but_be_killed_once)
    run_sweep(jobs_of(data), tmp_path / "cluster", test=True, engine="ray", workers=2)
    monkeypatch.setattr(runner, "run_job", take_a_while)
    # On two cores of which a run takes one, more than one would fit.
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": {"CPU": 1}}])
    jobs = {name: Settings() for name in "abc"}
    assert len(list(runner.run_jobs(jobs, tmp_path / "one", ("dev",), engine="ray", workers=1))) == 3
    times = sorted(json.loads((tmp_path / "one" / name).read_text()) for name in jobs)
    assert all(ended <= started for (_, ended), (started, _) in pairwise(times))
    begun = {path.stem: path.read_text().split() for path in (tmp_path / "cluster").glob("*.begun")}
    killed = [begun.pop(path.stem[1:]) for path in (tmp_path / "cluster").glob(".*.killed")]
    assert [epochs for epochs, *_ in killed] == ["0"]
    assert int(killed[0][1]) >= 1, "it goes on after the epochs that it had"
    assert len(begun) == 2
    assert all(epochs == ["0"] for epochs in begun.values()), "no other is begun anew"
    assert contents(tmp_path / "cluster") == contents(whole[0])


@pytest.mark.slow
@pytest.mark.parametrize("gpus", [1.0, 0.5])
def test_ray_sets_gpus_apart_for_each_run(ray, gpus, tmp_path, monkeypatch):
    monkeypatch.setattr(runner, "run_job", note_device)
    jobs = {name: Settings() for name in "abcd"}
    outcomes = list(runner.run_jobs(jobs, tmp_path, ("dev",), engine="ray", workers=2, gpus=gpus))
    with pytest.raises(InputError, match="--gpus asks for 3 on one machine, but the cluster's machines have at most 2"):
        list(runner.run_jobs(jobs, tmp_path, ("dev",), engine="ray", gpus=3.0))
    assert [outcome.error for outcome in outcomes] == [None] * 4
    assert {(tmp_path / name).read_text() for name in jobs} <= {"0", "1"}


def test_gpus_are_for_ray(tmp_path):
    with pytest.raises(
        InputError, match="--gpus must be at least 0 and needs --engine ray, got 1 with --engine joblib"
    ):
        list(runner.run_jobs({"a": Settings()}, tmp_path, ("dev",), gpus=1.0))
