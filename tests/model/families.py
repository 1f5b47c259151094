"""Tiny random models of several families, built from their configs without a download."""

import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
)

from safr.model.transformer import TransformerConfig, TransformerForSequenceClassification

FC1 = {
    "paper": "layers.{}.fc1",
    "bert": "bert.encoder.layer.{}.intermediate.dense",
    "distilbert": "distilbert.transformer.layer.{}.ffn.lin1",
    "gpt2": "transformer.h.{}.mlp.c_fc",
    "llama": "model.layers.{}.mlp.up_proj",
}
"""Where each family keeps its first feed-forward layer."""


def tiny(family: str):
    """A random model with two layers, 16 wide, for 40 token ids of which 0 is padding."""
    bert = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    match family:
        case "paper":
            return TransformerForSequenceClassification(TransformerConfig(**bert, intermediate_size=32))
        case "bert":
            return BertForSequenceClassification(BertConfig(**bert, intermediate_size=32))
        case "distilbert":
            config = DistilBertConfig(vocab_size=40, dim=16, n_layers=2, n_heads=2, hidden_dim=32)
            return DistilBertForSequenceClassification(config)
        case "gpt2":
            config = GPT2Config(vocab_size=40, n_embd=16, n_layer=2, n_head=2, n_inner=32, pad_token_id=0)
            return GPT2ForSequenceClassification(config)
        case "llama":
            config = LlamaConfig(**bert, intermediate_size=32, num_key_value_heads=1, pad_token_id=0)
            return LlamaForSequenceClassification(config)
    raise ValueError(family)


def batch(*, padded: bool = True) -> dict[str, torch.Tensor]:
    """Three texts of up to seven tokens; the second and third are padded on the right."""
    ids = torch.randint(3, 40, (3, 7), generator=torch.Generator().manual_seed(1))
    attention_mask = torch.ones(3, 7, dtype=torch.long)
    if padded:
        attention_mask[1, 4:], attention_mask[2, 1:] = 0, 0
    return {"input_ids": ids * attention_mask, "attention_mask": attention_mask}
