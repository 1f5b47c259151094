"""Campaign: raw bytes that no client would send, against a live server."""

import random
from collections import Counter

import pytest

from tests.campaigns.servers import TOKEN, check_answers, live_explorer

END = b"\r\n\r\n"
BEARER = b"Authorization: Bearer " + TOKEN.encode()
QUESTION = b'{"run": "safr", "text": "a film"}'


def request(*lines, target=b"/api/runs", method=b"GET", version=b"HTTP/1.1", body=b""):
    return b"\r\n".join((b" ".join((method, target, version)), *lines)) + END + body


POST = {"method": b"POST", "target": b"/api/explain"}
JSON = (b"Host: localhost", BEARER, b"Content-Type: application/json")
HOSTILE = [
    *(
        request(b"Host: localhost", line)
        for line in (
            b"Origin: http://[",
            b"Origin: http://\xe2\x84\x80.example",
            b"Origin: null",
            b"Origin: http://localhost:99999999",
            b"Host: again",
            b"Authorization: bearer " + TOKEN.encode(),
            b"Authorization: Bearer",
            b"Authorization: \xff\xfe \xff",
            b"Cookie: \xff; =; a=\x80; {}",
            b"Cookie: a={\"b\": 1}; safr_token_80=" + b"x" * 9000,
            b"Content-Length: -1",
            b"Content-Length: 1_0",
            b"Content-Length: " + b"9" * 5000,
            b"Content-Length: 1\r\nContent-Length: 2",
            b"Transfer-Encoding: gzip",
            b"Transfer-Encoding: chunked\r\nContent-Length: 3",
            b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: x",
            b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings",
            b"X: " + b"a" * 100_000,
            b"X\x00: a",
            b" folded: a",
            b"no colon",
        )
    ),
    *(
        request(b"Host: localhost", BEARER, target=target)
        for target in (
            b"http://localhost/api/runs", b"http://[/", b"*", b"//", b"/%", b"/%00", b"/\x00", b"/\xff", b"/%ff%fe",
            b"/?token=%", b"/?token=\xff", b"/?" + b"a=1&" * 3000, b"/api/texts?start=" + b"9" * 6000, b"/../../etc",
            b"/api/texts/" + b"9" * 6000, b"/api/texts/%2e%2e%2f", b"localhost:80", b"/" + b"a" * 70_000, b"/a b",
        )
    ),
    *(
        request(b"Host: localhost", BEARER, method=method)
        for method in (b"TRACE", b"CONNECT", b"HEAD", b"OPTIONS", b"PRI", b"get", b"\x00", b"A" * 3000, b"DELETE")
    ),
    *(request(BEARER, version=version) for version in (b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/9", b"FTP/1")),
    request(b"Host: ["), request(b"Host: \xff"), request(b"Host:"), request(), b"\r\n" * 200, b"\x00" * 5000, END,
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET", b"GET /\r\n\r\n",
    request(*JSON, b"Expect: 100-continue", b"Content-Length: 33", **POST, body=QUESTION),
    request(*JSON, b"Expect: everything", b"Content-Length: 33", **POST, body=QUESTION),
    request(*JSON, b"Content-Length: 33", **POST, body=QUESTION) * 20,
    request(*JSON, **POST) + request(*JSON) * 400,
    request(*JSON, b"Transfer-Encoding: chunked", **POST, body=b"zz\r\nabc"),
    request(*JSON, b"Transfer-Encoding: chunked", **POST, body=b"5\r\nabcdefgh\r\n"),
    request(*JSON, b"Transfer-Encoding: chunked", **POST, body=b"ffffffffffffffff\r\n"),
    request(*JSON, b"Transfer-Encoding: chunked", **POST, body=b"3\r\naaa\r\n0;x=" + b"y" * 20_000),
    request(*JSON, b"Transfer-Encoding: chunked", **POST, body=(b"10000\r\n" + b"a" * 65536 + b"\r\n") * 24),
    request(*JSON, b"Content-Length: 1500001", **POST, body=b"a" * 100_000),
    request(*JSON, b"Content-Length: 6", **POST, body=b"\x00\xff[{}]"),
    request(*JSON, b"Content-Length: 33", **POST, body=QUESTION) + b"\x00garbage" * 4000,
]  # fmt: skip


def mutate(data: bytes, rng: random.Random) -> bytes:
    """The request with some bytes changed, lost, doubled or put in."""
    changed = bytearray(data[:4000])
    for _ in range(rng.randint(1, 6)):
        place = rng.randrange(len(changed) + 1)
        piece = bytes(rng.choice(b"\x00\r\n :;,/%[]=\xff\x80Az09") for _ in range(rng.randint(1, 4)))
        end = place + rng.choice((0, 0, 1, len(piece), 30))
        changed[place:end] = changed[place:end] * 2 if rng.random() < 0.1 else piece
    return bytes(changed)


def send(server, data: bytes, seconds: float) -> bytes:
    """All that the server answers within some seconds, or until it closes the connection."""
    answers = b""
    try:
        with server.connect() as client:
            client.settimeout(seconds)
            client.sendall(data)
            while received := client.recv(65536):
                answers += received
    except OSError:  # it waits for more, or has closed the connection
        pass
    return answers


@pytest.mark.slow
def test_no_bytes_harm_the_server(live_server, pick_size):
    rng, statuses = random.Random(0), Counter()
    requests = [*HOSTILE, *(mutate(rng.choice(HOSTILE), rng) for _ in range(pick_size(60, 3000)))]
    for data in requests:
        statuses.update(check_answers(send(live_server, data, 0.1)))
    status, seconds = live_server.ask("POST", "/api/explain", {"run": "safr", "text": "a film"})
    assert status == 200
    assert seconds < 20
    log = live_server.log.read_text()
    assert "Traceback" not in log, log
    assert len(log.splitlines()) <= 2, log
    counts = ", ".join(f"{count} of {status}" for status, count in sorted(statuses.items()))
    print(f"raw requests: {len(requests)} tried, 0 tracebacks, 0 answers of 500; {counts}")  # noqa: T201


@pytest.mark.slow
def test_a_server_without_a_token_stands_the_same(safr_run, tmp_path, pick_size):
    rng = random.Random(1)
    requests = [mutate(rng.choice(HOSTILE), rng) for _ in range(pick_size(30, 1000))]
    with live_explorer(safr_run, tmp_path / "log", token=False) as server:
        for data in requests:
            check_answers(send(server, data, 0.1))
        assert server.ask()[0] == 200
        log = server.log.read_text()
    assert len(log.splitlines()) == 1, log
    print(f"raw requests without a token: {len(requests)} tried, 0 tracebacks, 0 answers of 500")  # noqa: T201


def test_answers_are_told_apart():
    with pytest.raises(AssertionError):
        check_answers(b"HTTP/1.1 200 OK\r\nDate: x\r\n\r\n")
