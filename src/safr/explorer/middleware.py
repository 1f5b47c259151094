"""Requests in; those that may not be here are answered, the others go on, and every answer gets its safety headers."""

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
"""Of a request's body: the longest text that is read, 100,000 letters, takes up to 12 bytes for each as JSON."""

BODY_SECONDS = 10.0
"""In which a body must have come."""

COOKIE_NAME = "safr_token_{port}"
"""Servers on one host share their cookies, whatever their ports."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
"""What every answer carries; one that brings a policy of its own keeps that."""


class RejectedRequestError(Exception):
    """A request that goes no further, with its status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AccessMiddleware:
    """Stands before an application.

    Args:
        application: What the requests that may pass are for.
        hosts: Names that a request may call this server by; a page from elsewhere that has its own name point here
            calls it by that. None lets all pass, which is for a server with a token.
        token: What a request must bring, as a cookie or as `Authorization: Bearer`. None asks for nothing.
    """

    def __init__(self, application: ASGIApp, *, hosts: frozenset[str] | None, token: str | None) -> None:
        self.application, self.hosts, self.token = application, hosts, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request or hand it on."""
        if scope["type"] == "lifespan":
            return await self.application(scope, receive, send)
        if scope["type"] != "http":
            return None  # a web socket is closed before it is opened

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            self._refuse_strangers(headers)
            if (address := self._entered(scope)) is not None:
                return await _answer(send_safely, 303, "", {"Location": address, "Set-Cookie": self._cookie(scope)})
            self._refuse_without_token(scope, headers)
            body = await _whole_body(headers, receive)
        except RejectedRequestError as refused:
            about = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
            return await _answer(send_safely, refused.status, str(refused), {**about, "Connection": "close"})
        return await self.application(scope, _replayed(body, receive), send_safely)

    def _refuse_strangers(self, headers: Headers) -> None:
        """Requests that other pages send through a visitor's browser."""
        host = headers.get("host", "")
        if self.hosts is not None and _name(host) not in self.hosts:
            raise RejectedRequestError(
                421, f"expected a request to {' or '.join(sorted(self.hosts))}, got one to another host"
            )
        origin = headers.get("origin")
        if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
            raise RejectedRequestError(
                403, "expected a request from this server's own page, got one from another origin"
            )

    def _entered(self, scope: Scope) -> str | None:
        """Where to send someone who comes with the token in the address, so that it doesn't stay there."""
        given = parse_qs(scope["query_string"].decode("ascii", "replace")).get("token", [])
        if self.token is None or scope["path"] != "/" or not given:
            return None
        return "./" if self._matches(given[0]) else None

    def _cookie(self, scope: Scope) -> str:
        return f"{_cookie_name(scope)}={self.token}; HttpOnly; SameSite=Strict; Path=/"

    def _refuse_without_token(self, scope: Scope, headers: Headers) -> None:
        if self.token is None:
            return
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        cookie = _cookie_value(headers.get("cookie", ""), _cookie_name(scope))
        if not any(self._matches(given) for given in (bearer, cookie)):
            raise RejectedRequestError(401, "expected the token; open the address that `safr explore` printed")

    def _matches(self, given: str) -> bool:
        return secrets.compare_digest(given.encode("utf-8", "replace"), (self.token or "").encode())


def _name(host: str) -> str:
    """A host's name without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _cookie_name(scope: Scope) -> str:
    return COOKIE_NAME.format(port=scope["server"][1])


def _cookie_value(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


async def _whole_body(headers: Headers, receive: Receive) -> bytes:
    """All of a body, unless it is too large or too slow."""
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


def _replayed(body: bytes, receive: Receive) -> Receive:
    """What hands over a body that was read already."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


async def _answer(send: Send, status: int, error: str, headers: Mapping[str, str]) -> None:
    body = json.dumps({"error": error}).encode() if error else b""
    told = {"content-length": str(len(body)), **({"content-type": "application/json"} if body else {}), **headers}
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in told.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})
