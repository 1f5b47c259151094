"""Any Hugging Face model in, the same model with SAFR on it out; and the Trace of one forward pass.

Nothing of the model's own is replaced: VMASK is a hook on its embeddings, the losses are a hook on its output, and both
are taken off again by `detach`.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from safr.config import Regularization
from safr.data.batches import special_ids_of
from safr.errors import InputError
from safr.losses import importance_loss, information_loss, interaction_loss
from safr.model.attention import NAME as SAFR_ATTENTION
from safr.model.recording import Pass, close_pass, current_pass, keep_vectors, open_pass, recording, watch
from safr.model.vmask import VMASK
from safr.traces import SITES, Trace


class Attachment(nn.Module):
    """What `attach` puts on a model as `model.safr`: the mask, the settings, and the hooks that compute the losses."""

    steps: Tensor

    def __init__(
        self,
        model: PreTrainedModel,
        regularization: Regularization,
        layers: tuple[int, ...],
        special_ids: Collection[int],
        handles: list[RemovableHandle],
    ) -> None:
        super().__init__()
        embeddings = model.get_input_embeddings()
        weight = cast("Tensor", embeddings.weight)
        self.regularization = regularization
        self.special_ids = tuple(sorted(special_ids))
        self.layers = layers
        self.attention_before = model.config._attn_implementation
        self.terms: dict[str, Tensor] = {}
        """The last loss's parts, unweighted and detached: task, importance, interaction, information."""
        self.vmask: VMASK | None = None
        if regularization.vmask:
            self.vmask = VMASK(weight.shape[1], regularization.vmask_width).to(weight)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long, device=weight.device))
        self.handles = [
            *handles,
            embeddings.register_forward_hook(self._mask_embeddings),
            model.register_forward_pre_hook(self._begin, with_kwargs=True),
            model.register_forward_hook(self._finish, with_kwargs=True, always_call=True),
        ]
        self._accepted = inspect.signature(model.forward)

    def _begin(self, model: nn.Module, args: tuple, options: dict[str, Any]) -> None:
        """Open a pass, or join the one that a trace has opened, and ask for what the losses will read."""
        given = self._accepted.bind_partial(*args, **options).arguments
        given = {**given, **given.get("kwargs", {})}
        self._refuse_unsupported(model, given)
        now = current_pass()
        if now is None or not now.joinable:
            now = Pass(frozenset())
        now.labelled = given.get("labels") is not None
        if now.labelled:
            now.wanted |= self._read_by_losses()
        if self.regularization.padding == "mask" and now.counting is None:
            now.counting = counting_tokens(given, self.special_ids)
        open_pass(now)

    def _refuse_unsupported(self, model: nn.Module, given: Mapping[str, Any]) -> None:
        """What would train something else than the settings say, without a word."""
        if getattr(model, "_is_replica", False):
            raise InputError("SAFR can't run under DataParallel, which copies its hooks; start one process per GPU")
        if self.vmask is not None and given.get("inputs_embeds") is not None:
            raise InputError(
                "expected input_ids, got inputs_embeds, which would go past VMASK; attach with vmask=False"
            )
        checkpointing = model.training and getattr(model, "is_activation_checkpointing", False)
        if checkpointing and self.regularization.interaction and given.get("labels") is not None:
            raise InputError("gradient checkpointing would lose the interaction loss; switch it off, or interaction=0")

    def _mask_embeddings(self, module: nn.Module, args: tuple, output: Tensor) -> Tensor | None:
        now = current_pass()
        if self.vmask is None:
            return None
        masked = self.vmask(output, None if now is None else now.counting)
        if now is not None:
            now.keep = masked.keep
        keep_vectors("vmask", masked.vectors)
        return masked.vectors

    def _finish(self, model: nn.Module, args: tuple, options: dict[str, Any], output: Any) -> Any:
        """Add the weighted losses to the output's loss, which holds the task's alone until here."""
        now = current_pass()
        close_pass()
        if now is None or output is None or not now.labelled:  # None: the forward pass has failed
            return None
        task = output[0] if isinstance(output, tuple) else output.get("loss")
        if task is None:
            return None
        terms = self._terms(now)
        weight = self._strength(model.training)
        loss = task + weight * sum(getattr(self.regularization, name) * term for name, term in terms.items())
        self.terms = {name: term.detach() for name, term in {"task": task, **terms}.items()}
        if isinstance(output, tuple):
            return (loss, *output[1:])
        output["loss"] = loss
        return output

    def _read_by_losses(self) -> frozenset[str]:
        wanted = set()
        if self.regularization.importance:
            wanted.add(self._importance_site())
        if self.regularization.interaction:
            wanted.update(f"attention.{layer}" for layer in self.layers)
        return frozenset(wanted)

    def _importance_site(self) -> str:
        return "embedding" if self.vmask is None else "vmask"

    def _terms(self, now: Pass) -> dict[str, Tensor]:
        """The losses whose weight is not 0."""
        settings, terms = self.regularization, {}
        if settings.importance:
            vectors = now.vectors[self._importance_site()]
            terms["importance"] = importance_loss(vectors, now.counting, settings.scale_free)
        if settings.interaction:
            per_layer = [interaction_loss(now.attention[n], now.counting, settings.exclude_self) for n in self.layers]
            terms["interaction"] = torch.stack(per_layer).mean()
        if settings.information and now.keep is not None:
            terms["information"] = information_loss(now.keep, now.counting)
        return terms

    def _strength(self, training: bool) -> Tensor | float:
        """Share of the weights in force: rises linearly from 0 to 1 during warm-up."""
        if not self.regularization.warmup_steps:
            return 1.0
        if training and torch.is_grad_enabled():
            self.steps += 1
        return (self.steps / self.regularization.warmup_steps).clamp(max=1.0)


