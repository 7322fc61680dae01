"""What others send: RTMP, MPEG-TS by UDP, Motion JPEG and HLS, from ffmpeg, killed and come back."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path

import pytest

from streamcap.errors import SourceTimeout, SourceUnreadable
from streamcap.types import NoticeKind
from tests.cameras import Watch, free_port, sending
from tests.integration.test_server_tls import certificate
from tests.lossy import lossy_udp
from tests.patience import PATIENCE_S, SOON_S

pytestmark = pytest.mark.ffmpeg

GROUP = "239.255.77.7"


async def comes_and_goes(watch: Watch, ffmpeg: str, *arguments: str, port: int = 0, ours: int = 0) -> None:
    """Watch a sender that is killed and started again.

    Args:
        port: where the sender listens, so that it has to be there first; 0: the source is opened first.
        ours: where the source listens, so that the sender, which calls once, has to wait for it.
    """
    with contextlib.ExitStack() as first:
        opening = None if port else asyncio.create_task(watch.source.open())
        await (asyncio.to_thread(_listened_at, ours) if ours else asyncio.sleep(0.3))
        sender = first.enter_context(sending(ffmpeg, *arguments))
        if port:
            await asyncio.to_thread(_listened_at, port)
        info = await (watch.source.open() if opening is None else opening)
        assert info.live
        await watch.pictures(10)
        assert 0 <= time.time() - watch.frames[-1].captured_at < 10
        sender.kill()
    died = time.monotonic()
    try:
        await watch.told(NoticeKind.LOST)
        if ours:
            await asyncio.to_thread(_listened_at, ours)
        with sending(ffmpeg, *arguments):
            await watch.until(NoticeKind.CONNECTED, 2)
            away = time.monotonic() - died
            await watch.pictures(5)
    finally:
        await watch.source.close()
    watch.assert_sound()
    (gap,) = watch.of(NoticeKind.GAP)
    assert gap.end is not None and gap.start is not None
    assert gap.end - gap.start == pytest.approx(away, rel=0.5, abs=1.5), watch.notices


def _listened_at(port: int) -> None:
    """Return when somebody listens at a TCP port; a try to connect would be taken for the client."""
    entry = f":{port:04X} 00000000:0000 0A "  # local address, remote address, state LISTEN
    deadline = time.monotonic() + PATIENCE_S
    while entry not in Path("/proc/net/tcp").read_text("ascii"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


async def test_senders_that_are_killed_and_come_back(ffmpeg: str) -> None:
    """Side by side: RTMP listened for and called for, MPEG-TS to this machine and to a group, Motion JPEG."""

    async def rtmp_listened_for() -> None:
        url = f"rtmp://127.0.0.1:{(port := free_port())}/live/key"
        # Nobody is to be called, so nobody is to be spared: it listens again at once.
        waits = {"reconnect_first": 60.0, "reconnect_cap": 60.0}
        await comes_and_goes(Watch(f"{url}?listen=1", **patient, **waits), ffmpeg, "-f", "flv", url, ours=port)

    async def rtmp_called_for() -> None:
        url = f"rtmp://127.0.0.1:{(port := free_port())}/live/key"
        await comes_and_goes(Watch(url, **patient), ffmpeg, "-listen", "1", "-f", "flv", url, port=port)

    async def transport_stream(group: str, target: str) -> None:
        port = free_port(socket.SOCK_DGRAM)
        target = f"udp://{target}:{port}?pkt_size=1316&ttl=0"
        await comes_and_goes(Watch(f"udp://@{group}:{port}", **patient), ffmpeg, "-f", "mpegts", target)

    async def motion_jpeg() -> None:
        url = f"http://127.0.0.1:{(port := free_port())}/cam"
        to_there = ("-c:v", "mjpeg", "-f", "mpjpeg", "-listen", "1", url)
        await comes_and_goes(Watch(url, **patient), ffmpeg, *to_there, port=port)

    patient = {"open_timeout": PATIENCE_S, "read_timeout": 5.0}
    await asyncio.gather(
        rtmp_listened_for(), rtmp_called_for(), transport_stream("", "127.0.0.1"), motion_jpeg(),
        *([transport_stream(GROUP, GROUP)] if carries_multicast() else []),
    )  # fmt: skip


def carries_multicast() -> bool:
    """Whether this machine has a network that a group can be joined on."""
    with socket.socket(type=socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((GROUP, 9))
        except OSError:
            return False
    return True


async def test_transport_streams_by_udp_with_losses(ffmpeg: str) -> None:
    port = free_port(socket.SOCK_DGRAM)
    watch = Watch(f"udp://@:{port}", open_timeout=PATIENCE_S, read_timeout=10)
    async with lossy_udp(port, 0.03) as relay:
        with sending(ffmpeg, "-f", "mpegts", f"udp://127.0.0.1:{relay}?pkt_size=1316", size="640x480"):
            async with watch.source:
                await watch.pictures(45)
    watch.assert_sound()
    assert watch.of(NoticeKind.DAMAGE)
    assert not watch.of(NoticeKind.LOST)


@contextlib.contextmanager
def web_server(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    server.daemon_threads = False
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="web")
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(PATIENCE_S)


async def test_hls_that_stops_and_goes_on(ffmpeg: str, tmp_path: Path) -> None:
    flags = "delete_segments+program_date_time+append_list+omit_endlist"
    hls = ["-f", "hls", "-hls_time", "1", "-hls_list_size", "4", "-hls_flags", flags, str(tmp_path / "live.m3u8")]
    with web_server(tmp_path) as host:
        watch = Watch(f"{host}/live.m3u8", read_timeout=4)
        with sending(ffmpeg, *hls) as sender:
            await asyncio.to_thread(_wait_for, tmp_path / "live3.ts", sender)
            await watch.source.open()
            assert watch.source.info.live
            await watch.pictures(20)
            # Four segments are listed; libav begins with the third newest: the playlist's dates tell how old that is.
            assert 1.0 < time.time() - watch.frames[0].captured_at < 15.0
            offsets = [f.captured_at - f.pts for f in watch.frames]
            assert max(offsets) - min(offsets) < 0.1
        try:
            await watch.told(NoticeKind.LOST)  # the list is still served, and nothing is added to it
            with sending(ffmpeg, *hls):
                await watch.until(NoticeKind.CONNECTED, 2)
                await watch.pictures(5)
        finally:
            await watch.source.close()
    watch.assert_sound()
    assert watch.of(NoticeKind.GAP)


async def test_hls_in_long_segments_is_not_lost_between_them(ffmpeg: str, tmp_path: Path) -> None:
    to_there = ["-force_key_frames", "expr:gte(t,n_forced*3)", "-f", "hls", "-hls_time", "3", "-hls_list_size", "4"]
    with web_server(tmp_path) as host, sending(ffmpeg, *to_there, str(tmp_path / "live.m3u8"), rate=5) as sender:
        await asyncio.to_thread(_wait_for, tmp_path / "live.m3u8", sender)
        watch = Watch(f"{host}/live.m3u8", read_timeout=1.5)
        async with watch.source:
            await watch.pictures(40)  # two segments and a part of the third
    assert watch.kinds == [NoticeKind.CONNECTED]
    watch.assert_sound()


async def test_hls_is_looked_at_evenly_though_it_comes_in_segments(ffmpeg: str, tmp_path: Path) -> None:
    to_there = ["-force_key_frames", "expr:gte(t,n_forced*2)", "-f", "hls", "-hls_time", "2", "-hls_list_size", "5"]
    with web_server(tmp_path) as host, sending(ffmpeg, *to_there, str(tmp_path / "live.m3u8"), rate=25) as sender:
        await asyncio.to_thread(_wait_for, tmp_path / "live1.ts", sender)
        watch = Watch(f"{host}/live.m3u8", read_timeout=10, fps=5)
        taken: list[tuple[float, float]] = []
        async with watch.source, asyncio.timeout(2 * PATIENCE_S):
            async for frame in watch.source.frames():
                taken.append((time.monotonic(), frame.pts))
                if taken[-1][0] - taken[0][0] > 14:
                    break
    steady = [(at, pts) for at, pts in taken if at - taken[0][0] > 5]
    # Two seconds of pictures came at once, and one of them was seen; now all that are wanted are. A machine that stands
    # still for a moment makes one long step, and no more.
    assert len(steady) >= 0.8 * 5 * 9 / 2
    media = sorted(b[1] - a[1] for a, b in pairwise(steady))
    shown = sorted(b[0] - a[0] for a, b in pairwise(steady))
    assert media[len(media) * 9 // 10] < 1.0, "no second of media without a look"
    assert shown[len(shown) * 9 // 10] < 1.5
    watch.assert_sound()


def _wait_for(path: Path, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not path.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)


@contextlib.asynccontextmanager
async def tls_before(port: int, certified: tuple[Path, Path]) -> AsyncIterator[int]:
    """TLS in front of a TCP port of this machine; gives its own port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certified)
    tasks: set[asyncio.Task[None]] = set()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def came(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:  # its one client was here already
            writer.close()
            return
        for one, other in ((reader, behind_writer), (behind_reader, writer)):
            tasks.add(asyncio.create_task(pass_on(one, other)))

    server = await asyncio.start_server(came, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_rtmp_by_tls(ffmpeg: str, tmp_path: Path) -> None:
    certified = certificate(tmp_path, "ours")
    port = free_port()
    with sending(ffmpeg, "-listen", "1", "-f", "flv", f"rtmp://127.0.0.1:{port}/live/key"):
        await asyncio.to_thread(_listened_at, port)
        async with tls_before(port, certified) as front:
            url = f"rtmps://127.0.0.1:{front}/live/key"
            watch = Watch(f"{url}?ca_file={certified[0]}")
            async with watch.source as source:
                assert source.info.live
                await watch.pictures(10)
            with pytest.raises(SourceUnreadable, match="certificate is not trusted"):
                await Watch(url).source.open()
    watch.assert_sound()


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        (socket.SOCK_STREAM, "rtmp://127.0.0.1:{}/live/key?listen=1"),
        (socket.SOCK_STREAM, "tcp://127.0.0.1:{}?listen"),
        (socket.SOCK_DGRAM, "udp://127.0.0.1:{}"),
        pytest.param(socket.SOCK_DGRAM, "srt://127.0.0.1:{}?mode=listener", marks=pytest.mark.requires("srt")),
    ],
)
async def test_a_port_that_another_program_has(kind: int, source: str) -> None:
    with socket.socket(type=kind) as other:
        other.bind(("127.0.0.1", 0))
        if kind == socket.SOCK_STREAM:
            other.listen()
        watch = Watch(source.format(other.getsockname()[1]), sender_timeout=PATIENCE_S)
        with pytest.raises(SourceUnreadable, match=r"another program listens|its port cannot be had") as caught:
            await watch.source.open()
        assert caught.value.hint


async def test_nobody_sends() -> None:
    for url in (f"rtmp://127.0.0.1:{free_port()}/a?listen=1", f"udp://@:{free_port(socket.SOCK_DGRAM)}"):
        begun = time.monotonic()
        with pytest.raises(SourceTimeout) as caught:
            await Watch(url, sender_timeout=0.7).source.open()
        assert time.monotonic() - begun < SOON_S
        assert "somebody sending" in caught.value.hint
