"""Saving a model with SAFR on it and loading it: `save_pretrained`'s layout, safetensors, settings in `config.json`.

Loading reads numbers and JSON only, never pickled code and never code from the folder.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

import safr
import safr.model.transformer
from safr.config import Regularization, regularization_from_dict
from safr.errors import InputError, first_line
from safr.model.attach import attach_resolved
from safr.model.hub import is_hub_name, model_folder
from safr.model.model_card import Score, model_card
from safr.model.pretrained_tokenizer import check_saved_file
from safr.model.regularizer import SETTINGS, get_regularizer
from safr.storage import hash_file, read_json, update_folder

_PREFIX = "safr."
_LAYER_COUNTS = {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"}
_WEIGHTS, _INDEX, _SHARDS = "model.safetensors", "model.safetensors.index.json", "model-?????-of-?????.safetensors"
_PICKLES = (".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth")


def save(
    model: nn.Module,
    folder: str | Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    scores: Mapping[str, Score] | None = None,
    max_shard_size: int | str = "50GB",
) -> Path:
    """Write a model with SAFR on it to a folder that `safr.load` reads and a hub accepts.

    Adapters of PEFT (LoRA) are merged into the weights that are written; the model in memory stays as it is.

    Args:
        model: A transformers model after `safr.attach`, or PEFT's around one.
        folder: Made if it isn't there. A model in it is replaced, other files stay.
        tokenizer: Written beside the model.
        scores: Lines for the model card, by name: a text, a number, or a mapping with `value`, `low` and `high`, which
            are shares and shown in per cent.
        max_shard_size: Bytes, or a text such as "5GB", above which the weights go into several files.

    Raises:
        InputError: SAFR is not on the model, or `load` could not read what would be written.
    """
    if get_regularizer(model) is None:
        raise InputError(f"SAFR is not attached to this {type(model).__name__}; use its own save_pretrained")
    plain = _without_adapters(model)
    folder = Path(folder)
    with update_folder(folder, last="config.json", stale=_list_weights) as unfinished:
        plain.save_pretrained(unfinished, max_shard_size=max_shard_size)
        if tokenizer is not None:
            tokenizer.save_pretrained(unfinished)
        _add_settings(unfinished / "config.json", plain)
        (unfinished / "README.md").write_text(model_card(unfinished, scores), encoding="utf-8")
    return folder


def load(folder: str | Path, *, device: torch.device | str | None = None) -> PreTrainedModel:
    """The model that `safr.save` wrote, with SAFR on it, in evaluation mode.

    Folders that `save_pretrained` or a Trainer has written of a model with SAFR on it, such as `checkpoint-500`, are
    read as well. A tokenizer need not be there.

    Args:
        folder: The folder, or the name "owner/name" of a model on the Hugging Face hub. An existing path always wins.
        device: Where the model goes, such as "cpu", "cuda" or "cuda:1". Default: the processor.

    Raises:
        InputError: The folder is not there, is damaged, or holds no model with SAFR on it; or the device is not there.
    """
    target = find_device("cpu" if device is None else device)
    name, folder = str(folder), model_folder(folder)
    config = _read_config(folder)
    written = config.pop(SETTINGS)
    regularization, special_ids = _read_settings(folder, written)
    weights = _read_weights(folder, written)
    ours = {key.removeprefix(_PREFIX): weights.pop(key) for key in list(weights) if key.startswith(_PREFIX)}
    if not ours:
        raise InputError(
            f"{folder}: has SAFR's settings but none of its weights, whose names begin with {_PREFIX}, as after "
            "loading by from_pretrained and saving again; load the original folder, or run `del model.config.safr` "
            "and train again with safr.attach"
        )
    model = _build_model(folder, config, weights)
    attached = attach_resolved(model, regularization, special_ids, ours.get("pieces"))
    expected = attached.state_dict()
    unfit = {key for key in {*ours, *expected} if _shape(ours.get(key)) != _shape(expected.get(key))}
    _check_complete(folder, {f"{_PREFIX}{key}" for key in unfit})
    attached.load_state_dict(ours)
    model.config.name_or_path = name
    return nn.Module.to(model.eval(), target)


def default_device() -> str:
    """The GPU, where CUDA finds one, else the processor."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def find_device(device: Any) -> torch.device:
    """The device of a name, if this machine has it."""
    counts = {"cpu": 1}
    if torch.accelerator.is_available() and (accelerator := torch.accelerator.current_accelerator()) is not None:
        counts[accelerator.type] = torch.accelerator.device_count()
    try:
        asked = torch.device(device)
    except (RuntimeError, TypeError):  # no name of torch's
        asked = None
    if asked is None or (asked.index or 0) >= counts.get(asked.type, 0):
        known = [kind if count == 1 else f"{kind}:0 to {kind}:{count - 1}" for kind, count in counts.items()]
        raise InputError(f"`device` must be one that this machine has ({', '.join(known)}), got {str(device)!r}")
    return asked


