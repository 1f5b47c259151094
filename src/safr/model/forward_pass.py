"""What a forward pass leaves behind while it runs: the sites somebody asked for, and nothing else.

Hooks and the attention function report to the pass that is open in their context; where none is open they do nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from safr.errors import InputError

SiteReader = Callable[..., Tensor | None]
"""Makes a number, or a note, of what a site shows: vectors, or attention and the mask that is added to it. Attention
comes as weights where there are any, else as the heads that make them."""


SITES = ("embedding", "vmask", "attention", "fc1", "fc1_out", "fc2")
"""Named places in a network, in the order data flows; all but the first two are once per layer, as in `fc1.0`."""


@dataclass
class ForwardPass:
    """One forward pass under way."""

    wanted: frozenset[str]
    """Sites to keep, as `fc1` for every layer or `fc1.0` for one."""

    readers: Mapping[str, SiteReader] = field(default_factory=dict)
    """What to make of a site where it stands, by site and layer, so that its values need not be kept."""

    joinable: bool = False
    """Whether a model's forward pass may write here; one that was interrupted leaves a pass that it may not."""

    alone: bool = False
    """Whether an encoder was called without the model around it, so that the pass ends with the encoder."""

    inside: bool = False
    """Whether the part of the model that is recorded runs now; of an encoder-decoder that is the encoder alone."""

    labelled: bool = False
    """Whether the model was given labels, so that its output holds a loss."""

    gradient: bool = False
    """Whether the pass is differentiated."""

    share: Tensor | float = 1.0
    """The part of the whole batch that this pass sees, where a Trainer accumulates several."""

    content_mask: Tensor | None = None
    attended: Tensor | None = None
    """True where a token is no padding."""

    keep: Tensor | None = None
    received: dict[str, Tensor] = field(default_factory=dict)
    """Attention that each token receives, by layer, where a loss weighs the tokens by it."""

    masks: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Attention masks, and what is added to the scores for them."""

    pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Attention masks, and how many pairs of each text see each other under them."""

    kept: dict[str, Tensor] = field(default_factory=dict)
    """The sites asked for, by site and layer."""

    read: dict[str, Tensor] = field(default_factory=dict)
    """What the readers made, by site and layer."""

    checkpointing: list[Any] = field(default_factory=list)
    """The modules whose checkpointing function is replaced while the pass runs."""

    seen: Counter[str] = field(default_factory=Counter)

    def next_layer(self, site: str) -> str:
        """Name of the layer that reports now: each reports a site once, and a shared layer reports it again."""
        layer = self.seen[site]
        self.seen[site] += 1
        return f"{site}.{layer}"

    def wants(self, name: str) -> bool:
        """Whether anybody asked for what a site shows."""
        return name in self.readers or self.keeps(name)

    def keeps(self, name: str) -> bool:
        """Whether somebody will look at what a site shows after the pass."""
        return name in self.wanted or name.partition(".")[0] in self.wanted

    def record(self, name: str, values: Any, *context: Tensor | None) -> None:
        """Keep what a site shows, or read it at once, as was asked; what is kept is a tensor."""
        if self.keeps(name):
            self.kept[name] = values
        if name in self.readers:
            if self.gradient and not torch.is_grad_enabled():
                raise InputError(
                    "gradient checkpointing with use_reentrant=True hides the layers from SAFR's losses; "
                    "pass gradient_checkpointing_kwargs={'use_reentrant': False}"
                )
            if (made := self.readers[name](values, *context)) is not None:
                self.read[name] = made

    def let_go(self) -> None:
        """Hold on to nothing that is differentiated: what a checkpoint needs to run again must not keep it alive.

        The model gets its own checkpointing function back.
        """
        for module in self.checkpointing:
            module._gradient_checkpointing_func = module._gradient_checkpointing_func.original
        self.checkpointing = []
        self.readers, self.read = {}, {}
        self.keep = None if self.keep is None else self.keep.detach()


_open: ContextVar[ForwardPass | None] = ContextVar("safr_pass", default=None)


def current_pass() -> ForwardPass | None:
    """The pass that is being recorded in this context, if any."""
    return _open.get()


def recording_pass() -> ForwardPass | None:
    """The pass that is being recorded, if the part of the model that it records runs now."""
    now = _open.get()
    return now if now is not None and now.inside else None


@contextmanager
def recording(wanted: frozenset[str]) -> Iterator[ForwardPass]:
    """Record every forward pass inside the block into the pass that is handed over."""
    now = ForwardPass(wanted, joinable=True)
    token = _open.set(now)
    try:
        yield now
    finally:
        _open.reset(token)


def open_pass(now: ForwardPass) -> None:
    """Start recording without a block, for hooks that see the beginning and the end of a forward pass."""
    _open.set(now)


def close_pass() -> None:
    """Stop recording."""
    _open.set(None)


def replay_checkpoints(model: nn.Module, now: ForwardPass) -> None:
    """Let layers that are computed twice, under activation checkpointing, report the same both times.

    The second time is during the backward pass, where no pass is open and perhaps in another thread; without this the
    layer would take the path of a model that nobody records, and its gradient would be another network's.
    """
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            checkpointing: Any = module
            original = checkpointing._gradient_checkpointing_func
            original = getattr(original, "original", original)
            checkpointing._gradient_checkpointing_func = _Replaying(original, now)
            now.checkpointing.append(checkpointing)


class _Replaying:
    """A checkpointing function whose layers run, also the second time, as in the pass that they first ran in."""

    def __init__(self, original: Callable[..., Any], now: ForwardPass) -> None:
        self.original = original
        self.now = now

    def __call__(self, layer: Callable[..., Any], *args: Any, **options: Any) -> Any:
        before = replace(self.now, kept={}, read={}, seen=Counter(self.now.seen))
        runs = iter((self.now,))

        def inside(*given: Any, **named: Any) -> Any:
            again = replace(before, kept={}, read={}, seen=Counter(before.seen), checkpointing=[])
            token = _open.set(next(runs, again))
            try:
                return layer(*given, **named)
            finally:
                _open.reset(token)

        return self.original(inside, *args, **options)
