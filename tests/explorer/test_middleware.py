import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from safr.explorer import middleware
from safr.explorer.middleware import MAX_BODY_BYTES, AccessMiddleware

TOKEN = "a-token-of-some-length"
LOCAL = frozenset({"127.0.0.1", "localhost", "::1"})


async def echo(scope, receive, send):
    """Answers with the size of the body that came."""
    message = await receive()
    headers = [(b"content-type", b"text/plain")]
    if scope["path"] == "/own":
        headers.append((b"content-security-policy", b"of its own"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": str(len(message["body"])).encode()})


def ask(path="/", *, hosts=LOCAL, token=None, body=(b"",), wait=0.0, query=b"", **headers):
    """Status, headers and body of the answer to one request, made as a server makes it."""
    sent = []
    parts = [{"type": "http.request", "body": part, "more_body": n < len(body) - 1} for n, part in enumerate(body)]

    async def receive():
        await asyncio.sleep(wait)
        return parts.pop(0)

    async def send(message):
        sent.append(message)

    given = {"host": "localhost:80", **{name.replace("_", "-"): value for name, value in headers.items()}}
    scope = {
        "type": "http",
        "path": path,
        "query_string": query,
        "server": ("localhost", 80),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
    }
    asyncio.run(AccessMiddleware(echo, hosts=hosts, token=token)(scope, receive, send))
    start, *rest = sent
    answer = {name.decode().lower(): value.decode() for name, value in start["headers"]}
    return start["status"], answer, b"".join(each["body"] for each in rest)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000"])
def test_requests_by_the_servers_own_name_pass(host):
    assert ask(host=host)[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "[", "127.0.0.2"])
def test_a_name_that_was_made_to_point_here_does_not(host):
    status, _, body = ask(host=host)
    assert status == 421
    assert b"127.0.0.1 or ::1 or localhost" in body


def test_another_pages_request_does_not_pass():
    assert ask(origin="http://localhost:80")[0] == 200
    for origin in ("http://evil.example", "null", "http://localhost:81"):
        assert ask(origin=origin)[0] == 403


def test_without_the_token_nothing_passes():
    known = {"hosts": None, "token": TOKEN, "host": "any.example"}
    assert ask(**known)[0] == 401
    assert ask(**known, authorization="Bearer wrong")[0] == 401
    assert ask(**known, cookie="safr_token_80=wrong")[0] == 401
    assert ask(**known, cookie="\x00;=;;")[0] == 401
    assert ask(**known, authorization="Bearer \xff")[0] == 401
    assert ask(**known, query=b"token=wrong")[0] == 401
    assert ask("/api/runs", **known, query=f"token={TOKEN}".encode())[0] == 401
    assert ask(**known, authorization=f"Bearer {TOKEN}")[0] == 200
    assert ask(**known, cookie=f"safr_token_81={TOKEN}")[0] == 401  # another server's
    assert ask(**known, cookie=f"other=1; safr_token_80={TOKEN}")[0] == 200


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER ", "Bearer  ", "bEaReR\t"])
def test_the_scheme_of_the_token_may_be_written_in_any_case(scheme):
    assert ask(hosts=None, token=TOKEN, authorization=f"{scheme}{TOKEN}")[0] == 200


@pytest.mark.parametrize(
    "others", ['prefs={"a":1}', "a", "=", "a=\xff", "a b=c", "[]", "safr_token_80=wrong", 'a="b\\"', "$Version=1", ";;"]
)
def test_cookies_of_other_programs_do_not_hide_the_token(others):
    for cookie in (f"{others}; safr_token_80={TOKEN}", f"safr_token_80={TOKEN}; {others}"):
        assert ask(hosts=None, token=TOKEN, cookie=cookie)[0] == 200
    assert ask(hosts=None, token=TOKEN, cookie=others)[0] == 401


@pytest.mark.parametrize(
    "origin", ["http://[", "http://]", "//[::", "\xff", "http://a\u2100".encode().decode("latin-1")]
)
def test_an_origin_that_can_not_be_read_is_another(origin):
    for answer in (ask(origin=origin), ask(hosts=None, token=TOKEN, origin=origin)):
        assert answer[0] == 403
        assert answer[1]["x-content-type-options"] == "nosniff"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["host", "origin", "cookie", "authorization", "content_length"]),
        st.text(st.characters(max_codepoint=255), max_size=60),
    ),
    st.binary(max_size=60),
)
def test_no_bytes_of_a_stranger_raise_anything(caplog, headers, query):
    assert ask(hosts=None, token=TOKEN, query=query, **headers)[0] in (401, 403)
    assert ask(query=query, **headers)[0] in (200, 403, 413, 421)
    assert ask(content_length="9" * 5000)[0] == 413
    assert not caplog.records


def test_a_defect_is_one_line_of_json_with_the_safety_headers(caplog, monkeypatch):
    def fail(*_):
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(AccessMiddleware, "_check_token", fail)
    status, headers, body = ask()
    assert status == 500
    assert b"secret" not in body
    assert headers["x-content-type-options"] == "nosniff"
    assert "a bug in SAFR" in caplog.text


def test_a_client_that_leaves_in_its_body_is_asked_nothing_more():
    async def leave():
        return {"type": "http.disconnect"}

    async def fail(*_):
        raise AssertionError

    request = {"type": "http", "path": "/", "query_string": b"", "server": ("localhost", 80)}
    scope = {**request, "headers": [(b"host", b"localhost")]}
    asyncio.run(AccessMiddleware(fail, hosts=LOCAL, token=None)(scope, leave, fail))


def test_the_token_in_the_address_becomes_a_cookie_that_scripts_do_not_see():
    status, headers, _ = ask(hosts=None, token=TOKEN, query=f"token={TOKEN}".encode())
    assert (status, headers["location"]) == (303, "./")
    assert headers["set-cookie"] == f"safr_token_80={TOKEN}; HttpOnly; SameSite=Strict; Path=/"


def test_every_answer_carries_the_safety_headers():
    for status, headers, _ in (ask(), ask(host="evil.example"), ask(token=TOKEN)):
        assert status in (200, 401, 421)
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "frame-ancestors 'none'" in headers["content-security-policy"]
    assert ask("/own")[1]["content-security-policy"] == "of its own"


def test_a_body_comes_through_whole_in_any_parts():
    assert ask(body=(b"ab", b"", b"cde"))[2] == b"5"
    assert ask(body=(b"a" * MAX_BODY_BYTES,))[2] == str(MAX_BODY_BYTES).encode()


def test_a_body_that_is_too_large_is_not_read():
    for large in (
        {"body": (b"a" * (MAX_BODY_BYTES + 1),)},
        {"body": (b"a" * 1000,) * (MAX_BODY_BYTES // 1000 + 1)},
        {"content_length": str(MAX_BODY_BYTES + 1)},
        {"content_length": "-1"},
        {"content_length": "many"},
    ):
        status, _, body = ask(**large)
        assert status == 413
        assert b"send a shorter text" in body


def test_a_body_that_is_too_slow_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(middleware, "BODY_SECONDS", 0.02)
    assert ask(body=(b"a", b"b"), wait=0.05)[0] == 408


def test_other_kinds_of_connections_are_left_unanswered():
    async def fail(*_):
        raise AssertionError

    asyncio.run(AccessMiddleware(fail, hosts=LOCAL, token=None)({"type": "websocket"}, fail, fail))
