"""The record of a forward pass under way: what is asked of it, what it has shown, and its caches.

Hooks and the attention function report to the pass that is open in their context. Where none is open they do nothing.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from safr.errors import InputError

SITES = ("embedding", "vmask", "attention", "fc1", "fc1_out", "fc2")
"""Named places in a network, in the order data flows; all but the first two are once per layer, as in `fc1.0`."""

SiteReader = Callable[["ForwardPass", Any, Tensor | None], Tensor | None]
"""Computes a loss's value from what a site shows: its vectors, or its attention and the mask that is added to it.

Attention comes as weights where there are any, else as a `BlockedAttention` that makes them."""


@dataclass(frozen=True)
class PassRequest:
    """What is asked of a forward pass. It is settled before the pass begins."""

    sites: frozenset[str] = frozenset()
    """Sites whose values are kept, as `fc1` for every layer or `fc1.0` for one."""

    readers: Mapping[str, SiteReader] = field(default_factory=dict)
    """What is computed from a site's values while they are there, by site and layer, so that they need not be kept."""

    is_trace: bool = False
    """Whether `trace` asks; a model's own hooks then add what they ask, and write into the same record."""

    is_encoder_alone: bool = False
    """Whether an encoder is called without the model around it, so that the pass ends with the encoder."""

    has_labels: bool = False
    """Whether the model is given labels, so that its output holds a loss."""

    needs_gradient: bool = False
    """Whether the pass is differentiated."""

    returns_attention: bool = False
    """Whether the model's own output holds the attention weights."""

    batch_fraction: Tensor | float = 1.0
    """The part of the whole batch that this pass sees, where a Trainer accumulates several."""

    def keeps(self, name: str) -> bool:
        """Whether a site's values are kept, by site and layer."""
        return name in self.sites or name.partition(".")[0] in self.sites

    def wants(self, name: str) -> bool:
        """Whether a site's values are kept or read."""
        return name in self.readers or self.keeps(name)


@dataclass(frozen=True)
class TextLayout:
    """How a model lays out the texts of a batch inside, so that what a site shows can be told to be (text, token)."""

    model_name: str
    """The class of the model, for messages."""

    texts: int
    """Number of texts in the batch."""

    tokens: int
    """Number of tokens of every text, padding included."""

    is_token_major: bool = False
    """Whether the layers hold (token, text, width), as XLNet's."""

    pads_at_end: bool = False
    """Whether the model appends padding of its own to every text, as Longformer does."""

    def to_rows(self, values: Tensor, site: str) -> Tensor:
        """What a site shows as (text, token, ...): without padding that the model has appended itself.

        Raises:
            InputError: It can't be told from the shape which vector belongs to which token.
        """
        rows = values
        if rows.dim() == 2 and site != "ids" and rows.shape[0] == self.texts * self.tokens:
            return rows.view(self.texts, self.tokens, -1)  # OPT runs its feed-forward layers on one long row
        if self.is_token_major and rows.dim() > 1:
            rows = rows.transpose(0, 1)
        if rows.dim() > 1 and self.pads_at_end and rows.shape[1] > self.tokens:
            rows = rows[:, : self.tokens]
        if rows.shape[:2] != (self.texts, self.tokens) or (rows.dim() != 3 and site != "ids"):
            raise InputError(
                f"expected {self.texts} x {self.tokens} tokens at {site} of {self.model_name}, got the shape "
                f"{tuple(values.shape)}, so it is unclear which token a vector is of; this site can't be read"
            )
        return rows

    def from_rows(self, rows: Tensor, original: Tensor) -> Tensor:
        """The inverse of `to_rows`: rows in place of the original's, which keeps what was cut off.

        Args:
            rows: (text, token, width).
            original: What the site has shown.
        """
        if original.dim() == 2:
            return rows.reshape(original.shape)
        if self.is_token_major:
            return rows.transpose(0, 1)
        if original.shape[1] > self.tokens:
            return torch.cat([rows, original[:, self.tokens :].to(rows.dtype)], dim=1)
        return rows


