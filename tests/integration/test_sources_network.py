"""Network streams that are not RTSP: http files, MJPEG cameras and raw transport streams, from real sockets."""

from __future__ import annotations

import asyncio
import functools
import io
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from streamcap.errors import NoVideo, SourceError, SourceNotFound, SourceTimeout, SourceUnreadable
from streamcap.sources import SourceOptions, open_source
from streamcap.types import Notice, NoticeKind
from tests.patience import LONG_S, PATIENCE_S, SOON_S


@functools.cache
def clip(form: str, seconds: float = 2.0, codec: str = "libx264") -> bytes:
    """A short clip as bytes."""
    out = io.BytesIO()
    with av.open(out, "w", format=form) as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25, options={"g": "5"}))
        stream.width, stream.height = 64, 48
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.codec_context.time_base = Fraction(1, 25)
        for number in range(round(seconds * 25)):
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 50 + number, np.uint8))
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


class Handler(BaseHTTPRequestHandler):
    """Serves what a camera or a file server might."""

    protocol_version = "HTTP/1.1"
    bodies: ClassVar[dict[str, bytes]] = {}
    stop: ClassVar[threading.Event]

    def log_message(self, *_: object) -> None:
        return

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/secret.mp4" and not self.headers.get("Authorization"):
            self._answer(401)
        elif path == "/forbidden.mp4":
            self._answer(403)
        elif path == "/broken.mp4":
            self._answer(500)
        elif path == "/silent.mp4":
            self.stop.wait(LONG_S)
            self.close_connection = True
        elif path == "/camera.mjpeg":
            self._camera()
        elif path == "/half.mp4":
            self._answer(200, self.bodies["/clip.mp4"][:3000], claim=1_000_000)
        else:
            body = self.bodies.get("/clip.mp4" if path == "/secret.mp4" else path)
            self._answer(404 if body is None else 200, body or b"")

    def _answer(self, code: int, body: bytes = b"", claim: int | None = None) -> None:
        self.send_response(code)
        if code == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Length", str(claim or len(body)))
        self.end_headers()
        self.wfile.write(body)
        if claim:
            self.stop.wait(LONG_S)
            self.close_connection = True

    def _camera(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self.close_connection = True
        jpeg = clip("mjpeg", 0.04, "mjpeg")
        head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n".encode()
        for _ in range(15):
            try:
                self.wfile.write(head + jpeg + b"\r\n")
                self.wfile.flush()
            except OSError:
                return
            if self.stop.wait(0.1):
                return


class Server(ThreadingHTTPServer):
    """Waits for its threads when it is closed."""

    daemon_threads = False


@pytest.fixture
def host() -> Iterator[str]:
    Handler.bodies = {
        "/clip.mp4": clip("mp4"),
        "/clip.ts": clip("mpegts"),
        "/list.m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nclip.ts\n#EXT-X-ENDLIST\n",
        "/page.html": b"<html><body>no film</body></html>" * 50,
    }
    Handler.stop = threading.Event()
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, name="http")
    thread.start()
    yield f"127.0.0.1:{server.server_port}"
    Handler.stop.set()
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE_S)


def options(notices: list[Notice] | None = None, **values: float) -> SourceOptions:
    values = {"fps": 100, "open_timeout": PATIENCE_S, "read_timeout": PATIENCE_S, "reconnect_first": 0.05} | values
    told = (lambda _: None) if notices is None else notices.append
    return SourceOptions(stream="s", on_notice=told, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts", "list.m3u8"])
async def test_a_film_on_a_server_is_read_like_a_file(host: str, name: str) -> None:
    async with open_source(f"http://{host}/{name}?token=hush", options()) as source:
        frames = [frame async for frame in source.frames()]
    assert not source.info.live
    assert source.info.uri == f"http://{host}/{name}?token=***"
    # This server cannot seek, so nobody can look at the end of a transport stream for its length.
    assert source.info.duration == (None if name == "clip.ts" else pytest.approx(2.0, abs=0.1))
    assert [f.pts for f in frames] == pytest.approx([n / 25 for n in range(50)], abs=0.002)
    assert source.drops == 0


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("none.mp4", SourceNotFound, "knows no such stream"),
        ("secret.mp4", SourceUnreadable, "wants a user name and a password"),
        ("forbidden.mp4", SourceUnreadable, "wants a user name and a password"),
        ("broken.mp4", SourceUnreadable, "answered with an error"),
        ("page.html", SourceError, "not with a video stream that can be read|holds no video"),
    ],
)
async def test_what_a_server_refuses(host: str, path: str, kind: type[SourceError], words: str) -> None:
    with pytest.raises(kind, match=words) as caught:
        await open_source(f"http://{host}/{path}?password=hush", options()).open()
    assert "hush" not in f"{caught.value} {caught.value.hint}"
    assert caught.value.hint


async def test_credentials_open_the_door_and_are_shown_nowhere(host: str) -> None:
    async with open_source(f"http://me:hush@{host}/secret.mp4", options()) as source:
        assert source.info.uri == f"http://{host}/secret.mp4"
        assert source.shown == source.info.uri


