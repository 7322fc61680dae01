"""One connection through PyAV: packets to pictures with their true times, whatever is wrong with the data."""

from __future__ import annotations

import itertools
import logging
import re
import struct
import threading
import time
from collections.abc import Generator, Iterator
from functools import partial

import av
import numpy as np
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from streamcap.errors import SourceTimeout, SourceUnreadable, UsageError
from streamcap.sources.address import Address, Kind
from streamcap.sources.av_errors import explain_read, explain_silence
from streamcap.sources.av_open import libav_options, longest_silence, open_container, pick_video
from streamcap.sources.av_picture import Converter
from streamcap.sources.hls_clock import program_clock
from streamcap.sources.nvdec import GpuRefused, nvdec
from streamcap.sources.options import SourceOptions
from streamcap.sources.relay import Relay
from streamcap.sources.reports import Reporter
from streamcap.sources.session import After, DamagedPicture, Picture, Session
from streamcap.sources.srt import SrtReader
from streamcap.sources.timeline import Timeline
from streamcap.types import NoticeKind, SourceInfo

__all__ = ["AvSession"]

_log = logging.getLogger(__name__)

_TS_DISCONT = 0x0200  # libav's AVFMT_TS_DISCONT: "format allows timestamp discontinuities"
_NO_TIMESTAMPS = 0x0080  # libav's AVFMT_NOTIMESTAMPS: what it gives then is counted, at a rate that it assumes
_PLAYLISTS = frozenset({"hls", "dash"})  # their size is that of the list, not of what it names
_ROLL_OVER = 2**33 / 90_000  # seconds: MPEG counts 33 bits at 90 kHz
_JUMP_UNSURE = 10.0  # seconds forward that are believed where time stamps may jump (ffmpeg's dts_delta_threshold)
_JUMP_SURE = 30 * 3600.0  # … and where they may not (ffmpeg's dts_error_threshold)
_HLS_DELAY = 60.0  # seconds that a live playlist may lie behind the glass; ten segments of six
_DATES = 3.0  # seconds for each step of looking for dates in a playlist
_SEEK_SURE = 2.0  # seconds from which seeking is quicker than decoding
_SEEK_UNSURE = 120.0  # … where a seek may land in the wrong place, because time stamps need not be unique
_RATE_MAX = 240.0  # pictures a second; more is a time base that was taken for a rate
_THREADS_LIVE = 2  # by slices: frame threads would hold each picture back until the next ones come
_THREADS_FILE = 4  # by frames, which cost memory each; more does not pay beside the rest of the pipeline
_REPORT = struct.Struct("=qi")  # libav's AVProducerReferenceTime: Unix microseconds, flags
_DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")