@dataclass
class PassRecord:
    """What a forward pass has shown so far. `trace` and the losses read the same record."""

    layout: TextLayout | None = None
    """How the model lays the batch out inside; None where the batch says nothing about its tokens."""

    ids: Tensor | None = None
    """Token ids that the embeddings must have looked up, where their shape alone doesn't tell; (batch, token)."""

    token_ids: Tensor | None = None
    """Ids of the tokens, (batch, token), as soon as the embeddings have looked them up."""

    content_mask: Bool[Tensor, "batch token"] | None = None
    """True where a token is neither padding nor a special token, or as a trace was told; None where all count."""

    maskable: Bool[Tensor, "batch token"] | None = None
    """True where VMASK may mask a token, which no trace changes: what it shows is what the model predicts by."""

    attended: Bool[Tensor, "batch token"] | None = None
    """True where a token is no padding."""

    keep: Float[Tensor, "batch token"] | None = None
    """VMASK's keep probabilities."""

    sites: dict[str, Tensor] = field(default_factory=dict)
    """The values that are kept, by site and layer."""

    loss_values: dict[str, Tensor] = field(default_factory=dict)
    """What the readers have computed, by site and layer."""

    received_attention: dict[str, Tensor] = field(default_factory=dict)
    """Attention that every token receives, by layer, where a loss weighs the tokens by it."""

    layer_counts: Counter[str] = field(default_factory=Counter)
    """How often every kind of site has reported."""


@dataclass
class PassCaches:
    """What is computed once in a pass, since layers share it."""

    additive_masks: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Attention masks, and what is added to the scores for them."""

    visible_pairs: list[tuple[Tensor, Tensor]] = field(default_factory=list)
    """Attention masks, and how many pairs of a text are visible under them."""

    checkpointed_modules: list[Any] = field(default_factory=list)
    """Modules whose checkpointing function is replaced while the pass runs."""


@dataclass
class ForwardPass:
    """One forward pass under way."""

    request: PassRequest
    record: PassRecord = field(default_factory=PassRecord)
    caches: PassCaches = field(default_factory=PassCaches)
    recorder: object = None
    """Whose hooks report to this pass. Another's on the same modules, of another call or another model, do not."""
    outer: ForwardPass | None = None
    """The pass inside which this one began, such as a trace's; it goes on afterwards."""
    is_inside: bool = False
    """Whether the part of the model that is recorded runs now; of an encoder-decoder that is the encoder alone."""
    attention_mask: Tensor | None = None
    """Mask of the attention that a family's own module computes now; its weights are seen only later."""

    def next_layer(self, site: str) -> str:
        """Name of the layer that reports now: every layer reports a site once, and a shared layer reports it again."""
        layer = self.record.layer_counts[site]
        self.record.layer_counts[site] += 1
        return f"{site}.{layer}"

    def wants_next(self, site: str) -> bool:
        """Whether a site is kept or read in the layer that reports it next."""
        return self.request.wants(f"{site}.{self.record.layer_counts[site]}")

    def check_layers(self, sites: Collection[str], hidden_layers: int, model_name: str) -> None:
        """Check that a layer's number is the model's own: each has shown its sites once.

        Raises:
            InputError: The model has shown a site another number of times than it has layers.
        """
        for site in sites:
            count = self.record.layer_counts[site]
            if count != hidden_layers:
                raise InputError(
                    f"{model_name} computed {site} {count} times, but has {hidden_layers} layers, so it is unclear "
                    "which layer is which; choose others by importance_sites=, interaction=0, sites= or fc1="
                )

    def report(self, name: str, values: Any, attention_mask: Tensor | None = None) -> None:
        """Keep what a site shows, or read it at once, as the request says; what is kept is a tensor.

        Args:
            name: The site, with its layer.
            values: Vectors, or attention as weights or as a `BlockedAttention`.
            attention_mask: What is added to the scores of attention.
        """
        if self.request.keeps(name):
            self.record.sites[name] = values
        if name in self.request.readers:
            if self.request.needs_gradient and not torch.is_grad_enabled():
                raise InputError(
                    "gradient checkpointing with use_reentrant=True hides the layers from SAFR's losses; "
                    "pass gradient_checkpointing_kwargs={'use_reentrant': False}"
                )
            value = self.request.readers[name](self, values, attention_mask)
            if value is not None:
                self.record.loss_values[name] = value

    def release(self) -> None:
        """Let go of all that is differentiated: what a checkpoint needs to run again must not keep it alive.

        The model gets its own checkpointing function back.
        """
        for module in self.caches.checkpointed_modules:
            module._gradient_checkpointing_func = module._gradient_checkpointing_func.original
        self.caches.checkpointed_modules = []
        self.record.loss_values = {}
        self.record.keep = None if self.record.keep is None else self.record.keep.detach()


