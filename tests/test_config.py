import json
import math
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tyro
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safr.config import (
    RENAMED_SETTINGS,
    Architecture,
    Recipe,
    Regularization,
    Settings,
    regularization_from_dict,
    setting_names,
)
from safr.errors import InputError

weights = st.floats(0, 1e6)
sizes = st.integers(1, 4096)
layers = st.just("all") | st.integers(-9, 9) | st.lists(st.integers(-9, 9), min_size=2, max_size=4).map(tuple)
names = st.from_regex(r"[^-\s\x00][^\x00]{0,12}", fullmatch=True).filter(lambda name: name != "None")

# Strategies of dictionaries: a dataclass is made inside the test, where its types are checked.
regularizations = st.fixed_dictionaries(
    {},
    optional={
        "importance": weights,
        "interaction": weights,
        "vmask": st.booleans(),
        "vmask_width": sizes,
        "vmask_keep": st.none() | st.floats(0.01, 0.99),
        "whole_words": st.booleans(),
        "layers": layers,
        "importance_sites": names | st.lists(names, min_size=2, max_size=3).map(tuple),
        "token_weighting": st.sampled_from(["auto", "equal", "attention"]),
        "site": names,
        "fc1": st.none() | names,
        "padding": st.sampled_from(["mask", "count"]),
        "scale_free": st.none() | st.just(True),
        "exclude_self": st.booleans(),
        "warmup_steps": st.none() | st.integers(0, 10_000),
    },
)
architectures = st.builds(
    lambda heads, size, **others: {"heads": heads, "width": 2 * heads * size, **others},
    st.integers(1, 16),
    st.integers(1, 64),
    hidden_layers=sizes,
    feed_forward=sizes,
    dropout=st.floats(0, 0.99),
)
recipes = st.fixed_dictionaries(
    {},
    optional={
        "seed": st.integers(0, 2**32 - 1),
        "epochs": sizes,
        "patience": sizes,
        "batch_size": sizes,
        "learning_rate": st.floats(1e-12, 10),
        "vmask_learning_rate": st.none() | st.floats(1e-12, 10),
        "schedule": st.sampled_from(["constant", "linear"]),
        "kept_epoch": st.sampled_from(["best", "last"]),
        "max_tokens": st.none() | sizes,
        "precision": st.sampled_from(["float32", "bfloat16"]),
    },
)
texts = st.fixed_dictionaries({}, optional=dict.fromkeys(("data", "text_column", "label_column", "model"), names))


def settings_of(texts, regularization, architecture, recipe):
    return Settings(
        **texts,
        regularization=Regularization(**regularization),
        architecture=Architecture(**architecture),
        recipe=Recipe(**recipe),
    )


def parsed(command):
    """What the command line makes of a command, by the same parser and the same way of naming options."""
    program, name, *arguments = shlex.split(command)
    assert (program, name) == ("safr", "train")
    return tyro.cli(Settings, args=arguments, config=(tyro.conf.OmitArgPrefixes,))


def test_the_defaults_are_the_papers():
    settings = Settings()
    assert (settings.regularization.importance, settings.regularization.interaction) == (0.1, 0.1)
    assert (settings.architecture.width, settings.architecture.feed_forward) == (256, 1024)
    assert (settings.recipe.learning_rate, settings.recipe.batch_size) == (1e-4, 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("warmup_steps", -1),
        *(
            (name, value)
            for name in ("importance", "interaction", "information")
            for value in (-1e-9, math.inf, math.nan)
        ),
    ],
)
def test_weights_are_finite_and_not_negative(name, value):
    with pytest.raises(InputError, match=f"^`{name}` must be a finite number of at least 0, got {value}$"):
        Regularization(**{name: value})


