"""Cameras that can be switched on and off, and somebody who watches them."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from streamcap.sources import Source, SourceOptions, open_source
from streamcap.types import Frame, Notice, NoticeKind
from tests.patience import PATIENCE_S

__all__ = ["Camera", "Watch", "free_port", "sending"]

SERVER = Path(__file__).parent / "integration" / "rtsp_server.py"


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port that nobody has just now."""
    with socket.socket(type=kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def sending(ffmpeg: str, *arguments: str, size: str = "160x120", rate: int = 15) -> Iterator[subprocess.Popen[bytes]]:
    """ffmpeg sends a test picture in real time beside the block."""
    picture = ["-re", "-f", "lavfi", "-i", f"testsrc=size={size}:rate={rate}"]
    encode = ["-c:v", "libx264", "-preset", "ultrafast", "-tune", "zerolatency", "-g", str(rate), "-threads", "1"]
    command = [ffmpeg, "-nostdin", "-v", "fatal", *picture, *encode, *arguments]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


class Camera:
    """A camera that can be switched on and off; it keeps its port."""

    def __init__(self, python: str, *options: str) -> None:
        self.port = free_port()
        self._scheme = "rtsps" if "--tls" in options else "rtsp"
        self._command = [python, str(SERVER), "--port", str(self.port), "--width", "160", "--height", "120", *options]
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self.port}/cam"

    def on(self, *options: str) -> None:
        """Switch on; ``options`` stand in place of earlier ones."""
        command = [*self._command, *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"ready {self.port}\n"

    def off(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate(timeout=PATIENCE_S)
            self._process = None

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)


class Watch:
    """Reads a source and waits for what it has to say."""

    def __init__(self, url: str, **values: float) -> None:
        self.notices: list[Notice] = []
        self.frames: list[Frame] = []
        self._changed = asyncio.Event()
        values = {
            "fps": 100,
            "open_timeout": PATIENCE_S,
            "read_timeout": 5,  # a camera of a busy machine may be quiet for longer than a second or two
            "reconnect_first": 0.1,
            "reconnect_cap": 0.5,
        } | values
        self.source: Source = open_source(url, SourceOptions(stream="s", on_notice=self._note, **values))  # type: ignore[arg-type]

    def _note(self, notice: Notice) -> None:
        self.notices.append(notice)
        self._changed.set()

    @property
    def kinds(self) -> list[NoticeKind]:
        return [n.kind for n in self.notices]

    async def pictures(self, count: int) -> None:
        """Read so many more frames."""
        wanted = len(self.frames) + count
        async with asyncio.timeout(PATIENCE_S):
            async for frame in self.source.frames():
                self.frames.append(frame)
                if len(self.frames) == wanted:
                    return

    async def told(self, kind: NoticeKind) -> Notice:
        """Wait until the newest notice is of this kind."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.notices or self.notices[-1].kind is not kind:
                self._changed.clear()
                await self._changed.wait()
        return self.notices[-1]

    async def told_that(self, words: str) -> None:
        """Wait until the newest notice says so."""
        async with asyncio.timeout(PATIENCE_S):
            while not self.notices or words not in self.notices[-1].detail:
                self._changed.clear()
                await self._changed.wait()

    async def until(self, kind: NoticeKind, count: int) -> None:
        """Read frames until so many notices of a kind have come."""
        async with asyncio.timeout(PATIENCE_S):
            async for frame in self.source.frames():
                self.frames.append(frame)
                if self.kinds.count(kind) >= count:
                    return

    def of(self, kind: NoticeKind) -> list[Notice]:
        """The notices of a kind."""
        return [n for n in self.notices if n.kind is kind]

    def assert_sound(self) -> None:
        """Time runs forward, and no frame lies in a hole or in the future."""
        times = [f.pts for f in self.frames]
        assert all(a < b for a, b in itertools.pairwise(times))
        assert all(a.index < b.index for a, b in itertools.pairwise(self.frames))
        assert all(a.connection <= b.connection for a, b in itertools.pairwise(self.frames))
        for gap in self.of(NoticeKind.GAP):
            assert gap.start is not None and gap.end is not None and gap.start < gap.end
            assert [t for t in times if gap.start < t < gap.end] == []
