"""How model families name their parts, and lay out what is inside them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from fnmatch import fnmatch
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel

from safr.errors import InputError
from safr.model.forward_pass import TextLayout

FEED_FORWARD_NAMES = {
    "fc1": "fc2",  # the paper's transformer; also OPT and BART
    "intermediate.dense": "output.dense",  # BERT, RoBERTa, ELECTRA, DeBERTa
    "ffn": "ffn_output",  # ALBERT
    "ffn.lin1": "ffn.lin2",  # DistilBERT
    "ff.layer_1": "ff.layer_2",  # XLNet
    "mlp.Wi": "mlp.Wo",  # ModernBERT: both halves of its gated layer
    "mlp.gate_up_proj": "mlp.down_proj",  # Phi 3, GLM: both halves of their gated layer
    "mlp.c_fc": "mlp.c_proj",  # GPT-2
    "mlp.dense_h_to_4h": "mlp.dense_4h_to_h",  # GPT-NeoX, Falcon
    "mlp.up_proj": "mlp.down_proj",  # Llama, Qwen, Gemma and their relatives
    "DenseReluDense.wi": "DenseReluDense.wo",  # T5
    "DenseReluDense.wi_1": "DenseReluDense.wo",  # T5 with gates, whose other half, wi_0, is the gate
}
"""How families call their first feed-forward layer, and the second one that belongs to it."""

OWN_ATTENTION = {
    "deberta": "attention.self",
    "deberta-v2": "attention.self",  # DeBERTa v2 and v3
    "mpnet": "attention.attn",
}
"""Model types that compute attention themselves and hand its weights to a `dropout`: where the module is that does."""

MASKED_BY_PAIRS = frozenset({"mpnet"})
"""Of these the types that take a mask of pairs, which they add to the scores; DeBERTa's masks hide padding alone."""

TOKEN_MAJOR = frozenset({"xlnet"})
"""Model types whose layers hold (token, text, width)."""

PADDED_LIKE_ALONE = frozenset(
    """
        albert arcee axk1 axk2 bart bert biogpt bloom camembert ctrl data2vec-text deberta deberta-v2 deepseek_v2
        deepseek_v3 diffllama distilbert doge electra ernie esm esmc eurobert exaone4 falcon flaubert gemma gemma2
        gemma3 gemma3_text glm glm4 gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gpt_oss gptj gte helium
        hunyuan_v1_dense hunyuan_v1_moe jamba jetmoe jina_embeddings_v3 layoutlm lilt llama longformer luke markuplm
        mbart megatron-bert minicpm3 minimax ministral ministral3 mistral mistral4 mixtral modernbert
        modernbert-decoder modernvbert mpnet mpt mt5 mvp nemotron nomic_bert olmo olmo2 olmo3 openai-gpt opt
        persimmon phi phi3 phimoe plbart qwen2 qwen2_moe qwen3 qwen3_5_text qwen3_moe qwen3_next rembert roberta
        roberta-prelayernorm roc_bert roformer safr-transformer seed_oss smollm3 squeezebert stablelm starcoder2 t5
        tapas ultrabert ultravbert umt5 xlm xlm-roberta xlm-roberta-xl xmod zamba2
    """.split()  # noqa: SIM905 - a list of a hundred lines says no more
)
"""Model types for which tests have shown that a text gets the same alone and with padding on its right."""

READING_LAST_TOKEN = frozenset({"RoFormerForMultipleChoice"})
"""Classes of those types whose head reads the last token of a row, be it padding."""

PADDED_AT_END = frozenset({"longformer", "big_bird"})
"""Model types that append padding of their own to every text, up to a multiple of a window or block."""


_written_tokens: ContextVar[tuple[int, ...]] = ContextVar("written_tokens", default=())
"""Token ids of an output that is to be gone on with."""


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


