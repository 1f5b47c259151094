"""Regularizers side by side."""

import json

import numpy as np
import pytest

from safr.cli.commands import main
from safr.config import Settings
from safr.errors import InputError
from safr.experiments.compare import OWN, REGULARIZERS, comparison_jobs, find_regularizer
from safr.experiments.comparison_table import (
    CHOSEN_BY,
    NEURON_MEASURES,
    ComparedSetting,
    change_table,
    choose_setting,
    compare_with_dropout,
    comparison_table,
    neuron_table,
    read_comparisons,
    recommend,
    write_comparison,
)
from safr.experiments.grid import BASELINE_SETTINGS, is_baseline
from safr.runs import Run
from safr.storage import write_json
from tests import tiny

SENTENCES = tiny.sentences(60, 0, longest=9)
WITHOUT_SAFR = {"vmask": False, "importance": 0.0, "interaction": 0.0}


def setting(regularizer, label, dev=(0.7, 0.7, 0.7), test=(0.7, 0.7, 0.7), **values):
    """A setting with three seeds; SRS and, above chance, MonoScore and class separability are 0.1 unless given."""
    seeds = tuple(range(len(dev)))
    names, commands = tuple(f"{label},seed={seed}" for seed in seeds), ("safr train",) * len(dev)
    measures = {name: (0.1,) * len(dev) for name in CHOSEN_BY}
    return ComparedSetting(
        regularizer, label, names, seeds, commands, {"dev_accuracy": dev, "test_accuracy": test} | measures | values
    )


def test_each_regularizer_changes_a_plain_model_and_nothing_else():
    jobs = comparison_jobs(Settings().changed(importance=1.0), [3, 4])
    assert len(jobs) == 2 * sum(map(len, REGULARIZERS.values()))
    values = {name: {key: run.get(key) for key in BASELINE_SETTINGS} for name, run in jobs.items()}
    assert [name for name in jobs if is_baseline(values[name])] == ["plain,seed=3", "plain,seed=4"]
    safr = jobs["importance=1,interaction=0.1,seed=4"]
    assert (safr.regularization.vmask, safr.regularization.importance, safr.recipe.seed) == (True, 1.0, 4)
    l1 = jobs["l1=0.1,seed=3"]
    assert l1.regularization.neuron_losses == ("l1=0.1",)
    assert (l1.regularization.vmask, l1.regularization.importance, l1.regularization.interaction) == (False, 0, 0)
    assert list(comparison_jobs(Settings(), [0], ["TopK"])) == ["plain,seed=0", "top_k=32,seed=0", "top_k=128,seed=0"]
    with pytest.raises(InputError, match="no regularizer is called 'L3'; known are plain, dropout, VMASK"):
        comparison_jobs(Settings(), [0], ["L3"])


@pytest.mark.parametrize(
    ("changed", "label", "regularizer"),
    [
        ({"importance": 0.3}, "importance=0.3,interaction=0.1", "SAFR"),
        ({"importance": 0.1, "vmask": False}, "vmask=False,importance=0.1,interaction=0.1", OWN),
        ({"top_k": 64}, "importance=0.1,interaction=0.1,top_k=64", OWN),
        (WITHOUT_SAFR | {"neuron_losses": ("l1=0.5", "l1_l2=2")}, "l1=0.5+l1_l2=2.0", OWN),
        ({"information": 0.01, "importance": 0.0, "interaction": 0.0}, "information=0.01", OWN),
    ],
)
def test_own_settings_are_compared_too_if_no_regularizer_has_them(changed, label, regularizer):
    base = Settings().changed(**changed)
    jobs = comparison_jobs(base, [5], ["L1"])
    assert list(jobs) == ["plain,seed=5", "l1=0.1,seed=5", "l1=1,seed=5", f"{label},seed=5"]
    assert jobs[f"{label},seed=5"] == base.changed(seed=5)
    assert find_regularizer(label) == regularizer


