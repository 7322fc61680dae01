"""SRT through the system's library, against ffmpeg: called and calling, encrypted, killed and come back."""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcap.errors import SourceTimeout, SourceUnreadable, StreamcapError
from streamcap.sources import SourceOptions, open_source
from streamcap.types import NoticeKind
from tests.cameras import Watch, free_port, sending
from tests.conftest import open_files
from tests.patience import LONG_S, PATIENCE_S, SOON_S
from tests.programs import until

pytestmark = pytest.mark.requires("ffmpeg", "srt")

SECRET = "hush-hush-hush"


@pytest.fixture(autouse=True)
def _library_at_rest() -> Iterator[None]:
    """libsrt lets go of a UDP socket in a thread of its own, seconds after it was told to."""
    yield
    until(lambda: not udp_sockets(), limit=PATIENCE_S)


def udp_sockets() -> set[str]:
    """Inodes of the UDP sockets of this process."""
    mine = {match[1] for what in open_files().values() if (match := re.fullmatch(r"socket:\[(\d+)\]", what))}
    lines = [line for table in ("udp", "udp6") for line in Path(f"/proc/self/net/{table}").read_text().splitlines()[1:]]
    return mine & {line.split()[9] for line in lines}


@pytest.fixture
def port() -> int:
    return free_port(socket.SOCK_DGRAM)


def listening(port: int, options: str = "") -> list[str]:
    """ffmpeg as a sender that is called."""
    return ["-f", "mpegts", f"srt://127.0.0.1:{port}?mode=listener{options}"]


async def test_a_sender_is_called_and_its_latency_is_in_the_age(ffmpeg: str, port: int) -> None:
    url = f"srt://127.0.0.1:{port}?latency=300&passphrase={SECRET}&pbkeylen=32"
    with sending(ffmpeg, *listening(port, f"&passphrase={SECRET}&pbkeylen=32")):
        watch = Watch(url)
        async with watch.source as source:
            assert source.info.live
            assert SECRET not in source.info.uri
            await watch.pictures(20)
            age = time.time() - watch.frames[-1].captured_at
    watch.assert_sound()
    assert 0.29 < age < 10
    assert (source.info.width, source.info.height) == (160, 120)


async def test_a_sender_that_dies_is_missed_and_welcomed_back(ffmpeg: str, port: int) -> None:
    watch = Watch(f"srt://127.0.0.1:{port}", read_timeout=5)
    with sending(ffmpeg, *listening(port)):
        await watch.source.open()
        await watch.pictures(5)
        died = time.monotonic()
    try:
        await watch.told(NoticeKind.LOST)
        with sending(ffmpeg, *listening(port)):
            await watch.until(NoticeKind.CONNECTED, 2)
            away = time.monotonic() - died
            await watch.pictures(5)
    finally:
        await watch.source.close()
    watch.assert_sound()
    (gap,) = watch.of(NoticeKind.GAP)
    assert gap.end is not None and gap.start is not None
    assert gap.end - gap.start == pytest.approx(away, rel=0.5, abs=1.5)


async def test_a_sender_calls_here(ffmpeg: str, port: int) -> None:
    watch = Watch(f"srt://127.0.0.1:{port}?mode=listener")
    opening = asyncio.create_task(watch.source.open())
    await asyncio.to_thread(until, lambda: f":{port:04X} " in Path("/proc/self/net/udp").read_text())
    with sending(ffmpeg, "-f", "mpegts", f"srt://127.0.0.1:{port}"):
        await opening
        await watch.pictures(5)
        await watch.source.close()
    watch.assert_sound()


async def test_a_wrong_passphrase_says_so(ffmpeg: str, port: int) -> None:
    with sending(ffmpeg, *listening(port, f"&passphrase={SECRET}")) as sender:
        await asyncio.sleep(1)
        assert sender.poll() is None
        with pytest.raises(SourceUnreadable, match="passphrase") as caught:
            await open_source(f"srt://127.0.0.1:{port}?passphrase=wrong-wrong-wrong", SourceOptions(stream="s")).open()
    assert "wrong-wrong" not in f"{caught.value}{caught.value.hint}"


async def test_nobody_answers_or_calls_and_closing_does_not_wait(port: int) -> None:
    options = SourceOptions(stream="s", open_timeout=1.0, sender_timeout=1.0)
    with pytest.raises(SourceTimeout, match="does not answer"):
        await open_source(f"srt://127.0.0.1:{port}", options).open()
    with pytest.raises(SourceTimeout, match="nobody sends to"):
        await open_source(f"srt://:{port}?mode=listener", options).open()
    opening = asyncio.create_task(
        open_source(f"srt://127.0.0.1:{port}", SourceOptions(stream="s", open_timeout=LONG_S)).open()
    )
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert time.monotonic() - begun < SOON_S


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("srt://127.0.0.1:9?mode=rendezvous", "mode=rendezvous"),
        ("srt://127.0.0.1:9?latency=0.2", "latency"),
        ("srt://127.0.0.1:9?latency=200000", "latency"),
        ("srt://127.0.0.1?mode=caller", "names no port"),
        ("srt://127.0.0.1:9?passphrase=short", "the passphrase is too short or too long"),
        ("srt://127.0.0.1:9?passphrase=long-enough&pbkeylen=20", "pbkeylen=20"),
        ("srt://nowhere.invalid:9", "no host named nowhere"),
    ],
)
async def test_addresses_that_cannot_be(uri: str, words: str) -> None:
    with pytest.raises(StreamcapError, match=words) as caught:
        await open_source(uri, SourceOptions(stream="s", open_timeout=3)).open()
    assert caught.value.hint
