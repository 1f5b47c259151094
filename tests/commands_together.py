"""Runs a command of `safr` for test_processes.py, in which something may go wrong; run by torchrun as two processes."""

import os
import signal
import sys

from safr import storage
from safr.cli.commands import main
from safr.errors import InputError
from safr.evaluation import audit, benchmark_metrics
from safr.runs import Run


def fail(*arguments):
    raise InputError("the second process has found something")


def fail_unpicklably(*arguments):
    class LocalError(Exception):
        pass

    raise LocalError("the second process has a defect")


def die(*arguments):
    os._exit(9)


def stop(*arguments):
    raise KeyboardInterrupt


def refuse_to_write(*arguments, **options):
    raise AssertionError("only the first process writes")


if __name__ == "__main__":
    problem = sys.argv[1]
    if problem == "die":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's may come before gloo notices the lost process
    if os.environ["RANK"] != "0":
        storage.replace_file = Run.lock = refuse_to_write
        if problem in ("fail", "fail_unpicklably", "die"):
            audit._text_mean = globals()[problem]
    elif problem == "stop":
        benchmark_metrics.causal_effects = stop
    sys.exit(main(sys.argv[2:]))
