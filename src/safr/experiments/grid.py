"""Grids of settings: every combination of some values with every seed, from the command line or a YAML plan."""

from __future__ import annotations

import contextlib
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import make_dataclass
from pathlib import Path
from typing import Any

import tyro
import yaml

from safr.config import Settings, describe_type, setting_names, setting_type, use_current_names
from safr.errors import InputError, describe_value, first_line

BASELINE_SETTINGS = {
    "vmask": False,
    "importance": 0.0,
    "interaction": 0.0,
    "information": 0.0,
    "token_weighting": "auto",
}
"""The settings of a model that SAFR adds nothing to."""

DEFAULT_SEEDS = 3
"""Number of seeds that every setting is run with by default."""

_DATA_SETTINGS = ("data", "text_column", "label_column", "drop_duplicates")
_LIST_SETTINGS = ("layers", "importance_sites")
"""Settings that take several words on the command line."""

_MERGE_TAG = "tag:yaml.org,2002:merge"
"""The tag of `<<`, by which a mapping takes over another's values."""


def is_baseline(settings: Mapping[str, Any]) -> bool:
    """Whether SAFR adds nothing to a model with these settings, given as values by name."""
    return not (settings["vmask"] or settings["importance"] or settings["interaction"])


def expand_grid(base: Settings, varied: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Settings]:
    """Settings of every combination of the values with every seed, by the name of the run.

    Args:
        base: The settings that all runs share.
        varied: Values to combine, by the name of the setting.
        seeds: Seeds.

    Raises:
        InputError: Two runs would have the same name, or a setting of the data is varied.

    >>> list(expand_grid(Settings(), {"importance": [0.1, 1]}, [0]))
    ['importance=0.1,seed=0', 'importance=1,seed=0']
    """
    jobs: dict[str, Settings] = {}
    for values in itertools.product(*varied.values()):
        changed = dict(zip(varied, values, strict=True))
        name = ",".join(f"{name}={short_value(value)}" for name, value in changed.items())
        jobs = merge_jobs(jobs, expand_seeds(name, base, changed, seeds))
    return jobs


def expand_seeds(name: str, base: Settings, changed: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Settings]:
    """Settings of the changed base with every seed, by the name of the run."""
    if refused := [name for name in _DATA_SETTINGS if name in changed]:
        raise InputError(
            f"`{refused[0]}` can't be varied: accuracies on other data can't be compared; run a sweep for each data set"
        )
    settings = base.changed(**changed)
    if is_baseline({name: settings.get(name) for name in BASELINE_SETTINGS}):
        # Options of losses that are switched off don't make another model.
        settings = settings.changed(**BASELINE_SETTINGS)
    return {f"{name},seed={seed}".lstrip(","): settings.changed(seed=seed) for seed in seeds}


