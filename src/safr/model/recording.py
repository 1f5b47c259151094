"""What a forward pass leaves behind while it runs: the sites somebody asked for, and nothing else.

Hooks and the attention function write into the pass that is open in their context; where none is open they do nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from fnmatch import fnmatch

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.errors import InputError

FEED_FORWARD = {
    "fc1": "fc2",  # the paper's transformer; also OPT and BART
    "intermediate.dense": "output.dense",  # BERT, RoBERTa, ELECTRA
    "ffn.lin1": "ffn.lin2",  # DistilBERT
    "mlp.c_fc": "mlp.c_proj",  # GPT-2
    "mlp.up_proj": "mlp.down_proj",  # Llama and its relatives
}
"""How families call their first feed-forward layer, and the second one that belongs to it."""


@dataclass
class Pass:
    """One forward pass under way."""

    wanted: frozenset[str]
    """Sites to keep, as `fc1` for every layer or `fc1.0` for one."""

    joinable: bool = False
    """Whether a model's forward pass may write here; one that was interrupted leaves a pass that it may not."""

    labelled: bool = False
    """Whether the model was given labels, so that its output holds a loss."""

    counting: Tensor | None = None
    keep: Tensor | None = None
    attention: dict[int, Tensor] = field(default_factory=dict)
    vectors: dict[str, Tensor] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def next_layer(self, site: str) -> int:
        """The layer that reports now: sites are visited once per layer, and a shared layer is visited again."""
        layer = self.seen[site]
        self.seen[site] += 1
        return layer

    def wants(self, site: str, layer: int) -> bool:
        """Whether somebody asked for this site at this layer."""
        return site in self.wanted or f"{site}.{layer}" in self.wanted


_open: ContextVar[Pass | None] = ContextVar("safr_pass", default=None)


def current_pass() -> Pass | None:
    """The pass that is being recorded in this context, if any."""
    return _open.get()


@contextmanager
def recording(wanted: frozenset[str]) -> Iterator[Pass]:
    """Record every forward pass inside the block into the pass that is handed over."""
    now = Pass(wanted, joinable=True)
    token = _open.set(now)
    try:
        yield now
    finally:
        _open.reset(token)


def open_pass(now: Pass) -> None:
    """Start recording without a block, for hooks that see the beginning and the end of a forward pass."""
    _open.set(now)


def close_pass() -> None:
    """Stop recording."""
    _open.set(None)


def watch(model: PreTrainedModel, fc1: str | None) -> list[RemovableHandle]:
    """Put the recording hooks on the embeddings and on every feed-forward block; returns the handles to remove them."""
    layers = feed_forward_layers(model, fc1)
    handles = [model.get_input_embeddings().register_forward_hook(_keep_embedding)]
    for first, second in layers:
        handles.append(first.register_forward_hook(_keep_fc1))
        if second is not None:
            handles.append(second.register_forward_pre_hook(_keep_fc1_out))
            handles.append(second.register_forward_hook(_keep_fc2))
    return handles


def feed_forward_layers(model: nn.Module, fc1: str | None = None) -> list[tuple[nn.Module, nn.Module | None]]:
    """The first and second feed-forward layer of every block, in the order of the layers.

    Args:
        model: Any transformer.
        fc1: Wildcard of the first layers' module paths, as in `encoder.*.expand`; the second layer is then known only
            where the path ends in a known name. Default: by the names that families use.

    Raises:
        InputError: Nothing matches; the message lists the layers that could be meant.
    """
    modules = dict(model.named_modules())
    found = []
    for path, module in modules.items():
        name = next((each for each in FEED_FORWARD if f".{path}".endswith(f".{each}")), None)
        if fnmatch(path, fc1) if fc1 is not None else name is not None:
            second = modules.get(path.removesuffix(name) + FEED_FORWARD[name]) if name else None
            found.append((module, second))
    if not found:
        asked = f"no module path matches fc1='{fc1}'" if fc1 else "the first feed-forward layers (FC1) were not found"
        raise InputError(f"{asked} in {type(model).__name__}; pass fc1=, a wildcard such as {_candidates(modules)}")
    return found


def _candidates(modules: dict[str, nn.Module]) -> str:
    """Widening linear layers, with the layers' numbers as wildcards."""
    paths = [
        path
        for path, module in modules.items()
        if isinstance(module, nn.Linear) and module.out_features > module.in_features
    ]
    wildcards = dict.fromkeys(".".join("*" if part.isdigit() else part for part in path.split(".")) for path in paths)
    return ", ".join(f"'{each}'" for each in wildcards) or "'*' (the model has no widening linear layer)"


def keep_vectors(site: str, vectors: Tensor) -> None:
    """Keep the vectors of a site that exists once, if the open pass wants them."""
    if (now := current_pass()) is not None and site in now.wanted:
        now.vectors[site] = vectors


def _keep_layer(site: str, vectors: Tensor) -> None:
    if (now := current_pass()) is not None:
        layer = now.next_layer(site)
        if now.wants(site, layer):
            now.vectors[f"{site}.{layer}"] = vectors


def _keep_embedding(module: nn.Module, args: tuple, output: Tensor) -> None:
    keep_vectors("embedding", output)


def _keep_fc1(module: nn.Module, args: tuple, output: Tensor) -> None:
    _keep_layer("fc1", output)


def _keep_fc1_out(module: nn.Module, args: tuple) -> None:
    _keep_layer("fc1_out", args[0])


def _keep_fc2(module: nn.Module, args: tuple, output: Tensor) -> None:
    _keep_layer("fc2", output)
