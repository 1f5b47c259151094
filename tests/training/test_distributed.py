import csv
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import safr
from safr.cli.commands import COMMANDS, SHARED_COMMANDS, main
from safr.config import Recipe
from safr.errors import InputError
from safr.evaluation.evaluate import evaluate
from safr.runs import Run
from safr.storage import read_json
from safr.training import train
from safr.training.distributed import join_processes
from tests import tiny
from tests.model import families
from tests.training.several_processes import ACCUMULATED, BALANCED, SETTINGS, StopAfter, data, train_without_chance

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
ACCELERATE = [
    "-m",
    "accelerate.commands.launch",
    "--multi_gpu",
    "--num_processes",
    "2",
    "--main_process_port",
    "0",
    "-m",
]
FSDP = ["--use_fsdp", "--fsdp_version", "2", *ACCELERATE[3:]]
SIZES = ["--width", "16", "--heads", "2", "--feed-forward", "32", "--vmask-width", "8", "--epochs", "2"]


def launch(launcher, *arguments):
    command = [sys.executable, *launcher, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, timeout=120)


def assert_same_runs(one, other, tolerance):
    weights, others = (safr.load(run.model_folder).state_dict() for run in (one, other))
    for name, weight in weights.items():
        torch.testing.assert_close(weight, others[name], rtol=0, atol=tolerance, msg=name)
    assert len(one.history) == len(other.history) == SETTINGS.recipe.epochs
    for line, other_line in zip(one.history, other.history, strict=True):
        assert line | {"seconds": 0} == pytest.approx(other_line | {"seconds": 0}, rel=1e-5)


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """What one process makes: a run, the same with weights of the classes, and one that was stopped."""
    folder = tmp_path_factory.mktemp("one")
    train_without_chance(SETTINGS, folder / "whole")
    train_without_chance(BALANCED, folder / "balanced")
    train_without_chance(ACCUMULATED, folder / "accumulated")
    with suppress(KeyboardInterrupt):
        train_without_chance(SETTINGS, folder / "begun by one", callbacks=[StopAfter(1)])
    return folder


@pytest.fixture(scope="module")
def two(tmp_path_factory, one):
    """What two processes make, of which only the first can write."""
    folder = tmp_path_factory.mktemp("two")
    shutil.copytree(one / "begun by one", folder / "begun by one")
    done = launch(TORCHRUN, "tests.training.several_processes", folder, "train")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "balanced"])
def test_two_processes_train_as_one_does_on_the_same_batches(one, two, name):
    # Dropout and the mask's samples are off, since they are drawn for each process's texts by itself.
    assert_same_runs(Run(one / name), Run(two / name), 1e-6)


@pytest.mark.slow
def test_a_stopped_training_is_resumed_by_two_processes(one, two):
    assert_same_runs(Run(two / "whole"), Run(two / "stopped"), 0)
    assert not (two / "stopped" / "checkpoints").exists()
    assert_same_runs(Run(one / "whole"), Run(two / "begun by one"), 1e-6)


@pytest.mark.slow
def test_what_two_processes_have_begun_is_resumed_by_one(one, two, tmp_path):
    shutil.copytree(two / "begun by two", tmp_path / "run")
    assert_same_runs(Run(one / "whole"), train_without_chance(SETTINGS, tmp_path / "run", resume=True), 1e-6)


@pytest.mark.slow
def test_the_first_of_two_processes_follows_the_words_as_one_does(one, two):
    lines, others = Run(one / "whole").word_history, Run(two / "whole").word_history
    assert [line["epoch"] for line in others] == [0, 1, 2, 3]
    assert [line["epoch"] for line in Run(two / "begun by one").word_history] == [0, 1, 2, 3]
    for line, other in zip(lines, others, strict=True):
        for values, other_values in zip(line["capacity"], other["capacity"], strict=True):
            assert values == pytest.approx(other_values, rel=0.01)


@pytest.mark.slow
def test_a_loss_that_is_no_number_in_one_process_ends_both(two):
    with pytest.raises(InputError, match="the loss is not a finite number from step 3 on"):
        Run(two / "diverged").check_divergence()


@pytest.fixture(scope="module")
def sharded(tmp_path_factory, one):
    """What two processes make of which each holds a part of the weights, and only the first can write."""
    folder = tmp_path_factory.mktemp("sharded")
    shutil.copytree(one / "begun by one", folder / "begun by one")
    done = launch(TORCHRUN, "tests.training.several_processes", folder, "shard")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "balanced", "accumulated"])
def test_sharded_processes_train_as_one_does(one, sharded, name):
    assert_same_runs(Run(one / name), Run(sharded / name), 1e-6)


@pytest.mark.slow
def test_a_stopped_sharded_training_is_resumed(one, sharded):
    assert_same_runs(Run(sharded / "whole"), Run(sharded / "stopped"), 0)
    assert_same_runs(Run(sharded / "adam"), Run(sharded / "stopped adam"), 0)
    assert_same_runs(Run(one / "whole"), Run(sharded / "begun by one"), 1e-6)


@pytest.mark.slow
def test_sharded_processes_follow_no_words(sharded):
    assert Run(sharded / "whole").word_history == []