def test_every_run_belongs_to_its_regularizer():
    labels = [job.rpartition(",seed=")[0] for job in comparison_jobs(Settings(), [0])]
    assert [find_regularizer(label) for label in labels] == [name for name, grid in REGULARIZERS.items() for _ in grid]


@pytest.mark.parametrize("changed", [{}, {"importance": 1.0}, WITHOUT_SAFR, WITHOUT_SAFR | {"top_k": 32}])
def test_own_settings_that_a_regularizer_has_are_not_compared_twice(changed):
    assert comparison_jobs(Settings().changed(**changed), [0]) == comparison_jobs(Settings(), [0])


def test_recommended_is_the_best_mean_rank_among_those_that_keep_the_accuracy():
    plain = setting("plain", "plain")
    good = setting("L1", "l1=1", srs=(0.3,) * 3, monosemanticity_above_chance=(0.3,) * 3)
    inaccurate = setting("TopK", "top_k=1", dev=(0.6,) * 3, srs=(0.9,) * 3, monosemanticity_above_chance=(0.9,) * 3)
    assert recommend([plain, good, inaccurate], 0.02) is good
    assert recommend([plain, good, inaccurate], 0.2) is inaccurate
    unmeasured = setting("L1", "l1=2", monosemanticity_above_chance=(0.9,) * 3)
    del unmeasured.values["srs"]
    assert choose_setting([good, unmeasured]) is good, "only it has all measures"
    for each in (good, plain):
        del each.values["srs"]
    assert choose_setting([good, unmeasured, plain]) is unmeasured, "by those that could be taken"
    for name in CHOSEN_BY[1:]:
        del unmeasured.values[name]
    assert choose_setting([unmeasured]) is None
    assert choose_setting([]) is None


def test_better_than_dropout_is_what_the_seeds_show_in_pairs():
    plain = setting("plain", "plain")
    dropout = setting("dropout", "neuron_dropout=0.5", token_entropy=(0.5, 0.6, 0.7), dead=(0.0, 0.1, 0.2))
    better = setting(
        "L1",
        "l1=1",
        srs=(0.2, 0.21, 0.2),
        token_entropy=(0.4, 0.5, 0.601),
        dead=(0.3, 0.0, 0.2),
        test=(0.6, 0.61, 0.6),
    )
    verdicts = compare_with_dropout([plain, dropout, better], 0.02)
    assert list(verdicts) == ["L1"]
    assert verdicts["L1"]["better"] == ["srs", "token_entropy"], "less entropy is better"
    assert verdicts["L1"]["worse"] == ["test_accuracy"]
    assert "dead" in verdicts["L1"]["no different"]
    settings = [plain, dropout, better, setting("TopK", "top_k=8")]
    table = comparison_table(
        settings, better, compare_with_dropout(settings, 0.02), {"x,seed=0": "out of memory"}, 0.02
    )
    assert "L1 beside dropout: better in SRS, token entropy; worse in accuracy" in table.note
    assert "TopK beside dropout: no better; no different in accuracy" in table.note
    assert "Recommended: l1=1." in table.note
    assert "Failed: x,seed=0: out of memory" in table.note
    assert compare_with_dropout([plain, better], 0.02) == {}


def test_settings_are_compared_by_what_is_above_chance(tmp_path):
    """Neurons that are seldom active have less entropy by chance."""
    plain = setting("plain", "plain", token_entropy=(0.7,) * 3, token_entropy_above_chance=(-0.1,) * 3)
    dense = {"token_entropy": (0.7, 0.7, 0.71), "token_entropy_above_chance": (-0.1, -0.1, -0.11)}
    sparse = {"token_entropy": (0.3, 0.3, 0.31), "token_entropy_above_chance": (-0.1, -0.11, -0.1)}
    settings = [plain, setting("dropout", "neuron_dropout=0.5", **dense), setting("L1", "l1=1", **sparse)]
    verdicts = compare_with_dropout(settings, 0.02)["L1"]
    assert "token_entropy_above_chance" in verdicts["no different"]
    assert "token_entropy" not in [name for names in verdicts.values() for name in names]
    write_comparison(tmp_path, settings)
    picture = (tmp_path / "pareto.svg").read_text()
    assert "token entropy above chance ↓" in picture
    assert "token entropy ↓" not in picture
    assert recommend([*settings, setting("TopK", "top_k=8", class_separability=(0.9,) * 3)], 0.02) is plain


