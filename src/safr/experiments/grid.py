"""A few lists of values in, settings of many runs out: every combination, each with every seed."""

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

from safr.config import Settings, setting_names, setting_type, use_current_names
from safr.errors import InputError

BASELINE_SETTINGS = {
    "vmask": False,
    "importance": 0.0,
    "interaction": 0.0,
    "information": 0.0,
    "token_weighting": "auto",
}
"""The settings of a model that SAFR adds nothing to."""

DEFAULT_SEEDS = 3
"""Seeds that every setting is run with unless somebody says otherwise."""

_OF_DATA = ("data", "text_column", "label_column")
_SEVERAL_WORDS = ("layers", "importance_sites")


def is_baseline(settings: Mapping[str, Any]) -> bool:
    """Whether SAFR adds nothing, by a mapping of settings' names to their values."""
    return not (settings["vmask"] or settings["importance"] or settings["interaction"])


def expand_grid(base: Settings, varied: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Settings]:
    """Every combination of the values, with every seed, by the name of its run.

    Args:
        base: What all runs share.
        varied: Values by the name of a setting.
        seeds: Seeds.

    Raises:
        InputError: Two runs would have the same name, or the data are varied.

    >>> list(expand_grid(Settings(), {"importance": [0.1, 1]}, [0]))
    ['importance=0.1,seed=0', 'importance=1,seed=0']
    """
    runs: dict[str, Settings] = {}
    for values in itertools.product(*varied.values()):
        changed = dict(zip(varied, values, strict=True))
        name = ",".join(f"{name}={short_value(value)}" for name, value in changed.items())
        runs = merge_jobs(runs, expand_seeds(name, base, changed, seeds))
    return runs


def expand_seeds(name: str, base: Settings, changed: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Settings]:
    """One setting with every seed, by the name of its run."""
    if others := [each for each in _OF_DATA if each in changed]:
        raise InputError(
            f"`{others[0]}` can't be varied: accuracies on other data can't be compared; run a sweep for each data set"
        )
    settings = base.changed(**changed)
    if is_baseline({name: settings.get(name) for name in BASELINE_SETTINGS}):
        settings = settings.changed(
            **BASELINE_SETTINGS
        )  # what is said of losses that are not there makes no other model
    return {f"{name},seed={seed}".lstrip(","): settings.changed(seed=seed) for seed in seeds}


def merge_jobs(runs: Mapping[str, Settings], more: Mapping[str, Settings]) -> dict[str, Settings]:
    """All runs, each once: of two names for the same settings the first one stays.

    Raises:
        InputError: The same name stands for other settings.
    """
    found, names = dict(runs), {repr(settings): name for name, settings in runs.items()}
    for name, settings in more.items():
        if found.get(name, settings) != settings:
            raise InputError(f"two different runs would be called {name!r}; name them in a plan's `extra_runs`")
        if repr(settings) not in names:
            names[repr(settings)] = name
            found[name] = settings
    return found


def parse_varied(words: Iterable[str]) -> dict[str, list[Any]]:
    """Lists of values as they are given on the command line.

    Raises:
        InputError: A word is no `name=value,value`, a setting is not known, or a value is none of its own.

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
    """Values of one setting, read as the command line reads them."""
    if name not in setting_names():
        raise InputError(f"no setting is called {name!r}; known are {', '.join(setting_names())}")
    if name == "seed":
        raise InputError("seeds are not varied beside the others; give them by --seeds or `seeds:`")
    return [_parse(name, value) for value in values]


def read_plan(path: Path) -> dict[str, Settings]:
    """The runs that a YAML file asks for.

    Its keys are settings that all runs share, `vary` (lists of values by setting, every combination of which is run),
    `extra_runs` (further runs by name, each with the settings that it changes), `seeds` (a number or a list; 3 unless
    it is said) and `baseline` (false leaves out the model that SAFR adds nothing to).

    Raises:
        InputError: The file can't be read, or asks for what is none of the above.
    """
    try:
        asked = yaml.load(path.read_text(encoding="utf-8"), Loader=_OnceLoader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        place = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise InputError(f"{path}{place}: expected YAML ({error.problem})") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a YAML file of settings ({str(error).splitlines()[0]})") from error
    if not isinstance(asked, dict):
        raise InputError(f"{path}: expected settings as `name: value`, got {type(asked).__name__}")
    if "also" in asked and "extra_runs" in asked:
        raise InputError(f"{path}: `also` is the old name of `extra_runs`; give one of them")
    vary, extra_runs, seeds = asked.pop("vary", None), asked.pop("extra_runs", None), asked.pop("seeds", None)
    extra_runs = asked.pop("also", extra_runs)
    baseline, numbers = asked.pop("baseline", True), _seeds(path, seeds)
    if not isinstance(baseline, bool):
        raise InputError(f"{path}: `baseline` must be true or false, got {baseline!r}")
    base = Settings().changed(**_values(asked))
    runs = expand_seeds("baseline", base, BASELINE_SETTINGS, numbers) if baseline else {}
    if vary or not extra_runs:
        lists = {str(name): _list(path, str(name), each) for name, each in _mapping(path, "vary", vary).items()}
        varied = {name: parse_values(name, values) for name, values in use_current_names(lists).items()}
        runs = merge_jobs(runs, expand_grid(base, varied, numbers))
    for name, changed in _mapping(path, "extra_runs", extra_runs).items():
        named = _folder_name(path, str(name))
        runs = merge_jobs(runs, expand_seeds(named, base, _values(_mapping(path, named, changed)), numbers))
    return runs


_MERGE = "tag:yaml.org,2002:merge"
"""The tag of `<<`, by which a mapping takes over another's values."""


