"""Tokens: made, kept hashed, checked, revoked, reloaded; and the file that holds them."""

from __future__ import annotations

import json
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamcap.cli import app
from streamcap.config import SecuritySettings, ServerSettings, Settings
from streamcap.errors import ConfigError, UsageError
from streamcap.tokens import RELOAD_S, Access, Scope, TokenFile, TokenGuard, guard_for
from tests.patience import LONG_S

READ, PUBLISH, ADMIN = Scope.READ, Scope.PUBLISH, Scope.ADMIN


class Hand:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def asked(guard: TokenGuard) -> bool:
    """Whether a token is asked for, now."""
    return guard.required


@pytest.fixture
def file(tmp_path: Path) -> TokenFile:
    return TokenFile(tmp_path / "tokens.json")


def test_only_the_hash_is_kept_and_only_for_the_owner(file: TokenFile) -> None:
    token, secret = file.create([READ], name="desk")
    assert secret.startswith(f"sc_{token.id}_") and len(secret) == 55
    text = file.path.read_text(encoding="utf-8")
    assert secret not in text and secret.rpartition("_")[2] not in text
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert file.read() == (token,)
    assert {each.name for each in file.path.parent.iterdir()} == {"tokens.json", ".tokens.json.lock"}


def test_check(file: TokenFile) -> None:
    token, secret = file.create([READ], ["door", "yard-*"])
    guard = TokenGuard(file)
    assert guard.required and len(guard) == 1
    assert guard.check(secret) == Access(token.id, frozenset({READ}), ("door", "yard-*"))
    other = f"sc_{token.id}_{'A' * 43}"
    unknown = f"sc_00000000{secret[11:]}"
    for bad in ("", "x", other, unknown, secret[:-1], secret + "A", secret.upper(), " " + secret, "ü" * 55, "\udcff"):
        assert guard.check(bad) is None, bad
    assert guard.check(secret + "\n") is None
    assert guard.check("s" * 10**6) is None


def test_scopes_and_patterns() -> None:
    some = Access("1", frozenset({READ}), ("door", "yard-?"))
    assert some.covers("door") and some.covers("yard-1")
    assert not some.covers("yard-12") and not some.covers("Door") and not some.covers("door\n")
    assert not some.everywhere, "a token for some streams is not for the server as a whole"
    assert some.holds(READ) and not some.holds(PUBLISH) and not some.holds(ADMIN)
    publisher = Access("2", frozenset({PUBLISH}))
    assert publisher.holds(PUBLISH) and publisher.covers("any") and not publisher.holds(READ)
    admin = Access("3", frozenset({ADMIN}), ("lab-*",))
    assert all(admin.holds(scope) for scope in Scope) and admin.covers("lab-1") and not admin.covers("door")
    assert Access().holds(ADMIN) and Access().everywhere, "where no token is asked for, everything is allowed"


def test_what_cannot_be_made(file: TokenFile) -> None:
    with pytest.raises(UsageError, match="scope"):
        file.create([])
    for pattern in ("", "a/b", "[ab]", "a b", "x" * 65):
        with pytest.raises(UsageError, match="pattern"):
            file.create([READ], [pattern])
    assert not file.path.exists()
    with pytest.raises(UsageError, match="no token"):
        file.revoke("nobody")


def test_revoking_by_id_and_by_name(file: TokenFile) -> None:
    first, _ = file.create([READ], name="desk")
    second, _ = file.create([READ], name="desk")
    third, _ = file.create([READ], name=first.id)
    assert file.revoke(first.id) == [first], "an id wins over a name"
    assert file.revoke("desk") == [second]
    assert file.read() == (third,)


def test_a_running_server_takes_changes_and_closes_what_was_revoked(file: TokenFile) -> None:
    clock = Hand()
    guard = TokenGuard(file, monotonic=clock)
    anybody = Access()
    assert asked(guard) is False and guard.holds(anybody)
    token, secret = file.create([READ])
    assert asked(guard) is False, "looked at once a second at most"
    clock.now += RELOAD_S
    assert asked(guard) is True and not guard.holds(anybody)
    access = guard.check(secret)
    assert access is not None and guard.holds(access)
    file.revoke(token.id)
    clock.now += RELOAD_S
    assert guard.check(secret) is None and not guard.holds(access)
    _, again = file.create([READ])
    clock.now += RELOAD_S
    assert guard.check(again) is not None
    file.path.unlink()
    clock.now += RELOAD_S
    assert guard.check(again) is None
    assert asked(guard), "a file that is gone opens the server to nobody"


