"""Parsing of the command line: the command with its options, the settings of a sweep, files of scores, and paths."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import reprlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from safr.config import RENAMED_SETTINGS, Settings, preset_options, setting_names, setting_type
from safr.errors import InputError

if TYPE_CHECKING:
    from safr.runs import Run

Command = Callable[..., int | None]
"""A function whose arguments are options; returns the exit status, None for 0."""


def parse_command(arguments: Sequence[str], commands: Mapping[str, Command]) -> Callable[[], int | None]:
    """The command that the arguments name, with its options, ready to be called.

    Raises:
        InputError: There is no such command or option, an option is given twice, or a value can't be used.
        SystemExit: The parser shows its help.
    """
    output = io.StringIO()
    arguments = _use_current_flags(arguments)
    _check_names(arguments, commands)
    flags = [_normalize_flag(argument) for argument in arguments if argument.startswith("--")]
    if repeated := [flag for index, flag in enumerate(flags) if flag in flags[:index]]:
        raise InputError(
            f"{repeated[0]} is given twice, of which only one would count; give it once, with all its values"
        )
    arguments = _expand_preset(arguments)
    try:
        with contextlib.redirect_stderr(output):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _defer(command) for name, command in commands.items()},
                args=arguments,
                prog="safr",
                description="Train transformers whose neurons say which words mattered, and test whether it is so.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as exit_request:
        # The parser shows our errors in a box that names its own internals. Raising the error itself keeps it one line.
        cause = exit_request.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        if not exit_request.code:
            raise
        place = f"safr {arguments[0]}" if arguments and arguments[0] in commands else "safr"
        raise InputError(f"{_summarize_box(output.getvalue())}; see `{place} --help`") from None


def parse_sweep_jobs(
    settings: Settings, vary: Sequence[str], seeds: int | None, plan: Path | None, baseline: bool
) -> dict[str, Settings]:
    """Settings of a sweep's runs by the name of the run.

    Raises:
        InputError: `plan` is given beside other options, or one of the options can't be used.
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
        seed_range = range(settings.recipe.seed, settings.recipe.seed + (seeds or DEFAULT_SEEDS))
        jobs = expand_seeds("baseline", settings, BASELINE_SETTINGS, seed_range) if baseline else {}
        jobs = merge_jobs(jobs, expand_grid(settings, parse_varied(vary), seed_range))
    return {name: resolve_paths(run_settings) for name, run_settings in jobs.items()}


def parse_score_files(scores: Sequence[str], run: Run) -> dict[str, Path]:
    """Paths of other tools' score files by name; a path is looked for in the run's folder first.

    Raises:
        InputError: An argument is not NAME=FILE, or two have the same name.
    """
    paths = {}
    for argument in scores:
        name, equals, path = argument.partition("=")
        if not (name and equals and path):
            raise InputError(f"expected scores as NAME=FILE, got {argument!r}")
        if name in paths:
            raise InputError(f"two files of scores are called {name!r}; give each a name of its own")
        paths[name] = run.folder / path if (run.folder / path).exists() else Path(path)
    return paths


def resolve_paths(settings: Settings) -> Settings:
    """The settings with absolute paths, so that a run can be evaluated from any folder."""
    from safr.data import list_data

    names = {"transformer", *(dataset.name for dataset in list_data())}

    def resolve(value: str) -> str:
        return value if value in names or not Path(value).exists() else str(Path(value).resolve())

    return dataclasses.replace(settings, data=resolve(settings.data), model=resolve(settings.model))


def default_run_name(settings: Settings) -> str:
    """A folder name that says how the run was trained."""
    regularization = settings.regularization
    name = Path(settings.data).stem
    if settings.model != "transformer":
        name = f"{Path(settings.model).name}-{name}"
    mask = "" if regularization.vmask else "-no-vmask"
    weights = f"{regularization.importance:g}-{regularization.interaction:g}"
    return f"{name}-{weights}{mask}-seed{settings.recipe.seed}".replace(":", "-")


