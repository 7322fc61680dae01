"""The source ``whip:``: video that somebody publishes to this server, as it comes.

Nobody publishing is no fault of the stream: it waits. A publisher that vanishes is like a camera that goes away: the
hole is told as a gap, media time runs on, and the same publisher or the next one goes on where it was left.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Final

import av
from av.codec.context import ThreadType
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

from streamcap.errors import SourceClosed, SourceError, SourceTimeout, UsageError
from streamcap.sources.address import Address
from streamcap.sources.av_picture import Converter
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.ports import CLOCK, SILENT_S, EncodedFrame, Publication
from streamcap.sources.reports import Reporter
from streamcap.sources.session import After, DamagedPicture, Picture, Session
from streamcap.sources.timeline import Timeline
from streamcap.types import NoticeKind, SourceInfo

__all__ = ["PushSource"]

FIRST_S: Final = 10.0  # for the first picture of a publisher that sends
WAIT_S: Final = 7 * 24 * 3600.0  # for a publisher; after it the stream says anew that it waits
COME_BACK_S: Final = 0.05  # a publisher that is there again is not kept waiting
MAX_JUMP_S: Final = 10.0  # seconds forward that are believed of a publisher's stamps
_THREADS: Final = 2  # by slices: frame threads would hold each picture back until the next ones come


class PushSource(Source):
    """Video that is published to a port.

    Args:
        address: of kind push.

    Raises:
        UsageError: nobody can publish here.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        if options.ports is None:
            raise UsageError(
                f"{address.shown} is published to a server", hint=f"streamcap serve --stream {options.stream}=whip:"
            )
        super().__init__(
            address.shown,
            replace(options, open_timeout=WAIT_S, reconnect_first=COME_BACK_S, reconnect_cap=COME_BACK_S),
        )
        self._port = options.ports.port(options.stream)

    async def close(self) -> None:
        """See :meth:`Source.close`. Who publishes is not cut off: a changed stream goes on with it."""
        self._stop.set()
        self._port.wake()
        await super().close()

    def _connect(self, *, first: bool) -> Session:
        while True:
            publication = self._port.wait(self._stop.is_set)
            if publication is None:
                raise SourceClosed(f"{self.shown} was closed while nobody published")
            try:
                return _PushSession(publication, self._options, self._reporter, self._stop, self.shown)
            except SourceError as error:  # of this publisher; the next one may be better
                publication.close()
                self._reporter.say(NoticeKind.LOST, 0.0, str(error))


class _PushSession(Session):
    """One publisher, from its first picture until it leaves or falls silent."""

    after = After.RECONNECT

    def __init__(
        self,
        publication: Publication,
        options: SourceOptions,
        reporter: Reporter,
        stop: threading.Event,
        shown: str,
    ) -> None:
        self._publication, self._options, self._reporter = publication, options, reporter
        self._stop, self._shown = stop, shown
        self._converter = Converter(options.max_side)
        self._timeline = Timeline(interval=1 / 30, max_jump=MAX_JUMP_S)
        self._codec = ""
        self._decoder: VideoCodecContext | None = None
        publication.ask_key()
        self._decoded = self._decode()
        self._first = self._first_picture()
        width, height = self._first[0].width, self._first[0].height
        self.info = SourceInfo(uri=shown, live=True, width=width, height=height, fps=0.0, duration=None)

    def pictures(self) -> Generator[Picture, None, None]:
        """See :class:`Session`."""
        before: float | None = None
        yield self._picture(*self._first, before)
        before = self._first[1].arrived
        for frame, encoded in self._decoded:
            yield self._picture(frame, encoded, before)
            before = encoded.arrived
        if self._publication.closed:
            raise SourceClosed(f"{self._publication.name} has left")
        raise SourceTimeout(f"nothing has come from {self._publication.name} for {SILENT_S:g} s")

    def _picture(self, frame: VideoFrame, encoded: EncodedFrame, before: float | None) -> Picture:
        elapsed = encoded.arrived - before if before is not None else None
        stamp = self._timeline.place((frame.pts or encoded.timestamp) / CLOCK, elapsed)
        if stamp.jump is not None:
            detail = f"time stamps jumped by {stamp.jump:+.1f} s; time runs on without the jump"
            self._reporter.say(NoticeKind.DISCONTINUITY, stamp.time, detail)
        if frame.is_corrupt:
            self._damaged(pictures=1)
        convert = partial(self._converter.image, frame)
        return Picture(stamp.time, (frame.width, frame.height), convert, encoded.arrived)

    def _first_picture(self) -> tuple[VideoFrame, EncodedFrame]:
        until = self._options.clock.monotonic() + FIRST_S
        for frame, encoded in self._decoded:
            try:
                self._converter.image(frame)
            except DamagedPicture:
                continue
            return frame, encoded
        if self._stop.is_set() or self._publication.closed:
            raise SourceClosed(f"{self._publication.name} left before its first picture")
        late = self._options.clock.monotonic() >= until
        what = "no picture of it can be decoded" if late else "nothing comes any more"
        raise SourceTimeout(f"{self._publication.name} publishes, but {what}")

    def _decode(self) -> Iterator[tuple[VideoFrame, EncodedFrame]]:
        """Pictures with what they were decoded from, until nothing comes any more."""
        clock = self._options.clock
        since = clock.monotonic()  # when a picture was decoded last
        while not self._stop.is_set():
            encoded = self._publication.take(SILENT_S)
            if encoded is None:
                return
            if left_out := self._publication.left_out():
                self._damaged(packets=left_out)
            for frame in self._pictures_of(encoded):
                since = clock.monotonic()
                yield frame, encoded
            if clock.monotonic() - since > FIRST_S:
                return

    def _pictures_of(self, encoded: EncodedFrame) -> list[VideoFrame]:
        if encoded.codec != self._codec or self._decoder is None:
            self._codec, self._decoder = encoded.codec, _decoder(encoded.codec)
        packet = av.Packet(encoded.data)
        packet.pts = encoded.timestamp
        try:
            return self._decoder.decode(packet)
        except av.FFmpegError:
            self._damaged(packets=1)
            return []

    def _damaged(self, *, packets: int = 0, pictures: int = 0) -> None:
        self._reporter.damage(self._timeline.last or 0.0, packets=packets, pictures=pictures)
        self._publication.ask_key()


def _decoder(codec: str) -> VideoCodecContext:
    try:
        context = av.CodecContext.create(codec, "r")
    except (av.FFmpegError, ValueError) as error:
        raise SourceError(f"this FFmpeg has no decoder for {codec}") from error
    assert isinstance(context, VideoCodecContext)
    context.thread_type = ThreadType.SLICE
    context.thread_count = _THREADS
    return context
