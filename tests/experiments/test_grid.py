import pytest
from hypothesis import given
from hypothesis import strategies as st

from safr.config import Settings
from safr.errors import InputError
from safr.experiments.grid import grid, parse_varied, read_plan

PLAN = """
data: sst2_paper
epochs: 3
vary:
  importance: [0, 1]
  layers: [all, -1]
also:
  baseline: {vmask: false, importance: 0, interaction: 0}
seeds: 2
"""


def test_every_combination_is_run_with_every_seed():
    runs = grid(Settings(data="sst2"), {"importance": [0.0, 0.5], "vmask": [True, False]}, [3, 4])
    assert len(runs) == len(set(map(repr, runs.values()))) == 8
    chosen = runs["importance=0.5,vmask=False,seed=4"]
    assert chosen == Settings(data="sst2").changed(importance=0.5, vmask=False, seed=4)


@given(st.lists(st.floats(0, 1e3), min_size=1, max_size=5, unique_by=lambda value: f"{value:g}"))
def test_values_come_back_as_the_command_line_reads_them(values):
    assert parse_varied([f"learning-rate={','.join(repr(value + 1e-9) for value in values)}"]) == {
        "learning_rate": [value + 1e-9 for value in values]
    }


def test_values_have_their_settings_types():
    found = parse_varied(["layers=all,-1", "vmask=true,false", "vmask-keep=None,0.9", "heads=4", "data=sst2"])
    assert found == {
        "layers": ["all", -1],
        "vmask": [True, False],
        "vmask_keep": [None, 0.9],
        "heads": [4],
        "data": ["sst2"],
    }


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("importance", "expected settings to vary as importance=0,0.1,1, got 'importance'"),
        ("importance=", "expected settings to vary as importance=0,0.1,1, got 'importance='"),
        ("importanse=1", "no setting is called 'importanse'; known are data, "),
        ("importance=many", "`importance` can't be 'many'; see `safr train --help`"),
        ("importance=-1", "`importance` must be a finite number of at least 0, got -1.0"),
        ("vmask=maybe", "`vmask` can't be 'maybe'"),
        ("seed=1,2", "give them by --seeds"),
    ],
)
def test_what_can_not_be_varied_gets_one_clear_line(word, message):
    with pytest.raises(InputError, match=message.replace("(", r"\(")) as raised:
        parse_varied([word])
    assert "\n" not in str(raised.value)


def test_a_plan_says_what_is_shared_varied_and_added(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    runs = read_plan(path)
    assert len(runs) == 2 * 2 * 2 + 2
    base = Settings(data="sst2_paper").changed(epochs=3)
    assert runs["importance=1,layers=-1,seed=1"] == base.changed(importance=1.0, layers=-1, seed=1)
    assert runs["baseline,seed=0"] == base.changed(vmask=False, importance=0.0, interaction=0.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("- 1", "expected settings as `name: value`, got list"),
        ("a: [", "expected a YAML file of settings"),
        ("vary: {importance: 1}", "`vary` needs a list of values for importance, got 1"),
        ("vary: [1]", "`vary` must hold `setting: value`"),
        ("seeds: 0", "`seeds` must be a number of at least 1 or a list of seeds, got 0"),
        ("seeds: true", "`seeds` must be"),
        ("colour: red", "no setting is called 'colour'"),
        ("also: {plain: 3}", "`plain` must hold `setting: value`, got 3"),
    ],
)
def test_a_plan_that_asks_for_something_else_gets_one_clear_line(tmp_path, text, message):
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as raised:
        read_plan(path)
    assert "\n" not in str(raised.value)


def test_a_plan_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"nowhere\.yaml: expected a YAML file of settings"):
        read_plan(tmp_path / "nowhere.yaml")
