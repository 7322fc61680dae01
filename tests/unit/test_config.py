"""Settings: what is good, and one clear line for what is not."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from streamcap.config import (
    DEFAULT_PORT,
    JournalSettings,
    Profile,
    ServerSettings,
    Settings,
    StreamSettings,
    load_settings,
)
from streamcap.errors import ConfigError

GOOD = """
[server]
host = "0.0.0.0"
port = 9000
data = "journal"
heartbeat_s = 5

[journal]
max_age_days = 0.5
max_messages = 1_000

[[streams]]
id = "door"
source = "rtsp://camera/stream"
fps = 2.5
profile = "general"

[[streams]]
id = "yard.2"
source = "test:"
"""


def settings(path: Path, text: str | bytes) -> Settings:
    file = path / "streamcap.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_settings(file)


def complaint(path: Path, text: str | bytes) -> str:
    with pytest.raises(ConfigError) as caught:
        settings(path, text)
    line = str(caught.value)
    assert "\n" not in line
    assert str(path / "streamcap.toml") in line
    assert caught.value.exit_code == 2
    return line


def test_what_is_left_out_has_a_default(tmp_path: Path) -> None:
    assert settings(tmp_path, "") == Settings(server=ServerSettings(host="127.0.0.1", port=DEFAULT_PORT), streams=())
    (stream,) = settings(tmp_path, '[[streams]]\nid = "a"\nsource = "a.mp4"').streams
    assert (stream.fps, stream.profile, stream.captioner) == (5.0, Profile.SURVEILLANCE, "grounded")


def test_a_whole_file(tmp_path: Path) -> None:
    found = settings(tmp_path, GOOD)
    assert found.server == ServerSettings(host="0.0.0.0", port=9000, data=Path("journal"), heartbeat_s=5)
    assert found.journal == JournalSettings(max_age_days=0.5, max_messages=1000)
    assert [s.id for s in found.streams] == ["door", "yard.2"]
    assert found.streams[0] == StreamSettings(
        id="door", source="rtsp://camera/stream", fps=2.5, profile=Profile.GENERAL
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[server]\nprot = 80", ("server.prot",)),
        ("[sever]\nport = 80", ("sever",)),
        ("[server]\nport = 70000", ("server.port", "65535")),
        ("[server]\nport = -1", ("server.port",)),
        ("[server]\nheartbeat_s = 0", ("server.heartbeat_s",)),
        ("[journal]\nmax_messages = 0", ("journal.max_messages",)),
        ("[journal]\nmax_age_days = 0", ("journal.max_age_days",)),
        ("[journal]\nmax_bytes = 1.5", ("journal.max_bytes",)),
        ("[journal]\nmax_age = 3", ("journal.max_age",)),
        ('[[streams]]\nid = "a"', ("streams.0.source",)),
        ('[[streams]]\nid = ""\nsource = "test:"', ("streams.0.id",)),
        ('[[streams]]\nid = "a/b"\nsource = "test:"', ("streams.0.id",)),
        ('[[streams]]\nid = "a"\nsource = ""', ("streams.0.source",)),
        ('[[streams]]\nid = "a"\nsource = "test:"\nfps = 0', ("streams.0.fps", "greater than or equal to 0.01")),
        ('[[streams]]\nid = "a"\nsource = "test:"\nfps = 5e-324', ("streams.0.fps",)),
        ('[[streams]]\nid = "a"\nsource = "test:"\nfps = nan', ("streams.0.fps",)),
        ('[[streams]]\nid = "a"\nsource = "test:"\nprofile = "x"', ("streams.0.profile", "surveillance")),
        ('[[streams]]\nid = "a"\nsource = "test:"\n[[streams]]\nid = "a"\nsource = "b.mp4"', ("differ", "a")),
        ("streams = 3", ("streams",)),
        ("[server", ("cannot read",)),
        ("a = 1\na = 2", ("cannot read", "end of document")),
        (b"\xff\xfe", ("cannot read",)),
    ],
)
def test_what_does_not_hold_is_said_in_one_line(tmp_path: Path, text: str | bytes, words: tuple[str, ...]) -> None:
    line = complaint(tmp_path, text)
    assert [word for word in words if word not in line] == []


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no such settings file: .*none\.toml"):
        load_settings(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot read") as caught:
        load_settings(tmp_path)
    assert "\n" not in str(caught.value)


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        Settings().server.port = 1
