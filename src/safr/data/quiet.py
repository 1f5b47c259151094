"""Hides progress bars and advice that the libraries print."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hide_progress_bars() -> Iterator[None]:
    """A context without the progress bars of `datasets`, whose setting belongs to the process and is restored."""
    import datasets

    enabled = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if enabled:
            datasets.enable_progress_bars()


def silence_libraries() -> None:
    """Turn off the progress bars and the advice of the libraries for the whole process."""
    import datasets
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    datasets.disable_progress_bars()