def test_a_broken_file_keeps_the_tokens_known_before(file: TokenFile, caplog: pytest.LogCaptureFixture) -> None:
    clock = Hand()
    _, secret = file.create([READ])
    guard = TokenGuard(file, monotonic=clock)
    good = file.path.read_text(encoding="utf-8")
    file.path.write_text("{", encoding="utf-8")
    clock.now += RELOAD_S
    assert guard.check(secret) is not None
    assert "stay in force" in caplog.text and secret not in caplog.text
    file.path.write_text(good.replace('"read"', '"admin"'), encoding="utf-8")
    clock.now += RELOAD_S
    access = guard.check(secret)
    assert access is not None and access.scopes == {ADMIN}


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_may_use_is_refused(file: TokenFile, mode: int) -> None:
    file.create([READ])
    file.path.chmod(mode)
    with pytest.raises(ConfigError, match=f"{mode:04o}") as refusal:
        TokenGuard(file)
    assert "chmod 600" in refusal.value.hint
    with pytest.raises(ConfigError):
        file.create([READ])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        '{"version": 2}',
        '{"tokens": [{"id": "x"}]}',
        '{"tokens": [], "more": 1}',
        "\0",
        '{"tokens": null}',
    ],
)
def test_what_is_no_file_of_tokens(file: TokenFile, text: str) -> None:
    file.path.write_text(text, encoding="utf-8")
    file.path.chmod(0o600)
    with pytest.raises(ConfigError, match="not a file of tokens"):
        file.read()


def test_a_folder_is_no_file_of_tokens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        TokenFile(tmp_path).read()


def test_changes_at_the_same_time_are_all_kept(file: TokenFile) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda n: file.create([READ], name=str(n))[0].id, range(24)))
    assert {token.id for token in file.read()} == set(made) and len(set(made)) == 24


# What a server asks for


def settings(host: str, *, data: Path | None = None, **security: object) -> Settings:
    return Settings(server=ServerSettings(host=host, data=data), security=SecuritySettings.model_validate(security))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "camera.example", ""])
def test_a_server_beyond_this_machine_needs_tokens(host: str, tmp_path: Path) -> None:
    for data in (None, tmp_path):
        with pytest.raises(UsageError, match="no token") as refusal:
            guard_for(settings(host, data=data))
        assert "--insecure" in refusal.value.hint and refusal.value.exit_code == 2
    assert not guard_for(settings(host, insecure=True)).required
    TokenFile(tmp_path / "tokens.json").create([READ])
    assert guard_for(settings(host, data=tmp_path)).required
    assert guard_for(settings(host, tokens=tmp_path / "tokens.json")).required
    assert guard_for(settings(host, data=tmp_path, insecure=True)).required, "tokens that are there are asked for"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_a_server_for_this_machine_asks_for_tokens_where_there_are_some(host: str, tmp_path: Path) -> None:
    assert not guard_for(settings(host)).required
    assert not guard_for(settings(host, data=tmp_path)).required
    with pytest.raises(ConfigError, match="no such file"):
        guard_for(settings(host, tokens=tmp_path / "tokens.json"))
    TokenFile(tmp_path / "tokens.json").create([READ])
    assert guard_for(settings(host, data=tmp_path)).required


# The command line


def run(*words: str, **env: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["token", *words], env=env)
    return done.exit_code, done.output + (f"{done.exception}" if done.exception else "")


def test_create_list_revoke(tmp_path: Path) -> None:
    data = str(tmp_path / "data")
    code, out = run("create", "--scope", "read", "--stream", "door", "--name", "desk", "--data", data)
    assert code == 0
    secret = out.strip().splitlines()[-1]
    access = TokenGuard(TokenFile(tmp_path / "data" / "tokens.json")).check(secret)
    assert access is not None and access.streams == ("door",)
    code, out = run("list", STREAMCAP_DATA=data)
    assert code == 0 and "desk" in out and "door" in out and secret not in out
    assert run("revoke", "desk", "--data", data)[0] == 0
    assert "desk" not in run("list", "--data", data)[1]
    assert run("revoke", "desk", "--data", data)[0] != 0
    assert run("create", "--scope", "root", "--data", data)[0] == 2


def test_the_secret_goes_to_stdout_alone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamcap", "token", "create", "--scope", "admin", "--tokens", "t.json"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    secret = done.stdout.strip()
    assert TokenGuard(TokenFile(tmp_path / "t.json")).check(secret) is not None
    assert secret not in done.stderr
    assert json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))["tokens"][0]["scopes"] == ["admin"]
    done = subprocess.run(
        [*command[:4], "list"], cwd=tmp_path, capture_output=True, text=True, timeout=LONG_S, check=False
    )
    assert done.returncode == 2 and "--tokens" in done.stderr


def test_serve_refuses_an_open_door_before_it_loads_anything(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "streamcap", "serve", "--stream", "a=test:", "--host", "0.0.0.0"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 2 and "no token" in done.stderr and "--insecure" in done.stderr
    assert done.stderr.count("\n") == 2
