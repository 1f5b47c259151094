from types import SimpleNamespace

import pytest

from safr.explorer import connections
from safr.explorer.connections import (
    choose_connection_to_close,
    count_accepted_at_once,
    count_allowed_connections,
    name_visitor,
)


def connection(visitor, since, *, is_waiting=True):
    return SimpleNamespace(visitor=visitor, state_since=since, is_waiting=is_waiting, update_state=lambda _: None)


def test_the_visitor_with_the_most_connections_makes_room_with_the_oldest_idle_one():
    oldest, crowd = connection("other", 0), [connection("crowd", since) for since in (7, 5, 6)]
    busy = connection("crowd", 1, is_waiting=False)
    assert choose_connection_to_close([oldest, *crowd, busy]) is crowd[1]
    assert choose_connection_to_close([oldest, busy, connection("crowd", 2, is_waiting=False)]) is busy


@pytest.mark.parametrize("files", [64, 256, 1024, 10**6])
def test_connections_leave_room_for_other_files(monkeypatch, files):
    monkeypatch.setattr(connections, "count_allowed_files", lambda: files)
    assert count_allowed_connections() + 4 * count_accepted_at_once() <= 0.75 * files
    assert count_allowed_connections() <= 512


def test_an_address_of_ipv6_stands_for_its_network():
    assert name_visitor("2001:db8::1") == name_visitor("2001:db8::ffff:2") != name_visitor("2001:db8:0:1::1")
    assert name_visitor("fe80::1%eth0") == "fe80::/64"
    assert name_visitor("") == ""
