"""Attribution methods by name, and what it costs to run one.

A method is a plain function from a model and texts to one score per word.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.attribution.gradients import gradient_x_input, integrated_gradients, smooth_grad
from safr.attribution.internals import (
    attention_received,
    attention_rollout,
    capacity_scores,
    keep_scores,
)
from safr.attribution.perturbation import kernel_shap, lime, occlusion, shapley
from safr.attribution.relevance import find_missing_rule, relevance
from safr.attribution.words import Scores, random_scores
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.inference import Targets
from safr.model.families import has_visible_attention, unwrap
from safr.model.forward_pass import HOOKS_LOCK, own_block, removing
from safr.model.regularizer import get_regularizer
from safr.processes import share_texts

AttributionFunction = Callable[..., Scores]
"""Scores every word of every text, from a model and texts; a higher score means a more important word.

One that is signed also takes `targets`, the classes that its scores speak about; see `get_targets`."""

ABSOLUTE_PREFIX = "absolute_"
"""Begins the name of a signed method's absolute scores."""


@dataclass(frozen=True)
class AttributionMethod:
    """A function that scores words, and whether its scores are signed."""

    score: AttributionFunction
    signed: bool = False
    """Whether words that speak against the predicted class score below 0. Other methods ignore the class."""
    needs: Literal["vmask", "attention", "gradients", "rules"] | None = None
    """What a model must have for it: the word mask, attention that can be seen, gradients of what it reads, or besides
    them a rule of relevance for all that it computes."""


@dataclass(frozen=True)
class AttributionResult:
    """Scores of texts, and what they cost."""

    scores: Scores
    seconds: float = 0.0
    """Wall-clock seconds per text, those of all processes together."""
    forward: float = 0.0
    """Forward passes per explained text; a pass is one text of any length."""
    backward: float = 0.0
    """Backward passes per explained text: texts whose gradient is computed."""

    @property
    def cost(self) -> dict[str, float]:
        """Seconds and passes per text, as JSON values."""
        return {"seconds": self.seconds, "forward": self.forward, "backward": self.backward}


def absolute_scores(
    score: AttributionFunction,
    model: PreTrainedModel,
    texts: Sequence[EncodedText],
    targets: Targets | None = None,
) -> Scores:
    """Absolute values of a signed method's scores, which do not say whether a word speaks for the class or against."""
    return [np.abs(values) for values in score(model, texts, targets)]


def random_baseline(model: PreTrainedModel, texts: Sequence[EncodedText], seed: int = 0) -> Scores:
    """A random score in [0, 1) for every word."""
    return random_scores(texts, seed)


METHODS: dict[str, AttributionMethod] = {
    "capacity": AttributionMethod(capacity_scores),
    "keep": AttributionMethod(keep_scores, needs="vmask"),
    "attention": AttributionMethod(attention_received, needs="attention"),
    "attention_rollout": AttributionMethod(attention_rollout, needs="attention"),
    "gradient_x_input": AttributionMethod(gradient_x_input, signed=True, needs="gradients"),
    "relevance": AttributionMethod(relevance, signed=True, needs="rules"),
    "smooth_grad": AttributionMethod(smooth_grad, signed=True, needs="gradients"),
    "integrated_gradients": AttributionMethod(integrated_gradients, signed=True, needs="gradients"),
    "occlusion": AttributionMethod(occlusion, signed=True),
    "shapley": AttributionMethod(shapley, signed=True),
    "kernel_shap": AttributionMethod(kernel_shap, signed=True),
    "lime": AttributionMethod(lime, signed=True),
    "random": AttributionMethod(random_baseline),
}
"""Attribution methods by name.

`get_method` knows two more kinds of name: `capacity@SITE` is capacity at another site, and `absolute_NAME` gives the
absolute scores of a signed method.
"""


COSTLY_METHODS = ("smooth_grad", "shapley", "kernel_shap", "lime")
"""Methods that are used only where they are named: each of the last three costs as much as all others together, and the
first as much as integrated gradients, the dearest of the others by gradients."""


def get_method(name: str) -> AttributionMethod:
    """The attribution method with this name; see `METHODS`.

    Raises:
        InputError: There is no method with this name.
    """
    if name.startswith("capacity@"):
        return AttributionMethod(partial(capacity_scores, site=name.partition("@")[2]))
    method = METHODS.get(name.removeprefix(ABSOLUTE_PREFIX))
    if name.startswith(ABSOLUTE_PREFIX) and method is not None and method.signed:
        return AttributionMethod(partial(absolute_scores, method.score), needs=method.needs)
    if name not in METHODS:
        raise InputError(
            f"no attribution method is called {name!r}; known are {', '.join(METHODS)}, capacity@SITE, and "
            f"{ABSOLUTE_PREFIX}NAME for the absolute scores of a signed method"
        )
    return METHODS[name]