_open: ContextVar[ForwardPass | None] = ContextVar("safr_pass", default=None)


def current_pass() -> ForwardPass | None:
    """The pass that is open in this context, if any."""
    return _open.get()


def recording_pass() -> ForwardPass | None:
    """The pass that is open in this context, if the part of the model that it records runs now."""
    forward_pass = _open.get()
    return forward_pass if forward_pass is not None and forward_pass.is_inside else None


@contextmanager
def recording(request: PassRequest, record: PassRecord, recorder: object) -> Iterator[ForwardPass]:
    """Record the forward pass inside the block into the record, from the hooks of one recorder."""
    before, forward_pass = _open.get(), ForwardPass(request, record, recorder=recorder)
    _open.set(forward_pass)
    try:
        yield forward_pass
    finally:
        _open.set(before)


def open_pass(forward_pass: ForwardPass) -> None:
    """Start recording without a block, for hooks that see the beginning and the end of a forward pass."""
    outer = _open.get()
    while outer is not None and outer.recorder is forward_pass.recorder and not outer.request.is_trace:
        outer = outer.outer  # what an interrupted pass has left
    forward_pass.outer = outer
    _open.set(forward_pass)


def close_pass() -> None:
    """Stop recording; the pass around this one, if any, goes on."""
    forward_pass = _open.get()
    _open.set(None if forward_pass is None else forward_pass.outer)


HOOKS_LOCK = threading.RLock()
"""Held while hooks are put on or taken off: torch numbers them without a lock of its own."""

_blocks: ContextVar[frozenset[object]] = ContextVar("safr_blocks", default=frozenset())


@contextmanager
def own_block() -> Iterator[Callable[[], bool]]:
    """A block for hooks on a model that others may use too; yields a function that says whether a call is its own.

    Calls from other threads and other asyncio tasks are not.
    """
    mark, before = object(), _blocks.get()
    _blocks.set(before | {mark})
    try:
        yield lambda: mark in _blocks.get()
    finally:
        _blocks.set(_blocks.get() - {mark})


@contextmanager
def removing(handles: list[RemovableHandle]) -> Iterator[None]:
    """Take hooks off at the end of a block, however it ends."""
    try:
        yield
    finally:
        with HOOKS_LOCK:
            for handle in handles:
                handle.remove()


def replay_checkpoints(model: nn.Module, forward_pass: ForwardPass) -> None:
    """Let layers that are computed twice, under activation checkpointing, report the same both times.

    The second time is during the backward pass, where no pass is open and perhaps in another thread; without this the
    layer would take the path of a model that nobody records, and its gradient would be another network's.
    """
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            checkpointing: Any = module
            original = checkpointing._gradient_checkpointing_func
            original = getattr(original, "original", original)
            checkpointing._gradient_checkpointing_func = _ReplayedCheckpoint(original, forward_pass)
            forward_pass.caches.checkpointed_modules.append(checkpointing)


class _ReplayedCheckpoint:
    """A checkpointing function whose layers run, also the second time, as in the pass that they first ran in."""

    def __init__(self, original: Callable[..., Any], forward_pass: ForwardPass) -> None:
        self.original = original
        self.forward_pass = forward_pass

    def __call__(self, layer: Callable[..., Any], *args: Any, **options: Any) -> Any:
        before = replace(self.forward_pass, record=_copy_record(self.forward_pass.record))
        first_runs = iter((self.forward_pass,))

        def run_layer(*layer_args: Any, **layer_options: Any) -> Any:
            again = replace(before, record=_copy_record(before.record))
            token = _open.set(next(first_runs, again))
            try:
                return layer(*layer_args, **layer_options)
            finally:
                _open.reset(token)

        return self.original(run_layer, *args, **options)


def _copy_record(record: PassRecord) -> PassRecord:
    """The record as it stands, without what is kept, computed or differentiated."""
    keep = None if record.keep is None else record.keep.detach()
    return replace(record, keep=keep, sites={}, loss_values={}, layer_counts=Counter(record.layer_counts))
