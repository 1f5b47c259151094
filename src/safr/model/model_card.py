"""The model card of a saved model: how to use it, its settings and its scores."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from safr.data.hub import split_hub_name
from safr.model.hub import is_hub_name
from safr.rounding import format_share
from safr.storage import read_json

Score = str | float | Mapping[str, float]
"""A text, a number, or an estimate as JSON values: `value` with the ends `low` and `high` of its 95 % interval."""

_TASKS = {
    "ForSequenceClassification": "text-classification",
    "ForTokenClassification": "token-classification",
    "ForQuestionAnswering": "question-answering",
    "ForMultipleChoice": "multiple-choice",
    "ForMaskedLM": "fill-mask",
    "ForCausalLM": "text-generation",
    "LMHeadModel": "text-generation",
    "ForConditionalGeneration": "text-generation",
}
"""What the hub calls the task of a model's head, by the end of its class's name."""

_NO_HEAD = "feature-extraction"


def model_card(folder: Path, scores: Mapping[str, Score] | None = None, *, dataset: str = "", split: str = "") -> str:
    """The README.md of a saved model, with front matter that a hub reads.

    Args:
        folder: Holds the model's `config.json`, and the tokenizer if there is one.
        scores: By name. Estimates are shares and shown in per cent, unless their `is_share` is False; texts stay out
            of the front matter's results.
        dataset: What the scores are on, as `load_data` takes it; of a path only the last part is shown.
        split: Which part of it.
    """
    config = read_json(folder / "config.json")
    scores, (dataset, configuration) = scores or {}, split_hub_name(dataset)
    dataset = _without_folders(dataset)
    environment = Environment(
        loader=PackageLoader("safr.model", "."),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template("card.md.jinja").render(
        front_matter=_front_matter(config, scores, dataset, configuration, split).to_yaml(),
        architecture=config["architectures"][0],
        task=_task(config),
        needs_safr=not hasattr(transformers, config["architectures"][0]),
        settings=config["safr"],
        has_tokenizer=(folder / "tokenizer_config.json").is_file(),
        scores={_cell(name): _cell(_shown(score)) for name, score in scores.items()},
        dataset=" ".join(filter(None, (dataset, configuration))),
        split=split,
    )


def _front_matter(
    config: dict[str, Any], scores: Mapping[str, Score], dataset: str, configuration: str | None, split: str
) -> ModelCardData:
    task = _task(config)
    results = [
        EvalResult(
            task_type=task,
            dataset_type=dataset or "unknown",
            dataset_name=dataset or "unknown",
            dataset_config=configuration,
            dataset_split=split or None,
            metric_type=re.sub(r"\W+", "_", name.lower()).strip("_"),
            metric_name=name,
            metric_value=float(score["value"] if isinstance(score, Mapping) else score),
        )
        for name, score in scores.items()
        if not isinstance(score, str)
    ]
    return ModelCardData(
        library_name="safr",  # not transformers, whose own loader would leave the mask out
        pipeline_tag=task,
        base_model=config["safr"].get("base_model"),
        tags=["safr", "interpretability", "superposition"],
        model_name=config["architectures"][0] if results else None,
        eval_results=results or None,
    )


def _task(config: dict[str, Any]) -> str:
    name = config["architectures"][0]
    return next((task for ending, task in _TASKS.items() if name.endswith(ending)), _NO_HEAD)


def _without_folders(name: str) -> str:
    """A hub name as it is, and the last part of a path: where it lies on this machine is nobody else's business."""
    return name if is_hub_name(name) else Path(name).name


def _shown(score: Score) -> str:
    if isinstance(score, str):
        return score
    if isinstance(score, Mapping):
        value, low, high = (score[name] for name in ("value", "low", "high"))
        if not score.get("is_share", True):
            return f"{value:.4g} [{low:.4g}, {high:.4g}]"
        return f"{format_share(value)} % [{format_share(low)}, {format_share(high)}]"
    return f"{score:.4g}"


def _cell(text: str) -> str:
    """A text that can't break out of its cell of a Markdown table."""
    return " ".join(text.split()).replace("|", "\\|")
