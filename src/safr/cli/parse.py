"""What stands on the command line in, the command with its options out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from safr.config import RENAMED_SETTINGS, Settings, preset_options
from safr.errors import InputError

if TYPE_CHECKING:
    from safr.runs import Run

Command = Callable[..., int | None]
"""A function whose arguments are options; returns the exit status, None for 0."""


def parse_command(arguments: Sequence[str], commands: Mapping[str, Command]) -> Callable[[], int | None]:
    """The command that the arguments name, ready to run.

    Raises:
        InputError: An option is given twice, or a value can't be used; what the parser refuses by itself ends the
            program.
    """
    said = io.StringIO()
    arguments = _with_current_names(arguments)
    flags = [_flag(argument) for argument in arguments if argument.startswith("--")]
    if twice := [flag for number, flag in enumerate(flags) if flag in flags[:number]]:
        raise InputError(f"{twice[0]} is given twice, of which only one would count; give it once, with all its values")
    arguments = _without_preset(arguments)
    try:
        with contextlib.redirect_stderr(said):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _deferred(command) for name, command in commands.items()},
                args=arguments,
                prog="safr",
                description="Train transformers whose neurons say which words mattered, and test whether it is so.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as stopped:
        # The parser frames an error of ours in a box that names its own inner parts; ours is one line.
        cause = stopped.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        sys.stderr.write(said.getvalue())
        raise


def _flag(argument: str) -> str:
    """The option that an argument gives; `--no-NAME` is NAME's, and `_` as good as `-`."""
    return argument.partition("=")[0].replace("_", "-").replace("--no-", "--")


def _with_current_names(arguments: Sequence[str]) -> list[str]:
    """The arguments with settings by the names that they have now."""
    flags = {_flag(f"--{old}"): _flag(f"--{new}") for old, new in RENAMED_SETTINGS.items()}

    def renamed(argument: str) -> str:
        flag, equals, value = argument.partition("=")
        return flags[_flag(flag)] + equals + value if _flag(flag) in flags else argument

    return [renamed(argument) for argument in arguments]


def _deferred(command: Command) -> Callable[..., Callable[[], int | None]]:
    """The same command for the parser, but called later, so that its own errors are not taken for the parser's."""

    @functools.wraps(command)
    def ready(*values: object, **named: object) -> Callable[[], int | None]:
        return functools.partial(command, *values, **named)

    return ready


def _without_preset(arguments: Sequence[str]) -> list[str]:
    """The arguments with the options that a preset stands for in its place, but for those that are given beside it."""
    for place, each in enumerate(arguments):
        flag, equals, name = each.partition("=")
        if flag == "--preset":
            rest = list(arguments[place + (1 if equals else 2) :])
            name = name if equals else next(iter(arguments[place + 1 :]), "")
            given = {_flag(each) for each in arguments}
            options = [words for words in preset_options(name) if _flag(words[0]) not in given]
            return [*arguments[:place], *(word for words in options for word in words), *rest]
    return list(arguments)


def parse_sweep_jobs(
    settings: Settings, vary: Sequence[str], seeds: int | None, plan: Path | None, baseline: bool
) -> dict[str, Settings]:
    """The settings of a sweep's runs by name.

    Raises:
        InputError: `plan` stands beside options, or one of them can't be used.
    """
    from safr.experiments.grid import (
        BASELINE_SETTINGS,
        DEFAULT_SEEDS,
        expand_grid,
        expand_seeds,
        merge_jobs,
        parse_varied,
        read_plan,
    )

    if plan is not None:
        if vary or seeds is not None or not baseline or settings != Settings():
            raise InputError("--plan says by itself which runs there are; put what stands beside it into the file")
        jobs = read_plan(plan)
    else:
        if seeds is not None and seeds < 1:
            raise InputError(f"--seeds must be at least 1, got {seeds}")
        numbers = range(settings.recipe.seed, settings.recipe.seed + (seeds or DEFAULT_SEEDS))
        jobs = expand_seeds("baseline", settings, BASELINE_SETTINGS, numbers) if baseline else {}
        jobs = merge_jobs(jobs, expand_grid(settings, parse_varied(vary), numbers))
    return {name: resolve_paths(each) for name, each in jobs.items()}


def parse_score_files(scores: Sequence[str], run: Run) -> dict[str, Path]:
    """Files of other tools' scores by name, looked for in the run's folder first.

    Raises:
        InputError: One is not NAME=FILE, or two have one name.
    """
    found = {}
    for each in scores:
        name, equals, path = each.partition("=")
        if not (name and equals and path):
            raise InputError(f"expected scores as NAME=FILE, got {each!r}")
        if name in found:
            raise InputError(f"two files of scores are called {name!r}; give each a name of its own")
        found[name] = run.folder / path if (run.folder / path).exists() else Path(path)
    return found


def resolve_paths(settings: Settings) -> Settings:
    """The settings with paths that mean the same from any folder, so that a run can be evaluated from anywhere."""
    from safr.data import list_data

    names = {"transformer", *(each.name for each in list_data())}

    def whole(value: str) -> str:
        return value if value in names or not Path(value).exists() else str(Path(value).resolve())

    return dataclasses.replace(settings, data=whole(settings.data), model=whole(settings.model))


def default_run_name(settings: Settings) -> str:
    """A folder name that says what is in it."""
    added = settings.regularization
    name = Path(settings.data).stem
    if settings.model != "transformer":
        name = f"{Path(settings.model).name}-{name}"
    mask = "" if added.vmask else "-no-vmask"
    return f"{name}-{added.importance:g}-{added.interaction:g}{mask}-seed{settings.recipe.seed}".replace(":", "-")
