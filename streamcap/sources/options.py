"""How a source is read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from streamcap.errors import UsageError
from streamcap.flow import Clock, SystemClock
from streamcap.sources.ports import Ports
from streamcap.types import Notice

__all__ = ["SourceOptions"]


def _ignore(_: Notice) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceOptions:
    """How a source is read.

    Attributes:
        stream: id of the stream, for its frames.
        fps: most frames a second of media time, > 0. Everything is decoded; only these are converted.
        start, end: part of the media that is wanted, in seconds from its first picture, half open; None: all.
        origin: media seconds that the first picture is laid on, for a stream that was watched before; >= 0.
        realtime: play a file as if it were live: paced by its time stamps, late frames dropped.
        max_side: pictures larger than this many pixels on a side are scaled down, >= 16.
        open_timeout: seconds until the first picture at most.
        sender_timeout: the same where a sender has to come here.
        read_timeout: seconds of silence after which a network source counts as lost (a playlist: three times that).
        reconnect_first, reconnect_cap: first and longest wait between attempts to come back, in seconds.
        gpu_decode: decode on the GPU's video engine what it can; on the processor where there is none.
        clock: where time comes from.
        ports: where streams that are published to this process come in; None where nobody can publish.
        on_notice: called on the event loop's thread with what the source has to say beside its frames.

    Raises:
        UsageError: a value is out of its range.
    """

    stream: str
    fps: float = 5.0
    start: float | None = None
    end: float | None = None
    origin: float = 0.0
    realtime: bool = False
    max_side: int = 1280
    open_timeout: float = 15.0
    sender_timeout: float = 600.0
    read_timeout: float = 10.0
    reconnect_first: float = 0.5
    reconnect_cap: float = 30.0
    gpu_decode: bool = False
    clock: Clock = field(default_factory=SystemClock)
    ports: Ports | None = None
    on_notice: Callable[[Notice], None] = _ignore

    def __post_init__(self) -> None:
        if not 0 < self.fps <= 1000:
            raise UsageError(f"{self.fps:g} frames a second cannot be", hint="above 0, at most 1000")
        if self.start is not None and not self.start >= 0:
            raise UsageError(f"the start, {self.start:g} s, lies before the first picture")
        if self.end is not None and not self.end > (self.start or 0):
            raise UsageError(f"the end, {self.end:g} s, does not lie after the start, {self.start or 0:g} s")
        if not self.origin >= 0:
            raise UsageError(f"media time cannot begin at {self.origin:g} s")
        if self.max_side < 16:
            raise UsageError(f"pictures of at most {self.max_side} pixels are too small to see anything")
        if not (self.open_timeout > 0 and self.sender_timeout > 0 and self.read_timeout > 0):
            raise UsageError("timeouts must be above 0 s")
        if not 0 < self.reconnect_first <= self.reconnect_cap:
            raise UsageError("the first reconnect wait must be above 0 s and at most the longest")
