import shutil
import subprocess
import sys

import pytest

from safr.errors import InputError
from safr.runs import Run
from safr.storage import write_json
from safr.training import train
from safr.training.checkpoints import MANIFEST, _write_manifest, find_damage
from tests.test_training import StopAfter, same, small_data, weights, with_recipe

RECIPE = with_recipe(epochs=4, kept_epoch="last").changed(tokenizer="words")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    """A run that was stopped in its fourth epoch, and the same one undisturbed."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.raises(KeyboardInterrupt):
        train(RECIPE, small_data(), folder / "stopped", callbacks=[StopAfter(3)])
    return folder / "stopped", train(RECIPE, small_data(), folder / "whole")


@pytest.mark.parametrize("has_manifest", [True, False])
@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize(
    "name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "model.safetensors", "trainer_state.json", "config.json"]
)
def test_damage_to_any_file_is_found(stopped, tmp_path, name, harm, has_manifest):
    checkpoint = tmp_path / "checkpoint-18"
    shutil.copytree(stopped[0] / "checkpoints" / checkpoint.name, checkpoint)
    if not has_manifest:
        (checkpoint / MANIFEST).unlink()
    assert find_damage(checkpoint) is None
    harm(checkpoint / name)
    assert find_damage(checkpoint) is not None


@pytest.mark.parametrize("state", [{}, {"best_model_checkpoint": 1, "epoch": "x", "global_step": 1}])
def test_a_state_of_another_shape_is_damage_also_where_the_manifest_agrees(stopped, tmp_path, state):
    checkpoint = tmp_path / "checkpoint-18"
    shutil.copytree(stopped[0] / "checkpoints" / checkpoint.name, checkpoint)
    write_json(checkpoint / "trainer_state.json", state)
    _write_manifest(checkpoint)
    assert find_damage(checkpoint) == "trainer_state.json is damaged"


def test_training_goes_on_from_an_older_checkpoint_to_the_same_weights(stopped, tmp_path):
    shutil.copytree(stopped[0], tmp_path / "run")
    (tmp_path / "run" / "checkpoints" / "checkpoint-18" / "optimizer.pt").unlink()
    with pytest.warns(UserWarning, match=r"checkpoint-18 can't be used \(optimizer.pt is missing\); continuing from"):
        resumed = train(RECIPE, small_data(), tmp_path / "run", resume=True)
    assert same(weights(stopped[1]), weights(resumed))


def test_what_others_write_beside_the_checkpoints_stays(stopped, tmp_path):
    shutil.copytree(stopped[0], tmp_path / "run")
    logs = tmp_path / "run" / "checkpoints" / "runs" / "events"
    logs.parent.mkdir()
    logs.write_text("a tracker's")
    (tmp_path / "run" / ".model" / ".saving-x").mkdir(parents=True)
    run = train(RECIPE, small_data(), tmp_path / "run", resume=True)
    assert logs.is_file()
    assert not list((tmp_path / "run").rglob(".*"))
    assert [path.name for path in run.checkpoints_folder.iterdir()] == ["runs"]


def test_a_run_that_another_process_works_on_is_left_alone(tmp_path):
    hold = (
        "import sys; from pathlib import Path; from safr.runs import Run\n"
        "with Run(Path(sys.argv[1])).lock(): print('held', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path / "run")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        with (
            pytest.raises(InputError, match=f"process {process.pid} on .* has worked on it since"),
            Run(tmp_path / "run").lock(),
        ):
            pass
        process.kill()
    with Run(tmp_path / "run").lock(), Run(tmp_path / "run").lock():
        pass
    assert not list((tmp_path / "run").iterdir())
