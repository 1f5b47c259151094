"""Checkpoints of a training: what proves that one is whole, and which one a stopped training goes on from."""

from __future__ import annotations

import json
import shutil
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_pt_utils import safe_globals
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from safr.errors import InputError
from safr.launcher import count_processes
from safr.runs import Run
from safr.storage import hash_file, replace_file, write_json
from safr.training.distributed import wait_for_others

MANIFEST = "files.json"
"""Written last into a checkpoint: the size in bytes and the SHA-256 of every file in it."""

KEPT_CHECKPOINTS = 2
"""The last and one before it, or the best: if one is damaged, the other is there to go on from."""

_STATE = "trainer_state.json"
_NEEDED = ("config.json", "optimizer.pt", "scheduler.pt", _STATE)
"""Files without which a training would go on to other weights; those of the weights come beside them."""

_RANDOM_STATE, _RANDOM_STATE_OF_FIRST = "rng_state.pth", "rng_state_0.pth"
"""Names of the random numbers' state, of a single process and of the first of several."""

_FOREIGN = ("scaler.pt",)
"""Files that the Trainer would read, and that no training of ours writes."""


class CheckpointManifest(TrainerCallback):
    """Writes into each new checkpoint what its files hold, so that damage to it is found later."""

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Write the manifest of the checkpoint that the Trainer has just finished."""
        wait_for_others()  # until each has written the state of its random numbers
        if not state.is_world_process_zero:
            return
        _write_manifest(Path(str(args.output_dir)) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}")


def find_last_checkpoint(run: Run) -> Path | None:
    """The newest checkpoint that a training can go on from as if it had never stopped; None to begin again.

    Newer ones are damaged, or were being written when training stopped, and are deleted. A warning names the damaged
    ones.

    Raises:
        InputError: A checkpoint is whole, but the one with the best epoch's weights is gone or damaged.
    """
    damaged: list[str] = []
    lost_best: Path | None = None
    usable: Path | None = None
    newer: list[Path] = []
    for checkpoint in _list_checkpoints(run):
        problem, best = find_damage(checkpoint), None
        if problem is None:
            best = _find_best_checkpoint(checkpoint, run)
            if best is None or (best.is_dir() and find_damage(best) is None):
                usable = checkpoint
                break
            lost_best = lost_best or best
            problem = f"its best epoch's, {best.name}, is damaged or gone"
        # The Trainer writes its state last: without it, training stopped while the checkpoint was being written.
        if (checkpoint / _STATE).is_file() or (checkpoint / MANIFEST).is_file():
            damaged.append(f"{checkpoint.name} can't be used ({problem})")
        newer.append(checkpoint)
    if usable is None and lost_best is not None:
        raise InputError(
            f"{lost_best}: expected the best epoch's checkpoint, it is damaged or gone; train again in another folder"
        )
    if damaged:
        follows = "training starts again" if usable is None else f"continuing from {usable.name}"
        warnings.warn(f"{run.folder}: {'; '.join(damaged)}; {follows}", stacklevel=6)
    for checkpoint in newer:
        shutil.rmtree(checkpoint)
    return usable


def update_best_checkpoint(checkpoint: Path, run: Run) -> None:
    """Write the current path of the best checkpoint into a checkpoint, since the run's folder may have moved.

    If the Trainer does not find the best checkpoint, it silently keeps the last weights.
    """
    state = _read_state(checkpoint)
    if not (old_path := state["best_model_checkpoint"]):
        return
    path = str(run.checkpoints_folder / Path(old_path).name)
    if path != old_path:
        (checkpoint / MANIFEST).unlink(missing_ok=True)  # until it fits again, every file is read instead
        write_json(checkpoint / _STATE, state | {"best_model_checkpoint": path})
        _write_manifest(checkpoint)


def fit_random_state(checkpoint: Path) -> None:
    """Write the random numbers' state under the name that this number of processes reads, if it was another before.

    The Trainer would silently go on with other random numbers, and so with the texts in another order.
    """
    names = [_RANDOM_STATE, _RANDOM_STATE_OF_FIRST]
    name, other = names if count_processes() == 1 else reversed(names)
    if (checkpoint / name).is_file():
        return
    with safe_globals():
        state = torch.load(checkpoint / other, map_location="cpu", weights_only=True)
    if "cuda" in state:  # a list of all GPUs' where there are several processes
        state["cuda"] = state["cuda"][0] if isinstance(state["cuda"], list) else [state["cuda"]]
    (checkpoint / MANIFEST).unlink(missing_ok=True)  # until it fits again, every file is read instead
    with replace_file(checkpoint / name) as temporary:
        torch.save(state, temporary)
    _write_manifest(checkpoint)


def read_final_epoch(checkpoint: Path) -> float | None:
    """Number of epochs of a training that had ended at this checkpoint, as by early stopping; None if it had not."""
    state = _read_state(checkpoint)
    has_ended = state["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"]
    return state["epoch"] if has_ended else None


def delete_checkpoints(run: Run) -> None:
    """Delete a run's checkpoints; what others have written beside them, such as a tracker's logs, stays."""
    for checkpoint in _list_checkpoints(run):
        shutil.rmtree(checkpoint, ignore_errors=True)
    if run.checkpoints_folder.is_dir() and not any(run.checkpoints_folder.iterdir()):
        run.checkpoints_folder.rmdir()


def find_damage(checkpoint: Path) -> str | None:
    """What is missing from a checkpoint or damaged in it; None if it is whole.

    All files that a training goes on from must be as the manifest says, and must hold numbers and no code: whoever has
    changed them may have changed the manifest too. An earlier version wrote none, nor does a training that is stopped
    just then.
    """
    return _find_changed(checkpoint) or _find_unreadable(checkpoint)


def _find_changed(checkpoint: Path) -> str | None:
    if not (checkpoint / MANIFEST).is_file():
        return None
    try:
        files = json.loads((checkpoint / MANIFEST).read_text(encoding="utf-8"))
        for name, written in files.items():
            path = checkpoint / name
            if not path.is_file():
                return f"{name} is missing"
            if path.stat().st_size != written["size"] or hash_file(path).hex() != written["sha256"]:
                return f"{name} is damaged"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    return None


def _write_manifest(checkpoint: Path) -> None:
    files = sorted(path for path in checkpoint.iterdir() if path.is_file() and path.name != MANIFEST)
    write_json(
        checkpoint / MANIFEST,
        {path.name: {"size": path.stat().st_size, "sha256": hash_file(path).hex()} for path in files},
    )


def _find_unreadable(checkpoint: Path) -> str | None:
    weights = sorted(path.name for path in checkpoint.glob("*.safetensors"))
    if not weights:
        return "it holds no weights"
    if foreign := [name for name in _FOREIGN if (checkpoint / name).exists()]:
        return f"{foreign[0]} is none of its files"
    random_states = sorted(path.name for path in checkpoint.glob("rng_state*.pth"))
    if _RANDOM_STATE not in random_states and _RANDOM_STATE_OF_FIRST not in random_states:
        return f"{_RANDOM_STATE} is missing"
    for name in (*_NEEDED, *random_states, *weights):
        path = checkpoint / name
        if not path.is_file():
            return f"{name} is missing"
        try:
            is_readable = _is_readable(path)
        except Exception:  # the readers of damaged files raise what they like
            is_readable = False
        if not is_readable:
            return f"{name} is damaged"
    return None


def _is_readable(path: Path) -> bool:
    if path.suffix == ".json":
        content = json.loads(path.read_text(encoding="utf-8"))
        return _is_state(content) if path.name == _STATE else isinstance(content, dict)
    if path.suffix == ".safetensors":  # checks that the file is as long as its header says
        with safe_open(path, framework="pt") as file:
            return bool(file.keys())
    with warnings.catch_warnings(), safe_globals():
        warnings.simplefilter("ignore")  # what torch says of a pickle that it refuses
        torch.load(path, map_location="meta", weights_only=True)  # the shapes alone, without memory
    with zipfile.ZipFile(path) as archive:  # torch writes archives, which hold checksums
        return archive.testzip() is None


def _is_state(content: Any) -> bool:
    """Whether this is the Trainer's state, as far as it is read here."""
    return (
        isinstance(content["best_model_checkpoint"], str | None)
        and isinstance(content["epoch"], int | float)
        and isinstance(content["stateful_callbacks"]["TrainerControl"]["args"]["should_training_stop"], bool)
    )


def _find_best_checkpoint(checkpoint: Path, run: Run) -> Path | None:
    """Where the best epoch's checkpoint should be; None if none is kept, or it is this one."""
    old_path = _read_state(checkpoint)["best_model_checkpoint"]
    best = run.checkpoints_folder / Path(old_path).name if old_path else checkpoint
    return None if best == checkpoint else best


def _list_checkpoints(run: Run) -> list[Path]:
    """The folders of checkpoints, the newest first."""
    folders = run.checkpoints_folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*")
    numbered = {path: path.name.rpartition("-")[2] for path in folders if path.is_dir()}
    return sorted((path for path in numbered if numbered[path].isdigit()), key=lambda path: -int(numbered[path]))


def _read_state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
    return state
