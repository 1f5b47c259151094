"""A command in a process of its own, which is killed or finds the disk full before a chosen operation on files."""

import errno
import faulthandler
import multiprocessing
import os
import resource
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

# The server that processes are forked from imports this module once, and with it all that a command needs.
import safr.cli
import safr.evaluation.benchmark
import safr.experiments.sweep
import safr.training.trainer

GROWING = {"os.mkdir", "os.link", "os.symlink", "os.rename", "os.truncate"}
SHRINKING = {"os.remove", "os.rmdir", "os.chmod", "os.utime"}
SECONDS = 120


@dataclass
class Ending:
    """How a command ended."""

    status: int | None
    """None if it was killed."""
    operations: int
    """How many operations on files it had begun."""
    output: str
    synchronized: set[int] = field(default_factory=set)
    """Inodes of the files that were synchronized with the disk."""


def run_command(words, folder, *, log, at=None, is_disk_full=False, most_bytes=None):
    """Run a command of `safr` whose files all lie in a folder.

    Args:
        words: What follows `safr` on the command line.
        folder: Where operations are counted; the user's cache lies in it too.
        log: Where the command's output goes; not in the folder.
        at: Before which operation, from 1 on, the fault comes. Default: none comes.
        is_disk_full: From there on all that needs room fails; otherwise the process is killed there.
        most_bytes: What the system lets the process write to any one file, also from C++ and Rust.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(words, str(folder), str(log), at, is_disk_full, most_bytes, sender))
    process.start()
    sender.close()
    if not receiver.poll(SECONDS):
        process.kill()
        raise TimeoutError(f"{words}, fault at {at}: hangs: {Path(log).read_text()}")
    status, operations, synchronized = receiver.recv()
    process.join()
    return Ending(status, operations, Path(log).read_text(), synchronized)


def lose_power(folder, ending, since):
    """Empty the files that were written since a time in nanoseconds and not synchronized, as a loss of power may do."""
    lost = 0
    for path in folder.rglob("*"):
        status = path.lstat()
        if path.is_file() and status.st_mtime_ns >= since and status.st_ino not in ending.synchronized:
            path.write_bytes(b"")
            lost += 1
    return lost


def _work(words, folder, log, at, is_disk_full, most_bytes, sender):
    os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    faulthandler.dump_traceback_later(SECONDS - 5)
    operations, is_telling, synchronized, synchronize = 0, False, set(), os.fsync

    def fsync(target):
        synchronize(target)
        synchronized.add(os.fstat(target).st_ino)

    def watch(event, values):
        nonlocal operations, is_telling
        grows = event in GROWING
        if event == "open":
            grows = bool(values[2] & (os.O_WRONLY | os.O_RDWR))
        if is_telling or not (grows or event in SHRINKING) or not _is_in(folder, values[0]):
            return
        operations += 1
        if at is None or operations < at:
            return
        if not is_disk_full:
            is_telling = True
            sender.send((None, operations, synchronized))
            os.kill(os.getpid(), signal.SIGKILL)
        elif grows:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), values[0])

    if most_bytes is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
    os.fsync = fsync
    sys.addaudithook(watch)
    try:
        status = safr.cli.main(words)
    except SystemExit as end:
        status = end.code
    is_telling = True
    with suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    sender.send((status, operations, synchronized))


def _is_in(folder, path):
    """Whether a path lies in a folder; one that is relative to an open folder does, since only those are emptied so."""
    return isinstance(path, str | os.PathLike) and (not os.path.isabs(path) or os.path.abspath(path).startswith(folder))
