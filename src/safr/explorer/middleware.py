"""Access middleware: rejects requests that may not reach the application, and adds security headers to all answers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from safr.explorer.defects import DEFECT_MESSAGE, report_defect

MAX_BODY_BYTES = 1_500_000
"""Bytes of a request's body. The longest text that is read has 100,000 letters, and a letter takes up to 12 as JSON."""

MAX_LENGTH_DIGITS = 20
"""Digits that a body's length may have; Python refuses to read numbers of thousands."""

BODY_SECONDS = 10.0
"""Seconds within which a body must arrive."""

COOKIE_NAME = "safr_token_{port}"
"""The port is part of the name, because servers on one host share their cookies, whatever their ports."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""Headers of every answer. An answer that already has one of them keeps its own."""


class RejectedRequestError(Exception):
    """A request that does not reach the application, with the status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AccessMiddleware:
    """Protects an application: only requests with an allowed host, origin, token and body reach it.

    Args:
        application: The application that answers the requests that pass.
        hosts: Names that a request may call this server by. A page from elsewhere can let its own name point to this
            machine, but its requests then carry that name. None allows all names, which is for a server with a token.
        token: What a request must bring, as a cookie or as `Authorization: Bearer`. None asks for nothing.
    """

    def __init__(self, application: ASGIApp, *, hosts: frozenset[str] | None, token: str | None) -> None:
        self.application, self.hosts, self.token = application, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Reject a request, or pass it on to the application."""
        if scope["type"] == "lifespan":
            return await self.application(scope, receive, send)
        if scope["type"] != "http":
            return None  # a web socket is closed before it is opened

        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._answer(scope, receive, send_with_headers)
        except RejectedRequestError as error:
            challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            error_headers = {**challenge, "Connection": "close"}
            await _send_answer(send_with_headers, error.status, str(error), error_headers)
        except ClientDisconnect:
            return None  # nobody is left to be answered
        except Exception as error:
            report_defect(error)
            if not started:
                await _send_answer(send_with_headers, 500, DEFECT_MESSAGE, {"Connection": "close"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        self._check_host_and_origin(headers)
        if (address := self._find_redirect(scope)) is not None:
            redirect = {"Location": address, "Set-Cookie": self._make_cookie(scope)}
            return await _send_answer(send, 303, "", redirect)
        self._check_token(scope, headers)
        body = await _read_body(headers, receive)
        return await self.application(scope, _replay_body(body, receive), send)

    def _check_host_and_origin(self, headers: Headers) -> None:
        """Reject requests that other pages send through a visitor's browser."""
        host = headers.get("host", "")
        if self.hosts is not None and _parse_host_name(host) not in self.hosts:
            raise RejectedRequestError(
                421, f"expected a request to {' or '.join(sorted(self.hosts))}, got one to another host"
            )
        if any(_parse_origin(origin) != host.lower() for origin in headers.getlist("origin")):
            raise RejectedRequestError(
                403, "expected a request from this server's own page, got one from another origin"
            )

    def _find_redirect(self, scope: Scope) -> str | None:
        """The address to redirect to if this one holds the right token, so that the token doesn't stay in it."""
        tokens = parse_qs(scope["query_string"].decode("ascii", "replace")).get("token", [])
        if self.token is None or scope["path"] != "/" or not tokens:
            return None
        return "./" if self._is_token(tokens[0]) else None

    def _make_cookie(self, scope: Scope) -> str:
        return f"{_format_cookie_name(scope)}={self.token}; HttpOnly; SameSite=Strict; Path=/"

    def _check_token(self, scope: Scope, headers: Headers) -> None:
        if self.token is None:
            return
        tokens = [*_read_bearer_tokens(headers), *_read_cookies(headers, _format_cookie_name(scope))]
        if not any(self._is_token(text) for text in tokens):
            raise RejectedRequestError(401, "expected the token; open the address that `safr explore` printed")

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode("utf-8", "replace"), (self.token or "").encode())


def _parse_host_name(host: str) -> str:
    """The name of a host, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _parse_origin(origin: str) -> str | None:
    """Host and port of an origin; None if it can't be read."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


def _format_cookie_name(scope: Scope) -> str:
    return COOKIE_NAME.format(port=scope["server"][1])


def _read_bearer_tokens(headers: Headers) -> list[str]:
    """The tokens of a request's `Authorization: Bearer`. The scheme may be written in any case (RFC 9110)."""
    pairs = [header.split(maxsplit=1) for header in headers.getlist("authorization")]
    return [pair[1].strip() for pair in pairs if len(pair) == 2 and pair[0].lower() == "bearer"]


def _read_cookies(headers: Headers, name: str) -> list[str]:
    """All values of the cookies of that name. Other programs on this host may set any others beside them.

    `http.cookies` would read nothing after the first cookie that it doesn't understand, such as one that holds JSON.
    """
    cookies = [cookie.split("=", 1) for header in headers.getlist("cookie") for cookie in header.split(";")]
    return [pair[1].strip(' \t"') for pair in cookies if len(pair) == 2 and pair[0].strip() == name]


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        RejectedRequestError: It is too large or too slow.
        ClientDisconnect: The client left before its end.
    """
    too_large = RejectedRequestError(413, f"expected a body of at most {MAX_BODY_BYTES:,} bytes; send a shorter text")
    length = headers.get("content-length", "0")
    if not (length.isdecimal() and len(length) <= MAX_LENGTH_DIGITS and int(length) <= MAX_BODY_BYTES):
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    raise ClientDisconnect
                body += message.get("body", b"")
                if len(body) > MAX_BODY_BYTES:
                    raise too_large
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError as error:
        raise RejectedRequestError(
            408, f"expected a body within {BODY_SECONDS:.0f} seconds; send it at once"
        ) from error


def _replay_body(body: bytes, receive: Receive) -> Receive:
    """A `receive` that first hands over a body that has already been read."""
    replayed = False

    async def replay() -> Message:
        nonlocal replayed
        if replayed:
            return await receive()
        replayed = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _send_answer(send: Send, status: int, error: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    content_type = {"content-type": "application/json"} if body else {}
    all_headers = {"content-length": str(len(body)), **content_type, **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in all_headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
