"""Campaigns: many faults of one kind, tried one after the other. Short in the suite, long by `make campaigns`."""

import pytest


@pytest.fixture
def pick_size(request):
    """Gives the number of tries: `pick_size(short, long)`."""
    is_long = request.config.getoption("--campaigns")
    return lambda short, long: long if is_long else short
