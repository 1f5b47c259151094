"""The explorer's server: answers browsers at an address of this machine until it is stopped."""

from __future__ import annotations

import ipaddress
import secrets
import signal
import socket
import threading
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import quote

from safr.errors import InputError
from safr.explorer.model_session import ModelSession, open_session
from safr.explorer.payload import (
    PagePayload,
    TextRow,
    check_text_count,
    choose_texts,
    describe_data,
    list_texts,
    summarize_run,
)
from safr.explorer.word_history import read_word_histories
from safr.runs import Run

SERVED_TEXTS = 5_000
"""How many texts the table holds by default: all texts of most test splits."""

MIN_TOKEN_LENGTH = 16


def serve(
    runs: Sequence[Run],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    token: str | None = None,
    texts: int = SERVED_TEXTS,
    browser: bool = True,
    device: str | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> None:
    """Load the runs' models and answer a browser until Ctrl-C.

    Args:
        runs: Evaluated runs of the same data.
        host: Address to listen at. Visitors need a token unless only this machine can reach the address.
        port: Port to listen at; 0 takes a free one.
        token: The token that visitors need. Default: a new one if the address needs it.
        texts: How many test texts the table holds.
        browser: Whether to open the page in a browser.
        device: Where the models go. Default: the GPU, where there is one.
        tell: Called with lines of text for the person who started the server.

    Raises:
        InputError: A run is not evaluated, the address can't be used, or the extra `app` is not installed.
    """
    try:
        import uvicorn

        from safr.explorer.app import create_app
        from safr.explorer.connections import ExplorerProtocol, ExplorerServer, count_accepted_at_once
        from safr.explorer.middleware import AccessMiddleware
    except ModuleNotFoundError as error:
        raise InputError(
            f"{error.name} is not installed; run `pip install fastapi uvicorn`, or use --export FILE"
        ) from error
    check_text_count(texts)
    token = choose_token(host, token)
    listener = _listen(host, port)
    with listener:
        rows = list_texts(runs)
        sessions = [open_session(run, device=device) for run in runs]
        app = create_app(sessions, live_payload(sessions, rows, texts))
        protected_app = AccessMiddleware(app, hosts=_list_own_names(host) if token is None else None, token=token)
        server = ExplorerServer(
            uvicorn.Config(
                protected_app,
                http=ExplorerProtocol,
                ws="none",
                backlog=count_accepted_at_once(),
                log_level="error",  # its warnings are about what strangers send, a line for each
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=1,
            ),
            app.state.worker,
        )
        address = _format_address(host, listener.getsockname()[1], token)
        tell(f"explorer: {address}  (Ctrl-C stops it)")
        if browser and token is None:  # the browser's command line would show the token to other users of this machine
            threading.Thread(target=webbrowser.open, args=(address,), daemon=True).start()
        with suppress(KeyboardInterrupt), _interrupt_on_termination():  # uvicorn raises it again after it has stopped
            server.run(sockets=[listener])
    tell("stopped")


def live_payload(sessions: Sequence[ModelSession], rows: Sequence[TextRow], count: int = SERVED_TEXTS) -> PagePayload:
    """The payload of a page that asks a server for explanations.

    Args:
        sessions: The models.
        rows: All test texts, as `list_texts` gives them.
        count: How many of them the page's table holds.
    """
    runs = [session.run for session in sessions]
    data, labels = describe_data(runs)
    return PagePayload(
        live=True,
        data=data,
        labels=labels,
        has_pairs=runs[0].has_pairs,
        task=runs[0].task,
        runs=[summarize_run(run) for run in runs],
        rows=[_add_predictions(row, sessions) for row in choose_texts(runs, rows, count)],
        total=len(rows),
        word_histories=read_word_histories(runs),
    )


def choose_token(host: str, token: str | None) -> str | None:
    """The token that visitors need: `token`, or a new one if other machines can reach the host, or None.

    Raises:
        InputError: The token is too short, or holds letters that can't stand in an address or a cookie.
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
    """Whether only this machine can reach a host.

    >>> is_loopback("localhost"), is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _add_predictions(row: TextRow, sessions: Sequence[ModelSession]) -> TextRow:
    """The row with predictions. Runs hold none for an example that is not in the test split, so they are computed."""
    if row.predictions:
        return row
    explanations = {session.run.name: session.explain(row.source) for session in sessions}
    words = max(len(explanation.words) for explanation in explanations.values())
    predictions = {name: explanation.answer for name, explanation in explanations.items()}
    return replace(row, words=words, predictions=predictions)


def _list_own_names(host: str) -> frozenset[str]:
    return frozenset({"localhost", "127.0.0.1", "::1", host.lower()})


@contextmanager
def _interrupt_on_termination() -> Iterator[None]:
    """A block in which SIGTERM does what Ctrl-C does. Signals reach the main thread only."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


def _listen(host: str, port: int) -> socket.socket:
    if not host:
        raise InputError("--host must be an address or a name, got nothing; 0.0.0.0 listens at all addresses")
    if not 0 <= port <= 65535:
        raise InputError(f"--port must be from 0 to 65535, got {port}")
    try:
        socket.getaddrinfo(host, port)  # an error of the next line other than OSError would leave a socket open
        listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
        # Without this option, the system waits 40 ms for more data before it sends the end of an answer.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return listener
    except (OSError, ValueError, TypeError) as error:  # the last two are of names that can't be looked up
        reason = str(getattr(error, "strerror", None) or error).partition(" (while ")[0][:100]
        host = host if len(host) <= 60 else f"{host[:60]}..."
        host = "".join(letter if letter.isprintable() else "?" for letter in host)
        raise InputError(f"can't listen at {host}, port {port} ({reason}); choose another --host or --port") from error


def _format_address(host: str, port: int, token: str | None) -> str:
    name = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)  # noqa: S104 - only compared
    name = f"[{name}]" if ":" in name else name
    return f"http://{name}:{port}/" + (f"?token={quote(token)}" if token else "")