def attach(
    model: PreTrainedModel,
    regularization: Regularization | None = None,
    *,
    tokenizer: PreTrainedTokenizerBase | None = None,
) -> PreTrainedModel:
    r"""Put SAFR on a model: from here on `outputs.loss` is $CE + \lambda_{Imp} L_{Imp} + \lambda_{Inter} L_{Inter}$.

    Source: SAFR (Chang et al. 2025), section 3. The model is changed in place; its class, its `forward` and its own
    weights stay what they were. `model.safr` holds the mask's weights, `model.safr.terms` the last loss's parts.

    Args:
        model: Any transformers model whose attention goes through transformers' attention interface.
        regularization: What to add. Default: the paper's, 0.1 and 0.1.
        tokenizer: Says which tokens are special and so never count. Default: those that the model's config names.

    Returns:
        The same model.

    Raises:
        InputError: SAFR is on the model already, or the model shows no attention or no feed-forward layer.
    """
    regularization = regularization or Regularization()
    if attachment(model) is not None:
        raise InputError(f"SAFR is already attached to this {type(model).__name__}; call safr.detach(model) first")
    special = special_ids(model) if tokenizer is None else special_ids_of(tokenizer)
    _refuse_unseen_attention(model)
    layers = _layer_numbers(regularization, model)
    attached = Attachment(model, regularization, layers, special, watch(model, regularization.fc1))
    model.safr = attached.train(model.training)
    # The regularizers are a batch's mean, so the Trainer must divide the loss when it accumulates batches.
    vars(model)["accepts_loss_kwargs"] = False
    model.set_attn_implementation(SAFR_ATTENTION)
    return model


def detach(model: PreTrainedModel) -> PreTrainedModel:
    """Take SAFR off again; the model computes what it would have computed without it.

    Raises:
        InputError: SAFR is not on the model.
    """
    attached = attachment(model)
    if attached is None:
        raise InputError(f"SAFR is not attached to this {type(model).__name__}")
    for handle in attached.handles:
        handle.remove()
    model.set_attn_implementation(attached.attention_before)
    del model.safr, vars(model)["accepts_loss_kwargs"]
    return model


def attachment(model: nn.Module) -> Attachment | None:
    """What `attach` has put on a model, if anything."""
    found = getattr(model, "safr", None)
    return found if isinstance(found, Attachment) else None


