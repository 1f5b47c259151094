"""Lets the processes that a launcher such as torchrun has started train one model together.

Each has a copy of the model (DistributedDataParallel) and takes its part of each batch. The first writes and prints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

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
from safr.processes import ResultT, check_launcher, connect_processes, name_lost_process


def join_processes(recipe: Recipe) -> None:
    """Connect this process with the others of its launcher; without one nothing is done.

    Args:
        recipe: How they are to train.

    Raises:
        InputError: They can't work together (see `check_launcher`) or share a batch equally.
    """
    check_launcher()
    processes = count_processes()
    if recipe.batch_size % processes:
        raise InputError(
            f"`batch_size` {recipe.batch_size} counts the texts of all processes together, which {processes} can't "
            f"share equally; give a multiple of {processes}"
        )
    connect_processes()


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
    message = str(failure) if isinstance(failure, InputError) else "another process has failed"
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
