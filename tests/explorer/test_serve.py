import os
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest

from safr.errors import InputError
from safr.explorer.serve import _listen, choose_token, is_loopback, serve


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "::1"])
def test_this_machine_needs_no_token(host):
    assert is_loopback(host)
    assert choose_token(host, None) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.0.7", "::", "example.org"])
def test_others_do(host):
    first, second = choose_token(host, None), choose_token(host, None)
    assert len(first) >= 32
    assert first != second
    assert choose_token(host, "0123456789abcdef") == "0123456789abcdef"


@pytest.mark.parametrize("token", ["short", "", "0123456789abcdef;", "0123456789abcdé" * 2])
def test_a_weak_token_is_one_line(token):
    with pytest.raises(InputError, match="--token must be at least 16 letters"):
        choose_token("localhost", token)


def test_an_address_that_can_not_be_used_is_one_line(safr_run):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=f"can't listen at 127.0.0.1, port {port} .*choose another"):
            serve([safr_run], port=port, browser=False)
    with pytest.raises(InputError, match="--port must be from 0 to 65535, got 70000"):
        serve([safr_run], port=70000, browser=False)
    for host in ("a..b", "no\0name", "[::1]", "x" * 5000):
        with pytest.raises(InputError, match="can't listen at") as raised:
            serve([safr_run], host=host, token="0123456789abcdef", browser=False)
        assert len(str(raised.value)) < 300
    with pytest.raises(InputError, match="--host must be an address or a name, got nothing"):
        serve([safr_run], host="", browser=False)
    for texts in (0, -1):
        with pytest.raises(InputError, match=f"--texts must be at least 1, got {texts}"):
            serve([safr_run], texts=texts, browser=False)
    with pytest.raises(InputError, match="can't listen at no"):
        serve([safr_run], host="no.such.host.invalid", token="0123456789abcdef", browser=False)


def test_without_the_extra_it_says_what_to_install(safr_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(InputError, match=r"uvicorn is not installed; run `pip install fastapi uvicorn`"):
        serve([safr_run], browser=False)


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--host", "0.0.0.0"]])
def test_the_command_serves_until_ctrl_c_and_then_stops_at_once(safr_run, options):
    """As a person does it: a process of its own, a page, a question under way, a signal."""
    command = [sys.executable, "-m", "safr", "explore", str(safr_run.folder), "--no-browser", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        said = process.stdout.readline()
        address = re.match(r"explorer: (http://\S+)", said)[1]
        port = re.search(r":(\d+)/", address)[1]
        token = address.partition("?token=")[2]
        assert bool(token) == bool(options)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60, follow_redirects=True) as client:
            if token:
                assert client.get("/").status_code == 401
            assert "SAFR explorer" in client.get("/", params={"token": token} if token else None).text
            assert "token" not in str(client.get("/").url)
            found = client.post("/api/explain", json={"run": "safr", "text": "a film"})
            assert found.json()["words"] == ["a", "film"]
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=30)
        assert time.monotonic() - started < 10
        assert process.returncode == 0, rest
        assert rest.splitlines()[-1] == "stopped"
        assert "Traceback" not in rest
        assert token == "" or token not in rest
    finally:
        process.kill()


def test_answers_are_sent_whole_at_once():
    with _listen("127.0.0.1", 0) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
