"""Putting SAFR on a Hugging Face model, and taking it off again; the hooks themselves are in `regularizer.py`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, TypeVar

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.config import Regularization
from safr.data.encoding import find_word_pieces, special_token_ids
from safr.errors import InputError
from safr.model.attention import ATTENTION_NAME as SAFR_ATTENTION
from safr.model.families import check_readable, check_visible_attention, unwrap
from safr.model.regularizer import (
    SETTINGS,
    Regularizer,
    check_mask_present,
    get_regularizer,
    special_ids_of_model,
    write_settings,
)
from safr.model.resolve import reads_attention, resolve_auto
from safr.model.trainer_compat import averages_over_label_tokens

ModelT = TypeVar("ModelT", bound=nn.Module)
"""A transformers model, perhaps with adapters around it."""


def attach(
    model: ModelT,
    regularization: Regularization | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> ModelT:
    r"""Put SAFR on a model: from here on `outputs.loss` is $CE + \lambda_{Imp} L_{Imp} + \lambda_{Inter} L_{Inter}$.

    Source: SAFR (Chang et al. 2025), section 3. The model is changed in place; its class, its `forward` and its own
    weights stay what they were. `model.safr` holds the weights of the mask, and `model.safr.terms` the parts of the
    last loss. If your training loop computes the loss itself from the logits, add `outputs.regularization` to it.

    In an encoder-decoder SAFR reads the encoder, whose tokens are the text that is explained.

    Args:
        model: Any transformers model that uses transformers' attention interface, and DeBERTa and MPNet, which have
            attention of their own. It may have adapters (PEFT) around it.
        regularization: What to add. Default: the paper's, 0.1 and 0.1.
        tokenizer: Says which tokens are special and so never count, and which continue a word. Default: the special
            tokens that the model's config names.

    Returns:
        The same model.

    Raises:
        InputError: SAFR is on the model already, or the model shows no attention or no feed-forward layer.
    """
    if get_regularizer(model) is not None:
        raise InputError(f"SAFR is already attached to this {type(model).__name__}; call safr.detach(model) first")
    inner = unwrap(model)
    if regularization is not None and not isinstance(regularization, Regularization):
        raise InputError(
            f"expected a safr.Regularization, got a {type(regularization).__name__}; pass a tokenizer as tokenizer="
        )
    check_readable(inner)
    check_mask_present(inner)
    asked = regularization or Regularization()
    regularization = resolve_auto(asked, inner)
    special = special_ids_of_model(inner) if tokenizer is None else special_token_ids(tokenizer)
    pieces = _pieces(inner, tokenizer) if regularization.whole_words else None
    attached = attach_resolved(inner, regularization, special, pieces)
    attached.has_default_warmup = asked.warmup_steps is None
    return model


def attach_resolved(
    model: PreTrainedModel,
    regularization: Regularization,
    special_ids: Collection[int],
    pieces: Bool[Tensor, "2 word"] | None = None,
) -> Regularizer:
    """Put SAFR on a model with settings that leave nothing open, such as those that were saved with it.

    Args:
        model: The model, without adapters around it.
        regularization: What `safr.model.resolve.resolve_auto` gives.
        special_ids: Ids that never count.
        pieces: Where the mask goes by whole words: which ids of the vocabulary continue a word, and which close one.
    """
    if reads_attention(regularization):
        check_visible_attention(model)
    attached = Regularizer(model, regularization, special_ids, pieces)
    model.safr = attached.train(model.training)
    if not averages_over_label_tokens(model):
        vars(model)["accepts_loss_kwargs"] = False
    if model._can_set_attn_implementation():
        model.set_attn_implementation(SAFR_ATTENTION)
    write_settings(model, attached)
    return attached


def detach(model: ModelT) -> ModelT:
    """Take SAFR off again; the model computes what it would have computed without it.

    Raises:
        InputError: SAFR is not on the model.
    """
    attached = get_regularizer(model)
    if attached is None:
        raise InputError(f"SAFR is not attached to this {type(model).__name__}")
    inner = unwrap(model)
    attached.detach(inner)
    if inner._can_set_attn_implementation():
        inner.set_attn_implementation(attached.attention_before)
    del inner.safr
    vars(inner.config).pop(SETTINGS, None)
    vars(inner).pop("accepts_loss_kwargs", None)
    return model


def parameter_groups(
    model: PreTrainedModel,
    learning_rate: float,
    vmask_learning_rate: float | None = None,
    embedding_learning_rate: float | None = None,
) -> list[dict[str, Any]]:
    """The trainable weights as groups for an optimizer, with separate learning rates for VMASK and for the embeddings.

    Args:
        model: A model after `attach`.
        learning_rate: For the model's own weights.
        vmask_learning_rate: For the weights of the mask, which start from random values. Default: the same.
        embedding_learning_rate: For the token embeddings; that of a rare word is seldom updated. Default: the same.

    Raises:
        InputError: SAFR is not on the model.
    """
    attached = get_regularizer(model)
    if attached is None:
        raise InputError(f"SAFR is not attached to this {type(model).__name__}")
    masks = set(attached.parameters())
    embeddings = set() if embedding_learning_rate is None else set(model.get_input_embeddings().parameters())
    own = [weight for weight in model.parameters() if weight not in masks and weight not in embeddings]
    groups = [
        (own, learning_rate),
        (embeddings, embedding_learning_rate),
        (attached.parameters(), learning_rate if vmask_learning_rate is None else vmask_learning_rate),
    ]
    learnt = [([weight for weight in weights if weight.requires_grad], rate) for weights, rate in groups]
    return [{"params": weights, "lr": rate} for weights, rate in learnt if weights]


def _pieces(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None) -> Bool[Tensor, "2 word"]:
    """Which ids of the vocabulary continue a word, and which close one."""
    if tokenizer is None:
        raise InputError("`whole_words` needs to know which tokens continue a word; pass tokenizer= to attach")
    if model.can_generate() and not model.config.is_encoder_decoder:
        raise InputError(
            f"`whole_words` does not work for {type(model).__name__}, which writes words piece by piece: the mask of a "
            "piece would depend on pieces yet to come; leave it False"
        )
    pieces = torch.zeros(2, max(len(tokenizer), model.config.get_text_config().vocab_size), dtype=torch.bool)
    for row, ids in zip(pieces, find_word_pieces(tokenizer), strict=True):
        row[sorted(ids)] = True
    return pieces
