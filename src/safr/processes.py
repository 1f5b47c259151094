"""Lets the processes that a launcher such as torchrun has started run one model on a share of the texts each.

The first process works as if it were alone. Where it calls a function with `share_texts` on it, it sends each of the
others some of the texts, takes some itself, and puts the results together. The others hold the same model and do
nothing else, so that files, settings and decisions are the first one's alone.
"""

from __future__ import annotations

import functools
import inspect
import io
import os
import pickle
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import numpy as np
import torch
from accelerate import PartialState
from torch import distributed

from safr.errors import InputError
from safr.launcher import count_processes, is_first_process

WAIT = timedelta(hours=2)
"""How long a process waits for another that still runs, such as the first while it downloads data. A launcher ends the
others at once when one has failed."""

_ADDRESS = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What a launcher says beside the number of processes."""

_FSDP = "ACCELERATE_USE_FSDP"
"""What accelerate's launcher sets where each process is to hold a part of the weights, beside options of it."""

_UNSUPPORTED = {
    "ACCELERATE_USE_DEEPSPEED": "DeepSpeed",
    "ACCELERATE_USE_MEGATRON_LM": "Megatron-LM",
    "ACCELERATE_USE_PARALLELISM_CONFIG": "a parallelism config",
    "FSDP_OFFLOAD_PARAMS": "FSDP with weights kept on the processor",
    "FSDP_ACTIVATION_CHECKPOINTING": "FSDP with activation checkpointing",
}
"""What accelerate's launcher may ask for besides, which SAFR does not do."""

ArgumentsT = ParamSpec("ArgumentsT")
ResultT = TypeVar("ResultT")
TokenizerT = TypeVar("TokenizerT")


def check_launcher() -> None:
    """Raise an InputError where the processes of a launcher can't work together.

    Raises:
        InputError: The launcher asks for something else than copies of the model or FSDP2, says too little, or has
            started more processes than there are GPUs.
    """
    unsupported = next((name for flag, name in _UNSUPPORTED.items() if _is_set(flag)), None)
    if unsupported is None and _is_set(_FSDP) and os.environ.get("FSDP_VERSION") != "2":
        unsupported = "FSDP of version 1"
    if unsupported:
        raise InputError(
            f"accelerate is set to {unsupported}, but SAFR trains with a copy of the model on each GPU or by FSDP2; "
            "launch it by `accelerate launch --multi_gpu` or `--use_fsdp --fsdp_version 2`, without more"
        )
    processes = count_processes()
    if processes == 1:
        return
    if missing := [name for name in _ADDRESS if name not in os.environ]:
        raise InputError(
            f"WORLD_SIZE says that there are {processes} processes, but {missing[0]} is not set; launch them by "
            f"`torchrun --nproc-per-node {processes} -m safr ...`, or take WORLD_SIZE out of the environment"
        )
    here = int(os.environ.get("LOCAL_WORLD_SIZE", processes))
    if torch.accelerator.is_available() and here > (devices := torch.accelerator.device_count()):
        raise InputError(
            f"the launcher has started {here} processes here, more than there are GPUs ({devices}); start one for each"
        )


def connect_processes() -> None:
    """Connect this process with the others of its launcher, unless it is; each takes a GPU of its own."""
    if count_processes() > 1:
        PartialState(cpu=not torch.accelerator.is_available(), timeout=WAIT)


@contextmanager
def take_over_sharding() -> Iterator[bool]:
    """Whether a launcher asks for FSDP2, and a block in which accelerate and transformers don't see that it does.

    Accelerate would shard a model a second time, and only on GPUs; transformers would load its weights in the first
    process alone.
    """
    is_asked = _is_set(_FSDP)
    flag = os.environ.pop(_FSDP, None)
    try:
        yield is_asked and count_processes() > 1
    finally:
        if flag is not None:
            os.environ[_FSDP] = flag


