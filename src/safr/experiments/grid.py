"""Grids of settings: every combination of some values with every seed, from the command line or a YAML plan."""

from __future__ import annotations

import contextlib
import io
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import tyro

from safr.config import (
    Settings,
    describe_type,
    setting_names,
    setting_type,
    use_current_names,
    write_training_arguments,
)
from safr.errors import InputError, describe_value
from safr.experiments.yaml_files import read_yaml

BASELINE_SETTINGS = {
    "vmask": False,
    "importance": 0.0,
    "interaction": 0.0,
    "information": 0.0,
    "token_weighting": "auto",
    "neuron_losses": None,
    "top_k": None,
    "neuron_dropout": 0.0,
}
"""The settings of a model that SAFR adds nothing to."""

_ADDITIONS = ("vmask", "importance", "interaction", "neuron_losses", "top_k", "neuron_dropout")
"""The settings of which one at least is on where SAFR adds something; settings of earlier versions lack the last."""

DEFAULT_SEEDS = 3
"""Number of seeds that every setting is run with by default."""

MAX_RUNS = 10_000
"""Runs of a sweep at most; more are a slip of the hand, and listing them alone would take minutes."""


_DATA_SETTINGS = ("data", "text_column", "label_column", "task", "drop_duplicates")
_WORD_LISTS = ("layers", "importance_sites", "neuron_losses")
"""Settings whose text is several words, as on the command line."""

_LIST_SETTINGS = (*_WORD_LISTS, "text_column", "label_column")
"""Settings that take a list; a column's name may hold spaces."""


def is_baseline(settings: Mapping[str, Any]) -> bool:
    """Whether SAFR adds nothing to a model with these settings, given as values by name."""
    return not any(settings.get(name) for name in _ADDITIONS)


def expand_grid(base: Settings, varied: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Settings]:
    """Settings of every combination of the values with every seed, by the name of the run.

    Args:
        base: The settings that all runs share.
        varied: Values to combine, by the name of the setting.
        seeds: Seeds.

    Raises:
        InputError: Two runs would have the same name, there are too many, or a setting of the data is varied.

    >>> list(expand_grid(Settings(), {"importance": [0.1, 1]}, [0]))
    ['importance=0.1,seed=0', 'importance=1,seed=0']
    """
    _check_count(math.prod(map(len, varied.values())), seeds)
    parts = []
    for values in itertools.product(*varied.values()):
        changed = dict(zip(varied, values, strict=True))
        name = ",".join(f"{name}={short_value(value)}" for name, value in changed.items())
        parts.append(expand_seeds(name, base, changed, seeds))
    return merge_jobs(*parts)


def expand_seeds(name: str, base: Settings, changed: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Settings]:
    """Settings of the changed base with every seed, by the name of the run."""
    if refused := [name for name in _DATA_SETTINGS if name in changed]:
        raise InputError(
            f"`{refused[0]}` can't be varied: accuracies on different data can't be compared; run a sweep for each "
            "data set"
        )
    _check_count(1, seeds)
    settings = base.changed(**changed)
    if is_baseline({name: settings.get(name) for name in BASELINE_SETTINGS}):
        # Options of losses that are switched off don't make another model.
        settings = settings.changed(**BASELINE_SETTINGS)
    return {f"{name},seed={seed}".lstrip(","): settings.changed(seed=seed) for seed in seeds}


def merge_jobs(*parts: Mapping[str, Settings]) -> dict[str, Settings]:
    """All jobs without repetition: of two names for the same settings the first one stays.

    Raises:
        InputError: The same name stands for other settings.
    """
    merged: dict[str, Settings] = {}
    names: dict[str, str] = {}
    for name, settings in itertools.chain.from_iterable(part.items() for part in parts):
        if merged.get(name, settings) != settings:
            raise InputError(f"two different runs would be called {name!r}; name them in a plan's `extra_runs`")
        if repr(settings) not in names:
            names[repr(settings)] = name
            merged[name] = settings
    return merged


def check_seed_count(name: str, count: int | None) -> None:
    """Raise an InputError where a number of seeds, by the name that the user gave it under, is no number of runs."""
    if count is not None and count < 1:
        raise InputError(f"{name} must be at least 1, got {count}")
    if count is not None and count > MAX_RUNS:
        raise InputError(f"{name} must be at most {MAX_RUNS:,}, got {describe_value(count)}")


