"""What a launcher such as torchrun or accelerate says of this process: how many there are, and which one it is."""

from __future__ import annotations

import os


def count_processes() -> int:
    """Number of processes that a launcher has started for one command; 1 without a launcher."""
    processes = os.environ.get("WORLD_SIZE", "")
    return int(processes) if processes.isdecimal() else 1


def is_first_process() -> bool:
    """Whether this process is the only one, or of several the one that writes and prints."""
    return count_processes() == 1 or os.environ.get("RANK", "0") == "0"