class _OnceLoader(yaml.SafeLoader):
    """YAML's safe loader, which would take the last of two values for the same key without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping whose keys differ."""
        keys = [self.construct_object(key, deep=True) for key, _ in node.value if key.tag != _MERGE]
        if twice := [key for number, key in enumerate(keys) if key in keys[:number]]:
            raise yaml.constructor.ConstructorError(None, None, f"{twice[0]!r} is given twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _folder_name(path: Path, name: str) -> str:
    if name.startswith(".") or any(letter in "/\\" or not letter.isprintable() for letter in name):
        raise InputError(f"{path}: a run can't be called {name!r}; expected the name of a folder")
    return name


def _values(given: Mapping[str, Any]) -> dict[str, Any]:
    named = use_current_names({str(name): value for name, value in given.items()})
    return {name: parse_values(name, [value])[0] for name, value in named.items()}


def _mapping(path: Path, name: str, given: Any) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        raise InputError(f"{path}: `{name}` must hold `setting: value`, got {given!r}")
    return given


def _list(path: Path, name: str, given: Any) -> list[Any]:
    if not isinstance(given, list) or not given:
        raise InputError(f"{path}: `vary` needs a list of values for {name}, got {given!r}")
    return given


def _seeds(path: Path, given: Any) -> list[int]:
    seeds = list(range(given)) if isinstance(given, int) and not isinstance(given, bool) else given
    if seeds is None:
        return list(range(DEFAULT_SEEDS))
    if not isinstance(seeds, list) or not seeds or not all(type(seed) is int for seed in seeds):
        raise InputError(f"{path}: `seeds` must be a number of at least 1 or a list of seeds, got {given!r}")
    return seeds


def _parse(name: str, value: Any) -> Any:
    """One value as the setting's own option on the command line would read it."""
    flag, said = name.replace("_", "-"), io.StringIO()
    truth = {"true": f"--{flag}", "false": f"--no-{flag}"}
    if value in (None, [], "") and not (value is None and Settings().get(name) is None):
        raise InputError(f"`{name}` can't be {value!r}; see `safr train --help`")
    if isinstance(Settings().get(name), bool):
        words = [truth.get(str(value).lower(), f"--{flag}={value}")]
    elif isinstance(value, list):
        words = [f"--{flag}", *map(str, value)]
    elif name in _SEVERAL_WORDS:
        words = [f"--{flag}", *str(value).split()]
    else:
        words = [f"--{flag}", str(value).capitalize() if name == "scale_free" else str(value)]
    # Read by its type alone: whether it goes with the others is for the settings to say in which it will stand.
    alone = make_dataclass("Alone", [(name, setting_type(name), Settings().get(name))])
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            return getattr(tyro.cli(alone, args=words), name)
    except SystemExit:
        raise InputError(f"`{name}` can't be {value!r}; see `safr train --help`") from None


def short_value(value: Any) -> str:
    """A setting's value as a run's name shows it."""
    if isinstance(value, tuple):
        return "+".join(map(short_value, value))
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    return Path(str(value)).name
