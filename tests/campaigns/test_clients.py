"""Campaign: hundreds of clients at once that leave, wait, trickle and never read, against a live server."""

import json
import random
import signal
import time

import pytest

from tests.campaigns.servers import TOKEN, live_explorer

TEXT = " ".join(f"w{number % 40}" for number in range(120))


def make_question(path="/api/what-if", token=TOKEN):
    body = json.dumps({"run": "safr", "text": TEXT}).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def storm(server, count, rng):
    """Connections of one address, half of which ask and leave at once; the others stay open."""
    question, stay = make_question(), []
    for number in range(count):
        client = server.connect()
        try:
            match number % 6:
                case 0 | 2:
                    client.sendall(question)
                    client.close()
                    continue
                case 4:  # leaves after it has sent more than its question
                    client.sendall(question + b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * rng.randint(1, 900))
                    client.close()
                    continue
                case 1:
                    client.sendall(b"GET /")  # idle
                case 3:
                    client.sendall(question[: rng.randrange(len(question))])  # slow
                case 5:
                    client.sendall(question)  # never reads
        except OSError:  # the server made room for another
            pass
        stay.append(client)
    return stay


@pytest.mark.slow
def test_a_good_client_is_answered_beside_idle_ones_and_in_a_storm(safr_run, tmp_path, pick_size):
    for number, files in enumerate(pick_size((160,), (128, 160, 1024))):
        _besiege(safr_run, tmp_path / f"log{number}", files, idle=pick_size(200, 1500), stormy=pick_size(200, 2000))


def _besiege(run, log_file, files, *, idle, stormy):
    with live_explorer(run, log_file, files=files) as server:
        strangers = []
        for _ in range(idle):
            strangers.append(server.connect())
            strangers[-1].sendall(b"G")
        start = time.monotonic()
        assert server.ask()[0] == 200  # from the same address
        assert server.ask(address="127.0.0.9")[0] == 200
        assert time.monotonic() - start < 20
        strangers += storm(server, stormy, random.Random(0))
        slowest = 0.0
        for path in ("/api/explain", "/api/what-if"):
            status, seconds = server.ask("POST", path, {"run": "safr", "text": "a film"}, address="127.0.0.9")
            assert status == 200
            slowest = max(slowest, seconds)
        assert slowest < 20
        end, seconds = server.stop(signal.SIGTERM)
        assert end == 0
        assert seconds < 20
        log = server.log.read_text()
        for client in strangers:
            client.close()
    assert "Traceback" not in log, log
    assert len(log.splitlines()) == 2, log
    print(  # noqa: T201
        f"clients with {files} files: {idle} idle and {stormy} at once tried, 0 tracebacks, "
        f"the next answered in {slowest:.2f} s"
    )