def leave_processes() -> None:
    """Part from the other processes, so that each can go on or end without them."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def name_lost_process(advice: str) -> Iterator[None]:
    """Turn what torch raises where another process has ended into one line, with an advice what to do."""
    try:
        yield
    except RuntimeError as error:
        is_connection = isinstance(error, distributed.DistError) or "gloo" in str(error) or "NCCL" in str(error)
        if count_processes() == 1 or not is_connection:
            raise
        raise InputError(f"another process has ended early; {advice}") from error


def run_together(work: Callable[[], ResultT]) -> ResultT | None:
    """What a function returns that the first process calls, while the others take their shares of its texts.

    All processes of the launcher call this; the others get None when the first has finished or failed. Without a
    launcher it is a plain call.

    Args:
        work: Loads its model by `load_on_all`; functions with `share_texts` on them are then shared.

    Raises:
        InputError: What the function raises, an error of another process in it among them, or another process has
            ended.
    """
    if count_processes() == 1:
        return work()
    connect_processes()
    # By gloo also beside GPUs: what is sent are texts and scores, and a lost process is noticed at once.
    group = _ProcessGroup(distributed.new_group(backend="gloo", timeout=WAIT), leads=is_first_process())
    token = _process_group.set(group)
    try:
        with take_over_sharding():  # each process runs a whole model
            if not group.leads:
                group.follow()
                return None
            try:
                result = work()
            except Exception:
                with suppress(InputError, RuntimeError):  # the others may have ended
                    group.dismiss()
                raise
            group.dismiss()
            return result
    finally:
        _process_group.reset(token)


def load_on_all(
    load: Callable[..., tuple[ResultT, TokenizerT]], device: str | torch.device | None
) -> tuple[ResultT, TokenizerT]:
    """The model and the tokenizer that a function loads; inside `run_together` all processes load and keep the model.

    Args:
        load: A function that pickle can name, such as a run's `load_model`; it takes `device`.
        device: Where the model goes. Default: the GPU, where there is one; of several processes each takes its own.

    Raises:
        InputError: What the function raises, or several processes are to share one GPU.
    """
    group = _process_group.get()
    if group is None or not group.leads:
        return load(device=device)
    if ":" in str(device or ""):
        raise InputError(
            f"`device` {str(device)!r} is one device for {count_processes()} processes; leave it out, and each takes "
            "its own"
        )
    group.model = None
    loaded = group.call(load, [{"device": device}] * count_processes(), is_model=True)[0]
    group.model = loaded[0]
    return loaded


def share_texts(*columns: str) -> Callable[[Callable[ArgumentsT, ResultT]], Callable[ArgumentsT, ResultT]]:
    """A decorator by which a function's texts are shared out inside `run_together`, and which else changes nothing.

    Every process takes each n-th text by length, so that all have as much to do. The function is called with them alone
    in each process; what it calls is not shared again. So what it finds of a text must not depend on the others. The
    function has a name in its module and returns one entry per text: a list, an array with the texts on its first axis,
    or a dict of such. If it takes `progress`, the first process reports its own share there.

    Args:
        columns: Names of the arguments that hold one entry per text: first the texts, which have `ids`, then lists,
            arrays, or dicts of such.
    """

    def decorate(function: Callable[ArgumentsT, ResultT]) -> Callable[ArgumentsT, ResultT]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def share(*args: ArgumentsT.args, **options: ArgumentsT.kwargs) -> ResultT:
            group = _process_group.get()
            if group is None or not group.leads or group.model is None:
                return function(*args, **options)
            arguments = signature.bind(*args, **options).arguments
            texts = arguments[columns[0]]
            if not texts:
                return function(*args, **options)
            by_length = sorted(range(len(texts)), key=lambda number: -len(texts[number].ids))
            shares = [by_length[rank :: count_processes()] for rank in range(count_processes())]
            calls = [arguments | {name: _take(arguments[name], numbers) for name in columns} for numbers in shares]
            for call in calls[1:] if "progress" in arguments else ():
                call["progress"] = None
            parts = group.call(share, [call if numbers else None for call, numbers in zip(calls, shares, strict=True)])
            return _merge(parts[: len(texts)], np.argsort([number for numbers in shares for number in numbers]))

        return share

    return decorate


@dataclass
class _ProcessGroup:
    """The processes that run one model together, as one of them sees it."""

    connection: Any
    """What torch sends by."""
    leads: bool
    """Whether this is the first process."""
    model: Any = None
    """The model that all of them hold; None before it is loaded."""

    def call(
        self, function: Callable[..., Any], arguments: Sequence[dict[str, Any] | None], *, is_model: bool = False
    ) -> list[Any]:
        """What a function returns in every process, by rank; called by the first process.

        Args:
            function: The function.
            arguments: Its arguments in every process; None where it is not called.
            is_model: Whether it loads the model, which every process keeps; only the first one's is returned.
        """
        self._scatter([b"", *(self._pickle((function, options, is_model)) for options in arguments[1:])])
        token = _process_group.set(None)  # what the function calls is not shared again
        try:
            own = function(**(arguments[0] or {}))
        except Exception as error:  # the others send what they have all the same
            own = _Failure(error)
        finally:
            _process_group.reset(token)
        answers: list[Any] = [None] * len(arguments)
        with name_lost_process(_ADVICE):
            distributed.gather_object(None if is_model else own, answers, group=self.connection)
        answers[0] = own
        if failure := next((answer for answer in answers if isinstance(answer, _Failure)), None):
            raise failure.error
        return answers

    def follow(self) -> None:
        """Do what the first process asks for, until it has finished."""
        while (request := self._scatter(None)) is not None:
            try:
                answer = self._answer(request)
            except Exception as error:
                answer = _Failure(_prepare_error(error))
            with name_lost_process(_ADVICE):
                distributed.gather_object(answer, group=self.connection)

    def dismiss(self) -> None:
        """Let the other processes go; called by the first."""
        self._scatter([None] * count_processes())

    def _answer(self, request: bytes) -> Any:
        function, arguments, is_model = pickle.loads(request)  # noqa: S301  of the first process
        if arguments is None:
            return None
        if not is_model:
            return function(**arguments)
        self.model = None  # its memory is needed
        self.model = function(**arguments)[0]
        return None

    def _scatter(self, requests: list[Any] | None) -> bytes | None:
        """Send each process its request, and get this one's."""
        received: list[bytes | None] = [None]
        with name_lost_process(_ADVICE):
            distributed.scatter_object_list(received, requests, group=self.connection)
        return received[0]

    def _pickle(self, value: Any) -> bytes:
        file = io.BytesIO()
        _Pickler(file, self.model).dump(value)
        return file.getvalue()


