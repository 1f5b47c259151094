"""Access middleware: rejects requests that may not reach the application, and adds security headers to all answers."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MAX_BODY_BYTES = 1_500_000
"""Bytes of a request's body. The longest text that is read has 100,000 letters, and a letter takes up to 12 as JSON."""

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

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._check_host_and_origin(headers)
            if (address := self._find_redirect(scope)) is not None:
                redirect = {"Location": address, "Set-Cookie": self._make_cookie(scope)}
                return await _send_answer(send_with_headers, 303, "", redirect)
            self._check_token(scope, headers)
            body = await _read_body(headers, receive)
        except RejectedRequestError as error:
            challenge = {"WWW-Authenticate": "Bearer"} if error.status == 401 else {}
            error_headers = {**challenge, "Connection": "close"}
            return await _send_answer(send_with_headers, error.status, str(error), error_headers)
        return await self.application(scope, _replay_body(body, receive), send_with_headers)

    def _check_host_and_origin(self, headers: Headers) -> None:
        """Reject requests that other pages send through a visitor's browser."""
        host = headers.get("host", "")
        if self.hosts is not None and _parse_host_name(host) not in self.hosts:
            raise RejectedRequestError(
                421, f"expected a request to {' or '.join(sorted(self.hosts))}, got one to another host"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
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
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        cookie = _read_cookie(headers.get("cookie", ""), _format_cookie_name(scope))
        if not any(self._is_token(text) for text in (bearer, cookie)):
            raise RejectedRequestError(401, "expected the token; open the address that `safr explore` printed")

    def _is_token(self, text: str) -> bool:
        return secrets.compare_digest(text.encode("utf-8", "replace"), (self.token or "").encode())


def _parse_host_name(host: str) -> str:
    """The name of a host, without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _format_cookie_name(scope: Scope) -> str:
    return COOKIE_NAME.format(port=scope["server"][1])


def _read_cookie(header: str, name: str) -> str:
    try:
        cookie = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if cookie is None else cookie.value


async def _read_body(headers: Headers, receive: Receive) -> bytes:
    """The whole body of a request.

    Raises:
        RejectedRequestError: It is too large or too slow.
    """
    too_large = RejectedRequestError(413, f"expected a body of at most {MAX_BODY_BYTES:,} bytes; send a shorter text")
    length = headers.get("content-length", "0")
    if not length.isdecimal() or int(length) > MAX_BODY_BYTES:
        raise too_large
    parts: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_SECONDS):
            while True:
                message = await receive()
                parts.append(message.get("body", b""))
                if sum(map(len, parts)) > MAX_BODY_BYTES:
                    raise too_large
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return b"".join(parts)
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