def test_beside_dropout_stands_the_setting_that_keeps_the_accuracy():
    plain, dropout = setting("plain", "plain"), setting("dropout", "neuron_dropout=0.5")
    best = {"srs": (0.9, 0.9, 0.91), "monosemanticity_above_chance": (0.9,) * 3}
    strong = setting("TopK", "top_k=1", dev=(0.6,) * 3, **best)
    careful = setting("TopK", "top_k=8")
    assert "srs" in compare_with_dropout([plain, dropout, strong, careful], 0.02)["TopK"]["no different"]
    assert "srs" in compare_with_dropout([plain, dropout, strong, careful], 0.2)["TopK"]["better"]
    assert "srs" in compare_with_dropout([plain, dropout, strong], 0.02)["TopK"]["better"]


def test_changes_are_shares_of_plain_paired_by_seed_by_hand():
    plain = setting("plain", "plain", monosemanticity=(0.1, 0.2, 0.4), dead=(0.0, 0.1, 0.1))
    other = setting("L1", "l1=1", monosemanticity=(0.12, 0.22, 0.36), dead=(0.1, 0.1, 0.1))
    change = other.change_from(plain, "monosemanticity")
    assert change.value == pytest.approx((0.2 + 0.1 - 0.1) / 3)
    assert change.high - change.value == pytest.approx(4.302653 * np.std([0.2, 0.1, -0.1], ddof=1) / np.sqrt(3))
    assert other.change_from(plain, "dead") is None, "no share of nothing"
    assert other.change_from(plain, "active") is None, "not measured"
    table = change_table([plain, other])
    assert table.rows[0][:2] == ("l1=1", "+7 [-31, +45]")
    assert table.rows[0][table.columns.index("dead")] == "–"
    assert "MonoScore above chance" not in table.columns, "a share of it would say nothing"
    close = setting("L1", "l1=1", monosemanticity=(0.1002, 0.2, 0.3988))
    assert change_table([plain, close]).rows[0][1] == "0.0 [-0.7, +0.6]", "small changes have a decimal, and 0 no sign"
    assert len(neuron_table([plain, other]).rows) == 2


def test_comparisons_of_one_seed_each_are_put_together(tmp_path):
    def one_seed(seed, **values):
        return [
            ComparedSetting(name, label, (f"{label},seed={seed}",), (seed,), ("safr train",), each)
            for name, label in (("plain", "plain"), ("L1", "l1=1"))
            for each in [{"dev_accuracy": (0.7,), "test_accuracy": (0.7,), "srs": (0.1 * seed,)} | values]
        ]

    files = []
    for seed, values in enumerate([{"dead": (0.1,)}, {}]):
        write_comparison(tmp_path / f"{seed}", one_seed(seed, **values))
        files.append(tmp_path / f"{seed}" / "comparison.json")
    plain, l1 = read_comparisons(files)
    assert (plain.seeds, plain.runs, l1.label) == ((0, 1), ("plain,seed=0", "plain,seed=1"), "l1=1")
    assert plain.values == {"dev_accuracy": (0.7, 0.7), "test_accuracy": (0.7, 0.7), "srs": (0.0, 0.1)}
    with pytest.raises(InputError, match=r"1.comparison\.json: the run plain,seed=1 is in another comparison too"):
        read_comparisons([*files, files[1]])
    write_json(tmp_path / "other.json", {"settings": [3]})
    with pytest.raises(InputError, match=r"expected the comparison\.json of `safr compare`"):
        read_comparisons([tmp_path / "other.json"])
    write_json(tmp_path / "other.json", {"settings": []})
    with pytest.raises(InputError, match="no run of plain"):
        read_comparisons([tmp_path / "other.json"])


