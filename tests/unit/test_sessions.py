"""Browser sessions end by themselves, and are bounded."""

from __future__ import annotations

from pathlib import Path

from starlette.datastructures import Headers

from streamcap.server import sessions as module
from streamcap.server.sessions import Sessions, session_cookie
from streamcap.tokens import Access, Scope, TokenFile, TokenGuard


def test_a_session_ends_after_its_time_and_the_oldest_for_a_new_one(tmp_path: Path) -> None:
    file = TokenFile(tmp_path / "tokens.json")
    _, secret = file.create([Scope.READ], ["yard"])
    guard = TokenGuard(file)
    access = guard.check(secret)
    assert access is not None
    now = 0.0
    sessions = Sessions(guard, lifetime_s=100, monotonic=lambda: now)
    first = sessions.open(access)
    assert first is not None and sessions.check(first) == access
    for wrong in ("", "x", "x" * 1000, first + "x"):
        assert sessions.check(wrong) is None
    now = 99.0
    second = sessions.open(access)
    assert second is not None and sessions.check(first) == access
    now = 100.0
    assert sessions.check(first) is None and sessions.check(second) == access
    many = [sessions.open(access) for _ in range(module.SESSIONS_MAX)]
    assert sessions.check(second) is None and all(sessions.check(each or "") for each in many)


def test_who_needs_no_token_needs_no_session() -> None:
    assert Sessions(TokenGuard()).open(Access()) is None


def test_a_cookie_is_found_among_others() -> None:
    assert session_cookie(Headers({"cookie": f"a=b; {module.COOKIE}=s; c=d"})) == "s"
    assert session_cookie(Headers({"cookie": "a=b"})) == session_cookie(Headers({})) == ""