class AvSession(Session):
    """One connection to a file, network stream or device, open and with its first picture decoded.

    Args:
        address: what to open.
        options: how it is to be read.
        reporter: takes damage, jumps and early ends, in the session's own time.
        stop: set from another thread to give up.
        start: seconds from the clip's first picture to begin at; only files seek.
        relay: is shown the packets of what is watched in real time; None where nobody could watch them.

    Raises:
        SourceError: it cannot be opened, or no picture of it can be decoded.
        UsageError: ``start`` lies after the end.
    """

    def __init__(
        self,
        address: Address,
        options: SourceOptions,
        reporter: Reporter,
        stop: threading.Event,
        *,
        start: float = 0.0,
        relay: Relay | None = None,
    ) -> None:
        self._address = address
        self._options = options
        self._reporter = reporter
        self._stop = stop
        self._start = start
        self._silence = longest_silence(address, options.read_timeout)
        self._relay = relay
        self._converter = Converter(options.max_side)
        self._progress = options.clock.monotonic()  # when a picture was decoded last
        self._waited = 0.0  # seconds for packets, since the last picture
        self._reader: SrtReader | None = None
        self._sender: float | None = None  # Unix seconds of the sender's clock at time stamp 0
        self._hwaccel = nvdec() if options.gpu_decode else None
        self._begin()

    def _begin(self) -> None:
        """Open, with a first picture; where the GPU cannot, on the processor."""
        try:
            self._open()
            try:
                self._prepare()
            except BaseException:
                self.close()
                raise
        except (GpuRefused, SourceUnreadable) as error:
            if self._hwaccel is None:
                raise
            _log.warning("%s is decoded on the processor: the GPU does not: %s", self._address.shown, error)
            self._hwaccel = None
            self._begin()

    def close(self) -> None:
        """Close the container, and with it socket or file."""
        if self._relay is not None:
            self._relay.disconnect()
        self._container.close()
        self._close_reader()

    def _close_reader(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def pictures(self) -> Generator[Picture, None, None]:
        """Pictures from the first wanted one on (or from the key frame before it)."""
        before: float | None = None
        for frame, arrived in itertools.chain([self._first], self._decoded):
            elapsed = arrived - before if self._live and before is not None else None
            before = arrived
            stamp = self._timeline.place(_raw(frame) if self._stamped else None, elapsed)
            if stamp.jump is not None:
                detail = f"time stamps jumped by {stamp.jump:+.1f} s; time runs on without the jump"
                self._reporter.say(NoticeKind.DISCONTINUITY, stamp.time, detail)
                self._sender = None  # what it said was of the old stamps
            if frame.is_corrupt and stamp.time >= self._start:
                self._reporter.damage(stamp.time, pictures=1)
            convert = partial(self._converter.image, frame)
            size = (frame.width, frame.height)
            waited, self._waited = self._waited, 0.0
            yield Picture(stamp.time, size, convert, arrived if self._live else None, self._sent(frame), waited)
        self._check_length()

    # ---- opening

    def _open(self) -> None:
        options = self._options
        timeouts = {"open_timeout": options.open_timeout, "read_timeout": options.read_timeout}
        if self._address.scheme == "srt":
            self._reader = SrtReader(self._address, self._stop, **timeouts)
            self.delay = self._reader.delay
        try:
            self._container = open_container(self._address, reader=self._reader, hwaccel=self._hwaccel, **timeouts)
        except BaseException:
            self._close_reader()
            raise
        try:
            self._stream = pick_video(self._container, self._address, options.max_side)
        except BaseException:
            self.close()
            raise
        flags = self._container.format.flags
        self._unsure = bool(flags & _TS_DISCONT)  # time stamps may jump
        self._declared = self._declared_duration()
        self._live = self._address.kind is not Kind.FILE and not self._is_film()
        # Pictures without stamps are placed by their arrival where time does not wait (MJPEG over http).
        self._stamped = not (self._live and flags & _NO_TIMESTAMPS)
        context = self._stream.codec_context
        context.thread_type = "SLICE" if self._is_live() else "AUTO"
        context.thread_count = _THREADS_LIVE if self._is_live() else _THREADS_FILE
        if not self._is_live():
            self._relay = None
        elif self._relay is not None:
            self._relay.connect(self._stream, bursts=not self._live or self._container.format.name in _PLAYLISTS)
        self._decoded = self._decode()

    def _read_dates(self) -> None:
        """Of a live playlist, whose server holds pictures back for several segments."""
        if self._live and self._container.format.name == "hls":
            self.longest_delay = _HLS_DELAY
            timeout = self._options.read_timeout
            self._sender = program_clock(self._address, libav_options(self._address, timeout), min(timeout, _DATES))

    def _is_film(self) -> bool:
        """True for something on a server that has an end: its length is known, in seconds or in bytes."""
        container = self._container
        if self._address.scheme not in {"http", "https"}:
            return False
        return bool(container.duration) or (container.format.name not in _PLAYLISTS and (container.size or 0) > 0)

    def _is_live(self) -> bool:
        return self._live or self._address.loop or self._options.realtime

    def _prepare(self) -> None:
        self._rate = _rate(self._stream)
        self._read_dates()
        self._timeline = self._new_timeline()
        self._first, image = self._first_shown()
        if self._relay is not None:
            self._relay.judge(self._first[0])
        if self._start > 0 and not self._live:
            self._begin_at(self._start)
        self.paced = not self._live and self._is_live()
        self.bursts = self._live and self._container.format.name in _PLAYLISTS
        if self._live:
            self.after = After.RECONNECT
        elif self._address.loop:
            self.after = After.LOOP
        height, width = image.shape[:2]
        self.info = SourceInfo(
            uri=self._address.shown,
            live=self._is_live(),
            width=width,
            height=height,
            fps=self._rate if self._stamped else 0.0,
            duration=None if self._live or self._address.loop else self._duration(),
        )

    def _new_timeline(self, origin: float | None = None) -> Timeline:
        jump = _JUMP_UNSURE if self._unsure or self._live else _JUMP_SURE
        return Timeline(interval=1.0 / (self._rate or 25.0), max_jump=jump, wrap=_ROLL_OVER, origin=origin)

    def _first_shown(self) -> tuple[tuple[VideoFrame, float], NDArray[np.uint8]]:
        """The first picture that can be decoded and converted: proof that there is something to watch."""
        for frame, arrived in self._decoded:
            try:
                return (frame, arrived), self._converter.image(frame)
            except DamagedPicture:
                self._reporter.damage(0.0, pictures=1)
        raise SourceUnreadable(
            f"{self._address.shown} holds a video stream, but no picture of it can be decoded",
            hint="it may be cut short or damaged; try it in another player",
        )

    def _begin_at(self, start: float) -> None:
        """Go to the key frame before ``start``. Where that fails, everything is decoded instead."""
        duration = self._duration()
        if duration is not None and not self._unsure and start >= duration:
            raise UsageError(f"{start:g} s lies after the end of {self._address.shown}, which lasts {duration:.1f} s")
        origin, base = _raw(self._first[0]), self._stream.time_base
        if origin is None or not base or start < (_SEEK_UNSURE if self._unsure else _SEEK_SURE):
            return
        try:
            self._container.seek(int((origin + start) / base), stream=self._stream)
            self._decoded = self._decode()
            first = next(self._decoded, None)
        except (av.FFmpegError, SourceUnreadable):
            first = None
        raw = None if first is None else _raw(first[0])
        if first is not None and raw is not None and raw - origin <= start:
            self._first = first
            self._timeline = self._new_timeline(origin)
            return
        self.close()
        self._open()
        self._first, _ = self._first_shown()

    # ---- reading

    def _sent(self, frame: VideoFrame) -> float | None:
        raw = _raw(frame)
        return None if raw is None or self._sender is None else raw + self._sender

    def _read_report(self, packet: Packet[VideoStream]) -> None:
        """Learn from a sender report (RTCP) how time stamps and the sender's time of day belong together."""
        if packet.pts is None or not packet.has_sidedata("prft"):
            return
        micros, _ = _REPORT.unpack_from(bytes(packet.get_sidedata("prft")))
        self._sender = micros / 1e6 - float(packet.pts * packet.time_base)

    def _decode(self) -> Iterator[tuple[VideoFrame, float]]:
        """Decoded pictures, each with the clock time at which its data came in."""
        clock = self._options.clock
        for packet in self._packets():
            arrived = clock.monotonic()
            if self._stop.is_set():
                return
            if self._live:
                self._read_report(packet)
            if self._relay is not None:
                self._relay.see(packet)
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.FFmpegError:
                frames = []
                self._count_damage()
            else:
                if packet.is_corrupt:
                    self._count_damage()
            for frame in frames:
                self._progress = arrived
                yield frame, arrived
            if self._live and arrived - self._progress > 2 * self._silence:
                raise SourceTimeout(
                    f"{self._address.shown} sends data, but no picture of it can be decoded",
                    hint="the sender may have lost its key frames; restart it",
                )

    def _packets(self) -> Iterator[Packet[VideoStream]]:
        packets = self._container.demux(self._stream)
        while True:
            begun = time.monotonic()
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as exc:
                self._unreadable_from_here(exc, time.monotonic() - begun)
                return
            if packet is None:
                return
            waited = time.monotonic() - begun
            self._waited += waited
            yield packet
            if self._live and waited >= self._silence:
                # What the parser still held is handed over when the time is up; libav would wait as long once more.
                raise explain_silence(self._address, self._silence)

    def _unreadable_from_here(self, exc: Exception, waited: float) -> None:
        """A file ends where it cannot be read on, and says so; anything else has failed."""
        last = self._timeline.last if self._address.kind is Kind.FILE else None
        if last is None:
            raise explain_read(exc, self._address, waited=waited, timeout=self._silence) from None
        self._reporter.damage(last, packets=1)

    def _count_damage(self) -> None:
        at = self._timeline.last or 0.0
        if at >= self._start:
            self._reporter.damage(at, packets=1)

    # ---- how long it is

    def _declared_duration(self) -> float | None:
        """Seconds of video that the header promises, None where it promises none (or only guesses)."""
        stream, container = self._stream, self._container
        if self._unsure:
            return None
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        tag = _DURATION_TAG.match(stream.metadata.get("DURATION", ""))
        if tag:
            return int(tag[1]) * 3600 + int(tag[2]) * 60 + float(tag[3])
        if container.duration and not container.streams.audio:
            return container.duration / 1e6
        return None

    def _duration(self) -> float | None:
        if self._declared is not None:
            return self._declared
        return self._container.duration / 1e6 if self._container.duration else None

    def _check_length(self) -> None:
        if self._live or self._stop.is_set() or self._declared is None or self._timeline.last is None:
            return
        end = self._timeline.last + self._timeline.interval
        if self._declared - end > max(1.0, 0.03 * self._declared):
            detail = f"the file ends at {end:.1f} s; its header promises {self._declared:.1f} s"
            self._reporter.say(NoticeKind.TRUNCATED, self._timeline.last, detail)


def _raw(frame: VideoFrame) -> float | None:
    stamp = frame.pts if frame.pts is not None else frame.dts
    if stamp is None or not frame.time_base:
        return None
    return float(stamp * frame.time_base)


def _rate(stream: VideoStream) -> float:
    """Pictures a second, 0 where unknown."""
    for rate in (stream.average_rate, stream.guessed_rate):
        if rate and 0 < rate <= _RATE_MAX:
            return float(rate)
    return 0.0
