"""Lets the processes that a launcher such as torchrun has started train one model together.

Each has a copy of the model (DistributedDataParallel) and takes its part of each batch. The first writes and prints.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast_object_list
from torch import Tensor, distributed
from torch.utils.data import Sampler
from transformers import set_seed

from safr.config import Recipe
from safr.data.batches import LengthGroupedSampler
from safr.errors import InputError
from safr.launcher import count_processes, is_first_process

WAIT = timedelta(hours=2)
"""How long a process waits for another that still runs, such as the first while it downloads data. A launcher ends the
others at once when one has failed."""

_ADDRESS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher says beside the number of processes."""

_SHARDED = {
    "ACCELERATE_USE_FSDP": "FSDP",
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
}
"""What accelerate's launcher sets where each process is to hold a part of the weights. The losses and gradients would
be right, but `safr.save` and the checks of checkpoints need the whole weights in the first process."""

ResultT = TypeVar("ResultT")


def join_processes(recipe: Recipe) -> None:
    """Connect this process with the others of its launcher; without one nothing is done.

    Args:
        recipe: How they are to train.

    Raises:
        InputError: The launcher asks for something else than copies of the model, says too little, has started more
            processes than there are GPUs, or the processes can't share a batch equally.
    """
    if sharding := next((name for flag, name in _SHARDED.items() if os.environ.get(flag, "").lower() == "true"), None):
        raise InputError(
            f"accelerate is set to {sharding}, and SAFR trains with a whole copy of the model on each GPU; launch it "
            "by torchrun, or by `accelerate launch --multi_gpu`"
        )
    processes = count_processes()
    if processes == 1:
        return
    if missing := [name for name in _ADDRESS if name not in os.environ]:
        raise InputError(
            f"WORLD_SIZE says that there are {processes} processes, but {missing[0]} is not set; launch them by "
            f"`torchrun --nproc-per-node {processes} -m safr train ...`, or take WORLD_SIZE out of the environment"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if torch.accelerator.is_available() and here > (devices := torch.accelerator.device_count()):
        raise InputError(
            f"the launcher has started {here} processes here, more than there are GPUs ({devices}); start one for each"
        )
    if recipe.batch_size % processes:
        raise InputError(
            f"`batch_size` {recipe.batch_size} counts the texts of all processes together, which {processes} can't "
            f"share equally; give a multiple of {processes}"
        )
    PartialState(cpu=not torch.accelerator.is_available(), timeout=WAIT)  # connects them unless they are


def leave_processes() -> None:
    """Part from the other processes, so that each can go on or end without them."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def agree_on_errors() -> Iterator[None]:
    """A block at whose end each process waits for the others; where one has failed, all of them raise.

    Without it the others would wait for what the one that has failed no longer sends.

    Raises:
        InputError: The first one's of the processes that have raised one, with the same message on all.
    """
    if count_processes() == 1:
        yield
        return
    failure: Exception | None = None
    try:
        yield
    except Exception as error:  # also a defect, of which the others must learn
        failure = error
    message = str(failure) if isinstance(failure, InputError) else "another process of this training has failed"
    messages: list[str | None] = [None] * count_processes()
    with name_lost_process("launch them again"):
        distributed.all_gather_object(messages, None if failure is None else message)
    if failure is not None and not isinstance(failure, InputError):
        raise failure
    if first := next((message for message in messages if message is not None), None):
        raise InputError(first) from failure


def wait_for_others() -> None:
    """Wait until all processes are here."""
    if count_processes() > 1:
        PartialState().wait_for_everyone()


def run_on_first(function: Callable[[], ResultT]) -> ResultT:
    """What a function returns that the first process calls alone; all get it, or the InputError that it raised."""
    results: list[ResultT | None] = [None]
    with agree_on_errors():
        if is_first_process():
            results = [function()]
    return broadcast_object_list(results)[0] if count_processes() > 1 else results[0]  # type: ignore[return-value]


def take_turns(function: Callable[[], ResultT]) -> ResultT:
    """What a function returns that the first process calls before the others, which find what it has put in a cache."""
    results: list[ResultT] = []
    for is_turn_of_first in (True, False) if count_processes() > 1 else (True,):
        with agree_on_errors():
            if is_first_process() == is_turn_of_first:
                results.append(function())
    return results[0]


def average_over_processes(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The means of numbers over all processes, by name, which must all ask for the same."""
    if count_processes() == 1 or not values:
        return dict(values)
    together = torch.stack([value.float() for value in values.values()])
    distributed.all_reduce(together)
    return dict(zip(values, together / count_processes(), strict=True))


def take_minimum(value: Tensor) -> Tensor:
    """The smallest of all processes' numbers."""
    if count_processes() > 1:
        value = value.clone()
        distributed.all_reduce(value, distributed.ReduceOp.MIN)
    return value


def seed_others(seed: int) -> None:
    """Let every process but the first draw its own dropout and masks; the first draws what a single one would."""
    if not is_first_process():
        set_seed((seed + distributed.get_rank()) % 2**32)


@contextmanager
def name_lost_process(advice: str) -> Iterator[None]:
    """Turn what torch raises where another process has ended into one line, with an advice what to do."""
    try:
        yield
    except RuntimeError as error:
        is_connection = isinstance(error, distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if count_processes() == 1 or not is_connection:
            raise
        raise InputError(f"another process of this training has ended before its end; {advice}") from error


class SharedBatches(Sampler[list[int]]):
    """This process's part of each batch of a single process's training, in the order that the first process draws.

    The processes' gradients are averaged, so each must have as many texts for every text to count the same. Of an
    epoch's last batch, which may be incomplete, some may have one text less, or one that another has too. There the
    step is not exactly that of a single process: a text of a smaller part counts more.

    Args:
        sampler: The order of all texts.
        batch_size: Number of texts in a batch of all processes together.
    """

    def __init__(self, sampler: LengthGroupedSampler, batch_size: int) -> None:
        self.sampler, self.batch_size = sampler, batch_size

    def __len__(self) -> int:
        return -(-len(self.sampler) // self.batch_size)

    def __iter__(self) -> Iterator[list[int]]:
        # The others may have drawn more or less random numbers since, for dropout and the mask.
        order = broadcast_object_list([list(self.sampler)])[0]
        for start in range(0, len(order), self.batch_size):
            yield share_batch(order[start : start + self.batch_size], distributed.get_rank(), count_processes())


def share_batch(batch: list[int], rank: int, processes: int) -> list[int]:
    """The part of a batch that one of several processes takes, which is never empty.

    >>> [share_batch([10, 11, 12, 13, 14], rank, 2) for rank in range(2)]
    [[10, 12, 14], [11, 13]]
    >>> [share_batch([10, 11], rank, 3) for rank in range(3)]
    [[10], [11], [10]]
    """
    return batch[rank::processes] or [batch[rank % len(batch)]]
