"""Campaigns: many faults of one kind, tried one after the other. Short in the suite, long by `make campaigns`."""

import pytest

from tests.campaigns.servers import live_explorer


@pytest.fixture
def pick_size(request):
    """Gives the number of tries: `pick_size(short, long)`."""
    is_long = request.config.getoption("--campaigns")
    return lambda short, long: long if is_long else short


@pytest.fixture(scope="session")
def live_server(safr_run, tmp_path_factory):
    """A server that tests send requests to, and do not stop."""
    with live_explorer(safr_run, tmp_path_factory.mktemp("server") / "log") as server:
        yield server