def _without_adapters(model: Any) -> PreTrainedModel:
    """The model itself; of one that PEFT has wrapped, a copy with the adapters merged into its weights."""
    if getattr(model, "_hf_peft_config_loaded", False):
        raise InputError("expected adapters from peft.get_peft_model, got model.add_adapter's, which can't be merged")
    # PEFT's models are known by their methods, so that nothing here needs it installed.
    if not hasattr(model, "get_base_model"):
        return model
    if not hasattr(model, "merge_and_unload"):
        raise InputError("expected adapters that can be merged into the weights, such as LoRA's; got others")
    return copy.deepcopy(model).merge_and_unload()


def _list_weights(folder: Path) -> list[Path]:
    """Files of a folder that hold a model's weights, or say where they are."""
    return [folder / _WEIGHTS, folder / _INDEX, *folder.glob(_SHARDS)]


def _add_settings(path: Path, model: PreTrainedModel) -> None:
    """Write SAFR's settings into the `config.json` that `save_pretrained` has left, and take local paths out of it."""
    attached = get_regularizer(model)
    assert attached is not None
    text = path.read_text(encoding="utf-8")
    config = json.loads(text, object_hook=lambda part: {key: part[key] for key in part if key != "_name_or_path"})
    _find_model_class(config)
    config[SETTINGS] = {
        "version": safr.__version__,
        "base_model": _base_model(model.config.name_or_path or ""),
        "special_ids": list(attached.special_ids),
        "regularization": asdict(attached.regularization),
        # Whoever writes other weights here writes another config.json too, without this.
        "sha256": {
            file.name: hash_file(file).hex()
            for file in sorted(path.parent.iterdir())
            if file.is_file() and file != path
        },
    }
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def _base_model(name: str) -> str | None:
    """The hub name of what a model was fine-tuned from, also by way of a folder of `save`'s; never a path."""
    if is_hub_name(name):
        return name
    try:
        return _read_config(Path(name))[SETTINGS]["base_model"] if name else None
    except (InputError, KeyError, TypeError):
        return None


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.exists() and (folder / "adapter_config.json").is_file():
        raise InputError(
            f"{folder}: expected a whole model, found adapters alone (PEFT); load them onto their model as PEFT says, "
            "and write it by safr.save(model, FOLDER), which merges them"
        )
    if not path.exists():
        checkpoints = sorted(folder.glob("checkpoint-*/config.json"), key=lambda path: path.stat().st_mtime)
        advice = f"; pass one of its checkpoints, such as {checkpoints[-1].parent}" if checkpoints else ""
        raise InputError(f"{folder}: expected a folder written by safr.save, found no config.json{advice}")
    config = read_json(path)
    if isinstance(config, dict) and isinstance(config.get(SETTINGS), dict):
        return config
    if _holds_regularizer(folder):
        raise InputError(
            f"{path}: SAFR's weights are in the folder, but its settings, expected under '{SETTINGS}', are not; copy "
            "that part from another config.json of the same training, such as a checkpoint's"
        )
    raise InputError(
        f"{path}: expected SAFR's settings under '{SETTINGS}', found none, and none of its weights; load a model "
        "without SAFR by from_pretrained, then call safr.attach(model)"
    )


def _holds_regularizer(folder: Path) -> bool:
    """Whether a folder holds weights of SAFR's; no if its weights can't be read."""
    try:
        for path in _weight_files(folder):
            with safe_open(path, framework="pt") as file:
                if any(key.startswith(_PREFIX) for key in file.keys()):  # noqa: SIM118 - the file is no mapping
                    return True
    except (OSError, SafetensorError, InputError):
        pass
    return False


