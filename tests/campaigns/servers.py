"""A live server in a process of its own, as `safr explore` runs it, for the campaigns."""

import http.client
import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safr.explorer.middleware import SECURITY_HEADERS

TOKEN = "a-token-of-some-length"


@dataclass
class Explorer:
    """A server that runs."""

    process: subprocess.Popen
    port: int
    log: Path

    def connect(self, address="127.0.0.1"):
        """A new connection, from an address of this machine's own network."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=30, source_address=(address, 0))

    def ask(self, method="GET", path="/api/runs", question=None, *, address="127.0.0.1"):
        """Status and seconds of a good client's request."""
        start = time.monotonic()
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60, source_address=(address, 0))
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        client.request(method, path, None if question is None else json.dumps(question), headers)
        status = client.getresponse().status
        client.close()
        return status, time.monotonic() - start

    def stop(self, sign=signal.SIGINT):
        """Exit status and seconds until the end."""
        start = time.monotonic()
        self.process.send_signal(sign)
        return self.process.wait(timeout=60), time.monotonic() - start


@contextmanager
def live_explorer(run, log, *, files=1024, token=True):
    """A server for the length of a block, which may open only some files."""
    options = ["--token", TOKEN] if token else []
    command = [sys.executable, "-m", "safr", "explore", str(run.folder), "--no-browser", *options]
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (files, files)),
        )
    try:
        deadline = time.monotonic() + 120
        while not (found := re.search(r"explorer: http://[^:]+:(\d+)/", log.read_text())):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.1)
        server = Explorer(process, int(found[1]), log)
        assert server.ask()[0] == 200
        yield server
    finally:
        process.kill()
        process.wait()


def check_answers(answers: bytes) -> list[int]:
    """The statuses of raw answers; each must carry the safety headers, and none may be a defect."""
    statuses = []
    for answer in re.split(rb"(?=HTTP/1\.1 \d{3} )", answers)[1:]:
        head, complete, _ = answer.partition(b"\r\n\r\n")
        status = int(head[9:12])
        if status == 100 or not complete:
            continue
        names = {line.partition(b":")[0].strip().lower().decode("latin-1") for line in head.split(b"\r\n")[1:]}
        assert {name.lower() for name in SECURITY_HEADERS} <= names, answer[:300]
        assert status != 500, answer[:300]
        statuses.append(status)
    return statuses
