"""Tiny random models of many families, built from their configs without a download."""

import torch
import transformers

from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification

FC1 = {
    "paper": "layers.{}.fc1",
    "bert": "bert.encoder.layer.{}.intermediate.dense",
    "roberta": "roberta.encoder.layer.{}.intermediate.dense",
    "electra": "electra.encoder.layer.{}.intermediate.dense",
    "deberta": "deberta.encoder.layer.{}.intermediate.dense",
    "deberta_v1": "deberta.encoder.layer.{}.intermediate.dense",
    "mpnet": "mpnet.encoder.layer.{}.intermediate.dense",
    "distilbert": "distilbert.transformer.layer.{}.ffn.lin1",
    "albert": "albert.encoder.albert_layer_groups.0.albert_layers.0.ffn",
    "modernbert": "model.layers.{}.mlp.Wi",
    "gpt2": "transformer.h.{}.mlp.c_fc",
    "gpt_neox": "gpt_neox.layers.{}.mlp.dense_h_to_4h",
    "llama": "model.layers.{}.mlp.up_proj",
    "qwen2": "model.layers.{}.mlp.up_proj",
    "qwen3": "model.layers.{}.mlp.up_proj",
    "gemma2": "model.layers.{}.mlp.up_proj",
    "t5": "transformer.encoder.block.{}.layer.1.DenseReluDense.wi",
    "t5_gated": "transformer.encoder.block.{}.layer.1.DenseReluDense.wi_1",
    "bart": "model.encoder.layers.{}.fc1",
}
"""Where each family keeps its first feed-forward layer."""

OWN_ATTENTION = ("deberta", "deberta_v1", "mpnet")
"""Families that compute attention themselves, outside transformers' attention interface."""

CAUSAL = ("gpt2", "gpt_neox", "llama", "qwen2", "qwen3", "gemma2")
"""Families whose tokens see only earlier ones; they classify from the last token that is no padding."""

LEFTMOST_POSITION = ("distilbert", "bart")
"""Families that count positions from the left of the batch, padding or not, and can't be told others."""

LENGTHS = (7, 4, 2)
"""Tokens of the texts of a batch."""

PADDING, END = 0, 2

