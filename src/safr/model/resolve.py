"""Replaces `auto` in settings by what it means for a model."""

from __future__ import annotations

from dataclasses import replace

from transformers import PreTrainedModel

from safr.config import Regularization
from safr.errors import InputError
from safr.losses import NEURON_LOSSES
from safr.losses.neurons import NeuronLoss
from safr.model.families import count_layers, has_visible_attention
from safr.model.forward_pass import SITES

PRETRAINED_KEEP = 0.97
"""Keep probability that VMASK starts with on pretrained weights: almost open, so that they are not destroyed."""

PRETRAINED_WARMUP = 200
"""Steps over which the weights rise on pretrained weights, about an epoch of the sentences that this was tried on."""


def resolve_auto(regularization: Regularization, model: PreTrainedModel) -> Regularization:
    """The same settings with every `auto` replaced by what it means for this model, as they are saved with it.

    A model is taken to be pretrained where its config names where it came from, as after `from_pretrained`. New weights
    on a config that was loaded are taken so too; there the settings are to be named.

    Raises:
        InputError: A layer or a site is none of this model's.
    """
    layers = resolve_layers(regularization, model)
    find_neuron_losses(regularization)
    pretrained = bool(model.name_or_path)
    sites, weights = regularization.importance_sites, regularization.token_weighting
    automatic = sites == "auto" and pretrained and weights != "keep" and has_visible_attention(model)
    if sites == "auto":
        sites = _upper_half(layers) if automatic else "vmask"
    if weights == "auto":
        weights = "attention" if automatic else "equal"
    warmup = regularization.warmup_steps
    settings = replace(
        regularization,
        warmup_steps=(PRETRAINED_WARMUP if pretrained else 0) if warmup is None else warmup,
        vmask_keep=regularization.vmask_keep or (PRETRAINED_KEEP if pretrained else None),
        importance_sites=_name_sites(sites, layers, regularization.vmask, model),
        token_weighting=weights,
        scale_free=weights != "equal" if regularization.scale_free is None else regularization.scale_free,
    )
    if weights == "attention" and any("." not in site for site in settings.importance_sites):
        raise InputError(
            f"`token_weighting='attention'` needs sites of a layer, such as fc1, got {regularization.importance_sites}"
        )
    settings = replace(settings, site=_choose_explaining_site(settings))
    _check_layer("site", settings.site, model)
    return settings


def _check_layer(name: str, site: str, model: PreTrainedModel) -> None:
    """Raise an InputError unless a setting's site names a layer that the model has, where its kind is of layers."""
    kind, dot, layer = site.partition(".")
    layers = count_layers(model)
    if kind in ("vmask", "embedding"):
        if dot:
            raise InputError(f"`{name}`: {kind} is of no layer, got {site!r}; leave out .{layer}")
    elif not (layer.isdecimal() and int(layer) < layers):
        known = f"{kind}.0" if layers == 1 else f"{kind}.0 to {kind}.{layers - 1}"
        raise InputError(f"`{name}` must name a layer of this model, {known}, got {site!r}")


def reads_attention(resolved: Regularization) -> bool:
    """Whether a loss needs to see the model's attention."""
    return bool(resolved.interaction or (resolved.importance and resolved.token_weighting == "attention"))


def resolve_layers(regularization: Regularization, model: PreTrainedModel) -> tuple[int, ...]:
    """The chosen layers, counted from 0."""
    total = count_layers(model)
    asked = regularization.layers
    if asked == "all":
        return tuple(range(total))
    numbers = (asked,) if isinstance(asked, int) else tuple(asked)
    if not numbers or not all(-total <= number < total for number in numbers):
        raise InputError(f"`layers` must be 'all' or numbers from {-total} to {total - 1} for this model, got {asked}")
    return tuple(sorted({number % total for number in numbers}))


def find_neuron_losses(regularization: Regularization) -> dict[str, NeuronLoss]:
    """The losses on neurons, by their names.

    Raises:
        InputError: One is not in `NEURON_LOSSES`, such as one's own of a model that was saved elsewhere.
    """
    if unknown := [name for name in regularization.neuron_loss_weights if name not in NEURON_LOSSES]:
        raise InputError(
            f"`neuron_losses` has no {unknown[0]!r}; known are {', '.join(NEURON_LOSSES)}, and what you add to "
            "safr.losses.NEURON_LOSSES before"
        )
    return {name: NEURON_LOSSES[name] for name in regularization.neuron_loss_weights}


def _upper_half(layers: tuple[int, ...]) -> tuple[str, ...]:
    """FC1 of the upper half of the layers, where attention has come to tell what matters."""
    return tuple(f"fc1.{layer}" for layer in layers[len(layers) // 2 :])


def _name_sites(
    asked: str | tuple[str, ...], layers: tuple[int, ...], vmask: bool, model: PreTrainedModel
) -> tuple[str, ...]:
    """Each site with its layer; one without stands for it at every chosen layer."""
    sites: list[str] = []
    for site in (asked,) if isinstance(asked, str) else asked:
        kind = site.partition(".")[0]
        if kind not in SITES or kind == "attention":
            raise InputError(
                f"`importance_sites` must be auto, vmask, fc1, fc1.3, fc1_out, fc2 or several, got {site!r}"
            )
        if "." in site:
            _check_layer("importance_sites", site, model)
        if kind in ("vmask", "embedding"):
            sites.append("vmask" if vmask and kind == "vmask" else "embedding")
        else:
            sites += [site] if "." in site else [f"{site}.{layer}" for layer in layers]
    return tuple(dict.fromkeys(sites))


def _choose_explaining_site(settings: Regularization) -> str:
    if settings.site != "auto":
        if settings.site.partition(".")[0] not in {*SITES} - {"attention"}:
            raise InputError(f"`site` must be auto or a site such as fc1.0, fc1_out.3 or vmask, got {settings.site!r}")
        return settings.site
    read = [site for site in settings.importance_sites if site.startswith("fc1.")] if settings.importance else []
    # Not the last if there are others: a classifier that reads one token never sees the others' FC1 of the last layer.
    return (read[:-1] or read or ["fc1.0"])[-1]