def trace(
    model: PreTrainedModel,
    batch: Mapping[str, Tensor],
    sites: Collection[str] = ("fc1",),
    *,
    counting: Bool[Tensor, "batch token"] | None = None,
) -> Trace:
    """Run a batch through a model, with SAFR on it or not, and keep what it shows at some sites.

    The model runs in the mode it is in: call `model.eval()` first for an explanation.

    Args:
        model: The model.
        batch: What the model takes: `input_ids`, `attention_mask`, ...
        sites: Names of `safr.traces.SITES`, alone for every layer (`fc1`) or with one (`fc1.0`).
        counting: True where a token counts. Default: neither padding nor a special token that the model knows of.

    Raises:
        InputError: A site's name is not known.
    """
    if unknown := [site for site in sites if site.partition(".")[0] not in SITES]:
        raise InputError(f"unknown sites: {', '.join(unknown)}; known are {', '.join(SITES)}")
    if counting is None:
        counting = counting_tokens(batch, special_ids(model))
    assert counting is not None
    attached = attachment(model)
    shows_attention = any(site.startswith("attention") for site in sites)
    with _watched(model, attention=shows_attention), recording(frozenset(sites)) as now:
        if attached is None or attached.regularization.padding == "mask":
            now.counting = counting
        outputs = model(**batch)
    vectors = {name: now.vectors[name] for name in sorted(now.vectors, key=_flow_order)}
    return Trace(batch["input_ids"], counting, outputs["logits"], now.keep, now.attention, vectors)


def counting_tokens(batch: Mapping[str, Any], special: Collection[int]) -> Bool[Tensor, "batch token"] | None:
    """True where a token is neither padding nor special; None where the batch says nothing about its tokens."""
    ids, attended = batch.get("input_ids"), batch.get("attention_mask")
    if attended is not None and attended.dim() != 2:
        attended = None
    if ids is None:
        return None if attended is None else attended.bool()
    # While text is generated the mask covers the tokens that are cached too, and the ids only the new ones.
    counting = torch.ones_like(ids, dtype=torch.bool) if attended is None else attended[:, -ids.shape[1] :].bool()
    for each in special:
        counting = counting & (ids != each)
    return counting


def special_ids(model: PreTrainedModel) -> tuple[int, ...]:
    """Ids that never count: what `attach` was told, else what the model's config names."""
    if (attached := attachment(model)) is not None:
        return attached.special_ids
    names = ("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id")
    named = [getattr(model.config, name, None) for name in names]
    flat = [each for value in named for each in (value if isinstance(value, list) else [value])]
    return tuple(sorted({each for each in flat if each is not None}))


def _layer_numbers(regularization: Regularization, model: PreTrainedModel) -> tuple[int, ...]:
    total = model.config.get_text_config().num_hidden_layers
    asked = regularization.layers
    if asked == "all":
        return tuple(range(total))
    numbers = (asked,) if isinstance(asked, int) else tuple(asked)
    if not numbers or not all(-total <= number < total for number in numbers):
        raise InputError(f"`layers` must be 'all' or numbers from {-total} to {total - 1} for this model, got {asked}")
    return tuple(sorted({number % total for number in numbers}))


def _refuse_unseen_attention(model: PreTrainedModel) -> None:
    if not model._can_set_attn_implementation():
        raise InputError(
            f"{type(model).__name__} does not go through transformers' attention interface, so its attention can't be "
            "seen; use a model that does (BERT, GPT-2, Llama and over 300 others)"
        )


@contextmanager
def _watched(model: PreTrainedModel, attention: bool) -> Iterator[None]:
    """Recording hooks for the length of a block, on a model that has none."""
    if attachment(model) is not None:
        yield
        return
    before = model.config._attn_implementation
    handles = watch(model, fc1=None)
    try:
        if attention:
            _refuse_unseen_attention(model)
            model.set_attn_implementation(SAFR_ATTENTION)
        yield
    finally:
        for handle in handles:
            handle.remove()
        model.set_attn_implementation(before)


def _flow_order(name: str) -> tuple[int, int]:
    site, _, layer = name.partition(".")
    return SITES.index(site), int(layer or 0)