@pytest.mark.parametrize("path", ["silent.mp4", "half.mp4"])
async def test_a_server_that_falls_silent_is_a_timeout(host: str, path: str) -> None:
    begun = time.monotonic()
    with pytest.raises(SourceTimeout):
        await open_source(f"http://{host}/{path}", options(open_timeout=0.6)).open()
    assert time.monotonic() - begun < SOON_S


async def test_opening_a_silent_server_can_be_cancelled_at_once(host: str) -> None:
    opening = asyncio.create_task(open_source(f"http://{host}/silent.mp4", options(open_timeout=LONG_S)).open())
    await asyncio.sleep(0.3)
    begun = time.monotonic()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert time.monotonic() - begun < SOON_S


async def test_a_motion_jpeg_camera_is_live_timed_by_arrival_and_comes_back(host: str) -> None:
    notices: list[Notice] = []
    times = []
    begun = time.monotonic()
    async with open_source(f"http://{host}/camera.mjpeg", options(notices)) as source:
        assert source.info.live
        async for frame in source.frames():
            times.append(frame.pts)
            if len([n for n in notices if n.kind is NoticeKind.CONNECTED]) == 2 and len(times) > 16:
                break
    passed = time.monotonic() - begun
    assert times == sorted(set(times))
    assert 1.2 < times[-1] < passed  # 10 pictures a second, not the 25 that libav assumes
    assert [n.kind for n in notices] == [
        NoticeKind.CONNECTED,
        NoticeKind.LOST,
        NoticeKind.GAP,
        NoticeKind.CONNECTED,
    ]


@contextmanager
def tcp_server(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that treats each connection alike, one after the other, until it is left."""
    listener = socket.create_server(("127.0.0.1", 0))
    closing = threading.Event()

    def loop() -> None:
        while not closing.is_set():
            connection, _ = listener.accept()
            with connection:
                try:
                    serve(connection)
                except OSError:
                    continue

    thread = threading.Thread(target=loop, name="tcp")
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        closing.set()
        socket.create_connection(listener.getsockname()).close()
        thread.join(PATIENCE_S)
        listener.close()


async def test_a_transport_stream_over_tcp_that_breaks_off_goes_on() -> None:
    body = clip("mpegts", 1.0)
    notices: list[Notice] = []
    pts: list[float] = []
    with tcp_server(lambda connection: connection.sendall(body)) as port:
        async with open_source(f"tcp://127.0.0.1:{port}", options(notices)) as source:
            assert source.info.live
            async for frame in source.frames():
                pts.append(frame.pts)
                if sum(n.kind is NoticeKind.CONNECTED for n in notices) >= 3:
                    break
    assert pts == sorted(set(pts))
    kinds = [n.kind for n in notices[:7] if n.kind is not NoticeKind.DAMAGE]
    assert kinds[:4] == [NoticeKind.CONNECTED, NoticeKind.LOST, NoticeKind.GAP, NoticeKind.CONNECTED]
    gaps = [n for n in notices if n.kind is NoticeKind.GAP]
    assert all(n.start is not None and n.end is not None and n.start < n.end for n in gaps)


async def test_a_live_stream_that_stalls_is_lost_within_bounds_and_closes_at_once() -> None:
    body = clip("mpegts", 2.0)
    done = threading.Event()

    def stall(connection: socket.socket) -> None:
        connection.sendall(body)
        done.wait(LONG_S)

    lost = asyncio.Event()
    told: list[Notice] = []

    def listen(notice: Notice) -> None:
        told.append(notice)
        if notice.kind is NoticeKind.LOST:
            lost.set()

    values = SourceOptions(stream="s", on_notice=listen, read_timeout=0.5, open_timeout=LONG_S)
    with tcp_server(stall) as port:
        try:
            source = open_source(f"tcp://127.0.0.1:{port}", values)
            await source.open()
            await asyncio.wait_for(lost.wait(), PATIENCE_S)
            await asyncio.sleep(0.4)  # it is connecting again, to a server that says nothing
            begun = time.monotonic()
            await source.close()
            assert time.monotonic() - begun < SOON_S
        finally:
            done.set()
    assert told[-1].kind is NoticeKind.LOST
    assert "did not answer" in told[-1].detail


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize("scheme", ["rtsp", "http", "tcp", "rtmp"])
async def test_nobody_listens(scheme: str) -> None:
    with pytest.raises(SourceNotFound, match="refused"):
        await open_source(f"{scheme}://127.0.0.1:{free_port()}/x", options()).open()


@pytest.mark.parametrize("scheme", ["rtsp", "http"])
async def test_no_such_host(scheme: str) -> None:
    with pytest.raises(SourceNotFound, match=r"no host named nowhere\.invalid"):
        await open_source(f"{scheme}://me:hush@nowhere.invalid/x", options()).open()


async def test_nothing_arrives_by_udp() -> None:
    with pytest.raises(SourceTimeout):
        await open_source(f"udp://127.0.0.1:{free_port()}", options(sender_timeout=0.4)).open()


async def test_sound_alone_by_http(host: str) -> None:
    out = io.BytesIO()
    with av.open(out, "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    Handler.bodies["/sound.wav"] = out.getvalue()
    with pytest.raises(NoVideo, match="audio only"):
        await open_source(f"http://{host}/sound.wav", options()).open()


async def test_no_such_camera() -> None:
    with pytest.raises(SourceNotFound, match="no such device"):
        await open_source("device:/dev/video99", options()).open()
