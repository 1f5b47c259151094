"""Parsing of the command line: the command with its options, the settings of a sweep, files of scores, and paths."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import functools
import inspect
import io
import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

import tyro

from safr.config import (
    PAPER_MODEL,
    RENAMED_SETTINGS,
    ModelData,
    Settings,
    describe_type,
    preset_options,
    setting_names,
    setting_type,
    write_training_arguments,
)
from safr.errors import InputError, describe_value, shorten_text

if TYPE_CHECKING:
    from safr.runs import Run

Command = Callable[..., int | None]
"""A function whose arguments are options; returns the exit status, None for 0."""


_MODEL_OPTIONS = ("--device", *(f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(ModelData)))

_LONE_OPTIONS = (
    ("train", "--resume", "continues with the run's own settings", {"--data-dir", "--report-to"}),
    (
        "explore",
        "--export",
        "writes a file and starts no server",
        {"--texts", "--no-browser", *_MODEL_OPTIONS},
    ),
)
"""Options by their command, with why nearly nothing counts beside them, and what does."""


def parse_command(arguments: Sequence[str], commands: Mapping[str, Command]) -> Callable[[], int | None]:
    """The command that the arguments name, with its options, ready to be called.

    Raises:
        InputError: The arguments can't be used: nothing is called so, a value is missing or wrong, an option is given
            twice or beside another that it does not go with.
        SystemExit: The parser has shown its help.
    """
    output = io.StringIO()
    arguments = _use_current_flags(arguments)
    _check_names(arguments, commands)
    arguments = _expand_training_arguments(_expand_preset(arguments))
    try:
        with contextlib.redirect_stderr(output):
            return tyro.extras.subcommand_cli_from_dict(
                {name: _defer(command) for name, command in commands.items()},
                args=arguments,
                prog="safr",
                description="Train transformers whose neurons say which words mattered, and test whether it is true.",
                config=(tyro.conf.OmitArgPrefixes,),
            )
    except SystemExit as exit_request:
        if not exit_request.code:
            raise
        # The parser shows errors in a box, and ours in one that names its own internals.
        cause = exit_request.__context__
        while cause is not None and not isinstance(cause, InputError):
            cause = cause.__context__
        if cause is not None:
            raise cause from None
        raise InputError(_describe_refusal(output.getvalue(), arguments, commands)) from None


def parse_sweep_jobs(
    settings: Settings, vary: Sequence[str], seeds: int | None, plan: Path | None, baseline: bool
) -> dict[str, Settings]:
    """Settings of a sweep's runs by the name of the run.

    Raises:
        InputError: `plan` is given beside other options, or one of the options can't be used.
    """
    from safr.experiments.grid import (
        BASELINE_SETTINGS,
        expand_grid,
        expand_seeds,
        merge_jobs,
        parse_varied,
        read_plan,
    )

    if plan is not None:
        if vary or seeds is not None or not baseline or settings != Settings():
            raise InputError("--plan lists the runs by itself; put the other options into the file")
        jobs = read_plan(plan)
    else:
        seed_range = parse_seeds(settings, seeds)
        jobs = expand_seeds("baseline", settings, BASELINE_SETTINGS, seed_range) if baseline else {}
        jobs = merge_jobs(jobs, expand_grid(settings, parse_varied(vary), seed_range))
    return {name: resolve_paths(run_settings) for name, run_settings in jobs.items()}


def parse_seeds(settings: Settings, count: int | None) -> range:
    """As many seeds as are asked for, from that of the settings on; an InputError where the number is none."""
    from safr.experiments.grid import DEFAULT_SEEDS, check_seed_count

    check_seed_count("--seeds", count)
    return range(settings.recipe.seed, settings.recipe.seed + (count or DEFAULT_SEEDS))


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
            raise InputError(f"two files of scores are called {name!r}; give each its own name")
        paths[name] = run.folder / path if (run.folder / path).exists() else Path(path)
    return paths


def resolve_paths(settings: Settings) -> Settings:
    """The settings with absolute paths, so that a run can be evaluated from any folder."""
    from safr.data import list_data

    names = {PAPER_MODEL, *(dataset.name for dataset in list_data())}

    def resolve(value: str) -> str:
        return value if value in names or not Path(value).exists() else str(Path(value).resolve())

    return dataclasses.replace(settings, data=resolve(settings.data), model=resolve(settings.model))


def default_run_name(settings: Settings) -> str:
    """A folder name that says how the run was trained."""
    regularization = settings.regularization
    name = Path(settings.data).stem
    if settings.model != PAPER_MODEL:
        name = f"{Path(settings.model).name}-{name}"
    mask = "" if regularization.vmask else "-no-vmask"
    weights = f"{regularization.importance:g}-{regularization.interaction:g}"
    others = [word.replace("=", "-") for word in regularization.neuron_losses or ()]
    others += [f"top-{regularization.top_k}"] if regularization.top_k else []
    others += [f"dropout-{regularization.neuron_dropout:g}"] if regularization.neuron_dropout else []
    return f"{'-'.join([name, weights, *others])}{mask}-seed{settings.recipe.seed}".replace(":", "-")


def _check_names(arguments: Sequence[str], commands: Mapping[str, Command]) -> None:
    """Raise an InputError for a command or an option that there is not, or that does not count beside another."""
    name = arguments[0] if arguments else ""
    if name in ("-h", "--help") or name.startswith("--tyro-"):  # the parser's own, which make shells complete words
        return
    if not name or name.startswith("-"):
        found = repr(name) if name else "none"
        raise InputError(f"expected a command, got {found}; the commands are {', '.join(commands)}")
    if name not in commands:
        closest = _suggest(name, commands) or f"; the commands are {', '.join(commands)}"
        raise InputError(f"there is no command {name!r}{closest}")
    types = _list_options(commands[name])
    options = _list_given_options(arguments)
    known = ["--help", *types, *(f"--no-{flag[2:]}" for flag, kind in types.items() if kind is bool)]
    for option, equals, _ in options:
        if option not in known:
            raise InputError(f"`safr {name}` has no {option}{_suggest(option, known) or f'; see `safr {name} --help`'}")
        if equals and types.get(_normalize_flag(option)) is bool:
            raise InputError(f"{option} takes no value: --NAME switches an option on, --no-NAME off")
    flags = [_normalize_flag(option) for option, _, _ in options]
    if repeated := [flag for index, flag in enumerate(flags) if flag in flags[:index]]:
        raise InputError(f"{repeated[0]} is given twice, but only one would count; give it once, with all its values")
    for command, lone, reason, allowed in _LONE_OPTIONS:
        others = [option for option, _, _ in options if option not in (lone, "--help", *allowed)]
        if name == command and lone in flags and others:
            raise InputError(f"{lone} {reason}; leave out {', '.join(others)}, which would not count")


def _list_options(command: Command) -> dict[str, Any]:
    """The types of what a command can be given, by its option."""
    types = get_type_hints(command)
    types.pop("return", None)
    has_settings = types.pop("settings", None) is not None
    types |= {name: setting_type(name) for name in setting_names()} if has_settings else {}
    types |= get_type_hints(ModelData) if types.pop("model_data", None) is not None else {}
    return {_normalize_flag(f"--{name}"): kind for name, kind in types.items()}


def _suggest(word: str, known: Iterable[str]) -> str:
    """A question that names what was probably meant; empty if nothing is near."""
    names = {name.lstrip("-"): name for name in known}
    typed = word.lstrip("-")
    by_initials = [name for name in names if "".join(part[0] for part in name.split("-")) == typed]
    closest = by_initials or difflib.get_close_matches(typed, names, n=1)
    return f"; did you mean {names[closest[0]]}?" if closest else ""


def _describe_refusal(box: str, arguments: Sequence[str], commands: Mapping[str, Command]) -> str:
    """What the parser says in a box of many lines, as one."""
    said = " ".join(re.sub(r"[^\x00-\x7f]|[|+]|-{3,}", " ", box).split())  # without the frame, in Unicode or in ASCII
    name = arguments[0]
    types = _list_options(commands[name])
    if found := re.search(r"(?:Error parsing|for argument) '?(--[\w-]+)", said):
        flag = _normalize_flag(found[1])
        values, kind = _find_values(arguments, flag), types[flag]
        if not values:
            return f"{flag} needs a value, got none"
        kind = get_args(kind)[0] if get_origin(kind) is tuple else kind  # of several values, each is of this kind
        choice = re.search(r"invalid choice '(.*?)' for argument", said)
        value = repr(choice[1] if choice else " ".join(values))
        return f"{flag} must be {describe_type(kind)}, got {shorten_text(value)}"
    if found := re.search(r"Unrecognized options: (.*?) (?:For full|Perhaps|Arguments)", said):
        advice = f"see `safr {name} --help`"
        if "--text" in types:
            is_dashed = found[1].startswith("-")
            advice = "what begins with - stands after --" if is_dashed else "put a text with spaces in quotes"
        return f"`safr {name}` does not take {found[1]!r}; {advice}"
    required = [flag for flag in _list_required(commands[name]) if flag in said] or [
        flag[2:].upper() for flag in _list_required(commands[name])
    ]
    advice = "; what begins with - stands after --" if any(word.startswith("-") for word in arguments[1:]) else ""
    return f"`safr {name}` needs {' and '.join(required)}{advice}; see `safr {name} --help`"


def _list_required(command: Command) -> list[str]:
    parameters = inspect.signature(command).parameters.values()
    return [f"--{option.name}" for option in parameters if option.default is option.empty and option.name != "settings"]


def _find_values(arguments: Sequence[str], flag: str) -> list[str]:
    """The words that were given to an option."""
    for index, argument in enumerate(arguments):
        if argument.startswith("--") and _normalize_flag(argument) == flag:
            value = argument.partition("=")[2]
            return [value] if value else [*itertools.takewhile(lambda word: word[:2] != "--", arguments[index + 1 :])]
    return []


def _list_given_options(arguments: Sequence[str]) -> list[tuple[str, str, str]]:
    """The options among the arguments, each as its name, `=` and its value; what stands after a bare `--` is none."""
    options = itertools.takewhile(lambda argument: argument != "--", arguments)
    parts = [argument.partition("=") for argument in options if argument.startswith("--")]
    return [(name.replace("_", "-"), equals, value) for name, equals, value in parts]


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


def _expand_training_arguments(arguments: Sequence[str]) -> list[str]:
    """The arguments with a YAML file of training arguments replaced by what it holds."""
    for index, argument in enumerate(arguments):
        flag, equals, value = argument.partition("=")
        if flag.startswith("--") and _normalize_flag(flag) == "--training-arguments":
            later_arguments = arguments[index + 1 :]
            words = [value] if equals else [*itertools.takewhile(lambda word: word[:2] != "--", later_arguments)]
            later_arguments = later_arguments[0 if equals else len(words) :]
            expanded = [argument for word in words for argument in _read_training_arguments(word)]
            return [*arguments[:index], flag, *expanded, *later_arguments]
    return list(arguments)


def _read_training_arguments(word: str) -> Sequence[str]:
    """The training arguments of a file as NAME=VALUE, or the one that the word is."""
    from safr.experiments.yaml_files import read_yaml  # slow to import

    if "=" in word and not Path(word).is_file():
        return [word]
    values = read_yaml(Path(word))
    if not isinstance(values, dict) or not values:
        raise InputError(f"{word}: expected training arguments as `name: value`, got {describe_value(values)}")
    return write_training_arguments(values)
