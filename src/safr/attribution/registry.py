"""Names in, attribution methods out: plain functions from a model and texts to one score per word."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from safr.attribution.gradients import gradient_x_input, integrated_gradients
from safr.attribution.internals import (
    attention_received,
    attention_rollout,
    capacity_scores,
    keep_scores,
)
from safr.attribution.perturbation import occlusion, shapley
from safr.attribution.words import Scores, random_scores
from safr.data.encoding import EncodedText
from safr.errors import InputError
from safr.model.families import has_visible_attention, unwrap
from safr.model.regularizer import get_regularizer

AttributionFunction = Callable[[PreTrainedModel, Sequence[EncodedText]], Scores]
"""Scores every word of every text; the higher, the more important."""


@dataclass(frozen=True)
class AttributionMethod:
    """A way to say which words matter."""

    score: AttributionFunction
    signed: bool = False
    """Whether a word that speaks against the predicted class scores below 0. Other methods are blind to the class."""


@dataclass(frozen=True)
class AttributionResult:
    """The scores of some texts, and what they cost."""

    scores: Scores
    seconds: float = 0.0
    """Wall-clock seconds for each text."""
    forward: float = 0.0
    """Texts that went forward through the model, of any length, for each text that is explained."""
    backward: float = 0.0
    """Texts whose gradient was computed, for each text that is explained."""

    @property
    def cost(self) -> dict[str, float]:
        """What they cost, as JSON values."""
        return {"seconds": self.seconds, "forward": self.forward, "backward": self.backward}


def absolute_scores(score: AttributionFunction, model: PreTrainedModel, texts: Sequence[EncodedText]) -> Scores:
    """The size of a signed method's scores, which like capacity does not know the class."""
    return [np.abs(each) for each in score(model, texts)]


def random_baseline(model: PreTrainedModel, texts: Sequence[EncodedText], seed: int = 0) -> Scores:
    """A number in [0, 1) drawn for each word."""
    return random_scores(texts, seed)


METHODS: dict[str, AttributionMethod] = {
    "capacity": AttributionMethod(capacity_scores),
    "keep": AttributionMethod(keep_scores),
    "attention": AttributionMethod(attention_received),
    "attention_rollout": AttributionMethod(attention_rollout),
    "gradient_x_input": AttributionMethod(gradient_x_input, signed=True),
    "integrated_gradients": AttributionMethod(integrated_gradients, signed=True),
    "occlusion": AttributionMethod(occlusion, signed=True),
    "shapley": AttributionMethod(shapley, signed=True),
    "random": AttributionMethod(random_baseline),
}
"""Known methods by name. `capacity@SITE` is capacity elsewhere, `absolute_NAME` the size of a signed one's scores."""


ABSOLUTE_PREFIX = "absolute_"


def get_method(name: str) -> AttributionMethod:
    """The method of a name; see `METHODS`.

    Raises:
        InputError: No method is called so.
    """
    if name.startswith("capacity@"):
        return AttributionMethod(partial(capacity_scores, site=name.partition("@")[2]))
    signed = METHODS.get(name.removeprefix(ABSOLUTE_PREFIX))
    if name.startswith(ABSOLUTE_PREFIX) and signed is not None and signed.signed:
        return AttributionMethod(partial(absolute_scores, signed.score))
    if name not in METHODS:
        raise InputError(
            f"no attribution method is called {name!r}; known are {', '.join(METHODS)}, capacity@SITE, and "
            f"{ABSOLUTE_PREFIX}NAME for the size of a signed one's scores"
        )
    return METHODS[name]


def is_method(name: str) -> bool:
    """Whether a method is called so."""
    try:
        get_method(name)
    except InputError:
        return False
    return True


def is_signed(name: str) -> bool:
    """Whether the scores of that name are a signed method's."""
    return is_method(name) and get_method(name).signed


def default_methods(model: PreTrainedModel) -> list[str]:
    """The methods that a model is judged with unless somebody names others."""
    known = [name for name in METHODS if name != "shapley"]  # costs as much as all others together
    if (attached := get_regularizer(model)) is None or attached.vmask is None:
        known.remove("keep")
    if not has_visible_attention(unwrap(model)):
        known = [name for name in known if not name.startswith("attention")]
    if model.config.is_encoder_decoder:
        known = [name for name in known if not name.endswith(("_input", "_gradients"))]
    return known


def attribute(model: PreTrainedModel, texts: Sequence[EncodedText], score: AttributionFunction) -> AttributionResult:
    """Score texts and note what it cost.

    Args:
        model: A model in evaluation mode.
        texts: Encoded texts, at least one.
        score: The function of a method.
    """
    with _passes_counted(model) as passes:
        started = time.perf_counter()
        scores = score(model, texts)
        seconds = time.perf_counter() - started
    return AttributionResult(scores, *(each / len(texts) for each in (seconds, passes["forward"], passes["backward"])))


@contextmanager
def _passes_counted(model: nn.Module) -> Iterator[dict[str, int]]:
    """How many rows go through a model in a block; each row that is differentiated is, once."""
    passes = {"forward": 0, "backward": 0}

    def count(module: nn.Module, args: tuple, options: dict) -> None:
        rows = len(options["input_ids"] if "input_ids" in options else args[0])
        passes["forward"] += rows
        if torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            passes["backward"] += rows

    handle = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield passes
    finally:
        handle.remove()
