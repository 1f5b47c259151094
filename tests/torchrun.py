"""Runs a module as torchrun does, in two processes, forked from one that has imported torch and the package already.

torchrun itself starts three interpreters, whose imports take five times as long as what the tests want of them. Here
it is the same agent with the same variables and signals; only its workers are forked in place of executed. That
torchrun works as people call it is tested too, by `test_launchers_train_and_the_first_process_alone_speaks`.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}"}
OPTIONS = ["--standalone", "--nproc-per-node", "2", "-m"]
MODULES = ("tests.commands_together", "tests.training.several_processes", "tests.model.two_processes")
SECONDS = 120


def torchrun(module, *arguments):
    """What `torchrun --standalone --nproc-per-node 2 -m MODULE ARGUMENTS` ends with, as `subprocess.run` says it."""
    server = _start_server()
    with tempfile.TemporaryDirectory() as folder:
        streams = [Path(folder, name) for name in ("stdout", "stderr")]
        arguments = [module, *map(str, arguments)]
        server.stdin.write(json.dumps([*map(str, streams), *arguments]) + "\n")
        server.stdin.flush()
        status = server.stdout.readline()
        assert status, "the server has ended"
        return subprocess.CompletedProcess(arguments, int(status), *(path.read_text() for path in streams))


@functools.cache
def _start_server():
    command = [sys.executable, "-m", "tests.torchrun"]
    server = subprocess.Popen(
        command, cwd=ROOT, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    atexit.register(server.communicate)  # which closes its standard input, the sign to end
    return server


def _serve():
    """For each line of standard input, run its module and print the status."""
    for module in ("torch.distributed.run", *MODULES):
        importlib.import_module(module)
    for module in MODULES:
        del sys.modules[module]  # which each worker runs as its main module
    for line in sys.stdin:
        agent = _fork(functools.partial(_launch, *json.loads(line)))
        sys.stdout.write(f"{agent.wait()}\n")
        sys.stdout.flush()


def _launch(stdout, stderr, *arguments):
    from torch.distributed import run
    from torch.distributed.elastic.multiprocessing.subprocess_handler import subprocess_handler

    for stream, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    subprocess_handler.Popen = _start_worker
    run.main([*OPTIONS, *arguments])


def _start_worker(args, env, stdout, stderr, start_new_session):
    """The agent's `Popen` of `python -u -m MODULE ARGUMENTS`."""
    assert (stdout, stderr, start_new_session) == (None, None, True)

    def work():
        os.setsid()
        os.environ.clear()
        os.environ.update(env)
        module = args[args.index("-m") + 1 :]
        sys.argv = list(module)
        runpy.run_module(module[0], run_name="__main__", alter_sys=True)

    return _fork(work)


def _fork(function):
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid:
        return _Process(pid)
    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(name, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        function()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


class _Process:
    """What torchrun's agent asks of a `subprocess.Popen`."""

    def __init__(self, pid):
        self.pid, self.returncode = pid, None

    def poll(self):
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def wait(self, timeout=None):
        end = time.monotonic() + (SECONDS if timeout is None else timeout)
        while self.poll() is None:
            if time.monotonic() > end:
                if timeout is None:
                    os.kill(self.pid, signal.SIGTERM)  # torchrun's agent ends its workers then
                raise subprocess.TimeoutExpired("a forked process", timeout)
            time.sleep(0.01)
        return self.returncode


if __name__ == "__main__":
    _serve()
