"""What a sweep's processes run in place of training; imports nothing that takes seconds, as each of them imports it."""

import json
import os
import signal
import time
from types import SimpleNamespace


def kill_once(name, settings, folder, splits, data_dir=None, parent=None):
    """As if the system had no memory left, the first time that a certain run is begun."""
    (folder / name).mkdir(parents=True, exist_ok=True)
    marker = folder / f".{name}.killed"
    if name == "bad" or (name == "once" and not marker.exists()):
        marker.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return SimpleNamespace(name=name, error=None)


def take_a_while(name, settings, folder, splits, data_dir=None, parent=None):
    """A run that writes down when it was under way."""
    started = time.time()
    time.sleep(0.5)
    (folder / name).write_text(json.dumps([started, time.time()]))
    return SimpleNamespace(name=name, error=None)


def note_device(name, settings, folder, splits, data_dir=None, parent=None):
    """In place of a run: write down which GPUs Ray has given it."""
    (folder / name).write_text(os.environ.get("CUDA_VISIBLE_DEVICES", "none"))
    return SimpleNamespace(name=name, error=None)