def _read_settings(folder: Path, written: dict[str, Any]) -> tuple[Regularization, tuple[int, ...]]:
    try:
        regularization = regularization_from_dict(written["regularization"])
        return regularization, tuple(int(number) for number in written["special_ids"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{folder}: written by SAFR {written.get('version')}, and SAFR {safr.__version__} can't read its settings "
            f"({first_line(error)}); update SAFR or save it again"
        ) from error


def _read_weights(folder: Path, written: dict[str, Any]) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    try:
        for path in _weight_files(folder):
            check_saved_file(path, written)
            with safe_open(path, framework="pt") as file:
                weights |= {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - the file is no mapping
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder}: the model's weights can't be read ({first_line(error)})") from error
    return weights


def _weight_files(folder: Path) -> list[Path]:
    """One file of weights, or those that the index names."""
    if (folder / _WEIGHTS).is_file():
        return [folder / _WEIGHTS]
    if (folder / _INDEX).is_file():
        return _list_shards(folder / _INDEX)
    if pickles := sorted(path.name for path in folder.iterdir() if path.suffix in _PICKLES):
        raise InputError(
            f"{folder}: expected {_WEIGHTS}, found {', '.join(pickles)}, pickles that could run code; save it again"
        )
    raise InputError(f"{folder}: the model's weights can't be read (no {_WEIGHTS})")


def _list_shards(index: Path) -> list[Path]:
    content = read_json(index)
    try:
        names = sorted(set(content["weight_map"].values()))
        shards = [index.with_name(name) for name in names]  # with_name takes no path that leads elsewhere
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{index}: expected the names of the weights' files ({first_line(error)})") from error
    if missing := [shard.name for shard in shards if shard.suffix != ".safetensors" or not shard.is_file()]:
        raise InputError(f"{index.parent}: the model's weights can't be read (no {', '.join(missing)})")
    return shards


def _build_model(folder: Path, config: dict[str, Any], weights: dict[str, Tensor]) -> PreTrainedModel:
    """The model without SAFR; weights that are missing or of another shape are damage, not a fresh start.

    transformers gets the weights themselves: in the folder it would look for adapters, pickles and code as well.
    """
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # what it would warn of is refused below
    try:
        model_class = _find_model_class(config)
        config_class: Any = model_class.config_class
        built = config_class.from_dict({key: value for key, value in config.items() if key != "auto_map"})
        built._attn_implementation = None  # a name here can be that of a kernel on the hub, which is code
        _check_sizes(model_class, built, weights)
        generation = folder / "generation_config.json"
        loaded: Any = model_class.from_pretrained(
            None,
            config=built,
            state_dict=weights,
            generation_config=GenerationConfig.from_dict(read_json(generation)) if generation.exists() else None,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except InputError as error:
        raise InputError(str(error) if str(folder) in str(error) else f"{folder}: {error}") from error
    except Exception as error:  # whatever a damaged or foreign config brings: the user gets one line
        raise InputError(f"{folder}: the model can't be built from its config.json ({first_line(error)})") from error
    finally:
        transformers.logging.set_verbosity(before)
    model, report = loaded
    _check_complete(folder, {*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])})
    return model


def _find_model_class(config: dict[str, Any]) -> type[PreTrainedModel]:
    """The class that a config names, if it is one of transformers' or ours."""
    name = str((config.get("architectures") or ["none"])[0])
    model_class = getattr(transformers, name, None) or getattr(safr.model.transformer, name, None)
    if not (isinstance(model_class, type) and issubclass(model_class, PreTrainedModel)):
        raise InputError(f"the model class {name} is neither transformers' nor SAFR's; update transformers or SAFR")
    kind, expected = config.get("model_type"), getattr(model_class.config_class, "model_type", None)
    if kind != expected:
        raise InputError(f"a {name} has the model type {expected}, but config.json says {kind}; save it again")
    return model_class


def _check_sizes(model_class: Any, config: Any, weights: Mapping[str, Tensor]) -> None:
    """Raise an InputError where a config asks for a model of other sizes than the weights', before it is built."""
    # Every layer has a weight at least, unless layers share theirs; those models have more weights than layers too.
    for name in _LAYER_COUNTS & config.to_dict().keys():
        value = getattr(config, name)
        if type(value) is int and value > len(weights):
            raise InputError(
                f"its config.json says {name} {value}, but there are {len(weights)} weights; save it again"
            )
    with torch.device("meta"):  # sizes alone, without memory
        expected = model_class(copy.deepcopy(config)).state_dict()
    unfit = [name for name in expected.keys() & weights.keys() if expected[name].shape != weights[name].shape]
    if unfit:
        raise InputError(
            f"damaged, the weights of {', '.join(sorted(unfit))[:200]} are missing or do not fit; save it again"
        )


def _check_complete(folder: Path, missing: Collection[str]) -> None:
    if missing:
        raise InputError(
            f"{folder}: damaged, the weights of {', '.join(sorted(missing))} are missing or do not fit; save it again"
        )


def _shape(weight: Tensor | None) -> torch.Size | None:
    return None if weight is None else weight.shape
