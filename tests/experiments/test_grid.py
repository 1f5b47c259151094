from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.cli.parse import parse_sweep_jobs
from safr.config import Settings
from safr.errors import InputError
from safr.experiments.grid import BASELINE_SETTINGS, expand_grid, expand_seeds, merge_jobs, parse_varied, read_plan

PLAN = """
data: sst2_paper
epochs: 3
vary:
  importance: [0, 1]
  layers: [all, -1]
extra_runs:
  open-mask: {vmask_keep: 0.9}
  once-more: {importance: 0, layers: all}
seeds: 2
"""


def test_every_combination_is_run_with_every_seed():
    runs = expand_grid(Settings(data="sst2"), {"importance": [0.0, 0.5], "vmask": [True, False]}, [3, 4])
    assert len(runs) == len(set(map(repr, runs.values()))) == 8
    chosen = runs["importance=0.5,vmask=False,seed=4"]
    assert chosen == Settings(data="sst2").changed(importance=0.5, vmask=False, seed=4)


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=5, unique=True))
def test_values_that_look_alike_are_runs_of_their_own(values):
    assert len(expand_grid(Settings(), {"learning_rate": values}, [0, 1])) == 2 * len(values)


def test_the_same_settings_by_two_ways_are_one_run():
    plain = expand_seeds("baseline", Settings(), BASELINE_SETTINGS, [0])
    off = {"vmask": [False], "importance": [0.0, 1.0], "interaction": [0.0]}
    assert list(merge_jobs(plain, expand_grid(Settings(), off, [0]))) == [
        "baseline,seed=0",
        "vmask=False,importance=1,interaction=0,seed=0",
    ]


def test_baselines_that_differ_in_losses_that_are_not_there_are_one_run():
    plain = expand_seeds("baseline", Settings(), BASELINE_SETTINGS, [0])
    base = Settings().changed(token_weighting="attention", interaction=0.0)
    off = expand_grid(base, {"vmask": [True, False], "importance": [0.0, 1.0]}, [0])
    assert [name for name in merge_jobs(plain, off) if "vmask=False,importance=0" in name] == []


def test_values_are_checked_with_those_they_will_stand_beside(tmp_path):
    assert len(expand_grid(Settings().changed(width=300, heads=6), parse_varied(["heads=3,6"]), [0])) == 2
    path = tmp_path / "plan.yaml"
    path.write_text("width: 300\nheads: 6\nvary: {importance: [0, 1]}\nbaseline: false\nseeds: 1")
    assert {settings.architecture.width for settings in read_plan(path).values()} == {300}
    path.write_text("width: 300")
    with pytest.raises(InputError, match=r"`heads` must divide `width`, got 8 and 300; try 6"):
        read_plan(path)


def test_one_setting_of_a_plan_may_take_over_anothers_values(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "extra_runs:\n  one: &one {importance: 1, interaction: 1}\n  two: {<<: *one, interaction: 0.5}\nseeds: 1"
    )
    two = read_plan(path)["two,seed=0"].regularization
    assert (two.importance, two.interaction) == (1, 0.5)


def test_two_runs_of_one_name_are_refused():
    with pytest.raises(InputError, match=r"two different runs would be called 'model=net,seed=0'; name them"):
        expand_grid(Settings(), {"model": ["here/net", "there/net"]}, [0])


def test_data_are_not_varied():
    with pytest.raises(InputError, match=r"`data` can't be varied: .*; run a sweep for each data set"):
        expand_grid(Settings(), {"data": ["sst2", "imdb"]}, [0])


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=5))
def test_values_come_back_as_the_command_line_reads_them(values):
    assert parse_varied([f"learning-rate={','.join(repr(value + 1e-9) for value in values)}"]) == {
        "learning_rate": [value + 1e-9 for value in values]
    }


def test_values_have_their_settings_types():
    found = parse_varied(
        [
            "layers=all,-1",
            "vmask=true,false",
            "vmask-keep=None,0.9",
            "heads=4",
            "data=it's a/file.csv",
            "scale-free=true,False",
        ]
    )
    assert found == {
        "layers": ["all", -1],
        "vmask": [True, False],
        "vmask_keep": [None, 0.9],
        "heads": [4],
        "data": ["it's a/file.csv"],
        "scale_free": [True, False],
    }


