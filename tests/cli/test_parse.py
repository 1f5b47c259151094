import os
import shlex
from typing import get_type_hints

import pytest

from safr.cli.commands import COMMANDS, train_command
from safr.cli.parse import parse_command
from safr.config import PRESETS
from safr.errors import InputError

COMMAND_NAMES = ", ".join(COMMANDS)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", f"expected a command, got none; the commands are {COMMAND_NAMES}"),
        ("--helpp", f"expected a command, got '--helpp'; the commands are {COMMAND_NAMES}"),
        ("trian", "there is no command 'trian'; did you mean train?"),
        ("xyz", f"there is no command 'xyz'; the commands are {COMMAND_NAMES}"),
        ("train --lr 3", "`safr train` has no --lr; did you mean --learning-rate?"),
        ("train --learning_rat 3", "`safr train` has no --learning-rat; did you mean --learning-rate?"),
        ("train --no-epochs", "`safr train` has no --no-epochs; did you mean --epochs?"),
        ("evaluate run --xyz", "`safr evaluate` has no --xyz; see `safr evaluate --help`"),
        ("train --epochs", "--epochs needs a value, got none"),
        ("train --epochs x", "--epochs must be a whole number, got 'x'"),
        ("train --epochs=1.5", "--epochs must be a whole number, got '1.5'"),
        (f"train --epochs {'9' * 5000}", f"--epochs must be a whole number, got '{'9' * 56}..."),
        ("train --vmask-keep x", "--vmask-keep must be a finite number or None, got 'x'"),
        ("train --learning-rate inf", "`learning_rate` must be a finite number, got inf (float)"),
        ("train --importance nan", "`importance` must be a finite number, got nan (float)"),
        ("train --scale-free x", "--scale-free must be True, False or None, got 'x'"),
        ("train --layers 0 x", "--layers must be 'all', a whole number or a tuple of whole numbers, got '0 x'"),
        ("train --layers", "`layers` must be 'all', a whole number or a tuple of whole numbers, got a tuple of 0"),
        ("train --padding cuont", "--padding must be 'mask' or 'count', got 'cuont'"),
        ("benchmark run --removals delete x", "--removals must be 'delete', 'replace', 'hide' or 'average', got 'x'"),
        ("train --training-arguments", "`training_arguments` must be a tuple of strings or None, got a tuple of 0"),
        ("train --vmask=3", "--vmask takes no value: --NAME switches an option on, --no-NAME off"),
        ("train --no-vmask=true", "--no-vmask takes no value: --NAME switches an option on, --no-NAME off"),
        ("train extra", "`safr train` does not take 'extra'; see `safr train --help`"),
        ("explain run a good film", "`safr explain` does not take 'film'; put a text with spaces in quotes"),
        ("explain", "`safr explain` needs RUN; see `safr explain --help`"),
        ("explain run -good", "`safr explain` does not take '-good'; what begins with - stands after --"),
        ("sweep", "`safr sweep` needs --output; see `safr sweep --help`"),
        (
            "train --resume run --epochs 9 --no-vmask --data-dir here",
            "--resume continues with the run's own settings; leave out --epochs, --no-vmask, which would not count",
        ),
        (
            "explore run --export page.html --texts 3 --port 80",
            "--export writes a file and starts no server; leave out --port, which would not count",
        ),
    ],
)
@pytest.mark.parametrize("columns", ["40", "300"])
def test_what_is_mistyped_is_one_line_that_names_it(typed, said, columns, monkeypatch, capsys):
    monkeypatch.setitem(os.environ, "COLUMNS", columns)  # the parser's own box is as wide as the terminal
    with pytest.raises(InputError) as refused:
        parse_command(typed.split(), COMMANDS)
    assert str(refused.value) == said
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_asked_for_help(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        parse_command([name, "--help"], COMMANDS)
    assert stopped.value.code == 0
    assert f"usage: safr {name}" in capsys.readouterr().out


def test_a_text_may_begin_with_a_dash_and_hold_what_looks_like_options():
    command = parse_command(["explain", "run", "--", "--nonsense"], COMMANDS)
    assert command.args[1] == "--nonsense" if command.args else command.keywords["text"] == "--nonsense"


@pytest.mark.parametrize(
    ("asked", "importance"),
    [(["--preset", "best"], PRESETS["best"]["importance"]), (["--preset=best", "--importance", "7"], 7.0)],
)
def test_a_preset_stands_for_its_settings_but_those_beside_it_count(asked, importance):
    settings = parse_command(["train", *asked], {"train": train_command}).keywords["settings"]
    assert settings.regularization.importance == importance
    assert settings.regularization.interaction == PRESETS["best"]["interaction"]


def test_every_command_that_takes_settings_takes_a_preset():
    takers = [name for name, command in COMMANDS.items() if "settings" in get_type_hints(command)]
    assert takers == ["train", "sweep", "compare"]
    for name in takers:
        chosen = parse_command([name, "--output", "folder", "--preset", "best"], COMMANDS)
        assert chosen.keywords["settings"].regularization.importance == PRESETS["best"]["importance"], name


@pytest.mark.parametrize("old", [["--importance-at", "fc1"], ["--importance_at=fc1"]])
def test_an_option_may_have_its_old_name(old):
    settings = parse_command(["train", *old], {"train": train_command}).keywords["settings"]
    assert settings.regularization.importance_sites == "fc1"
    with pytest.raises(InputError, match=r"^--importance-sites is given twice"):
        parse_command(["train", *old, "--importance-sites", "fc1"], {"train": train_command})


def test_an_option_may_be_spelled_with_underscores():
    settings = parse_command(
        ["train", "--preset", "best", "--learning_rate", "1e-2"], {"train": train_command}
    ).keywords["settings"]
    assert settings.recipe.learning_rate == 1e-2
    with pytest.raises(InputError, match=r"^--learning-rate is given twice"):
        parse_command(["train", "--learning-rate", "1e-2", "--learning_rate", "1e-3"], {"train": train_command})
    with pytest.raises(InputError, match=r"^--vmask is given twice"):
        parse_command(["train", "--no-vmask", "--vmask"], {"train": train_command})


def test_an_unknown_preset_gets_one_line():
    with pytest.raises(InputError, match=r"^no preset is called 'worst'; known are best$"):
        parse_command(["train", "--preset", "worst"], COMMANDS)
    with pytest.raises(InputError, match=r"^no preset is called ''; known are best$"):
        parse_command(["train", "--preset"], COMMANDS)


# --- a file of training arguments


@pytest.fixture
def write_yaml(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "args.yaml").write_text(text)

    return write


def parse_settings(typed):
    return parse_command(typed.split(), COMMANDS).keywords["settings"]


@pytest.mark.parametrize(
    "typed",
    [
        "train --training-arguments args.yaml --epochs 3",
        "train --epochs 3 --training_arguments=args.yaml",
        "sweep --output here --training-arguments args.yaml --epochs 3",
    ],
)
def test_a_file_of_training_arguments_is_read_into_the_settings(write_yaml, typed):
    write_yaml("optim: adafactor\nadam_epsilon: 1e-6\nlr_scheduler_kwargs: {min_lr: 2E-5}\nfull_determinism: true\n")
    settings = parse_settings(typed)
    words = ("adam_epsilon=1e-06", "full_determinism=true", 'lr_scheduler_kwargs={"min_lr": 2e-05}', "optim=adafactor")
    assert settings.recipe.training_arguments == words
    assert settings.recipe.epochs == 3
    again = parse_command(shlex.split(settings.command)[1:], COMMANDS).keywords["settings"]
    assert again == settings


def test_training_arguments_stand_beside_a_file_and_without_one(write_yaml):
    write_yaml("optim: adafactor")
    settings = parse_settings("train --training-arguments args.yaml adam_beta2=0.98")
    assert settings.recipe.training_arguments == ("adam_beta2=0.98", "optim=adafactor")
    assert parse_settings("train --training-arguments optim=sgd").recipe.training_arguments == ("optim=sgd",)
    with pytest.raises(InputError, match="`training_arguments` has the text 'optim' twice"):
        parse_settings("train --training-arguments args.yaml optim=sgd")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "^args.yaml: expected training arguments as `name: value`, got None$"),
        ("{}", "^args.yaml: expected training arguments as `name: value`, got a dict of 0$"),
        ("- optim", "^args.yaml: expected training arguments as `name: value`, got a list of 1$"),
        ("optim: [", r"^args.yaml, line 1: expected YAML \(.*\)$"),
        ("optim: sgd\noptim: sgd", r"^args.yaml, line 1: expected YAML \('optim' is given twice\)$"),
        ("optim: !!python/object:os.system {}", r"^args.yaml, line 1: expected YAML \(could not determine .*\)$"),
        ("3: sgd", r"^`training_arguments` must have names, got 3 \(int\)$"),
        ("optim: 2024-01-01", "^`training_arguments` must have values that JSON can hold, got optim a date$"),
        ("learning_rate: 1e-4", "^`training_arguments` can't set learning_rate; use `safr train --learning-rate`$"),
    ],
)
def test_a_file_that_holds_something_else_gets_one_line(write_yaml, text, message):
    write_yaml(text)
    with pytest.raises(InputError, match=message):
        parse_command(["train", "--training-arguments", "args.yaml"], COMMANDS)


def test_a_file_that_is_not_there_is_named(write_yaml):
    with pytest.raises(InputError, match=r"^args.yaml: expected a YAML file of settings \(.*No such file"):
        parse_command(["train", "--training-arguments", "args.yaml"], COMMANDS)
