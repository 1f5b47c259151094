"""Types of progress callbacks."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int | None], None]
"""Called with how much is done, and how much there is, where that is known."""

PartProgress = Callable[[str], Progress]
"""Called with the name of each part of the work, as it begins; gives what the part reports to."""


def no_progress(part: str) -> Progress:
    """Reports of a part that nobody follows."""
    return lambda done, total: None
