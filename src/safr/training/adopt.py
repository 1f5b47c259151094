"""Makes a run of a model that was trained elsewhere, so that it can be judged and shown as any other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from transformers import AutoModel, PreTrainedModel, PreTrainedTokenizerBase

from safr.config import Regularization, Settings, Task
from safr.data import TextDataset, load_data
from safr.errors import InputError
from safr.evaluation.labels import align_labels, check_classes
from safr.inference import PROBLEM_TYPES, compares_answers, encode_texts, get_task
from safr.model.attach import attach
from safr.model.hub import model_folder
from safr.model.regularizer import SETTINGS, get_regularizer
from safr.model.save import default_device, find_device, load, save
from safr.progress import Progress
from safr.runs import Run, check_is_new, create_run
from safr.storage import hash_file, read_json
from safr.training.prepare import (
    check_vocabulary,
    fit_max_tokens,
    load_config,
    load_model_tokenizer,
    load_pretrained,
    load_with_head,
    prepare_writer,
    record_data,
)

_NO_SAFR = Regularization(importance=0, interaction=0, vmask=False)


def is_model(place: str | Path) -> bool:
    """Whether a path is the folder of a model and no run's, or is not there and so may be a hub's name."""
    folder = Path(place)
    if not folder.exists():
        return True
    config = folder / "config.json"
    return config.is_file() and "model_type" in read_json(config, {"type": "object"})


def identify_model(name: str) -> str:
    """What tells a model apart: SHA-256 (hex) of its files of weights, or its name on the hub."""
    files = sorted(path for path in Path(name).glob("*") if path.suffix in (".safetensors", ".bin"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + hash_file(file))
    return digest.hexdigest() if files else name


def load_trained(
    name: str, *, task: Literal["auto"] | Task = "auto", device: str | None = None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A trained model with its head, and with SAFR where it has it; and its tokenizer.

    Args:
        name: A folder of `safr.save` or of transformers, or a hub's name.
        task: `regression` or `multi_label` for a model whose config does not say so.
        device: Where the model goes. Default: the GPU, where CUDA finds one.

    Raises:
        InputError: It is not there, is damaged, has no trained head, or one of another kind.
    """
    tokenizer = load_model_tokenizer(name)
    device = device or default_device()
    if _holds_safr(name):
        return load(name, device=device), tokenizer
    target = find_device(device)
    config = load_config(name, {"problem_type": PROBLEM_TYPES[task]} if task in PROBLEM_TYPES else {})
    model: Any = load_with_head(name, config, tokenizer)
    return model.to(target).eval(), tokenizer


def load_text_encoder(name: str) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A pretrained encoder of texts without a head, such as a MiniLM, and its tokenizer.

    Args:
        name: A folder of transformers, or a hub's name.

    Raises:
        InputError: There is no such model, or some of its weights are missing.
    """
    tokenizer = load_model_tokenizer(name)
    model, loading = load_pretrained(
        AutoModel.from_pretrained,
        name,
        config=load_config(name, {}),
        trust_remote_code=False,
        output_loading_info=True,
    )
    # A model with another head is saved without the pooler, which no hidden state depends on.
    missing = sorted(weight for weight in loading["missing_keys"] if not weight.startswith("pooler."))
    if missing:
        raise InputError(
            f"model '{name}': expected the weights of a {type(model).__name__}, found none for {', '.join(missing[:3])}"
        )
    return model.to(find_device(default_device())).eval(), tokenizer


def adopt_model(
    settings: Settings, output: str | Path, *, data_dir: Path | None = None, progress: Progress | None = None
) -> tuple[Run, TextDataset]:
    """A new run that holds a model as it is, and the data that it is to be judged on.

    Nothing is trained. SAFR is put on the model without mask and losses, which changes nothing, so that its capacity
    can be read; a model that was saved with SAFR keeps its own.

    Args:
        settings: The name of the model, the data with their columns, and `max_tokens`; the other settings are not used.
        output: The run's folder.
        data_dir: Folder where archives of data are looked for first.
        progress: Called while something is downloaded.

    Raises:
        InputError: The model, the data or the folder can't be used, or they don't go together.
    """
    run = Run(Path(output))
    check_is_new(run)
    model, tokenizer = load_trained(settings.model, task=settings.task)
    if settings.task not in ("auto", get_task(model)):
        raise InputError(
            f"model '{settings.model}': is for {get_task(model)}, got `task` {settings.task!r}; leave it out"
        )
    name, settings = settings.model, settings.changed(task=get_task(model))
    data = load_data(settings, data_dir=data_dir, progress=progress)
    check_vocabulary(settings, model, tokenizer)
    if data.task == "generation":
        prepare_writer(model, tokenizer, data)
    settings = fit_max_tokens(settings, model, data.task)
    aligned = align_labels(model, tokenizer, data, settings.max_tokens)
    check_classes(
        model, encode_texts(model, tokenizer, aligned.test.texts[:1], settings.max_tokens), aligned.test.label_array
    )
    if not model.can_generate() and not compares_answers(model):  # whose outputs are no classes
        names: dict[int, str] = dict(enumerate(aligned.label_names))
        model.config.id2label, model.config.label2id = names, {name: number for number, name in names.items()}
    if get_regularizer(model) is None:
        attach(model, _NO_SAFR, tokenizer=tokenizer)
    attached = get_regularizer(model)
    assert attached is not None
    settings = replace(settings, regularization=attached.regularization)
    with run.lock():
        create_run(run.folder, settings, record_data(data), adopted=identify_model(name))
        save(model, run.model_folder, tokenizer=tokenizer)
    return run, data


def _holds_safr(name: str) -> bool:
    config = model_folder(name) / "config.json"
    return config.is_file() and SETTINGS in read_json(config, {"type": "object"})
