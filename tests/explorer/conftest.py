import base64
import gzip
import json
import re
import threading
import time

import pytest
import uvicorn

from safr.explorer import export_page
from safr.explorer.app import create_app
from safr.explorer.middleware import AccessMiddleware
from safr.explorer.model_session import open_session
from safr.explorer.payload import list_texts
from safr.explorer.serve import live_payload

LOCAL = frozenset({"127.0.0.1", "localhost"})


def contents_of(page: str) -> dict:
    """What a page's script is given."""
    found = re.search(r'<script type="application/json" id="contents"([^>]*)>(.*?)</script>', page, re.DOTALL)
    return json.loads(gzip.decompress(base64.b64decode(found[2])) if "gzip" in found[1] else found[2])


@pytest.fixture(scope="session")
def readers(baseline, safr_run):
    return [open_session(baseline), open_session(safr_run)]


@pytest.fixture(scope="session")
def exported(baseline, safr_run, tmp_path_factory):
    """The offline file of both runs, with all texts that hold a word."""
    path = tmp_path_factory.mktemp("explorer") / "new folder" / "explorer.html"
    assert export_page([baseline, safr_run], path) == path
    return path


@pytest.fixture(scope="session")
def words_exported(safr_run, tmp_path_factory):
    """The offline file of a run to whose tokenizer some words are unknown."""
    return export_page([safr_run], tmp_path_factory.mktemp("explorer") / "words.html")


@pytest.fixture(scope="session")
def api(readers):
    """The application alone, without the guard in front of it."""
    everything = list_texts([reader.run for reader in readers])
    return create_app(readers, live_payload(readers, everything))


@pytest.fixture(scope="session")
def server(api):
    """The address of a server that runs as `safr explore` runs it."""
    with running(AccessMiddleware(api, hosts=LOCAL, token=None)) as address:
        yield address


class running:  # noqa: N801 - reads as what it is
    """A server in a thread for the length of a block; gives its address."""

    def __init__(self, app):
        self.server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", timeout_graceful_shutdown=1))
        self.thread = threading.Thread(target=self.server.run, daemon=True)

    def __enter__(self):
        self.thread.start()
        deadline = time.monotonic() + 60
        while not self.server.started:
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.02)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_):
        self.server.should_exit = True
        self.thread.join(timeout=30)
        assert not self.thread.is_alive()