def test_widths_and_numbers_of_heads_are_at_least_one():
    for name in ("interaction_heads", "interaction_layers"):
        with pytest.raises(InputError, match=f"^`{name}` must be at least 1, got 0$"):
            Regularization(**{name: 0})
    with pytest.raises(InputError, match=r"^`vmask_width` must be at least 1, got 0$"):
        Regularization(vmask_width=0)


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("interaction_estimator", "'auto', 'exact' or 'probes'"),
        ("token_weighting", "'auto', 'equal', 'keep' or 'attention'"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_a_word_that_is_no_choice_is_refused(name, choices):
    with pytest.raises(InputError, match=f"^`{name}` must be {choices}, got 'some'$"):
        Regularization(**{name: "some"})


ANYTHING = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=200) | st.binary(max_size=9)
    | st.lists(st.integers() | st.text(), max_size=3) | st.dictionaries(st.text(), st.integers(), max_size=1)
    | st.sampled_from([np.float32("nan"), np.int64(3), np.bool_(True), np.ones(2), Path("a/b"), 10**400])
)  # fmt: skip


@pytest.mark.usefixtures("without_type_checks")
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(name=st.sampled_from(setting_names()), value=ANYTHING)
def test_any_value_is_kept_as_json_has_it_or_refused_in_one_line(name, value):
    try:
        made = Settings().changed(**{name: value})
    except InputError as error:
        message = str(error)
    else:
        assert Settings.from_dict(json.loads(json.dumps(made.to_dict(), allow_nan=False))) == made
        assert made.get(name) == (tuple(value) if isinstance(value, list) else value) or isinstance(value, Path)
        return
    assert message.startswith("`")
    assert len(message) < 200
    assert "\n" not in message


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("epochs", "3", "a whole number, got '3'"),
        ("epochs", True, "a whole number, got True"),
        ("epochs", 3.0, "a whole number, got 3.0"),
        ("learning_rate", "1e-3", "a number, got '1e-3'"),
        ("vmask", 1, "True or False, got 1"),
        ("layers", 1.5, "'all', a whole number or several whole numbers, got 1.5"),
        ("importance_sites", [1], r"a text or several texts, got \[1\]"),
        ("fc1", 3, "a text or None, got 3"),
        ("recipe", {}, "a Recipe, got {}"),
    ],
)
def test_a_value_of_another_type_is_refused(name, value, expected):
    with pytest.raises(InputError, match=f"^`{name}` must be {expected}$"):
        Settings().changed(**{name: value})


@pytest.mark.parametrize("name", ["hidden_layers", "width", "heads", "feed_forward"])
def test_sizes_are_at_least_one(name):
    with pytest.raises(InputError, match=f"^`{name}` must be at least 1, got 0$"):
        Architecture(**{name: 0})


@pytest.mark.parametrize(("heads", "width", "instead"), [(8, 250, 5), (7, 256, 4), (3, 4, 2), (8, 4, 4), (2, 7, 1)])
def test_heads_must_divide_the_width_and_the_message_names_a_number_that_does(heads, width, instead):
    with pytest.raises(InputError, match=f"^`heads` must divide `width`, got {heads} and {width}; try {instead}$"):
        Architecture(heads=heads, width=width)


def test_the_width_is_even():
    with pytest.raises(InputError, match=r"^`width` must be even for the sinusoidal positions, got 9$"):
        Architecture(width=9, heads=3)


@pytest.mark.parametrize("dropout", [-0.1, 1.0, math.nan])
def test_dropout_is_a_probability_below_one(dropout):
    with pytest.raises(InputError, match=rf"^`dropout` must be in \[0, 1\), got {dropout}$"):
        Architecture(dropout=dropout)


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size"])
def test_counts_are_at_least_one(name):
    with pytest.raises(InputError, match=f"^`{name}` must be at least 1, got 0$"):
        Recipe(**{name: 0})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_one_that_every_generator_takes(seed):
    with pytest.raises(InputError, match=rf"^`seed` must be in \[0, 2\*\*32\), got {seed}$"):
        Recipe(seed=seed)


@pytest.mark.parametrize("rate", [0.0, -1e-4, math.inf, math.nan])
def test_the_learning_rate_is_finite_and_above_zero(rate):
    with pytest.raises(InputError, match=f"^`learning_rate` must be above 0 and finite, got {rate}$"):
        Recipe(learning_rate=rate)


def test_the_number_of_tokens_is_at_least_one():
    with pytest.raises(InputError, match=r"^`max_tokens` must be at least 1, got 0$"):
        Recipe(max_tokens=0)