def refuse_plan(folder, text, message):
    """The one line that reading a plan ends with."""
    path = folder / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_plan(path)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("importance", "expected settings to vary as importance=0,0.1,1, got 'importance'"),
        ("importance=", "expected settings to vary as importance=0,0.1,1, got 'importance='"),
        ("importanse=1", "no setting is called 'importanse'; known are data, "),
        ("importance=many", "`importance` must be a finite number, got the text 'many'"),
        ("importance=-1", "`importance` must be at least 0, got -1.0"),
        ("vmask=maybe", "`vmask` must be True or False, got the text 'maybe'"),
        ("seed=1,2", "give them by --seeds"),
        ("layers=,", "`layers` must be 'all', a whole number or a tuple of whole numbers, got the text ''"),
    ],
)
def test_what_can_not_be_varied_gets_one_clear_line(word, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as raised:
        expand_grid(Settings(), parse_varied([word]), [0])
    assert "\n" not in str(raised.value)


def test_a_plan_says_what_is_shared_varied_and_added(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    runs = read_plan(path)
    assert len(runs) == 2 * 2 * 2 + 2 + 2  # one of the two in `extra_runs` is in the grid already
    base = Settings(data="sst2_paper").changed(epochs=3)
    assert runs["importance=1,layers=-1,seed=1"] == base.changed(importance=1.0, layers=-1, seed=1)
    assert runs["baseline,seed=0"] == base.changed(vmask=False, importance=0.0, interaction=0.0)
    assert runs["open-mask,seed=1"] == base.changed(vmask_keep=0.9, seed=1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "expected settings as `name: value`, got list"),
        ("a: [", "line 1: expected YAML .expected the node content"),
        ("vary: {importance: 1}", "`vary` needs a list of values for importance, got 1"),
        ("vary: [1]", "`vary` must hold `setting: value`"),
        ("seeds: 0", "`seeds` must be a number of at least 1 or a list of seeds, got 0"),
        ("seeds: true", "`seeds` must be"),
        ("colour: red", "no setting is called 'colour'"),
        ("extra_runs: {plain: 3}", "`plain` must hold `setting: value`, got 3"),
        ("extra_runs: {../out: {importance: 3}}", "a run can't be called '../out'; expected the name of a folder"),
        ("seeds: [true, 1]", "`seeds` must be"),
        ("baseline: 3", "`baseline` must be true or false, got 3"),
        ("importance: 1\nimportance: 2", "plan.yaml, line 1: expected YAML .'importance' is given twice"),
        ("data: null", "`data` must be a string, got None"),
        ("data: [sst2]", "`data` must be a string, got a list of 1"),
        ("model: {a: 1}", "`model` must be a string, got a dict of 1"),
        ("layers: []", "`layers` must be .*, got a list of 0"),
        ("epochs: true", r"`epochs` must be a whole number, got True \(bool\)"),
        ("importance: .nan", r"`importance` must be a finite number, got nan \(float\)"),
        ("seeds: 2024-13-45", r"plan.yaml: expected a YAML file of settings \(month must be in 1..12\)"),
        ("vary: " + "[" * 5000, r"plan.yaml, line 1: expected YAML \(more than 20 levels\)"),
    ],
)
def test_a_plan_that_asks_for_something_else_gets_one_clear_line(tmp_path, text, message):
    refuse_plan(tmp_path, text, message)


NINE = "\n".join(
    f"    - &{name} [{', '.join([f'*{before}' if before else 'all'] * 9)}]"
    for before, name in zip(["", *"abcdefg"], "abcdefgh", strict=True)
)
"""Aliases that stand for 9 values, for 9 of those, ...: 387 million at the end of 8 lines."""

