"""The packets of a source as they came, for those who watch it: beside their decoding, and without it.

The decode thread shows each packet here. While nobody listens, it is only kept until the next key frame, so that
whoever comes sees a picture at once; nothing is copied. What browsers cannot play (another codec, B-frames, a rare
profile) is not passed on, and ``unfit`` says why.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from streamcap.sources import h264
from streamcap.sources.ports import CLOCK, EncodedFrame

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

__all__ = ["GROUP_BYTES", "GROUP_FRAMES", "Listener", "Relay"]

Listener = Callable[[EncodedFrame | None], None]

# The group of pictures that is kept: ten seconds at 30 a second, or eight at 4 Mbit/s. Where key frames are further
# apart, a viewer would wait for longer than that after each loss: then the source is not passed on.
GROUP_FRAMES: Final = 300
GROUP_BYTES: Final = 4 * 1024 * 1024
MAX_STEP: Final = 10 * CLOCK  # forward, that is believed of the time stamps
# Packets whose time stamp lies before that of the packet in front of them, among so many: a camera with an odd clock
# has one now and then, B-frames have them all the time.
BACKWARD: Final = 3
BACKWARD_AMONG: Final = 300
# What browsers decode where packetization-mode 1 is negotiated, by libav's names.
PROFILES: Final = frozenset({"Baseline", "Constrained Baseline", "Main", "High", "Constrained High"})
FORMATS: Final = frozenset({"yuv420p", "yuvj420p"})


class Relay:
    """Hands out the packets of one source, over all its connections.

    ``connect``, ``judge`` and ``see`` are the decode thread's; ``listen`` may be called from any thread.

    Attributes:
        unfit: why the packets cannot be passed on, empty where they can.
        bursts: packets come before their time, many at once (a file, or the segments of a playlist).
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self.unfit = "there was no picture yet"
        self.bursts = False
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._listeners: tuple[Listener, ...] = ()
        self._closed = False
        self._group: list[tuple[Packet[VideoStream], int, float]] = []  # with time stamp and arrival
        self._bytes = 0
        self._stream: VideoStream | None = None
        self._length = 0
        self._sets: tuple[bytes, ...] = ()
        self._timestamp = 0
        self._raw: int | None = None
        self._arrived = monotonic()
        self._seen = self._backward = 0

    # ---- the decode thread's side

    def connect(self, stream: VideoStream, *, bursts: bool) -> None:
        """A new connection: its packets follow. What was fit before stays so until its first picture is judged."""
        extradata = stream.codec_context.extradata
        self.bursts = bursts
        self._stream = stream if stream.codec_context.name == "h264" else None
        self._length = h264.length_size(extradata)
        self._raw = None
        self._seen = self._backward = 0
        with self._lock:
            self._sets = h264.parameter_sets(extradata)
            self._drop_group()
        if self._stream is None:
            self._refuse(f"{stream.codec_context.name} is not what all browsers play")

    def judge(self, first: VideoFrame) -> None:
        """Decide by the first picture of a connection whether its packets can be passed on."""
        if self._stream is None:
            return
        context = self._stream.codec_context
        if context.profile not in PROFILES or first.format.name not in FORMATS:
            self._refuse(f"browsers do not play H.264 {context.profile} as {first.format.name}")
        elif context.has_b_frames:
            self._refuse("it has B-frames")
        elif first.interlaced_frame:
            self._refuse("it is interlaced")
        elif round(first.rotation / 90) % 4:
            self._refuse("it has to be turned")
        elif not self._closed:
            self.unfit = ""

    def see(self, packet: Packet[VideoStream]) -> None:
        """Take the next packet in; never waits, and never raises for what is in it."""
        if self._stream is None or not packet.size:
            return
        arrived = self._monotonic()
        timestamp = self._stamp(packet, arrived)
        key = packet.is_keyframe and self._is_start(packet)
        with self._lock:
            if key:
                self._drop_group()
            if key or self._group:
                self._group.append((packet, timestamp, arrived))
                self._bytes += packet.size
            over = len(self._group) > GROUP_FRAMES or self._bytes > GROUP_BYTES
            if over:
                self._drop_group()
            listeners = self._listeners
        if over:
            self._refuse("its key frames are too far apart")
        elif listeners and not self.unfit:
            self._tell(self._frame(packet, timestamp, arrived, key=key))

    def disconnect(self) -> None:
        """The connection is over; another one may follow."""
        with self._lock:
            self._drop_group()  # packets keep what they were read from

    def close(self) -> None:
        """No more packets come. Idempotent."""
        self._closed = True
        self.disconnect()
        self._refuse("its source is closed")

    # ---- the viewers' side

    def listen(self, listener: Listener) -> tuple[list[EncodedFrame], Callable[[], None]]:
        """Hand all frames to ``listener`` from now on, on the decode thread; None once no more can come.

        Returns the frames since the newest key frame, none where that was not kept, and what stops it.
        """
        with self._lock:
            self._listeners = (*self._listeners, listener)
            group = list(self._group)

        def stop() -> None:
            with self._lock:
                self._listeners = tuple(each for each in self._listeners if each is not listener)

        if self.unfit:
            listener(None)
            return [], stop
        return [self._frame(*each, key=at == 0) for at, each in enumerate(group)], stop

    # ---- both

    def _refuse(self, why: str) -> None:
        self.unfit = why
        self._tell(None)

    def _tell(self, frame: EncodedFrame | None) -> None:
        if frame is None or frame.data:
            for listener in self._listeners:
                listener(frame)

    def _drop_group(self) -> None:
        self._group, self._bytes = [], 0

    def _is_start(self, packet: Packet[VideoStream]) -> bool:
        """True for what decoding can begin with; remembers the parameter sets that come with it."""
        found = list(h264.units(bytes(packet), self._length))
        sets = tuple(unit for unit in found if h264.kind(unit) in (h264.SPS, h264.PPS))
        if any(h264.kind(unit) == h264.SPS for unit in sets):
            self._sets = sets
        return bool(self._sets) and any(h264.kind(unit) == h264.IDR for unit in found)

    def _frame(self, packet: Packet[VideoStream], timestamp: int, arrived: float, *, key: bool) -> EncodedFrame:
        """A packet as it is sent: a byte stream, in which each key frame brings its parameter sets with it."""
        found = list(h264.units(bytes(packet), self._length))
        if key and not any(h264.kind(unit) == h264.SPS for unit in found):
            found = [*self._sets, *found]
        return EncodedFrame("h264", h264.to_annex_b(found), timestamp, key, arrived)

    def _stamp(self, packet: Packet[VideoStream], arrived: float) -> int:
        """The time stamp under which a packet is sent: runs on over jumps, and over connections."""
        raw, base = packet.pts if packet.pts is not None else packet.dts, packet.time_base
        step = 0
        if raw is not None and base:
            step = 0 if self._raw is None else round((raw - self._raw) * base * CLOCK)
            self._count_backward(step)
            self._raw = raw
        if not 0 < step <= MAX_STEP:
            step = max(1, min(MAX_STEP, round((arrived - self._arrived) * CLOCK)))
        self._arrived = arrived
        self._timestamp += step
        return self._timestamp

    def _count_backward(self, step: int) -> None:
        self._seen += 1
        self._backward += -CLOCK < step < 0
        if self._backward >= BACKWARD and not self.unfit:
            self._refuse("it has B-frames")
        if self._seen >= BACKWARD_AMONG:
            self._seen = self._backward = 0