@contextmanager
def continuing_output(tokens: Sequence[int]) -> Iterator[None]:
    """Have every encoder-decoder that writes text go on after these tokens of its output, in a block and its thread."""
    reset = _written_tokens.set(tuple(tokens))
    try:
        yield
    finally:
        _written_tokens.reset(reset)


def add_decoder_start(model: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch, with the start of the output where a model writes by a decoder and the batch has no input for that.

    The start is the start token, followed by the first token where the model's settings force one and by what
    `continuing_output` says. So the last logits are about the next token that the model is free to choose. An
    encoder-decoder that classifies gives its decoder the text itself.

    Args:
        model: The model.
        batch: What it is given.

    Raises:
        InputError: Neither the model's config nor its generation config names the start token.
    """
    if not getattr(model.config, "is_encoder_decoder", False):
        return batch
    inner = unwrap(model)
    # T5ForQuestionAnswering holds no base model, and gives its decoder the text itself.
    is_writer = inner.can_generate() or (inner.base_model is inner and "For" not in type(inner).__name__)
    if not is_writer or "decoder_input_ids" not in inspect.signature(inner.forward).parameters:
        return batch
    if any(batch.get(name) is not None for name in ("decoder_input_ids", "decoder_inputs_embeds", "labels")):
        return batch
    settings = (inner.config, getattr(inner, "generation_config", None))
    start, forced = (
        next((value for value in (getattr(part, name, None) for part in settings) if value is not None), None)
        for name in ("decoder_start_token_id", "forced_bos_token_id")
    )
    if start is None:
        raise InputError(
            f"the config of {type(inner).__name__} names no token that its output begins with; set "
            "model.config.decoder_start_token_id"
        )
    ids = batch["input_ids"]
    beginning = [start, *(() if forced is None else (forced,)), *_written_tokens.get()]
    return {**batch, "decoder_input_ids": ids.new_tensor(beginning).expand(*ids.shape[:-1], -1)}


def complete_batch(model: nn.Module, batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """The batch as the model's forward pass takes it; see `add_decoder_start`.

    Of a model for multiple choice each text of a batch (batch, token) is the only choice of a question of its own.
    """
    if not picks_choices(model) or batch["input_ids"].dim() > 2:
        return add_decoder_start(model, batch)
    return {name: values.unsqueeze(1) for name, values in batch.items()}


def picks_choices(model: nn.Module) -> bool:
    """Whether a model picks the right one of several choices, each of which it reads with the question."""
    return type(unwrap(model)).__name__.endswith("ForMultipleChoice")


def count_layers(model: PreTrainedModel) -> int:
    """How many layers a model has; of an encoder-decoder, its encoder."""
    count = getattr(model.config.get_text_config(), "num_hidden_layers", None)
    if not isinstance(count, int):
        raise InputError(
            f"the config of {type(model).__name__} names no num_hidden_layers, so its layers can't be counted"
        )
    return count


def lay_out_texts(model: PreTrainedModel, arguments: Mapping[str, Any]) -> TextLayout | None:
    """How a model lays out the texts of a batch inside; None where the batch says nothing about its tokens.

    The choices of a multiple choice are texts.

    Args:
        model: The model, or its encoder.
        arguments: What its forward pass is given, by name.
    """
    ids, vectors = arguments.get("input_ids"), arguments.get("inputs_embeds")
    if ids is not None:
        shape = ids.shape
    elif vectors is not None:
        shape = vectors.shape[:-1]
    else:
        return None
    kind = getattr(model.config, "model_type", "")
    texts = math.prod(shape[:-1])  # 1 for a text without a batch around it
    return TextLayout(type(model).__name__, texts, shape[-1], kind in TOKEN_MAJOR, kind in PADDED_AT_END)


@contextmanager
def keeping_attention_type(model: nn.Module) -> Iterator[None]:
    """A block after which BigBird has its attention back: a short text sets it to another, and it would stay so."""
    parts: list[Any] = []
    if getattr(model.config, "model_type", "") in ("big_bird", "bigbird_pegasus"):
        parts = [part for part in model.modules() if isinstance(part, PreTrainedModel) and _chooses_attention(part)]
    before = [part.attention_type for part in parts]
    try:
        yield
    finally:
        for part, kind in zip(parts, before, strict=True):
            if part.attention_type != kind:
                part.set_attention_type(kind)


def _chooses_attention(part: nn.Module) -> bool:
    return hasattr(part, "set_attention_type") and hasattr(part, "attention_type")


def check_readable(model: PreTrainedModel) -> None:
    """Refuse a model without an embedding of tokens or without weights.

    Raises:
        InputError: It reads images or sound, or its weights are on the meta device.
    """
    name = type(model).__name__
    try:
        weight = getattr(get_encoder(model).get_input_embeddings(), "weight", None)
    except NotImplementedError:
        weight = None
    if not isinstance(weight, Tensor) or weight.dim() != 2:
        raise InputError(f"expected a model that reads tokens, got {name}, which has no embedding of tokens")
    if weight.device.type == "meta":
        raise InputError(f"expected a model with weights, got {name} on the meta device; load its weights first")


def bind_arguments(model: nn.Module, args: tuple, options: dict[str, Any]) -> dict[str, Any]:
    """What a forward pass is given, by the names of its parameters."""
    arguments = inspect.signature(model.forward).bind_partial(*args, **options).arguments
    return {**arguments, **arguments.get("kwargs", {})}


def takes_token_types(model: nn.Module) -> bool:
    """Whether a model's forward pass takes token types."""
    return "token_type_ids" in inspect.signature(unwrap(model).forward).parameters


def ignores_padding(model: PreTrainedModel) -> bool:
    """Whether a text gets the same vectors and logits alone and with padding on its right."""
    is_like_alone = getattr(model.config, "model_type", "") in PADDED_LIKE_ALONE
    return is_like_alone and type(unwrap(model)).__name__ not in READING_LAST_TOKEN


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
    if len(layers) > count_layers(model):  # fewer may be right: ALBERT goes through one several times
        raise InputError(
            f"{type(model).__name__} has {len(layers)} feed-forward layers that could be FC1, but "
            f"{count_layers(model)} layers, so it is unclear which layer is which; pass fc1=, a wildcard of one in "
            "every layer"
        )
    return layers


def find_own_attention(model: PreTrainedModel) -> list[nn.Module]:
    """The modules that compute a model's attention themselves, where their weights can be read; one per layer."""
    path = OWN_ATTENTION.get(getattr(model.config, "model_type", ""))
    if path is None or getattr(model.config, "talking_head", False):  # which mixes DeBERTa's heads after the dropout
        return []
    return [module for name, module in model.named_modules() if name.endswith(f".{path}")]


def has_visible_attention(model: PreTrainedModel) -> bool:
    """Whether a model's attention can be seen: in transformers' attention interface, or in the family's own modules."""
    return model._can_set_attn_implementation() or bool(find_own_attention(model))


def check_visible_attention(model: PreTrainedModel) -> None:
    """A model whose attention can't be seen is told what is missing and what to pass."""
    if not has_visible_attention(model):
        raise InputError(
            f"{type(model).__name__} does not go through transformers' attention interface, so its attention can't be "
            "read; pass interaction=0 and ask for no attention, or use a model that does (BERT, Llama and 300 others)"
        )


def _list_candidates(modules: dict[str, nn.Module]) -> str:
    """Widening linear layers, with the layers' numbers as wildcards."""
    paths = [
        path
        for path, module in modules.items()
        if isinstance(module, nn.Linear) and module.out_features > module.in_features
    ]
    wildcards = dict.fromkeys(".".join("*" if part.isdigit() else part for part in path.split(".")) for path in paths)
    return ", ".join(f"'{wildcard}'" for wildcard in wildcards) or "'*' (the model has no widening linear layer)"
