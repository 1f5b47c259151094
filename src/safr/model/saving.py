"""A model with SAFR on it to a folder and back: `save_pretrained`'s layout, safetensors, settings in `config.json`.

Loading reads numbers and JSON only, never pickled code and never code from the folder.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from torch import Tensor
from transformers import AutoConfig, PreTrainedModel, PreTrainedTokenizerBase

import safr
import safr.model.transformer
from safr.config import regularization_from_dict
from safr.errors import InputError
from safr.model.attach import Attachment, attach, attachment

_SETTINGS = "safr"
_PREFIX = "safr."


def save(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
    scores: Mapping[str, str] | None = None,
) -> Path:
    """Write a model with SAFR on it to a folder that `safr.load` reads and a hub accepts.

    Args:
        model: A model after `safr.attach`.
        folder: Made if it isn't there.
        tokenizer: Written beside the model.
        scores: Lines for the model card, as name and value.

    Raises:
        InputError: SAFR is not on the model.
    """
    attached = attachment(model)
    if attached is None:
        raise InputError(f"SAFR is not attached to this {type(model).__name__}; use its own save_pretrained")
    folder = Path(folder)
    settings = {"version": safr.__version__, "special_ids": list(attached.special_ids)}
    setattr(model.config, _SETTINGS, {**settings, "regularization": asdict(attached.regularization)})
    try:
        model.save_pretrained(folder)
    finally:
        delattr(model.config, _SETTINGS)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    (folder / "README.md").write_text(_model_card(type(model).__name__, attached, scores or {}), encoding="utf-8")
    return folder


def load(folder: str | Path) -> PreTrainedModel:
    """The model that `safr.save` wrote, with SAFR on it, in evaluation mode.

    Raises:
        InputError: The folder is not there, is damaged, or was not written by `safr.save`.
    """
    folder = Path(folder)
    settings = _settings(folder)
    model = _network(folder)
    weights = _safr_weights(folder)
    attach(model, regularization_from_dict(settings["regularization"]))
    attached = attachment(model)
    assert attached is not None
    attached.special_ids = tuple(settings["special_ids"])
    expected = {name: value.shape for name, value in attached.state_dict().items()}
    _refuse_damaged(folder, {name for name, shape in expected.items() if shape != _shape(weights.get(name))})
    attached.load_state_dict({name: weights[name] for name in expected})
    return model.eval()


def _network(folder: Path) -> PreTrainedModel:
    """The model without SAFR; weights that are missing or of another shape are damage, not a fresh start."""
    before = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()  # the mask's weights are loaded later; no need to call them unexpected
    try:
        config = AutoConfig.from_pretrained(folder)
        delattr(config, _SETTINGS)
        name = (config.architectures or ["none"])[0]
        model_class = getattr(transformers, name, None) or _own_class(name)
        loaded: Any = model_class.from_pretrained(folder, config=config, output_loading_info=True)
        model, report = loaded
    except (OSError, SafetensorError, ValueError, TypeError, KeyError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{folder}: the model's weights can't be read ({_first_line(error)})") from error
    finally:
        transformers.logging.set_verbosity(before)
    _refuse_damaged(folder, {*report["missing_keys"], *(each[0] for each in report["mismatched_keys"])})
    return model


def _refuse_damaged(folder: Path, missing: Collection[str]) -> None:
    if missing:
        raise InputError(f"{folder}: damaged, the weights of {', '.join(sorted(missing))} are missing; save it again")


def _shape(weight: Tensor | None) -> torch.Size | None:
    return None if weight is None else weight.shape


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    if not path.is_file():
        raise InputError(f"{folder}: expected a folder written by safr.save, found no config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        settings = config[_SETTINGS]
        return {"special_ids": settings["special_ids"], "regularization": settings["regularization"]}
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: expected SAFR's settings under '{_SETTINGS}', found none; was it written by safr.save?"
        ) from error


def _own_class(name: str) -> type[PreTrainedModel]:
    found = getattr(safr.model.transformer, name, None)
    if found is None:
        raise InputError(f"the model class {name} is neither transformers' nor SAFR's; update transformers or SAFR")
    return found


def _safr_weights(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            ours = [key for key in file.keys() if key.startswith(_PREFIX)]  # noqa: SIM118 - the file is no mapping
            weights |= {key.removeprefix(_PREFIX): file.get_tensor(key) for key in ours}
    return weights


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _model_card(name: str, attached: Attachment, scores: Mapping[str, str]) -> str:
    rows = "\n".join(f"| {each} | {value} |" for each, value in asdict(attached.regularization).items())
    scored = "\n".join(f"| {each} | {value} |" for each, value in scores.items())
    return f"""---
library_name: transformers
pipeline_tag: text-classification
tags: [safr, interpretability, superposition]
---

# {name} with SAFR

Trained with Superposition-Aware Feature Regularization (Chang, Deng and Chen, Findings of NAACL 2025): the capacity of
its first feed-forward layer says which words mattered.

## Use

```python
import safr

model = safr.load("FOLDER")
```

**Do not load this folder with a plain `from_pretrained`**: that reads the network but leaves out the word mask (VMASK)
that it was trained with, so its predictions would be others. transformers lists the weights left out under `safr.`.

## Settings

| setting | value |
| --- | --- |
{rows}
| special ids | {", ".join(map(str, attached.special_ids))} |
{
        f'''
## Scores

| score | value |
| --- | --- |
{scored}
'''
        if scores
        else ""
    }"""