def _is_set(flag: str) -> bool:
    return os.environ.get(flag, "").lower() == "true"


_process_group: ContextVar[_ProcessGroup | None] = ContextVar("process_group", default=None)
"""The processes that work together here; other threads and nested calls have none."""

_ADVICE = "call it again; if the work can be continued, it continues"


@dataclass(frozen=True)
class _Failure:
    """What a process sends in place of a result."""

    error: Exception


class _Pickler(pickle.Pickler):
    """Writes where the model stands, and not the model, since each process holds it."""

    def __init__(self, file: io.BytesIO, model: Any) -> None:
        super().__init__(file, pickle.HIGHEST_PROTOCOL)
        self.model = model

    def reducer_override(self, value: Any) -> Any:
        return (_get_model, ()) if self.model is not None and value is self.model else NotImplemented


def _get_model() -> Any:
    """The model that this process holds."""
    group = _process_group.get()
    assert group is not None
    return group.model


def _prepare_error(error: Exception) -> Exception:
    """The error that is caught now, in a form that can be sent, with its traceback as a note."""
    place = traceback.format_exc()
    error.add_note(place)
    try:
        pickle.loads(pickle.dumps(error))  # noqa: S301  of this process
    except Exception:
        return RuntimeError(place)
    return error


def _take(column: Any, numbers: Sequence[int]) -> Any:
    """The entries of some texts in a list, an array, or a dict of such."""
    if isinstance(column, dict):
        return {name: _take(values, numbers) for name, values in column.items()}
    return column[list(numbers)] if isinstance(column, np.ndarray) else [column[number] for number in numbers]


def _merge(parts: Sequence[Any], places: Sequence[int] | np.ndarray) -> Any:
    """Results of shares put together: `places` says for every text where it stands in the shares' row.

    >>> _merge([["a", "c"], ["b"]], [0, 2, 1])
    ['a', 'b', 'c']
    """
    if isinstance(parts[0], dict):
        return {name: _merge([part[name] for part in parts], places) for name in parts[0]}
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)[places]
    joined = [value for part in parts for value in part]
    return [joined[place] for place in places]
