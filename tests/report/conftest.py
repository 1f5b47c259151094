import pytest

from tests import tiny


@pytest.fixture(scope="session", params=["baseline", "safr"])
def run(request, tmp_path_factory):
    """A trained and evaluated run, without SAFR and with it."""
    return tiny.evaluated_run(request.param, tmp_path_factory)


@pytest.fixture(scope="session")
def baseline(tmp_path_factory):
    return tiny.evaluated_run("baseline", tmp_path_factory)


@pytest.fixture(scope="session")
def safr_run(tmp_path_factory):
    return tiny.evaluated_run("safr", tmp_path_factory)


@pytest.fixture(scope="session")
def dataset():
    return tiny.dataset()