TAKEN_OVER = "a: &a {x: 1}\n" + "\n".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}" for before, name in pairwise("abcdefghi")
)
GRID = "".join(
    f"  {name}: [{', '.join(map(str, range(1, 11)))}]\n" for name in ("width", "heads", "epochs", "patience")
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"vary:\n  layers:\n{NINE}", "its aliases repeat more than 200,000 values"),
        (f"seeds:\n{NINE}", "its aliases repeat more than 200,000 values"),
        ("vary: &all {layers: *all}", "its aliases repeat more than 200,000 values"),
        (TAKEN_OVER, r"line 6: expected YAML \(more than 10,000 keys\)"),
        ("layers: " + "[" * 50_000, r"expected YAML \(more than 20 levels\)"),
        ("{a: " * 20_000, r"expected YAML \(more than 20 levels\)"),
        ("- " * 40_000, r"expected YAML \(more than 20 levels\)"),
        ("data: " + "x" * 10_000_000, "expected at most 100,000 bytes of settings"),
        ("seeds: 1000000000", r"`seeds` must be at most 10,000, got 1000000000 \(int\)$"),
        (f"seeds: 1{'0' * 4000}", "`seeds` must be at most 10,000, got an int of 13,288 bits"),
        (f"seeds: 1{'0' * 6000}", "expected a YAML file of settings"),
        (f"vary:\n{GRID}seeds: 100", "expected at most 10,000 runs, got 10,000 settings with 100 seeds each"),
        (f"extra_runs: {{one: {{epochs: 1{'0' * 30}}}}}", "`epochs` must be below 2,147,483,648"),
        (f"heads: 1{'0' * 8}", "`heads` must divide `width`, got 100000000 and 256; try 256"),
        ("hidden_layers: 100000000", "ask for 78,643,200,000,000 weights, and at most 100,000,000,000"),
        ("importance: .nan", "`importance` must be a finite number, got nan"),
        ("learning_rate: -.inf", "`learning_rate` must be a finite number, got -inf"),
        ("epochs: 2020-02-31", "expected a YAML file of settings"),
        ("epochs: !!int many", "expected a YAML file of settings"),
        ("vmask: !!bool perhaps", "expected a YAML file of settings"),
        ("data: !!timestamp now", "expected a YAML file of settings"),
        ("2020-01-01: 1", "no setting is called '2020-01-01'"),
        ("? [a, b]\n: 1", "unhashable key"),
        ("data: !!python/object/apply:os.system ['true']", "could not determine a constructor"),
        ("", "expected settings as `name: value`, got NoneType"),
        ("\0" * 100, "unacceptable character"),
    ],
    ids=lambda value: value[:30],
)
def test_a_plan_that_would_take_all_memory_or_hours_to_read_is_refused_at_once(tmp_path, text, message):
    assert len(refuse_plan(tmp_path, text, message)) < 800


def test_more_seeds_than_any_sweep_has_are_refused_on_the_command_line_too():
    for count in (10**9, 10**30):
        with pytest.raises(InputError, match=r"--seeds must be at most 10,000, got (1000000000 |an int of)"):
            parse_sweep_jobs(Settings(), ["importance=0,1"], count, None, True)


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: expected a YAML file of settings"):
        read_plan(tmp_path / "nowhere.yaml")


def test_old_names_in_a_plan_and_in_a_list_are_still_read(tmp_path):
    old, new = tmp_path / "old.yaml", tmp_path / "new.yaml"
    old.write_text(
        "importance_weights: attention\nalso:\n  one: {importance_at: fc1.0}\nvary: {importance_at: [fc1]}\n"
    )
    new.write_text(old.read_text().replace("also", "extra_runs").replace("_at", "_sites").replace("_weights", "_x"))
    new.write_text(new.read_text().replace("importance_x", "token_weighting"))
    assert read_plan(old) == read_plan(new)
    assert parse_varied(["importance-at=fc1"]) == parse_varied(["importance_sites=fc1"]) != {}
    new.write_text("also: {one: {seed: 1}}\nextra_runs: {one: {seed: 1}}")
    with pytest.raises(InputError, match="`also` is the old name of `extra_runs`; give one of them"):
        read_plan(new)


def test_training_arguments_are_a_mapping_in_a_plan(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(
        "baseline: false\nseeds: 1\nvary:\n  training_arguments: [{optim: adafactor}, {adam_beta2: 0.98, optim: sgd}]\n"
    )
    jobs = read_plan(path)
    assert [settings.recipe.training_arguments for settings in jobs.values()] == [
        ("optim=adafactor",),
        ("adam_beta2=0.98", "optim=sgd"),
    ]
    assert list(jobs) == [
        "training_arguments=optim=adafactor,seed=0",
        "training_arguments=adam_beta2=0.98+optim=sgd,seed=0",
    ]
    assert parse_varied(["training_arguments=optim=sgd,optim=adafactor"]) == {
        "training_arguments": [("optim=sgd",), ("optim=adafactor",)]
    }
