"""Where video comes in that is sent here, instead of being fetched: one port a stream, one publisher a port.

The publisher's side (an event loop) puts encoded frames into a bounded ``Publication``; the source's decode thread
takes them out. Neither knows the other, nor what the frames came over.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from streamcap.errors import UsageError

__all__ = ["CLOCK", "CODECS", "SILENT_S", "EncodedFrame", "Port", "PortTaken", "Ports", "Publication", "is_key"]

CLOCK: Final = 90_000  # of time stamps, a second: that of RTP video
CODECS: Final = frozenset({"vp8", "h264"})
# A decoder that is behind gets at most this much; then it begins again with a key frame. Four seconds at 30 a second.
WAITING_FRAMES: Final = 120
WAITING_BYTES: Final = 16 * 1024 * 1024
# A publisher from whom nothing came for so long (seconds) has vanished; another one may take the place.
SILENT_S: Final = 3.0
KEY_WAIT_S: Final = 1.0  # between two requests for a key frame


class PortTaken(UsageError):
    """Somebody publishes there already."""


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One encoded picture.

    Attributes:
        codec: of ``CODECS``; H.264 in Annex B.
        timestamp: 1/90,000 s, without roll-over.
        key: it can be decoded without those before it.
        arrived: monotonic seconds.
    """

    codec: str
    data: bytes
    timestamp: int
    key: bool
    arrived: float


class Publication:
    """One publisher's frames, on their way to the decode thread.

    Args:
        name: of the publisher, for the log.
        ask_key: asks the publisher for a key frame; called from any thread.
        on_close: called once when the source's side, or the port, ends the publication; from any thread.

    Attributes:
        codec: of the newest frame, empty before the first.
    """

    def __init__(
        self,
        name: str,
        *,
        ask_key: Callable[[], None],
        on_close: Callable[[], None],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = name
        self._ask_key, self._on_close, self._monotonic = ask_key, on_close, monotonic
        self._frames: deque[EncodedFrame] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._closed = False
        self._needs_key = True
        self._asked = -KEY_WAIT_S
        self._arrived = monotonic()
        self._left_out = 0
        self._listeners: tuple[Callable[[EncodedFrame | None], None], ...] = ()
        self.codec = ""

    @property
    def closed(self) -> bool:
        """True once it is over."""
        return self._closed

    @property
    def silence(self) -> float:
        """Seconds since the newest frame came, or since it was made where none did."""
        return self._monotonic() - self._arrived

    def put(self, frame: EncodedFrame) -> None:
        """Take a frame in; from the publisher's event loop. Never waits: what is too much is left out."""
        ask = False
        with self._changed:
            if self._closed:
                return
            self._arrived, self.codec = frame.arrived, frame.codec
            if len(self._frames) >= WAITING_FRAMES or self._bytes + len(frame.data) > WAITING_BYTES:
                self._left_out += len(self._frames)
                self._frames.clear()
                self._bytes = 0
                self._needs_key = True
            if self._needs_key and not frame.key:
                ask = True
            else:
                self._needs_key = False
                self._frames.append(frame)
                self._bytes += len(frame.data)
                self._changed.notify()
        if ask:
            self.ask_key()
        for listener in self._listeners:
            listener(frame)

    def take(self, patience: float) -> EncodedFrame | None:
        """The next frame, None where none came within ``patience`` seconds or the publication is over. Blocks."""
        with self._changed:
            self._changed.wait_for(lambda: self._frames or self._closed, patience)
            if self._closed or not self._frames:
                return None
            frame = self._frames.popleft()
            self._bytes -= len(frame.data)
            return frame

    def left_out(self) -> int:
        """Frames that were left out since the last call, because the decoder was behind."""
        with self._changed:
            count, self._left_out = self._left_out, 0
        return count

    def ask_key(self) -> None:
        """Ask for a key frame, once a second at most; from any thread."""
        with self._changed:
            now = self._monotonic()
            if self._closed or now - self._asked < KEY_WAIT_S:
                return
            self._asked = now
        self._ask_key()

    def listen(self, listener: Callable[[EncodedFrame | None], None]) -> Callable[[], None]:
        """Hand all frames to ``listener`` too, on the publisher's event loop, and None at the end, from any thread.

        Returns what stops it.
        """
        self._listeners = (*self._listeners, listener)

        def end() -> None:
            self._listeners = tuple(each for each in self._listeners if each is not listener)

        return end

    def close(self) -> None:
        """End it. Idempotent; from any thread."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._frames.clear()
            self._changed.notify_all()
        for listener in self._listeners:
            listener(None)
        self._on_close()


class Port:
    """Where one stream is published. From any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._now: Publication | None = None

    @property
    def publication(self) -> Publication | None:
        """Who publishes now."""
        now = self._now
        return now if now is not None and not now.closed else None

    def attach(self, publication: Publication) -> None:
        """Let somebody publish. Who has been silent for ``SILENT_S`` makes room.

        Raises:
            PortTaken: somebody publishes already.
        """
        with self._changed:
            before = self.publication
            if before is not None and before.silence < SILENT_S:
                raise PortTaken("somebody publishes this stream already", hint="it ends with DELETE on that session")
            self._now = publication
            self._changed.notify_all()
        if before is not None:
            before.close()

    def wait(self, stopped: Callable[[], bool]) -> Publication | None:
        """The publication from which frames come, as soon as there is one; None once ``stopped``. Blocks.

        One that was silent is waited for as for another one; ``wake`` has ``stopped`` looked at.
        """
        with self._changed:
            while not stopped():
                now = self.publication
                if now is not None and now.silence < SILENT_S:
                    return now
                # What ends the silence of a publication does not notify: looked at again in a while.
                self._changed.wait(None if now is None else KEY_WAIT_S)
        return None

    def wake(self) -> None:
        """Have those who wait look whether they are to stop."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """End what is published."""
        if self._now is not None:
            self._now.close()


class Ports:
    """The ports of a process, by stream. On the event loop's thread, but for ``port``."""

    def __init__(self) -> None:
        self._ports: dict[str, Port] = {}
        self._lock = threading.Lock()

    def port(self, stream: str) -> Port:
        """The port of a stream; made where there is none yet."""
        with self._lock:
            return self._ports.setdefault(stream, Port())

    def close(self, stream: str | None = None) -> None:
        """End what is published to a stream, or to all."""
        with self._lock:
            gone = [self._ports.pop(key) for key in ([stream] if stream else list(self._ports)) if key in self._ports]
        for port in gone:
            port.close()


def is_key(codec: str, data: bytes) -> bool:
    """True for a frame that can be decoded by itself (RFC 6386, 9.1; H.264, 7.4.1: IDR slices or a new SPS)."""
    if codec == "vp8":
        return bool(data) and not data[0] & 1
    at = data.find(b"\0\0\1")
    while 0 <= at < len(data) - 3:
        if data[at + 3] & 0x1F in (5, 7):
            return True
        if data[at + 3] & 0x1F == 1:  # a slice of another kind: nothing but slices follows
            return False
        at = data.find(b"\0\0\1", at + 3)
    return False
