"""The server's connections: how many there may be, how long each may take, and how they end."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import socket
import time
from collections import Counter
from collections.abc import Collection
from typing import Any, cast

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from safr.explorer.defects import report_defect
from safr.explorer.middleware import SECURITY_HEADERS
from safr.explorer.model_worker import MAX_WAITING_SECONDS, TIMEOUT_SECONDS, ModelWorker

MAX_CONNECTIONS = 512
"""Open connections. Fewer where the system lets a process open few files."""

REQUEST_SECONDS = 10.0
"""Seconds within which a client must send a request's line and headers, or close an idle connection."""

ANSWER_SECONDS = 20.0 + MAX_WAITING_SECONDS + TIMEOUT_SECONDS
"""Seconds from a request to its answer: of its body 10, of waiting for its turn, of the model, and 10 to spare."""

READ_SECONDS = 120.0
"""Seconds within which a client must have read an answer."""

STOP_SECONDS = 1.0
"""Seconds that answers under way get when the server stops."""

MAX_PIPELINED_BYTES = 16_384
"""Bytes that a client may send ahead while an answer is under way. Browsers send nothing ahead."""


class ExplorerServer(uvicorn.Server):
    """A uvicorn server that bounds its connections and stops without a word.

    uvicorn has no limit to the time that a request's headers take, and its limit to connections answers those above it
    only when they have sent a request, so that idle ones could take every open file.
    """

    def __init__(self, config: uvicorn.Config, worker: ModelWorker | None = None) -> None:
        super().__init__(config)
        self.worker = worker

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start to listen."""
        asyncio.get_running_loop().set_exception_handler(_report_loop_error)
        await super().startup(sockets)

    async def on_tick(self, counter: int) -> bool:
        """Close what has taken too long, once a second; returns whether to stop."""
        if counter % 10 == 0:
            now = time.monotonic()
            for connection in cast(list[ExplorerProtocol], list(self.server_state.connections)):
                connection.close_if_late(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Turn away the questions that wait, give answers under way a moment, and close all connections."""
        for server in self.servers:
            server.close()
        if self.worker is not None:
            self.worker.close()
        deadline = time.monotonic() + STOP_SECONDS
        while self.server_state.tasks and time.monotonic() < deadline and not self.force_exit:
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


class ExplorerProtocol(H11Protocol):
    """A connection that makes room for new ones, and whose errors are JSON with the safety headers."""

    state = ""
    state_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin, and close another connection if there are too many."""
        super().connection_made(transport)
        self.visitor = name_visitor(self.client[0] if self.client else "")
        self.update_state(time.monotonic())
        if len(self.connections) > count_allowed_connections():
            choose_connection_to_close(self.connections).transport.abort()

    def data_received(self, data: bytes) -> None:
        """Read some bytes of a client."""
        try:
            super().data_received(data)
        except Exception as error:
            report_defect(error)
            self.transport.abort()
            return
        self.update_state(time.monotonic())
        if self.conn.their_state is h11.DONE and self.flow.read_paused:
            if len(self.conn.trailing_data[0]) > MAX_PIPELINED_BYTES:
                self.transport.abort()
            else:
                self.flow.resume_reading()  # a connection that is not read does not tell that its client left

    def send_400_response(self, msg: str) -> None:
        """Answer bytes that are not HTTP, if an answer is still possible, and close the connection."""
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = json.dumps({"error": "expected a request in HTTP, got something else"}).encode()
            headers = {**SECURITY_HEADERS, "Content-Type": "application/json", "Content-Length": str(len(body))}
            response = h11.Response(status_code=400, headers=[*headers.items(), ("Connection", "close")])
            for event in (response, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()

    def update_state(self, now: float) -> None:
        """Note since when the connection waits for a request, for its answer, or for the client to read that."""
        if self.cycle is not None and not self.cycle.response_complete:
            state = f"answering {id(self.cycle)}"
        elif self.transport.get_write_buffer_size():
            state = "sending"
        else:
            state = "waiting"
        if state != self.state:
            self.state, self.state_since = state, now

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way."""
        return self.state == "waiting"

    def close_if_late(self, now: float) -> None:
        """Close the connection if its client, or its answer, takes too long."""
        self.update_state(now)
        seconds = {"waiting": REQUEST_SECONDS, "sending": READ_SECONDS}.get(self.state, ANSWER_SECONDS)
        if now - self.state_since > seconds:
            self.transport.abort()


def choose_connection_to_close(connections: Collection[Any]) -> Any:
    """The connection that makes room: of the visitor who has the most, the one that has waited longest for a request.

    If all requests of that visitor are under way, it is the oldest of these.
    """
    counts = Counter(connection.visitor for connection in connections)
    visitor = max(counts, key=lambda name: counts[name])
    candidates = [connection for connection in connections if connection.visitor == visitor]
    for connection in candidates:
        connection.update_state(time.monotonic())
    return min(candidates, key=lambda connection: (not connection.is_waiting, connection.state_since))


def count_allowed_connections() -> int:
    """How many connections may be open: at most half of the files that this process may open."""
    return min(MAX_CONNECTIONS, max(count_allowed_files() // 2, 1))


def count_accepted_at_once() -> int:
    """How many connections are accepted before the first of them is counted; small beside the allowed files."""
    return min(64, max(count_allowed_files() // 32, 1))


def count_allowed_files() -> int:
    """How many files this process may open."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return 2 * MAX_CONNECTIONS
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return 2 * MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else limit


def name_visitor(address: str) -> str:
    """Who an address belongs to. In IPv6 that is its first half, because everyone has many addresses that share it.

    >>> name_visitor("10.0.0.7"), name_visitor("::ffff:10.0.0.7"), name_visitor("2001:db8::5")
    ('10.0.0.7', '10.0.0.7', '2001:db8::/64')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _report_loop_error(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    error = context.get("exception")
    report_defect(error if error is not None else RuntimeError(context["message"]))
