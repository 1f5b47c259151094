import inspect
import json
import math
import pydoc
import re
import shlex
import subprocess
import sys
from dataclasses import fields
from typing import get_type_hints
from unittest.mock import Mock

import jaxtyping
import numpy as np
import pytest
import tyro
from beartype.door import is_bearable
from hypothesis import given
from hypothesis import strategies as st

from safr.config import (
    RENAMED_SETTINGS,
    Architecture,
    ModelData,
    Recipe,
    Regularization,
    Settings,
    describe_fields,
    describe_range,
    parse_training_arguments,
    regularization_from_dict,
    setting_names,
    write_training_arguments,
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
        "embedding_learning_rate": st.none() | st.floats(1e-12, 10),
        "schedule": st.sampled_from(["constant", "linear"]),
        "kept_epoch": st.sampled_from(["best", "last"]),
        "max_tokens": st.none() | sizes,
        "precision": st.sampled_from(["float32", "bfloat16"]),
        "training_arguments": st.none() | st.sampled_from([("optim=sgd",), ("a=1", 'b={"c": "d e"}', "f=--g")]),
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


@pytest.mark.parametrize("kind", [Settings, Regularization, Architecture, Recipe, ModelData])
def test_help_describes_every_field(kind):
    shown = pydoc.render_doc(kind, renderer=pydoc.plaintext)
    for setting in fields(kind):
        assert f"{setting.name}: {describe_fields(kind)[setting.name]}" in shown
    assert kind().__doc__ == kind.__doc__


def test_a_class_without_its_source_keeps_its_own_sentence(monkeypatch):
    monkeypatch.setattr(inspect, "getsource", Mock(side_effect=OSError("could not get source code")))
    describe_fields.cache_clear()
    assert Architecture.__doc__.startswith("The paper's transformer")
    assert "Attributes" not in Architecture.__doc__
    describe_fields.cache_clear()


def test_the_defaults_are_the_papers():
    settings = Settings()
    assert (settings.regularization.importance, settings.regularization.interaction) == (0.1, 0.1)
    assert (settings.architecture.width, settings.architecture.feed_forward) == (256, 1024)
    assert (settings.recipe.learning_rate, settings.recipe.batch_size) == (1e-4, 32)


@pytest.mark.parametrize("kind", [Regularization, Architecture, Recipe])
def test_every_number_has_a_range_that_the_reference_can_tell(kind):
    for name, annotation in get_type_hints(kind).items():
        is_number = annotation in (int, float, int | None, float | None)
        assert bool(describe_range(name)) == is_number, name


@pytest.mark.parametrize("name", ["importance", "interaction", "information", "warmup_steps"])
def test_weights_are_not_negative(name):
    with pytest.raises(InputError, match=f"^`{name}` must be at least 0, got -1"):
        Regularization(**{name: -1})


def test_widths_and_numbers_of_heads_are_at_least_one():
    for name in ("interaction_heads", "interaction_layers"):
        with pytest.raises(InputError, match=f"^`{name}` must be at least 1, got 0$"):
            Regularization(**{name: 0})
    with pytest.raises(InputError, match=r"^`vmask_width` must be at least 1, got 0$"):
        Regularization(vmask_width=0)


@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize(
    ("kind", "name", "value", "message"),
    [
        (Recipe, "epochs", "3", "`epochs` must be a whole number, got the text '3'"),
        (Recipe, "epochs", True, "`epochs` must be a whole number, got True (bool)"),
        (Recipe, "epochs", 3.0, "`epochs` must be a whole number, got 3.0 (float)"),
        (Recipe, "epochs", None, "`epochs` must be a whole number, got None"),
        (Recipe, "max_tokens", "9", "`max_tokens` must be a whole number or None, got the text '9'"),
        (Recipe, "learning_rate", math.inf, "`learning_rate` must be a finite number, got inf (float)"),
        (Recipe, "learning_rate", "1e-4", "`learning_rate` must be a finite number, got the text '1e-4'"),
        (Recipe, "precision", "float16", "`precision` must be 'float32' or 'bfloat16', got the text 'float16'"),
        (Recipe, "precision", ["float32"], "`precision` must be 'float32' or 'bfloat16', got a list of 1"),
        (Regularization, "importance", math.nan, "`importance` must be a finite number, got nan (float)"),
        (Regularization, "importance", 10**400, "`importance` must be a finite number, got an int of 1,329 bits"),
        (Regularization, "vmask", 1, "`vmask` must be True or False, got 1 (int)"),
        (Regularization, "scale_free", "yes", "`scale_free` must be True, False or None, got the text 'yes'"),
        (
            Regularization,
            "layers",
            True,
            "`layers` must be 'all', a whole number or a tuple of whole numbers, got True (bool)",
        ),
        (
            Regularization,
            "layers",
            "last",
            "`layers` must be 'all', a whole number or a tuple of whole numbers, got the text 'last'",
        ),
        (
            Regularization,
            "importance_sites",
            ("fc1", 3),
            "`importance_sites` must be a string or a tuple of strings, got a tuple of 2",
        ),
        (
            Regularization,
            "importance_sites",
            (),
            "`importance_sites` must be a string or a tuple of strings, got a tuple of 0",
        ),
        (Settings, "data", 3, "`data` must be a string, got 3 (int)"),
        (Settings, "recipe", {"epochs": 3}, "`recipe` must be an instance of Recipe, got a dict of 1"),
        (Settings, "recipe", None, "`recipe` must be an instance of Recipe, got None"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_was_expected(kind, name, value, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        kind(**{name: value})


FIELDS = [(kind, name) for kind in (Regularization, Architecture, Recipe, Settings) for name in get_type_hints(kind)]
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.complex_numbers()
    | st.lists(st.integers() | st.text() | st.none() | st.lists(st.integers()), max_size=3)
    | st.dictionaries(st.text(), st.integers(), max_size=2)
    | st.sampled_from([object(), int, np.zeros(2), np.float64("nan"), np.int8(3), np.bool_(True), np.str_("mask")])
)


@given(st.sampled_from(FIELDS), VALUES)
def test_any_value_is_taken_or_refused_by_its_fields_name(field, value):
    """By a user, that is: the fields of what was taken are of the annotated types, and all else is one line."""
    kind, name = field
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jaxtyping.config, "jaxtyping_disable", True)
        try:
            taken, message = getattr(kind(**{name: value}), name), None
        except InputError as error:
            message = str(error)
    if message is None:
        assert is_bearable(taken, get_type_hints(kind)[name])
        assert json.loads(json.dumps(taken)) == (list(taken) if isinstance(taken, tuple) else taken)
    else:
        assert f"`{name}`" in message
        assert "\n" not in message


@pytest.mark.parametrize(
    ("kind", "name", "value", "plain"),
    [
        (Recipe, "epochs", np.int64(3), 3),
        (Recipe, "learning_rate", np.float64(0.5), 0.5),
        (Recipe, "learning_rate", 1, 1.0),
        (
            Recipe,
            "training_arguments",
            ["optim=sgd", "adam_beta2=.98e0", "adam_beta1=9e-1"],
            ("adam_beta1=0.9", "adam_beta2=.98e0", "optim=sgd"),
        ),
        (Regularization, "vmask", np.bool_(False), False),
        (Regularization, "layers", (np.int32(0), -1), (0, -1)),
        (Regularization, "layers", [0, -1], (0, -1)),
        (Regularization, "layers", np.int32(2), 2),
        (Settings, "data", np.str_("sst2"), "sst2"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_numpys_values_and_lists_become_pythons_own(kind, name, value, plain):
    found = getattr(kind(**{name: value}), name)
    assert found == plain
    assert type(found) is type(plain)
    assert repr(found) == repr(plain)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"recipe": {"epochs": True}}, "`epochs` must be a whole number, got True (bool)"),
        ({"recipe": {"seed": None}}, "`seed` must be a whole number, got None"),
        ({"regularization": {"importance": "0.1"}}, "`importance` must be a finite number, got the text '0.1'"),
        ({"recipe": 3}, "`recipe` must be an instance of Recipe, got 3 (int)"),
        ({"recipe": [1]}, "`recipe` must be an instance of Recipe, got a list of 1"),
        ([1], "expected the settings of Settings by name, got a list of 1"),
    ],
)
@pytest.mark.usefixtures("without_type_checks")
def test_saved_values_are_checked_by_the_same_rules(values, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        Settings.from_dict(values)


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


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_dropout_is_a_probability_below_one(dropout):
    with pytest.raises(InputError, match=rf"^`dropout` must be in \[0, 1\), got {dropout}$"):
        Architecture(dropout=dropout)


@pytest.mark.parametrize("name", ["epochs", "patience", "batch_size"])
def test_counts_are_at_least_one(name):
    with pytest.raises(InputError, match=f"^`{name}` must be at least 1, got 0$"):
        Recipe(**{name: 0})


@pytest.mark.parametrize(("kind", "name"), [(Recipe, "batch_size"), (Architecture, "width"), (Recipe, "max_tokens")])
def test_counts_are_not_beyond_what_tensors_count(kind, name):
    with pytest.raises(InputError, match=f"^`{name}` must be below 2,147,483,648, got an int of 84 bits$"):
        kind(**{name: 10**25})


@pytest.mark.parametrize("seed", [-1, 2**32])
def test_a_seed_is_one_that_every_generator_takes(seed):
    with pytest.raises(InputError, match=rf"^`seed` must be in \[0, 2\*\*32\), got {seed}$"):
        Recipe(seed=seed)


@pytest.mark.parametrize("rate", [0.0, -1e-4])
def test_the_learning_rate_is_above_zero(rate):
    with pytest.raises(InputError, match=f"^`learning_rate` must be above 0, got {rate}$"):
        Recipe(learning_rate=rate)


def test_the_number_of_tokens_is_at_least_one():
    with pytest.raises(InputError, match=r"^`max_tokens` must be at least 1, got 0$"):
        Recipe(max_tokens=0)


@pytest.mark.parametrize(
    ("data", "given", "expected"),
    [
        ("imdb", None, 256),
        ("imdb_train", None, 256),
        ("sst2", None, 128),
        ("imdb_mine.csv", None, 128),
        ("imdb", 64, 64),
        ("sst2", 999, 999),
    ],
)
def test_texts_are_cut_as_in_the_paper_unless_a_setting_says_otherwise(data, given, expected):
    assert Settings(data=data, recipe=Recipe(max_tokens=given)).max_tokens == expected


@pytest.mark.parametrize(
    ("data", "columns", "expected"),
    [("mine.csv", "text", False), ("mine.csv", ("one", "other"), True), ("planted_pairs", "text", True)],
)
def test_texts_are_pairs_in_two_columns_and_in_the_planted_pairs(data, columns, expected):
    assert Settings(data=data, text_column=columns).has_pairs == expected


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
        (
            {"recipe": {"b": 1, "a": 2}},
            "unknown settings of Recipe: a, b; known are batch_size, class_weights, embedding_learning_rate, ",
        ),
    ],
)
def test_unknown_settings_are_named(values, message):
    with pytest.raises(InputError, match=message):
        Settings.from_dict(values)


def test_saved_settings_are_checked_as_new_ones_are():
    with pytest.raises(InputError, match="`epochs` must be at least 1, got 0"):
        Settings.from_dict({"recipe": {"epochs": 0}})


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


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e9, 1e9) | st.text(),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(), parts, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["optim", "adam_beta1", "adam_beta2", "debugger"]), json_values))
def test_training_arguments_come_back_from_their_words(values):
    words = write_training_arguments(values)
    assert parse_training_arguments(words) == values
    assert words == tuple(sorted(words))
    assert write_training_arguments(parse_training_arguments(words)) == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("args.yaml",), "must be given as NAME=VALUE, got the text 'args.yaml'"),
        (("optim=sgd", "optim=adafactor"), "has the text 'optim' twice; give it once"),
        (("=3",), "must have names, got the text ''"),
        (("adam beta=3",), "must have names, got the text 'adam beta'"),
        (("adam_beta1=NaN",), "must have values that JSON can hold, got adam_beta1 nan (float)"),
        (("learning_rate=1",), "can't set learning_rate; use `safr train --learning-rate`"),
        (("per_device_train_batch_size=1",), "can't set per_device_train_batch_size; use `safr train --batch-size`"),
        (("output_dir=a",), "can't set output_dir; use `safr train --output`"),
        (("lr_scheduler_type=linear",), "can't set lr_scheduler_type; use `safr train --schedule`"),
        (("eval_strategy=no",), "can't set eval_strategy, which SAFR sets itself or can't use; leave it out"),
    ],
)
def test_training_arguments_that_can_not_be_used_get_one_line(words, message):
    with pytest.raises(InputError, match=f"^{re.escape('`training_arguments` ' + message)}$"):
        Recipe(training_arguments=words)


def test_a_value_that_json_can_not_hold_is_refused():
    with pytest.raises(InputError, match="must have values that JSON can hold, got optim a set of 1"):
        write_training_arguments({"optim": {1}})