def test_one_seed_says_nothing_beside_dropout_and_is_still_written(tmp_path):
    one = {"dev": (0.7,), "test": (0.7,), "dead": (0.0,)}
    labels = {"plain": "plain", "dropout": "neuron_dropout=0.2", "L1": "l1=1"}
    ones = [
        setting(regularizer, label, **one, effective_features=(1.5 + number,))
        for number, (regularizer, label) in enumerate(labels.items())
    ]
    assert compare_with_dropout(ones, 0.02) == {}
    table, neurons = write_comparison(tmp_path, ones)
    assert table.rows[0][3] == "70.0", "one seed has no interval"
    assert neurons.rows[0][1] == "0.1"
    found = json.loads((tmp_path / "comparison.json").read_text())
    assert [entry["setting"] for entry in found["settings"]] == ["plain", "neuron_dropout=0.2", "l1=1"]
    picture = (tmp_path / "pareto.svg").read_text()
    assert "features per neuron ↓" in picture
    assert "NAOPC" not in picture, "it was not measured"
    assert "dead" not in picture, "it is the same in all settings"
    write_comparison(tmp_path, ones[:1])
    assert list(tmp_path.glob("pareto*")) == [], "the picture of the comparison before is gone"


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ("--texts 1", "--texts must be at least 2, got 1"),
        ("--costly-texts 1", "--costly-texts must be at least 2, got 1"),
        ("--autoencoders -1", "--autoencoders must be at least 0, got -1"),
        ("--margin -1", "--margin must be at least 0"),
        ("--regularizers L3", "no regularizer is called 'L3'"),
        ("--data nowhere.csv", "nowhere.csv"),
        ("--task regression --data numbers.csv", "which numbers to predict lack; see `safr sweep`"),
    ],
)
def test_a_comparison_of_wrong_options_gets_one_line_before_the_first_training(
    tmp_path, monkeypatch, capsys, option, said
):
    monkeypatch.chdir(tmp_path)
    numbers = "".join(f"a film {number},{number / 2}\n" for number in range(40))
    (tmp_path / "numbers.csv").write_text(f"text,label\n{numbers}")
    assert main(["compare", "--output", str(tmp_path / "compared"), *option.split()]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "compared").exists()


