"""A few lists of values in, settings of many runs out: every combination, each with every seed."""

from __future__ import annotations

import contextlib
import io
import itertools
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tyro
import yaml

from safr.config import Settings, setting_names
from safr.errors import InputError


def grid(base: Settings, varied: Mapping[str, Sequence[Any]], seeds: Sequence[int]) -> dict[str, Settings]:
    """Every combination of the values, with every seed, by the name of its run.

    Args:
        base: What all runs share.
        varied: Values by the name of a setting.
        seeds: Seeds.

    >>> list(grid(Settings(), {"importance": [0.1, 1]}, [0]))
    ['importance=0.1,seed=0', 'importance=1,seed=0']
    """
    runs: dict[str, Settings] = {}
    for values in itertools.product(*varied.values()):
        changed = dict(zip(varied, values, strict=True))
        runs |= with_seeds(",".join(f"{name}={short(value)}" for name, value in changed.items()), base, changed, seeds)
    return runs


def with_seeds(name: str, base: Settings, changed: Mapping[str, Any], seeds: Sequence[int]) -> dict[str, Settings]:
    """One setting with every seed, by the name of its run."""
    settings = base.changed(**changed)
    return {f"{name},seed={seed}".lstrip(","): settings.changed(seed=seed) for seed in seeds}


BASELINE = {"vmask": False, "importance": 0.0, "interaction": 0.0}
"""The settings of a model that SAFR adds nothing to."""


def parse_varied(words: Iterable[str]) -> dict[str, list[Any]]:
    """Lists of values as they are given on the command line.

    Raises:
        InputError: A word is no `name=value,value`, a setting is not known, or a value is none of its own.

    >>> parse_varied(["importance=0,0.1", "vmask=true,false"])
    {'importance': [0.0, 0.1], 'vmask': [True, False]}
    """
    varied: dict[str, list[Any]] = {}
    for word in words:
        name, equals, values = word.partition("=")
        if not equals or not values:
            raise InputError(f"expected settings to vary as importance=0,0.1,1, got {word!r}")
        varied[name.replace("-", "_")] = parse_values(name.replace("-", "_"), values.split(","))
    return varied


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
    `also` (further runs by name, each with the settings that it changes) and `seeds` (a number or a list).

    Raises:
        InputError: The file can't be read, or asks for what is none of the above.
    """
    try:
        asked = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path}: expected a YAML file of settings ({str(error).splitlines()[0]})") from error
    if not isinstance(asked, dict):
        raise InputError(f"{path}: expected settings as `name: value`, got {type(asked).__name__}")
    vary, also, seeds = (asked.pop(name, None) for name in ("vary", "also", "seeds"))
    base = Settings().changed(**_values(path, asked))
    runs: dict[str, Settings] = {}
    if vary or not also:
        lists = {name: _list(path, name, each) for name, each in _mapping(path, "vary", vary).items()}
        runs |= grid(base, {name: parse_values(name, each) for name, each in lists.items()}, _seeds(path, seeds))
    for name, changed in _mapping(path, "also", also).items():
        runs |= with_seeds(str(name), base, _values(path, _mapping(path, str(name), changed)), _seeds(path, seeds))
    return runs


def _values(path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parse_values(name, [value])[0] for name, value in given.items()}


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
        return [0]
    if not isinstance(seeds, list) or not seeds or not all(isinstance(seed, int) for seed in seeds):
        raise InputError(f"{path}: `seeds` must be a number of at least 1 or a list of seeds, got {given!r}")
    return seeds


def _parse(name: str, value: Any) -> Any:
    """One value as the setting's own option on the command line would read it."""
    flag, said = name.replace("_", "-"), io.StringIO()
    truth = {"true": f"--{flag}", "false": f"--no-{flag}"}
    if isinstance(Settings().get(name), bool):
        words = [truth.get(str(value).lower(), f"--{flag}={value}")]
    else:
        words = [f"--{flag}", *(map(str, value) if isinstance(value, list) else shlex.split(str(value)))]
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            settings = tyro.cli(Settings, args=words, config=(tyro.conf.OmitArgPrefixes,))
    except SystemExit as stopped:
        cause = stopped.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        raise cause or InputError(f"`{name}` can't be {value!r}; see `safr train --help`") from None
    return settings.get(name)


def short(value: Any) -> str:
    """A setting's value as a run's name shows it."""
    if isinstance(value, tuple):
        return "+".join(map(short, value))
    return f"{value:g}" if isinstance(value, float) else Path(str(value)).name
