"""Defects of ours, told in the server's terminal: each once with its traceback, and then in few lines."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

DEFECT_MESSAGE = "a bug in SAFR; the server's terminal shows it"
"""What a visitor is told, who must not learn more."""

REPEAT_SECONDS = 60.0
"""A defect that goes on is told again after so many seconds."""

MAX_DEFECTS = 20
"""Places in the code whose tracebacks are told. A visitor can't fill the terminal, or a disk behind it."""

_LOGGER = logging.getLogger(__name__)


@dataclass
class _Place:
    """A place in the code where something failed."""

    told: float
    untold: int = 0


_places: dict[tuple[str, str, int], _Place] = {}


def report_defect(error: BaseException) -> None:
    """Log an error that nothing expected: its traceback the first time, one line a minute while it goes on."""
    kind, (file, line) = type(error).__name__, _find_place(error)
    place = _places.get((kind, file, line))
    if place is None:
        if len(_places) >= MAX_DEFECTS:
            return
        _places[kind, file, line] = _Place(time.monotonic())
        _LOGGER.error("a bug in SAFR; please report it with these lines", exc_info=error)
    elif time.monotonic() - place.told < REPEAT_SECONDS:
        place.untold += 1
    else:
        _LOGGER.error("%s in %s, line %d, again: %d times", kind, file, line, place.untold + 1)
        place.told, place.untold = time.monotonic(), 0


def _find_place(error: BaseException) -> tuple[str, int]:
    """File and line where an error was raised."""
    traceback = error.__traceback__
    if traceback is None:
        return "", 0
    while traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback.tb_frame.f_code.co_filename, traceback.tb_lineno