def merge_jobs(jobs: Mapping[str, Settings], more: Mapping[str, Settings]) -> dict[str, Settings]:
    """All jobs without repetition: of two names for the same settings the first one stays.

    Raises:
        InputError: The same name stands for other settings.
    """
    merged, names = dict(jobs), {repr(settings): name for name, settings in jobs.items()}
    for name, settings in more.items():
        if merged.get(name, settings) != settings:
            raise InputError(f"two different runs would be called {name!r}; name them in a plan's `extra_runs`")
        if repr(settings) not in names:
            names[repr(settings)] = name
            merged[name] = settings
    return merged


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
        raise InputError(f"no setting is called {name!r}; known are {', '.join(setting_names())}")
    if name == "seed":
        raise InputError("seeds are not varied beside the others; give them by --seeds or `seeds:`")
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
    try:
        plan = yaml.load(path.read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{line}: expected YAML ({error.problem})") from error
    except (
        OSError,
        ValueError,
        RecursionError,
        yaml.YAMLError,
    ) as error:  # ValueError: text, or a date such as 2024-13-1
        raise InputError(f"{path}: expected a YAML file of settings ({first_line(error)})") from error
    if not isinstance(plan, dict):
        raise InputError(f"{path}: expected settings as `name: value`, got {type(plan).__name__}")
    if "also" in plan and "extra_runs" in plan:
        raise InputError(f"{path}: `also` is the old name of `extra_runs`; give one of them")
    vary, extra_runs, seeds = plan.pop("vary", None), plan.pop("extra_runs", None), plan.pop("seeds", None)
    extra_runs = plan.pop("also", extra_runs)
    baseline, seed_list = plan.pop("baseline", True), _parse_seeds(path, seeds)
    if not isinstance(baseline, bool):
        raise InputError(f"{path}: `baseline` must be true or false, got {baseline!r}")
    base = Settings().changed(**_parse_settings(plan))
    jobs = expand_seeds("baseline", base, BASELINE_SETTINGS, seed_list) if baseline else {}
    if vary or not extra_runs:
        lists = {
            str(name): _check_list(path, str(name), values)
            for name, values in _check_mapping(path, "vary", vary).items()
        }
        varied = {name: parse_values(name, values) for name, values in use_current_names(lists).items()}
        jobs = merge_jobs(jobs, expand_grid(base, varied, seed_list))
    for key, changed in _check_mapping(path, "extra_runs", extra_runs).items():
        name = _check_folder_name(path, str(key))
        changed_settings = _parse_settings(_check_mapping(path, name, changed))
        jobs = merge_jobs(jobs, expand_seeds(name, base, changed_settings, seed_list))
    return jobs


def short_value(value: Any) -> str:
    """A setting's value as a run's name shows it."""
    if isinstance(value, tuple):
        return "+".join(map(short_value, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return Path(str(value)).name


class _UniqueKeyLoader(yaml.SafeLoader):
    """YAML's safe loader with an error for a key that is given twice; on its own it would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """The mapping of a node; an error if two keys are the same."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE_TAG]
        if repeated := [key for index, key in enumerate(keys) if key in keys[:index]]:
            raise yaml.constructor.ConstructorError(None, None, f"{repeated[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _check_folder_name(path: Path, name: str) -> str:
    if name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        raise InputError(f"{path}: a run can't be called {name!r}; expected the name of a folder")
    return name


def _parse_settings(values: Mapping[str, Any]) -> dict[str, Any]:
    settings = use_current_names({str(name): value for name, value in values.items()})
    return {name: parse_values(name, [value])[0] for name, value in settings.items()}


def _check_mapping(path: Path, name: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise InputError(f"{path}: `{name}` must hold `setting: value`, got {value!r}")
    return value


def _check_list(path: Path, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise InputError(f"{path}: `vary` needs a list of values for {name}, got {value!r}")
    return value


def _parse_seeds(path: Path, value: Any) -> list[int]:
    seeds = list(range(value)) if isinstance(value, int) and not isinstance(value, bool) else value
    if seeds is None:
        return list(range(DEFAULT_SEEDS))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise InputError(f"{path}: `seeds` must be a number of at least 1 or a list of seeds, got {value!r}")
    return seeds


def _parse_value(name: str, value: Any) -> Any:
    """One value as the setting's own option on the command line would parse it."""
    flag, output = name.replace("_", "-"), io.StringIO()
    flags = {"true": f"--{flag}", "false": f"--no-{flag}"}
    is_empty = value in (None, [], "") and not (value is None and Settings().get(name) is None)
    if is_empty or isinstance(value, dict) or (isinstance(value, list) and name not in _LIST_SETTINGS):
        raise InputError(f"`{name}` must be {describe_type(setting_type(name))}, got {describe_value(value)}")
    if isinstance(Settings().get(name), bool):
        words = [flags.get(str(value).lower(), f"--{flag}={value}")]
    elif isinstance(value, list):
        words = [f"--{flag}", *map(str, value)]
    elif name in _LIST_SETTINGS:
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
