"""How model families name their parts, and the hooks that record them: embeddings, FC1 and FC2."""

from __future__ import annotations

from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel

from safr.errors import InputError
from safr.model.forward_pass import recording_pass

FEED_FORWARD_NAMES = {
    "fc1": "fc2",  # the paper's transformer; also OPT and BART
    "intermediate.dense": "output.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa
    "ffn": "ffn_output",  # ALBERT
    "ffn.lin1": "ffn.lin2",  # DistilBERT
    "mlp.Wi": "mlp.Wo",  # ModernBERT: both halves of its gated layer
    "mlp.gate_up_proj": "mlp.down_proj",  # Phi 3, GLM: both halves of their gated layer
    "mlp.c_fc": "mlp.c_proj",  # GPT-2
    "mlp.dense_h_to_4h": "mlp.dense_4h_to_h",  # GPT-NeoX, Falcon
    "mlp.up_proj": "mlp.down_proj",  # Llama, Qwen, Gemma and their relatives
    "DenseReluDense.wi": "DenseReluDense.wo",  # T5
    "DenseReluDense.wi_1": "DenseReluDense.wo",  # T5 with gates, whose other half, wi_0, is the gate
}
"""How families call their first feed-forward layer, and the second one that belongs to it."""


def unwrap(model: nn.Module) -> PreTrainedModel:
    """The transformers model itself, also where adapters (PEFT) are wrapped around it."""
    adapted: Any = getattr(model, "_orig_mod", model)  # what torch.compile has wrapped
    inner = adapted.get_base_model() if hasattr(adapted, "get_base_model") else adapted
    if not isinstance(inner, PreTrainedModel):
        raise InputError(f"expected a transformers model, got {type(inner).__name__}; attach SAFR before wrapping it")
    return inner


def get_encoder(model: PreTrainedModel) -> PreTrainedModel:
    """The part whose tokens are the text that is explained: all of it, or the encoder of an encoder-decoder."""
    return model.get_encoder() if model.config.is_encoder_decoder else model


def count_layers(model: PreTrainedModel) -> int:
    """How many layers a model has; of an encoder-decoder, its encoder."""
    return model.config.get_text_config().num_hidden_layers


def find_feed_forward_layers(
    model: PreTrainedModel, fc1: str | None = None
) -> list[tuple[nn.Module, nn.Module | None]]:
    """The first and second feed-forward layer of every block, in the order of the layers.

    Args:
        model: Any transformer; of an encoder-decoder, the encoder's blocks.
        fc1: Wildcard of the first layers' module paths, as in `encoder.*.expand`; the second layer is then known only
            where the path ends in a known name. Default: by the names that families use.

    Raises:
        InputError: Nothing matches; the message lists the layers that could be meant.
    """
    # A block may bear a layer's name; only a layer has weights. One that adapters are put on keeps its path.
    part = set(get_encoder(model).modules())
    modules = {path: module for path, module in model.named_modules() if module in part and hasattr(module, "weight")}
    layers = []
    for path, module in modules.items():
        name = next((name for name in FEED_FORWARD_NAMES if f".{path}".endswith(f".{name}")), None)
        if fnmatch(path, fc1) if fc1 is not None else name is not None:
            second = modules.get(path.removesuffix(name) + FEED_FORWARD_NAMES[name]) if name else None
            layers.append((module, second))
    if not layers:
        problem = f"no module path matches fc1='{fc1}'" if fc1 else "the first feed-forward layers (FC1) were not found"
        raise InputError(
            f"{problem} in {type(model).__name__}; pass fc1=, a wildcard such as {_list_candidates(modules)}"
        )
    return layers


def add_recording_hooks(layers: list[tuple[nn.Module, nn.Module | None]]) -> list[RemovableHandle]:
    """Put the recording hooks on feed-forward layers; returns the handles to remove them."""
    handles = []
    for first, second in layers:
        handles.append(first.register_forward_hook(_record_fc1))
        if second is not None:
            handles.append(second.register_forward_pre_hook(_record_fc1_out))
            handles.append(second.register_forward_hook(_record_fc2))
    return handles


def has_visible_attention(model: PreTrainedModel) -> bool:
    """Whether a model's attention can be seen: it goes through transformers' attention interface."""
    return model._can_set_attn_implementation()


def check_visible_attention(model: PreTrainedModel) -> None:
    """A model whose attention can't be seen is told what is missing and what to pass."""
    if not has_visible_attention(model):
        raise InputError(
            f"{type(model).__name__} does not go through transformers' attention interface, so its attention can't be "
            "seen; pass interaction=0 and ask for no attention, or use a model that does (BERT, Llama and 300 others)"
        )


def record_once(site: str, vectors: Tensor) -> None:
    """Record a site that exists once in a model."""
    if (forward_pass := recording_pass()) is not None:
        forward_pass.report(site, vectors)


def _list_candidates(modules: dict[str, nn.Module]) -> str:
    """Widening linear layers, with the layers' numbers as wildcards."""
    paths = [
        path
        for path, module in modules.items()
        if isinstance(module, nn.Linear) and module.out_features > module.in_features
    ]
    wildcards = dict.fromkeys(".".join("*" if part.isdigit() else part for part in path.split(".")) for path in paths)
    return ", ".join(f"'{wildcard}'" for wildcard in wildcards) or "'*' (the model has no widening linear layer)"


def _record_layer(site: str, vectors: Tensor) -> None:
    if (forward_pass := recording_pass()) is not None:
        attended = forward_pass.record.attended
        if vectors.dim() == 2 and attended is not None:  # OPT runs its feed-forward layers on one long row
            vectors = vectors.view(*attended.shape, -1)
        forward_pass.report(forward_pass.next_layer(site), vectors)


def _record_fc1(module: nn.Module, args: tuple, output: Tensor) -> None:
    # Differs from the paper: FC1 before the activation is what its figures show (their interference is negative too,
    # which ReLU's outputs cannot have); its text does not say.
    _record_layer("fc1", output)


def _record_fc1_out(module: nn.Module, args: tuple) -> None:
    _record_layer("fc1_out", args[0])


def _record_fc2(module: nn.Module, args: tuple, output: Tensor) -> None:
    _record_layer("fc2", output)


RECORDING_HOOKS = (_record_fc1, _record_fc1_out, _record_fc2)
"""The hooks that `add_recording_hooks` puts on."""