def is_method(name: str) -> bool:
    """Whether there is a method with this name."""
    try:
        get_method(name)
    except InputError:
        return False
    return True


def is_signed(name: str) -> bool:
    """Whether this is the name of a method with signed scores."""
    return is_method(name) and get_method(name).signed


def knows_class(name: str) -> bool:
    """Whether the scores of the method with this name are about a class, so that another can be asked for."""
    return is_signed(name.removeprefix(ABSOLUTE_PREFIX))


def compute_scores(
    name: str, model: PreTrainedModel, texts: Sequence[EncodedText], targets: Targets | None = None
) -> Scores:
    """Scores of every word by the method with this name, about given classes if its scores are about a class at all."""
    score = get_method(name).score
    return score(model, texts) if targets is None or not knows_class(name) else score(model, texts, targets)


def default_methods(model: PreTrainedModel) -> list[str]:
    """Names of the methods that a model is evaluated with by default: all that it allows, but for `COSTLY_METHODS`."""
    return [name for name, method in METHODS.items() if name not in COSTLY_METHODS and not _find_lack(model, method)]


def check_methods(model: PreTrainedModel, names: Iterable[str]) -> None:
    """Raise an InputError for the name of no method, or of one that the model does not allow."""
    for name in names:
        if lack := _find_lack(model, get_method(name)):
            raise InputError(f"the method {name} needs {lack}; leave it out")


def _find_lack(model: PreTrainedModel, method: AttributionMethod) -> str:
    """What the model lacks for a method, in words; "" where it lacks nothing."""
    if method.needs == "vmask" and ((regularizer := get_regularizer(model)) is None or regularizer.vmask is None):
        return "a model with VMASK, which this one does not have"
    if method.needs == "attention" and not has_visible_attention(unwrap(model)):
        return "attention weights that can be read, which this model does not show"
    if method.needs in ("gradients", "rules") and model.config.is_encoder_decoder:
        return "a model without a decoder of its own, which reads the text again"
    if method.needs == "rules" and (name := find_missing_rule(model)):
        return f"a rule for {name}, which this model computes"
    return ""


def attribute(model: PreTrainedModel, texts: Sequence[EncodedText], score: AttributionFunction) -> AttributionResult:
    """Scores of texts from one method, and what they cost.

    Args:
        model: A model; it runs in evaluation mode.
        texts: Encoded texts, at least one.
        score: The `score` function of a method.
    """
    measured = _measure_scoring(model, texts, score)
    seconds, forward, backward = (measured["costs"].sum(axis=0) / len(texts)).tolist()
    return AttributionResult(measured["scores"], seconds, forward, backward)


@share_texts("texts")
def _measure_scoring(
    model: PreTrainedModel, texts: Sequence[EncodedText], score: AttributionFunction
) -> dict[str, Any]:
    """The `scores` of texts, and the `costs` of all in the row of the first: seconds and passes, (text, 3)."""
    costs = np.zeros((len(texts), 3))
    with _count_passes(model) as passes:
        started = time.perf_counter()
        scores = score(model, texts)
        costs[0] = time.perf_counter() - started, passes["forward"], passes["backward"]
    return {"scores": scores, "costs": costs}


@contextmanager
def _count_passes(model: nn.Module) -> Iterator[dict[str, int]]:
    """Counts of the rows that go forward and backward through a model in a block; a row goes backward at most once.

    What other threads run on the same model meanwhile is not counted.
    """
    passes = {"forward": 0, "backward": 0}
    handles: list[RemovableHandle] = []
    with own_block() as is_own, removing(handles):
        # In another thread's call the options are missing if this hook is taken off while that call begins.
        def count_rows(module: nn.Module, args: tuple, options: Mapping[str, Any] | None = None) -> None:
            if not is_own():
                return
            rows = len(options["input_ids"] if options and "input_ids" in options else args[0])
            passes["forward"] += rows
            if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
                passes["backward"] += rows

        with HOOKS_LOCK:
            handles.append(model.register_forward_pre_hook(count_rows, with_kwargs=True))
        yield passes