@pytest.mark.slow
def test_what_sharded_processes_have_begun_is_resumed_by_one(one, sharded, tmp_path):
    shutil.copytree(sharded / "begun by two", tmp_path / "run")
    assert_same_runs(Run(one / "whole"), train_without_chance(SETTINGS, tmp_path / "run", resume=True), 1e-6)


@pytest.mark.slow
def test_losses_gradients_and_weights_of_every_family_are_the_same_where_they_are_sharded(sharded):
    differences = read_json(sharded / "differences.json")
    assert differences.keys() == families.FC1.keys()
    assert max(differences.values()) < 1e-6


@pytest.mark.slow
def test_a_process_that_is_killed_ends_the_other_in_one_line(tmp_path):
    done = launch(TORCHRUN, "tests.training.several_processes", tmp_path, "die")
    assert done.returncode != 0
    assert "another process has ended early; continue with `safr train --resume" in done.stderr
    assert not Run(tmp_path / "dead").is_trained


@pytest.mark.slow
def test_launchers_train_and_the_first_process_alone_speaks(tmp_path):
    with (tmp_path / "data.csv").open("w", newline="") as file:
        rows = [(text, tiny.LABELS[label]) for text, label in tiny.sentences(120, 0, longest=9)]
        csv.writer(file).writerows([("text", "label"), *rows])
    options = ["safr", "train", "--data", tmp_path / "data.csv", "--output", tmp_path / "run", *SIZES]
    done = launch(TORCHRUN, *options)
    assert done.returncode == 0, done.stderr
    assert "safr: " not in done.stderr
    assert "rank" not in done.stderr  # what torch says of each process
    for line in ("texts to train / choose / test", "run, epoch 1: dev accuracy", "run, epoch 2: ", "run: macro F1"):
        assert done.stdout.count(line) == 1, done.stdout
    assert len(Run(tmp_path / "run").history) == 2
    scores = Run(tmp_path / "run").scores
    assert evaluate(Run(tmp_path / "run"))["srs"] == scores["srs"]  # which two processes have measured
    again = launch(ACCELERATE, *options)
    assert again.returncode != 0
    assert again.stderr.count("safr: ") == again.stderr.count(f"safr: {tmp_path / 'run'}: already holds a run; ") == 1
    options[options.index(tmp_path / "run")] = tmp_path / "sharded"
    done = launch([*ACCELERATE[:2], *FSDP], *options)
    assert done.returncode == 0, done.stderr
    assert "safr: " not in done.stderr
    assert done.stdout.count("sharded: macro F1") == 1
    assert Run(tmp_path / "sharded").scores["accuracy"]


@pytest.fixture
def launched(monkeypatch):
    """This process as a launcher's first of two."""
    for name in ("RANK", "LOCAL_RANK", "MASTER_PORT"):
        monkeypatch.setenv(name, "0")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("WORLD_SIZE", "2")
    return monkeypatch


@pytest.mark.parametrize(
    ("flag", "name"),
    [
        ("ACCELERATE_USE_FSDP", "FSDP of version 1"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
        ("ACCELERATE_USE_MEGATRON_LM", "Megatron-LM"),
        ("ACCELERATE_USE_PARALLELISM_CONFIG", "a parallelism config"),
        ("FSDP_OFFLOAD_PARAMS", "FSDP with weights kept on the processor"),
    ],
)
def test_other_ways_to_share_a_model_are_refused(monkeypatch, flag, name, tmp_path):
    monkeypatch.setenv(flag, "true")
    with pytest.raises(InputError, match=f"accelerate is set to {name}, but SAFR trains with a copy of the model on "):
        train(SETTINGS, data(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_number_of_processes_without_a_launcher_is_refused_before_data_are_looked_for(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main(["train", "--data", str(tmp_path / "nothing.csv"), "--output", str(tmp_path / "run")]) == 2
    assert "safr: WORLD_SIZE says that there are 2 processes, but RANK is not set; " in capsys.readouterr().err


def test_a_batch_that_the_processes_cannot_share_is_refused(launched):
    with pytest.raises(InputError, match=r"`batch_size` 9 counts the texts of all processes .* a multiple of 2$"):
        join_processes(Recipe(batch_size=9))


def test_more_processes_than_gpus_are_refused(launched):
    launched.setattr(torch.accelerator, "is_available", lambda: True)
    launched.setattr(torch.accelerator, "device_count", lambda: 1)
    with pytest.raises(InputError, match=r"has started 2 processes here, more than there are GPUs \(1\); "):
        join_processes(Recipe())


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("train", *SHARED_COMMANDS)])
def test_every_other_command_is_refused_under_a_launcher(launched, command, tmp_path, capsys):
    needed = {"sweep": ["--output", str(tmp_path)], "compare": ["--output", str(tmp_path)], "explain": ["run"]}
    assert main([command, *needed.get(command, [])]) == 2
    assert f"safr: `safr {command}` runs in one process, but a launcher has started 2 " in capsys.readouterr().err


def test_of_several_gpus_the_line_says_how_to_use_all(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    main(["train", "--data", str(tmp_path / "nothing.csv"), "--output", str(tmp_path / "run")])
    line = "training on the first of 4 GPUs; to use all: torchrun --nproc-per-node 4 -m safr train ...\n"
    assert capsys.readouterr().out.count(line) == 1
