"""What a request needs, which hosts and origins are ours, and the limits by client: pure parts of the guard."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamcap.server.limits import Buckets, Connections, client_key
from streamcap.server.rules import Need, host_is_allowed, missing, need_of, origin_is_allowed
from streamcap.tokens import Access, Scope

READ, PUBLISH, ADMIN = Scope.READ, Scope.PUBLISH, Scope.ADMIN


def http(method: str, path: str, query: str = "") -> dict[str, Any]:
    return {"type": "http", "method": method, "path": path, "query_string": query.encode()}


def websocket(path: str, query: str = "") -> dict[str, Any]:
    return {"type": "websocket", "path": path, "query_string": query.encode()}


@pytest.mark.parametrize(
    ("scope", "need"),
    [
        (http("GET", "/healthz"), None),
        (http("HEAD", "/readyz"), None),
        (http("POST", "/healthz"), Need(ADMIN)),
        (http("GET", "/healthz/"), Need(READ)),
        (http("GET", "/"), None),
        (http("POST", "/"), Need(ADMIN)),
        (http("GET", "/app/web/main.js"), None),
        (http("PUT", "/app/web/main.js"), Need(ADMIN)),
        (http("GET", "/app"), Need(READ)),
        (http("GET", "/metrics"), Need(READ)),
        (http("GET", "/docs"), Need(READ, sifted=True)),
        (http("GET", "/v1/streams"), Need(READ, sifted=True)),
        (http("POST", "/v1/streams"), Need(ADMIN)),
        (http("GET", "/v1/streams/door"), Need(READ, ("door",))),
        (http("GET", "/v1/streams/door/captions/sse"), Need(READ, ("door",))),
        (http("GET", "/v1/streams/"), Need(READ)),
        (http("PATCH", "/v1/streams/door"), Need(ADMIN, ("door",))),
        (http("DELETE", "/v1/streams/door"), Need(ADMIN, ("door",))),
        (http("FETCH", "/v1/streams/door"), Need(ADMIN, ("door",))),
        (http("POST", "/v1/streams/door/whip"), Need(PUBLISH, ("door",))),
        (http("DELETE", "/v1/streams/door/whip/session"), Need(PUBLISH, ("door",))),
        (http("POST", "/v1/streams/door/whep"), Need(READ, ("door",))),
        (http("GET", "/v1/search"), Need(READ)),
        (http("GET", "/v1/search", "streams=a,b"), Need(READ, ("a", "b"))),
        (websocket("/v1/streams/door/captions"), Need(READ, ("door",))),
        (websocket("/v1/captions"), Need(READ, sifted=True)),
        (websocket("/v1/captions", "streams=*"), Need(READ, sifted=True)),
        (websocket("/v1/captions", "streams=a,b"), Need(READ, ("a", "b"))),
        (websocket("/v1/captions", "streams=a&streams=b"), Need(READ, ("b",))),
        (websocket("/v1/captions", "streams=a%2Cb"), Need(READ, ("a", "b"))),
        (websocket("/v1/captions", "streams="), Need(READ, ("",))),
        (websocket("/nowhere", "streams=a"), Need(READ)),
    ],
)
def test_what_a_request_needs(scope: dict[str, Any], need: Need | None) -> None:
    assert need_of(scope) == need


def test_what_is_missing() -> None:
    door = Access("1", frozenset({READ}), ("door",))
    assert missing(Need(READ, ("door",)), door) == ""
    assert missing(Need(READ, sifted=True), door) == ""
    assert "some streams only" in missing(Need(READ), door)
    assert "not for that stream" in missing(Need(READ, ("door", "yard")), door)
    assert "not for that stream" in missing(Need(READ, ("",)), door)
    assert "does not allow" in missing(Need(ADMIN, ("door",)), door)
    assert "does not allow" in missing(Need(READ, ("door",)), Access("2", frozenset({PUBLISH})))
    assert missing(Need(PUBLISH, ("door",)), Access("3", frozenset({ADMIN}))) == ""
    assert "does not allow" in missing(Need(READ, sifted=True), Access(None, frozenset(), ()))


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST:8750", "localhost.", "app.localhost:1", "127.0.0.1:8750", "[::1]:8750", "[::1]"),
        *("192.0.2.7:8750", "Camera.Example:443", "camera.example."),
    ],
)
def test_hosts_that_are_ours(host: str) -> None:
    assert host_is_allowed(host, ("camera.example",))


@pytest.mark.parametrize(
    "host",
    [
        *("", "attacker.example", "localhost.attacker.example", "127.0.0.1.attacker.example", "attacker.example:8750"),
        *("localhost@attacker.example", "localhost:x", "localhost:1:2", "[::1", "::1", "a b", "localhost/"),
        *("2130706433", "[::1].attacker.example", "127.1", "notlocalhost", "\udcff", "xn--n3h.example"),
    ],
)
def test_hosts_that_are_not(host: str) -> None:
    assert not host_is_allowed(host, ("camera.example",))
    assert host_is_allowed(host, None)


def test_a_client_without_a_host_is_no_browser() -> None:
    assert host_is_allowed(None, ())


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        *((None, True), ("http://camera:8750", True), ("https://camera:8750", True), ("https://desk.example", True)),
        *(("https://camera", False), ("http://camera:8751", False), ("null", False), ("", False)),
        *(("http://[", False), ("https://desk.example.evil", False), ("http://desk.example", False)),
    ],
)
def test_origins(origin: str | None, allowed: bool) -> None:
    assert origin_is_allowed(origin, "Camera:8750", ("https://desk.example",)) is allowed
    assert origin_is_allowed(origin, "camera:8750", ("*",))


def test_no_host_has_no_pages_of_its_own() -> None:
    assert not origin_is_allowed("http://", None, ()) and not origin_is_allowed("x", None, ())


# Limits


class Hand:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_empties_and_fills_again() -> None:
    clock = Hand()
    buckets = Buckets(2.0, 3, monotonic=clock)
    assert [buckets.take("a") for _ in range(3)] == [0, 0, 0]
    assert buckets.take("a") == pytest.approx(0.5) and buckets.take("b") == 0
    clock.now += 0.25
    assert buckets.take("a") == pytest.approx(0.25), "asking in vain costs nothing"
    clock.now += 0.25
    assert buckets.take("a") == 0 and buckets.take("a") > 0
    clock.now += 100
    assert [buckets.take("a") > 0 for _ in range(4)] == [False, False, False, True]
    clock.now -= 50
    assert buckets.take("a") > 0, "a clock that goes back gives nothing"


def test_the_table_is_bounded_and_forgets_who_was_quiet_longest() -> None:
    clock = Hand()
    buckets = Buckets(0.001, 1, size=3, monotonic=clock)
    for key in "abc":
        assert buckets.take(key) == 0
    assert buckets.take("a") > 0
    assert buckets.take("d") == 0 and len(buckets) == 3
    assert buckets.take("a") > 0, "b was quiet longest, not a"
    assert buckets.take("b") == 0
    for n in range(100):
        buckets.take(str(n))
    assert len(buckets) == 3


@given(st.lists(st.floats(0, 2), max_size=80))
def test_never_more_than_burst_and_rate(pauses: list[float]) -> None:
    clock = Hand()
    buckets = Buckets(3.0, 5, monotonic=clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += buckets.take("a") == 0
    assert passed <= 5 + 3.0 * clock.now + 1e-6


@pytest.mark.parametrize(
    ("host", "key"),
    [
        *(("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64")),
        *(("2001:db8:1:2::9", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), (None, "unknown"), ("x", "x")),
        *(("127.0.0.1", None), ("::1", None), ("::ffff:127.0.0.1", None)),
    ],
)
def test_who_counts_as_one_client(host: str | None, key: str | None) -> None:
    assert client_key(host) == key
    assert client_key(host, exempt_loopback=False) is not None


def test_connections_are_counted_in_all_and_by_client() -> None:
    connections = Connections(3, 2)
    first, second = connections.enter("a"), connections.enter("a")
    assert first is not None and second is not None
    assert connections.enter("a") is None
    other = connections.enter(None)
    assert other is not None
    assert connections.enter("b") is None and connections.refused == 2
    first.leave()
    first.leave()
    assert connections.open == 2
    assert connections.enter("a") is not None
    for lease in (second, other):
        lease.leave()
    assert connections.open == 1
