"""SAFR: transformers whose neurons say which words mattered.

Names are loaded when they are first used, so that `import safr` and `safr --help` stay light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from safr.attribution.explanation import Explanation, explain
    from safr.config import Architecture, Recipe, Regularization, Settings
    from safr.data import TextDataset, load_data
    from safr.errors import InputError
    from safr.evaluation.benchmark import benchmark
    from safr.evaluation.evaluate import evaluate
    from safr.losses import importance_loss, information_loss, interaction_loss
    from safr.model.attach import attach, detach, parameter_groups
    from safr.model.save import load, save
    from safr.model.trace import Trace, trace
    from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification
    from safr.model.vmask import VMASK
    from safr.runs import Run, open_run
    from safr.superposition import capacity, interference, polysemanticity
    from safr.training import train

__version__ = "0.1.0"

_HOME = {
    "safr.attribution.explanation": ["Explanation", "explain"],
    "safr.config": ["Architecture", "Recipe", "Regularization", "Settings"],
    "safr.data": ["TextDataset", "load_data"],
    "safr.errors": ["InputError"],
    "safr.evaluation.benchmark": ["benchmark"],
    "safr.evaluation.evaluate": ["evaluate"],
    "safr.losses": ["importance_loss", "information_loss", "interaction_loss"],
    "safr.model.attach": ["attach", "detach", "parameter_groups"],
    "safr.model.save": ["load", "save"],
    "safr.model.transformer": ["TransformerConfig", "TransformerForSequenceClassification"],
    "safr.model.vmask": ["VMASK"],
    "safr.runs": ["Run", "open_run"],
    "safr.superposition": ["capacity", "interference", "polysemanticity"],
    "safr.model.trace": ["Trace", "trace"],
    "safr.training": ["train"],
}
_MODULE = {name: module for module, names in _HOME.items() for name in names}

__all__ = [
    "VMASK",
    "Architecture",
    "Explanation",
    "InputError",
    "Recipe",
    "Regularization",
    "Run",
    "Settings",
    "TextDataset",
    "Trace",
    "TransformerConfig",
    "TransformerForSequenceClassification",
    "attach",
    "benchmark",
    "capacity",
    "detach",
    "evaluate",
    "explain",
    "importance_loss",
    "information_loss",
    "interaction_loss",
    "interference",
    "load",
    "load_data",
    "open_run",
    "parameter_groups",
    "polysemanticity",
    "save",
    "trace",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE:
        raise AttributeError(f"module 'safr' has no attribute '{name}'")
    value = getattr(import_module(_MODULE[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