def _check_names(arguments: Sequence[str], commands: Mapping[str, Command]) -> None:
    """Refuse a command or an option that there isn't, and name the one that is probably meant."""
    name = next(iter(arguments), None)
    if name is None or name in ("-h", "--help"):
        if name is None:
            raise InputError(f"expected a command, one of {', '.join(commands)}; see `safr --help`")
        return
    if name not in commands:
        raise InputError(f"no command is called {reprlib.repr(name)}; {_suggest(name, commands, 'safr')}")
    known = _list_flags(commands[name])
    for argument in arguments[1:]:
        if argument == "--":
            return
        flag = argument.partition("=")[0].replace("_", "-")
        if flag.startswith("--") and flag not in known:
            raise InputError(
                f"`safr {name}` has no option {reprlib.repr(flag)}; {_suggest(flag, known, f'safr {name}')}"
            )


def _list_flags(command: Command) -> list[str]:
    """The options of a command, as the command line has them."""
    flags = ["--help"]
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if parameter.annotation is Settings:
            names = setting_names()
        elif tyro.conf.Positional in getattr(parameter.annotation, "__metadata__", ()):
            names = []
        else:
            names = [name]
        for each in names:
            flags.append(f"--{each}".replace("_", "-"))
            is_switch = (setting_type(each) if parameter.annotation is Settings else parameter.annotation) is bool
            flags += [f"--no-{each}".replace("_", "-")] if is_switch else []
    return flags


def _suggest(word: str, known: Iterable[str], command: str) -> str:
    """A question after the known word that begins with another, has it as its initials, or is most like it."""

    def has_initials(name: str) -> bool:
        return "".join(part[:1] for part in name.strip("-").split("-")) == word.strip("-")

    begun = [name for name in known if name.startswith(word) and word.strip("-")]
    found = begun + [name for name in known if has_initials(name)] + difflib.get_close_matches(word, known, n=1)
    return f"did you mean {found[0]}?" if found else f"see `{command} --help`"


def _summarize_box(box: str) -> str:
    """The first paragraph of the parser's message, which it draws in a box, as one line."""
    words: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│╰╯ ")
        if text.strip("─-"):
            words += text.split()
        elif words:  # a rule; without other letters than ASCII there is one under the title too
            break
    return " ".join(words).rstrip(".") or "the command line can't be read"


def _normalize_flag(argument: str) -> str:
    """The option of an argument, without its value; `--no-NAME` becomes `--NAME`, and `_` becomes `-`."""
    return argument.partition("=")[0].replace("_", "-").replace("--no-", "--")


def _use_current_flags(arguments: Sequence[str]) -> list[str]:
    """The arguments with old names of settings replaced by the current ones."""
    flags = {_normalize_flag(f"--{old}"): _normalize_flag(f"--{new}") for old, new in RENAMED_SETTINGS.items()}

    def rename(argument: str) -> str:
        flag, equals, value = argument.partition("=")
        return flags[_normalize_flag(flag)] + equals + value if _normalize_flag(flag) in flags else argument

    return [rename(argument) for argument in arguments]


def _defer(command: Command) -> Callable[..., Callable[[], int | None]]:
    """The same command for the parser, but called later, so that its own errors are not taken for the parser's."""

    @functools.wraps(command)
    def bind(*args: object, **kwargs: object) -> Callable[[], int | None]:
        return functools.partial(command, *args, **kwargs)

    return bind


def _expand_preset(arguments: Sequence[str]) -> list[str]:
    """The arguments with a preset replaced by its options; options that are also given by themselves are left out."""
    for index, argument in enumerate(arguments):
        flag, equals, name = argument.partition("=")
        if flag == "--preset":
            later_arguments = list(arguments[index + (1 if equals else 2) :])
            name = name if equals else next(iter(arguments[index + 1 :]), "")
            flags = {_normalize_flag(argument) for argument in arguments}
            options = [words for words in preset_options(name) if _normalize_flag(words[0]) not in flags]
            return [*arguments[:index], *(word for words in options for word in words), *later_arguments]
    return list(arguments)