_BERT = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_LLAMA = {**_BERT, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": PADDING, "bos_token_id": 1}
_T5 = {
    "pad_token_id": PADDING,
    "decoder_start_token_id": PADDING,
    "vocab_size": 40,
    "d_model": 16,
    "d_kv": 8,
    "d_ff": 32,
    "num_layers": 2,
    "num_heads": 2,
}
_NO_OTHERS = {"pad_token_id": PADDING, "cls_token_id": None, "sep_token_id": None}
_SIZES = {
    "bert": ("Bert", _BERT),
    "roberta": ("Roberta", {**_BERT, "pad_token_id": PADDING}),
    "electra": ("Electra", {**_BERT, "embedding_size": 8}),
    "deberta": ("DebertaV2", {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "deberta_v1": ("Deberta", {**_BERT, "relative_attention": True, "pos_att_type": ["p2c", "c2p"]}),
    "mpnet": ("MPNet", _BERT),
    "xlnet": ("XLNet", {"vocab_size": 40, "d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 32, "pad_token_id": 0}),
    "longformer": ("Longformer", {**_BERT, "attention_window": [8, 8]}),
    "big_bird": ("BigBird", {**_BERT, "block_size": 4, "num_random_blocks": 1}),
    "mobilebert": ("MobileBert", {**_BERT, "true_hidden_size": 16, "intra_bottleneck_size": 16, "embedding_size": 16}),
    "opt": ("OPT", {**_BERT, "ffn_dim": 32, "word_embed_proj_dim": 16, "pad_token_id": PADDING}),
    "distilbert": ("DistilBert", {"vocab_size": 40, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32}),
    "albert": ("Albert", {**_BERT, "embedding_size": 8, "pad_token_id": PADDING}),
    "modernbert": ("ModernBert", {**_BERT, "global_attn_every_n_layers": 2, "local_attention": 4, **_NO_OTHERS}),
    "gpt2": ("GPT2", {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 32, "pad_token_id": 0}),
    "gpt_neox": ("GPTNeoX", {**_BERT, "pad_token_id": PADDING}),
    "llama": ("Llama", _LLAMA),
    "qwen2": ("Qwen2", _LLAMA),
    "qwen3": ("Qwen3", _LLAMA),
    "gemma2": ("Gemma2", {**_LLAMA, "query_pre_attn_scalar": 8, "sliding_window": 4, "attn_logit_softcapping": 0.5}),
    "t5": ("T5", _T5),
    "t5_gated": ("T5", {**_T5, "feed_forward_proj": "gated-gelu"}),
    "bart": (
        "Bart",
        {
            "vocab_size": 40,
            "d_model": 16,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_ffn_dim": 32,
            "decoder_ffn_dim": 32,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "max_position_embeddings": 64,
            "eos_token_id": END,
            "pad_token_id": PADDING,
        },
    ),
}


def tiny(family: str, head: str = "SequenceClassification"):
    """A random model with two layers, 16 wide, for 40 token ids of which 0 is padding.

    The weights are large for a random model's, so that one that is used wrongly shows.
    """
    if family == "paper":
        sizes = {**_BERT, "vocab_size": 40}
        return TransformerForSequenceClassification(TransformerConfig(**sizes))
    name, sizes = _SIZES[family]
    special = {"bos_token_id": 1, "eos_token_id": END} if family not in ("bert", "distilbert", "albert") else {}
    config = getattr(transformers, f"{name}Config")(**{**special, **sizes})
    model = getattr(transformers, f"{name}{head}" if head.startswith("LM") else f"{name}For{head}")(config)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.dim() > 1:
                weight.normal_(0, 0.2)
    return model


def batch(*, padded: bool = True, side: str = "right", family: str = "bert") -> dict[str, torch.Tensor]:
    """Three texts of up to seven tokens; the second and third are padded.

    Each ends in </s>, which encoder-decoders classify from. Families that count positions from the left of the batch
    are told the positions where padding is on the left.
    """
    ids = torch.randint(3, 40, (3, 7), generator=torch.Generator().manual_seed(1))
    lengths = LENGTHS if padded else (7, 7, 7)
    attention_mask = torch.stack([(torch.arange(7) < length).long() for length in lengths])
    for row, length in enumerate(lengths):
        ids[row, length - 1] = END
    ids = ids * attention_mask
    inputs = {"input_ids": ids, "attention_mask": attention_mask}
    if side == "left":
        inputs = {name: _to_the_right(each, lengths) for name, each in inputs.items()}
        if family in ("bert", "electra", "albert", "gpt2", "gpt_neox", *OWN_ATTENTION):
            first = 2 if family == "mpnet" else 0
            inputs["position_ids"] = (inputs["attention_mask"].cumsum(dim=-1) - 1).clamp_min(0) + first
    return inputs


def _to_the_right(rows: torch.Tensor, lengths: tuple[int, ...]) -> torch.Tensor:
    return torch.stack([row.roll(len(row) - length) for row, length in zip(rows, lengths, strict=True)])


def visible(model, family: str, inputs: dict[str, torch.Tensor], layer: int) -> torch.Tensor:
    """Which pairs of tokens may see each other, (batch, 1, query, key), by each family's own rule."""
    attended = inputs["attention_mask"].bool()
    tokens = attended.shape[1]
    pairs = attended[:, None, None, :].expand(-1, 1, tokens, -1)
    query, key = torch.arange(tokens)[:, None], torch.arange(tokens)[None, :]
    if family in CAUSAL:
        pairs = pairs & (key <= query)
    kinds = getattr(model.config, "layer_types", None)
    if kinds and kinds[layer] == "sliding_attention":
        window = 4 // 2 if family == "modernbert" else 4 - 1
        pairs = pairs & ((query - key).abs() <= window)
    return pairs