@pytest.mark.slow
def test_a_comparison_trains_judges_and_does_nothing_twice(tmp_path, minilm, monkeypatch, capsys):
    for name in ("dropout", "TopK"):
        monkeypatch.setitem(REGULARIZERS, name, REGULARIZERS[name][:1])
    monkeypatch.setattr("safr.evaluation.sparse_autoencoder.ACTIVE_LATENTS", (8,))  # one training each
    folder, reviews = tmp_path / "compared", tmp_path / "reviews.csv"
    rows = "".join(f"{text},{('bad', 'good')[label]}\n" for text, label in SENTENCES)
    reviews.write_text(f"text,label\n{rows}")
    small = "--epochs 1 --width 16 --heads 2 --feed-forward 160 --vmask-width 8 --workers 1 --seeds 2"
    judged = "--texts 12 --costly-texts 6 --autoencoders 1"
    chosen = ["--regularizers", "dropout", "TopK", *judged.split(), *small.split()]
    asked = ["compare", "--data", str(reviews), "--output", str(folder), *chosen]
    assert main(asked) == 0
    out = capsys.readouterr().out
    assert "6 runs" in out
    assert "Recommended" in out
    found = json.loads((folder / "comparison.json").read_text())
    gated = next(entry for entry in found["settings"] if entry["setting"] == "top_k=32")
    assert all(share <= 0.2 for share in gated["values"]["active"])
    assert set(found["beside_dropout"]) == {"TopK"}
    assert {"test_srs_relevance", "test_naopc", "monosemanticity", "effective_features"} <= set(gated["values"])
    assert set(gated["changes"]) <= set(NEURON_MEASURES)
    assert "vector_monosemanticity" not in gated["values"]
    assert gated["changes"]["active"]["value"] < 0
    assert "test_srs_autoencoder" not in gated["values"]
    scores = Run(folder / "top_k=32,seed=1").scores
    for by in ("attention", "random"):
        lost = scores["accuracy"]["value"] - scores["deletion"][by]["30"]["value"]
        assert gated["values"][f"test_srs_{by}"][1] == pytest.approx(lost)
    assert "SRS at random, test" in (folder / "comparison.md").read_text()
    assert all("test_srs_random" not in names for names in found["beside_dropout"]["TopK"].values())
    assert len(found["settings"][0]["values"]["test_srs_autoencoder"]) == 2, "plain is read out by an autoencoder"
    table = (folder / "comparison.md").read_text()
    times = {file: file.stat().st_mtime_ns for file in folder.glob("*/*.json")}
    assert main(asked) == 0
    assert (folder / "comparison.md").read_text() == table
    assert {file: file.stat().st_mtime_ns for file in folder.glob("*/*.json")} == times
    broken = folder / "top_k=32,seed=0" / "scores_dev.json"
    broken.write_text(broken.read_text()[:100])
    (folder / "plain,seed=1" / "neurons_dev.json").write_text("{")
    assert main(asked) == 1
    found = json.loads((folder / "comparison.json").read_text())
    assert [entry["seeds"] for entry in found["settings"]] == [[0, 1], [0, 1], [1]]
    assert "scores_dev.json" in found["failed"]["top_k=32,seed=0"]
    assert "delete it and give the same command again" in found["failed"]["top_k=32,seed=0"]
    broken.unlink()
    assert main(asked) == 0
    assert (folder / "comparison.md").read_text() == table, "what is damaged is made again"
    asked[asked.index("--autoencoders") + 1] = "0"
    assert main([*asked, "--encoder", str(minilm)]) == 0, "what is asked for later is measured then"
    found = json.loads((folder / "comparison.json").read_text())
    for entry in found["settings"]:
        values, above = (entry["values"][f"vector_monosemanticity{name}"] for name in ("", "_above_chance"))
        assert all(above < value < 1 for value, above in zip(values, above, strict=True))
    assert main([*asked, "--encoder", str(tmp_path / "nowhere")]) == 2
    assert "nowhere': expected" in capsys.readouterr().err
    assert Run(folder / "top_k=32,seed=0").settings.regularization.top_k == 32


@pytest.mark.slow
def test_models_that_give_tags_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("safr.evaluation.sparse_autoencoder.ACTIVE_LATENTS", (8,))
    monkeypatch.setitem(REGULARIZERS, "TopK", REGULARIZERS["TopK"][:1])
    rows = [[f"{word} {('O', 'B-X')[word in tiny.GOOD.split()]}" for word in text.split()] for text, _ in SENTENCES]
    (tmp_path / "tags.conll").write_text("\n\n".join("\n".join(row) for row in rows))
    small = "--epochs 1 --width 16 --heads 2 --feed-forward 40 --workers 1 --seeds 1 --regularizers TopK"
    judged = "--texts 8 --costly-texts 4 --autoencoders 1"
    asked = ["compare", "--data", str(tmp_path / "tags.conll"), "--output", str(tmp_path / "compared")]
    assert main([*asked, *small.split(), *judged.split()]) == 0
    found = json.loads((tmp_path / "compared" / "comparison.json").read_text())
    assert [entry["setting"] for entry in found["settings"]] == ["plain", "top_k=32"]
    assert {"monosemanticity", "effective_features", "test_naopc"} <= set(found["settings"][1]["values"])
    assert "class_separability" not in found["settings"][1]["values"], "a text has no class"
    assert found["recommended"] is not None, "by the measures that could be taken"
