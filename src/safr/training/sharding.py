"""Trains a model of which each process holds a part (FSDP2), and puts it together where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils._pytree import tree_map
from transformers import PreTrainedModel

from safr.launcher import count_processes, is_first_process
from safr.model.families import count_layers


def shard_model(model: PreTrainedModel) -> None:
    """Leave in each process a part of each weight; a layer's are put together when it is computed.

    All processes call this, with the same weights. `load_state_dict` takes whole weights as before.
    """
    mesh = init_device_mesh(model.device.type, (count_processes(),))
    for layer in _find_layers(model):
        fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.register_load_state_dict_pre_hook(_share_out_weights)


def shard_loaded_state(optimizer: torch.optim.Optimizer) -> None:
    """Let an optimizer of a sharded model take the whole state of one; see `gather_state`."""
    optimizer.register_load_state_dict_pre_hook(_share_out_state)


def gather_weights(model: nn.Module) -> dict[str, Tensor]:
    """The whole weights on the first process's processor, on others empty tensors; all processes call this.

    A weight under two names is one tensor.
    """
    weights = model.state_dict(keep_vars=True)
    whole = {id(weight): _gather(weight) for weight in weights.values()}
    return {name: whole[id(weight)] for name, weight in weights.items()}


def gather_state(optimizer: Any) -> dict[str, Any]:
    """The optimizer's state as that of a whole model, as `gather_weights` has it; all processes call this."""
    return tree_map(_gather, optimizer.state_dict())


def _find_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The layers of encoder and decoder, which stand in lists of as many as the config says."""
    layers: list[nn.Module] = []
    inside: set[nn.Module] = set()  # where a list may hold as many parts of a layer, as in T5
    for modules in model.modules():
        if isinstance(modules, nn.ModuleList) and len(modules) == count_layers(model) and modules not in inside:
            layers.extend(modules)
            inside.update(modules.modules())
    return layers


def _gather(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    whole = value.full_tensor() if isinstance(value, DTensor) else value
    return whole.detach().cpu() if is_first_process() else torch.empty(0)


def _share_out(value: Any, weight: Tensor) -> Any:
    """This process's part of a whole tensor of a weight's shape; all else as it is."""
    is_whole = isinstance(value, Tensor) and not isinstance(value, DTensor)
    if not isinstance(weight, DTensor) or not is_whole or value.shape != weight.shape:
        return value
    return distribute_tensor(value.to(weight.device), weight.device_mesh, weight.placements)


def _share_out_weights(module: nn.Module, state: dict[str, Any], prefix: str, *others: Any) -> None:
    for name, weight in module.state_dict(keep_vars=True).items():
        if prefix + name in state:
            state[prefix + name] = _share_out(state[prefix + name], weight)


def _share_out_state(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> dict[str, Any]:
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    numbers = [number for group in state["param_groups"] for number in group["params"]]
    shared = {
        number: {name: _share_out(value, weight) for name, value in state["state"][number].items()}
        for number, weight in zip(numbers, weights, strict=True)
        if number in state["state"]
    }
    return {**state, "state": shared}
