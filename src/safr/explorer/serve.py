"""Evaluated runs in, a page on this machine's network out, until it is stopped."""

from __future__ import annotations

import ipaddress
import secrets
import socket
import threading
import webbrowser
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from urllib.parse import quote

from safr.errors import InputError
from safr.explorer.model_session import ModelSession, open_session
from safr.explorer.payload import PagePayload, TextRow, choose_texts, list_texts, summarize_run
from safr.runs import Run

SERVED_TEXTS = 5_000
"""Texts of the table unless told otherwise: all of most test splits."""

MIN_TOKEN_LENGTH = 16


def serve(
    runs: Sequence[Run],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    texts: int = SERVED_TEXTS,
    browser: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Load the runs' models and answer a browser until Ctrl-C.

    Args:
        runs: Evaluated runs of the same data.
        host: Address to listen at; any but this machine's own asks visitors for a token.
        port: 0 takes a free one.
        token: The token; one is made up where it is needed and none is given.
        texts: How many test texts the table holds.
        browser: Whether to open the page.
        tell: Called with lines for whoever started it.

    Raises:
        InputError: A run is not evaluated, the address can't be used, or the extra `app` is not installed.
    """
    try:
        import uvicorn

        from safr.explorer.app import create_app
        from safr.explorer.middleware import AccessMiddleware
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; run `pip install 'safr[app]'`, or use --export FILE"
        ) from error
    token = check_token(host, token)
    listening = _listen(host, port)
    with listening:
        everything = list_texts(runs)
        readers = [open_session(run) for run in runs]
        made = create_app(readers, live_payload(readers, everything, texts))
        guarded = AccessMiddleware(made, hosts=_own_names(host) if token is None else None, token=token)
        server = uvicorn.Server(
            uvicorn.Config(
                guarded, log_level="warning", server_header=False, proxy_headers=False, timeout_graceful_shutdown=1
            )
        )
        address = _address(host, listening.getsockname()[1], token)
        tell(f"explorer: {address}  (Ctrl-C stops it)")
        if browser and token is None:  # other users of this machine see what a program is started with
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt):  # uvicorn raises it again once it has stopped
            server.run(sockets=[listening])
    tell("stopped")


def live_payload(
    readers: Sequence[ModelSession], everything: Sequence[TextRow], texts: int = SERVED_TEXTS
) -> PagePayload:
    """What the page is given where a server answers the rest.

    Args:
        readers: The models.
        everything: The test texts, as `list_texts` gives them.
        texts: How many of them the page's table holds.
    """
    runs = [reader.run for reader in readers]
    data = runs[0].record["data"]
    return PagePayload(
        live=True,
        data=data["name"],
        labels=data["labels"],
        runs=[summarize_run(run) for run in runs],
        rows=[_predicted(row, readers) for row in choose_texts(runs, everything, texts)],
        total=len(everything),
    )


def _predicted(row: TextRow, readers: Sequence[ModelSession]) -> TextRow:
    """The row; of an example that is not in the test split, the runs keep no predictions."""
    if row.predictions:
        return row
    found = {reader.run.name: reader.explain(row.text) for reader in readers}
    words = max(len(each.words) for each in found.values())
    return replace(row, words=words, predictions={name: each.prediction for name, each in found.items()})


def check_token(host: str, token: str | None) -> str | None:
    """The token that visitors need: the given one, or a new one where others than this machine can come.

    Raises:
        InputError: It is too short, or holds what an address or a cookie can't.
    """
    if token is None:
        return None if is_loopback(host) else secrets.token_urlsafe(24)
    if len(token) < MIN_TOKEN_LENGTH or not all(
        letter.isascii() and (letter.isalnum() or letter in "-_") for letter in token
    ):
        raise InputError(
            f"--token must be at least {MIN_TOKEN_LENGTH} letters, digits, - or _; leave it out to get one"
        )
    return token


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _own_names(host: str) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()})


def _listen(host: str, port: int) -> socket.socket:
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be from 0 to 65535, got {port}")
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Without it the system waits 40 ms for more before it sends the end of an answer.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listening
    except OSError as error:
        said = error.strerror or error
        raise InputError(f"can't listen at {host}, port {port} ({said}); choose another --host or --port") from error


def _address(host: str, port: int, token: str | None) -> str:
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104 - only compared
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")