def parse_varied(words: Iterable[str]) -> dict[str, list[Any]]:
    """Values by the name of the setting, from words of the command line.

    Raises:
        InputError: A word is not `name=value,value`, a setting is unknown or given twice, or a value can't be used.

    >>> parse_varied(["importance=0,0.1", "vmask=true,false"])
    {'importance': [0.0, 0.1], 'vmask': [True, False]}
    """
    varied: dict[str, list[str]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise InputError(f"expected settings to vary as importance=0,0.1,1, got {word!r}")
        name = name.replace("-", "_")
        if name in varied:
            raise InputError(f"`{name}` is given twice; give all its values at once, as in {name}=0,0.1,1")
        varied[name] = values.split(",")
    return {name: parse_values(name, values) for name, values in use_current_names(varied).items()}


def parse_values(name: str, values: Iterable[Any]) -> list[Any]:
    """Values of one setting, parsed as the command line parses them."""
    if name not in setting_names():
        raise InputError(f"no setting is called {name[:60]!r}; known are {', '.join(setting_names())}")
    if name == "seed":
        raise InputError("seeds can't be varied like other settings; give them by --seeds or `seeds:`")
    return [_parse_value(name, value) for value in values]


def read_plan(path: Path) -> dict[str, Settings]:
    """Settings by the name of the run, as a YAML file asks for them.

    The file's keys are settings that all runs share, and:

    - `vary`: lists of values by setting. Every combination of them is run.
    - `extra_runs`: further runs by name, with the settings that they change.
    - `seeds`: a number or a list. Default: 3.
    - `baseline`: false leaves out the model that SAFR adds nothing to.

    Raises:
        InputError: The file can't be read, or holds something else.
    """
    plan = read_yaml(path)
    if not isinstance(plan, dict):
        raise InputError(f"{path}: expected settings as `name: value`, got {type(plan).__name__}")
    if "also" in plan and "extra_runs" in plan:
        raise InputError(f"{path}: `also` is the old name of `extra_runs`; give one of them")
    vary, extra_runs, seeds = plan.pop("vary", None), plan.pop("extra_runs", None), plan.pop("seeds", None)
    extra_runs = plan.pop("also", extra_runs)
    baseline, seed_list = plan.pop("baseline", True), _parse_seeds(path, seeds)
    if not isinstance(baseline, bool):
        raise InputError(f"{path}: `baseline` must be true or false, got {describe_value(baseline)}")
    base = Settings().changed(**_parse_settings(plan))
    parts = [expand_seeds("baseline", base, BASELINE_SETTINGS, seed_list)] if baseline else []
    if vary or not extra_runs:
        lists = {
            str(name): _check_list(path, str(name), values)
            for name, values in _check_mapping(path, "vary", vary).items()
        }
        _check_count(math.prod(map(len, lists.values())), seed_list)
        varied = {name: parse_values(name, values) for name, values in use_current_names(lists).items()}
        parts.append(expand_grid(base, varied, seed_list))
    runs = _check_mapping(path, "extra_runs", extra_runs)
    _check_count(len(runs), seed_list)
    for key, changed in runs.items():
        name = _check_folder_name(path, str(key))
        parts.append(expand_seeds(name, base, _parse_settings(_check_mapping(path, name, changed)), seed_list))
    return merge_jobs(*parts)


def short_value(value: Any) -> str:
    """A setting's value as a run's name shows it."""
    if isinstance(value, tuple):
        return "+".join(map(short_value, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return Path(str(value)).name


def _check_count(settings: int, seeds: Sequence[int]) -> None:
    if settings * len(seeds) > MAX_RUNS:
        raise InputError(
            f"expected at most {MAX_RUNS:,} runs, got {settings:,} settings with {len(seeds):,} seeds each; vary fewer"
        )


def _check_folder_name(path: Path, name: str) -> str:
    if name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        raise InputError(f"{path}: a run can't be called {name[:60]!r}; expected the name of a folder")
    return name


def _parse_settings(values: Mapping[Any, Any]) -> dict[str, Any]:
    settings = use_current_names({str(name): value for name, value in values.items()})
    return {name: parse_values(name, [value])[0] for name, value in settings.items()}


def _check_mapping(path: Path, name: str, value: Any) -> dict[Any, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: `{name}` must hold `setting: value`, got {describe_value(value)}")
    return value


def _check_list(path: Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{path}: `vary` needs a list of values for {name}, got {describe_value(value)}")
    return value


def _parse_seeds(path: Path, value: Any) -> list[int]:
    if type(value) is int and value > 0:
        check_seed_count(f"{path}: `seeds`", value)
        return list(range(value))
    if value is None:
        return list(range(DEFAULT_SEEDS))
    if not isinstance(value, list) or not value or not all(type(seed) is int for seed in value):
        shown = describe_value(value)
        raise InputError(f"{path}: `seeds` must be a number of at least 1 or a list of seeds, got {shown}")
    return value


def _parse_value(name: str, value: Any) -> Any:
    """One value as the setting's own option on the command line would parse it."""
    if name == "training_arguments" and value and isinstance(value, dict):
        return write_training_arguments(value)
    flag, output = name.replace("_", "-"), io.StringIO()
    flags = {"true": f"--{flag}", "false": f"--no-{flag}"}
    is_empty = value in (None, [], "") and not (value is None and Settings().get(name) is None)
    if is_empty or isinstance(value, dict) or (isinstance(value, list) and name not in _LIST_SETTINGS):
        raise InputError(f"`{name}` must be {describe_type(setting_type(name))}, got {describe_value(value)}")
    if isinstance(Settings().get(name), bool):
        words = [flags.get(str(value).lower(), f"--{flag}={value}")]
    elif isinstance(value, list):
        words = [f"--{flag}", *map(str, value)]
    elif name in _WORD_LISTS:
        words = [f"--{flag}", *str(value).split()]
    else:
        words = [f"--{flag}", str(value).capitalize() if name == "scale_free" else str(value)]
    # The value is parsed by its type alone. `Settings` checks later whether it goes with the other settings.
    single_setting = make_dataclass("SingleSetting", [(name, setting_type(name), Settings().get(name))])
    try:
        with contextlib.redirect_stderr(output), contextlib.redirect_stdout(output):
            return getattr(tyro.cli(single_setting, args=words), name)
    except SystemExit:
        raise InputError(f"`{name}` must be {describe_type(setting_type(name))}, got {describe_value(value)}") from None
