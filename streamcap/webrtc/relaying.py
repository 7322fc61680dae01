"""What a camera or a publisher has encoded, passed on to all viewers as it is."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from typing import Final

from streamcap.sources.ports import CLOCK, EncodedFrame, Publication
from streamcap.sources.relay import GROUP_BYTES, GROUP_FRAMES, Relay
from streamcap.webrtc.broadcast import Broadcast

__all__ = ["PublisherBroadcast", "SourceBroadcast"]

# What waits between the decode thread and the event loop: two segments of a playlist, of ten seconds each.
WAITING_FRAMES: Final = 2 * GROUP_FRAMES
WAITING_BYTES: Final = 4 * GROUP_BYTES
MAX_WAIT_S: Final = 20.0  # for a frame whose time has not come; more is a jump of its time stamps
CREEP: Final = 0.01  # share of the time by which a delay that is not needed any more is worked off


class PublisherBroadcast(Broadcast):
    """The frames of a publisher.

    Args:
        publication: one whose codec is known.
    """

    def __init__(self, publication: Publication) -> None:
        super().__init__(publication.codec)
        self._publication = publication

    def ask_key(self) -> None:
        """The publisher is asked for one."""
        self._publication.ask_key()

    async def _serve(self) -> None:
        ended = asyncio.Event()
        loop = asyncio.get_running_loop()

        def take(frame: EncodedFrame | None) -> None:
            if frame is None or frame.codec != self.codec:  # another codec needs another answer
                loop.call_soon_threadsafe(ended.set)
            else:
                self._hand_out(frame)

        stop = self._publication.listen(take)
        try:
            await ended.wait()
        finally:
            stop()


class SourceBroadcast(Broadcast):
    """The packets of a source that is read here. A key frame comes when the camera makes one: it cannot be asked."""

    def __init__(self, relay: Relay) -> None:
        super().__init__("h264")
        self._relay = relay

    def ask_key(self) -> None:
        """Nobody can be asked."""

    async def _serve(self) -> None:
        inbox = _Inbox(asyncio.get_running_loop())
        past, stop = self._relay.listen(inbox.put)
        pacer = _Pacer()
        held = self.past = list(past)
        try:
            while (frame := await inbox.get()) is not None:
                if self._relay.bursts:
                    await asyncio.sleep(pacer.wait(frame.timestamp / CLOCK, asyncio.get_running_loop().time()))
                if frame.key:
                    held.clear()
                if frame.key or held:
                    held.append(frame)
                self._hand_out(frame)
        finally:
            stop()


class _Inbox:
    """Frames from the decode thread to the event loop. Bounded: what is too much goes, up to a key frame."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._frames: deque[EncodedFrame] = deque()
        self._bytes = 0
        self._needs_key = self._ended = self._called = False
        self._ready = asyncio.Event()

    def put(self, frame: EncodedFrame | None) -> None:
        """Take a frame, or None for the end; from any thread, returns at once."""
        with self._lock:
            if frame is None:
                self._ended = True
            else:
                self._add(frame)
            call, self._called = not self._called, True
        if call:
            with contextlib.suppress(RuntimeError):  # the loop is gone, and the viewers with it
                self._loop.call_soon_threadsafe(self._ready.set)

    def _add(self, frame: EncodedFrame) -> None:
        if len(self._frames) >= WAITING_FRAMES or self._bytes + len(frame.data) > WAITING_BYTES:
            self._frames.clear()
            self._bytes = 0
            self._needs_key = True
        if frame.key or not self._needs_key:
            self._needs_key = False
            self._frames.append(frame)
            self._bytes += len(frame.data)

    async def get(self) -> EncodedFrame | None:
        """The next frame, None at the end. Cancellation loses nothing."""
        while True:
            with self._lock:
                if self._frames:
                    frame = self._frames.popleft()
                    self._bytes -= len(frame.data)
                    return frame
                if self._ended:
                    return None
                self._called = False
                self._ready.clear()
            await self._ready.wait()


class _Pacer:
    """Says how long to hold frames that come before their time: as little as no frame is late."""

    def __init__(self) -> None:
        self._anchor: float | None = None  # clock time minus time stamp, of what is due
        self._before = 0.0

    def wait(self, t: float, now: float) -> float:
        """Seconds until the frame with time stamp ``t`` is due."""
        if self._anchor is not None:
            self._anchor -= CREEP * (t - self._before)
        self._before = t
        if self._anchor is None or not now <= self._anchor + t <= now + MAX_WAIT_S:
            self._anchor = now - t
        return self._anchor + t - now