@pytest.mark.parametrize(
    ("data", "given", "expected"),
    [("imdb", None, 256), ("imdb_train", None, 256), ("sst2", None, 128), ("imdb", 64, 64), ("sst2", 999, 999)],
)
def test_texts_are_cut_as_in_the_paper_unless_a_setting_says_otherwise(data, given, expected):
    assert Settings(data=data, recipe=Recipe(max_tokens=given)).max_tokens == expected


@given(texts, regularizations, architectures, recipes)
def test_settings_come_back_from_json(texts, regularization, architecture, recipe):
    settings = settings_of(texts, regularization, architecture, recipe)
    assert Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert Settings.from_dict(settings.to_dict()) == settings


def test_a_regularization_comes_back_from_json():
    regularization = Regularization(layers=(0, -1), fc1="encoder.*.up")
    values = json.loads(json.dumps(Settings(regularization=regularization).to_dict()["regularization"]))
    assert regularization_from_dict(values) == regularization


def test_what_an_older_version_did_not_know_has_its_default():
    assert Settings.from_dict({"data": "sst2", "recipe": {"seed": 3}}) == Settings(data="sst2", recipe=Recipe(seed=3))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": 1}, "unknown settings of Settings: colour; known are architecture, data, "),
        ({"recipe": {"b": 1, "a": 2}}, "unknown settings of Recipe: a, b; known are batch_size, epochs, "),
    ],
)
def test_unknown_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        Settings.from_dict(values)


def test_saved_settings_are_checked_as_new_ones_are():
    with pytest.raises(InputError, match="`epochs` must be at least 1, got 0"):
        Settings.from_dict({"recipe": {"epochs": 0}})


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ("Regularization(padding='ignore')", "`padding` must be 'mask' or 'count', got 'ignore'"),
        ("Recipe(precision='float16')", "`precision` must be 'float32' or 'bfloat16', got 'float16'"),
    ],
)
def test_a_choice_that_is_no_known_word_is_refused(made, message):
    # In a process of its own: here the tests' own checks of types would speak first.
    code = f"from safr.config import Recipe, Regularization; {made}"
    said = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True).stderr
    assert said.endswith(f"InputError: {message}\n")


@pytest.mark.parametrize(
    ("settings", "command"),
    [
        (Settings(), "safr train"),
        (Settings(data="my file.csv"), "safr train --data 'my file.csv'"),
        (Settings(recipe=Recipe(precision="bfloat16")), "safr train --precision bfloat16"),
        (Settings(recipe=Recipe(learning_rate=3e-4, seed=1)), "safr train --seed 1 --learning-rate 0.0003"),
        (
            Settings(regularization=Regularization(vmask=False, layers=(0, -1), scale_free=True)),
            "safr train --no-vmask --layers 0 -1 --scale-free True",
        ),
    ],
)
def test_the_command_gives_what_differs_from_the_defaults(settings, command):
    assert settings.command == command


@given(texts, regularizations, architectures, recipes)
def test_the_command_gives_the_same_settings_again(texts, regularization, architecture, recipe):
    settings = settings_of(texts, regularization, architecture, recipe)
    assert parsed(settings.command) == settings


def test_options_of_all_parts_have_names_of_their_own():
    """They are given without prefixes, so that two of one name could not be told apart."""
    flat = [name for value in Settings().to_dict().values() if isinstance(value, dict) for name in value]
    flat += Settings().to_dict()
    assert len(set(flat)) == len(flat)


def test_settings_are_there_without_torch():
    code = "import sys, safr.config, safr; assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("old", "value"), [("importance_at", ["fc1.0", "vmask"]), ("importance_weights", "attention")])
def test_a_setting_that_had_another_name_is_still_read(old, value):
    new = RENAMED_SETTINGS[old]
    saved = {"regularization": {old: value}}
    assert Settings.from_dict(saved) == Settings.from_dict({"regularization": {new: value}})
    assert regularization_from_dict({old: value}) == regularization_from_dict({new: value})
    with pytest.raises(InputError, match=f"^`{old}` is the old name of `{new}`; give one of them$"):
        regularization_from_dict({old: value, new: value})


def test_every_renamed_setting_is_tested_and_has_a_new_name():
    assert set(RENAMED_SETTINGS) == {"importance_at", "importance_weights"}
    assert set(RENAMED_SETTINGS.values()) <= set(setting_names())
