"""Builds a tiny random model of every family of sequence classifiers that transformers knows, from its config."""

import torch
from transformers import CONFIG_MAPPING, AutoModelForSequenceClassification

MOST_WEIGHTS = 5_000_000

_NUMBERS = {
    16: "hidden_size d_model n_embd dim emb_dim embedding_size word_embed_proj_dim moe_intermediate_size "
    "shared_expert_intermediate_size",
    2: "num_hidden_layers n_layer n_layers num_layers encoder_layers decoder_layers num_decoder_layers "
    "num_attention_heads n_head n_heads num_heads encoder_attention_heads decoder_attention_heads num_key_value_heads "
    "num_experts_per_tok eos_token_id sep_token_id",
    32: "intermediate_size ffn_dim d_ff d_inner hidden_dim n_inner dff encoder_ffn_dim decoder_ffn_dim",
    8: "head_dim d_kv q_lora_rank kv_lora_rank v_head_dim",
    4: "num_experts num_local_experts n_routed_experts qk_rope_head_dim qk_nope_head_dim",
    1: "n_group topk_group bos_token_id cls_token_id",
    0: "first_k_dense_replace pad_token_id decoder_start_token_id",
    64: "vocab_size",
    128: "max_position_embeddings n_positions n_ctx max_seq_len",
}
_SIZES = {name: number for number, names in _NUMBERS.items() for name in names.split()}
_LINEAR_AND_FULL = {"layer_types": ["linear_attention", "full_attention"]}
_OWN_SIZES = {
    "axk1": {"head_dim": 4},
    "big_bird": {"block_size": 4, "num_random_blocks": 1},
    "deepseek_v3": {"head_dim": 4},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]]},
    "gptj": {"rotary_dim": 4},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "expert_layer_offset": 1},
    "lilt": {"hidden_size": 24},
    "longformer": {"attention_window": [8, 8]},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "mobilebert": {"true_hidden_size": 16, "intra_bottleneck_size": 16},
    "perceiver": {
        "num_latents": 8,
        "d_latents": 16,
        "num_blocks": 1,
        "num_self_attends_per_block": 2,
        "num_self_attention_heads": 2,
        "num_cross_attention_heads": 2,
        "vocab_size": 262,
    },
    "qwen3_5_text": _LINEAR_AND_FULL,
    "qwen3_next": _LINEAR_AND_FULL,
    "reformer": {
        "axial_pos_embds_dim": (4, 12),
        "axial_pos_shape": (8, 16),
        "attn_layers": ["local", "lsh"],
        "attention_head_size": 8,
        "is_decoder": False,
        "feed_forward_size": 32,
    },
    "roc_bert": {
        "pronunciation_vocab_size": 20,
        "shape_vocab_size": 20,
        "pronunciation_embed_dim": 8,
        "shape_embed_dim": 8,
    },
    "t5": {"decoder_start_token_id": 0},
    "umt5": {"decoder_start_token_id": 0},
    "mt5": {"decoder_start_token_id": 0},
    "xmod": {"default_language": "en_XX"},
    "zamba": {"num_hidden_layers": 3},
    "zamba2": {"layers_block_type": ["mamba", "hybrid"], "layer_types": ["mamba", "hybrid"]},
}


def build_classifier(kind):
    """A random classifier in evaluation mode with large weights, 64 token ids of which 0, 1 and 2 are special.

    Whatever a config or a model raises where it can't be this small is raised.
    """
    config = _small_config(kind)
    with torch.device("meta"):
        count = sum(weight.numel() for weight in AutoModelForSequenceClassification.from_config(config).parameters())
    if count > MOST_WEIGHTS:
        raise ValueError(f"{count:,} weights")
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.2)
    return model


def _small_config(kind):
    config_class = CONFIG_MAPPING[kind]
    own = _OWN_SIZES.get(kind, {})
    default = config_class()
    sizes = _small_sizes(default) | own
    for part in config_class.sub_configs:
        if getattr(default, part, None) is not None:
            sizes[part] = _small_sizes(getattr(default, part))
    return config_class(**sizes)


def _small_sizes(default):
    """The sizes that a config has, each once where it has two names for one."""
    names = default.attribute_map
    known = {*vars(default), *names}
    sizes = {
        name: number
        for name, number in _SIZES.items()
        if name in known and not isinstance(getattr(default, name, None), list | tuple | dict)
    }
    return {name: number for name, number in sizes.items() if names.get(name) not in sizes}
