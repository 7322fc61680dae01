"""The life of a source: open, frames, close, and coming back after a fault.

One decode thread per source does everything that may block, and hands frames to the event loop over one bounded
channel: the newest frame wins where time does not wait, the thread waits where it does.

    open() ──starts──> thread: connect ─> pictures ─> place on the stream's time ─> sample ─> pace ─> convert ─┐
    frames() <──────────────────── channel (newest, 1) or (block, 4) <─────────────────────────────────────────┘
    close() ──stops and joins──> thread
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TypeVar

from streamcap.errors import LoginRefused, SourceClosed, SourceError, SourceTimeout, UsageError
from streamcap.flow import LOOP_CHECK_S, Channel, ChannelClosed
from streamcap.metrics import Stages
from streamcap.sources.address import redact
from streamcap.sources.backoff import REFUSED_PLAN, Backoff
from streamcap.sources.options import SourceOptions
from streamcap.sources.reports import Reporter
from streamcap.sources.session import After, DamagedPicture, Picture, Session
from streamcap.sources.timeline import ArrivalFilter, Playout, Sampler, SenderClock
from streamcap.types import Frame, Notice, NoticeKind, SourceInfo

if TYPE_CHECKING:
    from streamcap.sources.relay import Relay

__all__ = ["Source", "SourceOptions"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BLOCK_CAPACITY = 4  # frames decoded ahead of a reader that a file waits for
_JOIN_MARGIN = 5.0  # seconds that closing may take beyond the source's own timeouts
_MOST_LAG = 2.0  # seconds that paced playback may fall behind before it gives up catching up
_STILL_AWAY = 5.0  # seconds until it is told why a source that was lost cannot be had back; then twice as many, …
_STABLE = 10.0  # seconds that a connection must hold before the next fault is taken for a new one


class _Stopped(Exception):
    """The source is being closed: the decode thread unwinds."""


class Source(ABC):
    """A video source. Opened once, read by one task, closed.

    Use it as ``async with``, or call :meth:`open` and :meth:`close`. Cancelling any of its coroutines leaves nothing
    running once :meth:`close` has returned.
    """

    def __init__(self, uri: str, options: SourceOptions) -> None:
        self.shown = redact(uri)
        self.relay: Relay | None = None  # of its packets, where it has some
        self.stages = Stages()  # of the decode thread: decode (every picture), convert (those that are taken)
        self._options = options
        self._clock = options.clock
        self._stop = threading.Event()
        self._attached = threading.Event()
        self._sleeping: concurrent.futures.Future[None] | None = None
        self._sleep_lock = threading.Lock()
        self._away = False  # it was lost, and is tried again now and then
        self._hurried = False  # and now is to be then
        self._resting: asyncio.Task[object] | None = None
        self._thread: threading.Thread | None = None
        self._channel: Channel[Frame] | None = None
        self._info: SourceInfo | None = None
        self._drops: int | None = None
        self._reporter = Reporter(self._emit)
        self._reporter.offset = options.origin
        self._sampler = Sampler(options.fps)
        self._arrivals = ArrivalFilter()
        self._sender = SenderClock()
        self._playout = Playout()
        self._backoff = Backoff(options.reconnect_first, options.reconnect_cap)
        self._decoded = 0
        self._connection = self._round = 0
        self._offset = options.origin  # media time of the stream minus that of the session
        self._last: tuple[float, float] | None = None  # newest picture: media time, clock time that belongs to it
        self._fresh: After | None = After.END  # the next picture is a session's first; what led to the session
        self._size: tuple[int, int] | None = None
        self._anchor: float | None = None  # clock time of media time 0 in paced playback

    # ---- the event loop's side

    @property
    def info(self) -> SourceInfo:
        """What is known of the source. Raises RuntimeError before it is open."""
        if self._info is None:
            raise RuntimeError("the source is not open")
        return self._info

    @property
    def drops(self) -> int:
        """Frames that were replaced by newer ones before anybody took them. Never any for a file that is not paced."""
        if self._drops is not None:
            return self._drops
        return self._channel.drops if self._channel else 0

    @property
    def decoded(self) -> int:
        """Pictures decoded so far, wanted or not."""
        return self._decoded

    @property
    def fps(self) -> float:
        """Most pictures a second that are handed over. May be set at any time."""
        return self._sampler.rate

    @fps.setter
    def fps(self, fps: float) -> None:
        self._sampler.rate = fps

    def newest(self, frame: Frame) -> Frame:
        """The newest frame that waits, in place of one that was taken and is not used; see ``Channel.newest``."""
        return frame if self._channel is None else self._channel.newest(frame)

    def hurry(self) -> None:
        """Try again at once where it was lost and waits to be tried again; else nothing. On the event loop's thread."""
        if self._away:
            self._hurried = True
            if self._resting is not None:
                self._resting.cancel()

    async def open(self) -> SourceInfo:
        """Connect and wait for the first picture.

        Raises:
            SourceError: nothing there, nothing readable, no video, or no answer in time (see errors.py).
            SourceClosed: another task closed it meanwhile, or before.
            RuntimeError: it was opened before.
        """
        if self._thread is not None:
            raise RuntimeError("a source is opened once")
        if self._stop.is_set():
            raise SourceClosed(f"{self.shown} was closed before it was opened")
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[SourceInfo] = self._loop.create_future()
        self._finished = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name=f"source-{self._options.stream}", daemon=True)
        self._thread.start()
        try:
            async with asyncio.timeout(self._options.open_timeout):
                return await self._opened
        except TimeoutError:
            await self.close()
            raise SourceTimeout(
                f"{self.shown} gave no picture within {self._options.open_timeout:g} s",
                hint=self._hint_silent(),
            ) from None
        except BaseException:  # also a cancellation: whoever could not open it cannot close it
            await self.close()
            raise

    async def frames(self) -> AsyncIterator[Frame]:
        """Frames in order of time until the source ends or is closed. For one reader; may be left at any point.

        Raises:
            SourceError: a source that does not come back by itself cannot be read on.
        """
        if self._channel is None:
            raise RuntimeError("the source is not open")
        async for frame in self._channel:
            yield frame
        await asyncio.sleep(0)  # notices that were sent before the end arrive before the end

    async def close(self) -> None:
        """Stop and join the decode thread. May be called again, and while another task reads frames.

        Cancelled, it leaves a thread that has been told to stop and does so by itself.
        """
        self._drops = self.drops
        self._stop.set()
        self._attached.set()
        with self._sleep_lock:
            if self._sleeping is not None:
                self._sleeping.cancel()
        if self._channel is not None:
            self._channel.discard()
        if self._thread is None:
            return
        bound = self._options.open_timeout + 2 * self._options.read_timeout + _JOIN_MARGIN
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(bound):
                await self._finished.wait()
        if not self._finished.is_set():
            logger.error("%s: the decode thread did not stop within %.0f s", self.shown, bound)
            return
        self._thread.join(1.0)  # only its last statement is left
        if self._opened.done() and not self._opened.cancelled():
            self._opened.exception()  # seen: it lost the race against the one that closes

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _attach(self, info: SourceInfo) -> None:
        if self._stop.is_set() or self._opened.done():  # nobody waits for it any more
            return
        self._info = info
        self._channel = Channel(1, "newest") if info.live else Channel(_BLOCK_CAPACITY, "block")
        self._attached.set()
        self._opened.set_result(info)

    def _on_finished(self, error: BaseException | None) -> None:
        if not self._opened.done():
            self._opened.set_exception(error or SourceClosed(f"{self.shown} was closed while it was opening"))
        self._finished.set()

    # ---- the decode thread's side

    @abstractmethod
    def _connect(self, *, first: bool) -> Session:
        """Open one connection; blocks. Called on the decode thread, again after each loss or loop.

        Raises:
            SourceError: it cannot be had.
        """

    def _hint_silent(self) -> str:
        """What to look at where no picture has come."""
        return "is the camera on, and the address right? A slow source needs a longer open timeout"

    def _guard(self) -> AbstractContextManager[None]:
        """Held by the decode thread as long as it lives."""
        return contextlib.nullcontext()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            with self._guard():
                self._work()
        except (_Stopped, ChannelClosed):
            logger.debug("%s: stopped", self.shown)
        except SourceError as exc:
            error = exc
        except Exception as exc:  # whatever it is must reach the reader: here it would die with the thread
            if not isinstance(exc, UsageError):
                logger.exception("%s: the decode thread failed", self.shown)
            error = exc
        if self._stop.is_set():
            error = None  # closing is what made it fail
        if self._channel is not None:
            self._channel.close(error)
        self._post(self._on_finished, error)

    def _work(self) -> None:
        session = self._connect(first=True)
        self._post(self._attach, session.info)
        self._attached.wait(self._options.open_timeout)
        while True:
            since = self._clock.monotonic()
            lost = self._drain(session)
            if lost is None:
                return
            self._fresh = session.after
            if self._clock.monotonic() - since >= _STABLE:
                self._backoff.reset()
            session = self._reconnect(lost) if session.after is After.RECONNECT else self._connect(first=False)

    def _drain(self, session: Session) -> str | None:
        """Take all pictures of a session and close it. Returns why another has to follow, None where it is over."""
        lost = f"{self.shown} ended the stream"
        with contextlib.closing(session), contextlib.closing(session.pictures()) as pictures:
            try:
                while (picture := self._next(pictures)) is not None:
                    if not self._take(picture, session):
                        return None
            except SourceError as exc:
                self._check_stop()
                if session.after is not After.RECONNECT:
                    raise
                lost = str(exc)
            finally:
                self._reporter.flush(self._last[0] - self._offset if self._last else 0.0)
        self._check_stop()
        self._reporter.offset = self._last[0] if self._last else self._offset
        return None if session.after is After.END else lost

    def _next(self, pictures: Iterator[Picture]) -> Picture | None:
        with self.stages("decode"):
            return next(pictures, None)

    def _reconnect(self, reason: str) -> Session:
        at = self._last[0] if self._last else 0.0
        logger.warning("%s; trying to come back", reason)
        self._emit(NoticeKind.LOST, at, reason)
        told, pause, since = reason, _STILL_AWAY, self._clock.monotonic()
        wait, self._away = self._backoff.wait(), True
        while True:
            self._sleep(wait)
            try:
                session = self._connect(first=False)
            except SourceError as exc:
                self._check_stop()
                logger.info("still away: %s", exc)
                now, refused = self._clock.monotonic(), isinstance(exc, LoginRefused)
                wait = self._backoff.refused() if refused else self._backoff.wait()
                why = f"{exc.in_full}; {REFUSED_PLAN}" if refused else exc.in_full
                if why != told and (refused or now - since >= pause):  # that somebody has to do something is told now
                    told, pause, since = why, 2 * pause, now
                    self._emit(NoticeKind.LOST, at, told)
            else:
                self._away = self._hurried = False
                return session

    def _take(self, picture: Picture, session: Session) -> bool:
        """Hand one picture over if it is wanted. False where nothing more is."""
        self._check_stop()
        time = self._place(picture, session)
        index = self._decoded
        self._decoded += 1
        due = None
        if session.bursts and picture.arrived is not None:
            due = self._playout.due(time, picture.arrived, picture.waited)
        since_first = time - self._options.origin
        if self._options.end is not None and since_first >= self._options.end:
            return False
        if picture.size != self._size:
            self._resized(picture.size, picture.time)
        if since_first < (self._options.start or 0.0) or not self._sampler.take(time):
            return True
        if due is not None and (early := due - self._clock.monotonic()) > 0:
            self._sleep(early)
        captured_at = self._captured_at(time, picture, session)
        try:
            with self.stages("convert"):
                image = picture.convert()
        except DamagedPicture:
            self._reporter.damage(picture.time, pictures=1)
            return True
        image.flags.writeable = False
        if self._channel is None:  # closed while it was opening
            raise _Stopped
        self._channel.put(Frame(self._options.stream, index, time, captured_at, image, self._connection, self._round))
        return True

    def _place(self, picture: Picture, session: Session) -> float:
        arrived = self._clock.monotonic() if picture.arrived is None else picture.arrived
        if self._fresh is not None:
            self._begin(self._fresh, picture.time, arrived, session)
            self._fresh = None
        time = picture.time + self._offset
        # Not the arrival itself: a demuxer hands the last picture over when it gives up waiting for more.
        moment = arrived if picture.arrived is None else self._arrivals.captured(time, arrived)
        self._last = (time, moment)
        return time

    def _begin(self, after: After, session_time: float, arrived: float, session: Session) -> None:
        """Lay a session's first picture on the stream's time: behind what was seen before."""
        self._sender = SenderClock(longest=session.longest_delay)
        if self._last is None:
            if session.after is After.RECONNECT:
                self._emit(NoticeKind.CONNECTED, session_time + self._offset, f"{self.shown} delivers pictures")
            return
        last, last_moment = self._last
        step = 1.0 / session.info.fps if session.info.fps else 0.04
        if after in (After.LOOP, After.NEXT):
            # The first pass has told everything there is to tell of a file.
            self._reporter.muted = self._reporter.muted or after is After.LOOP
            self._round += after is After.LOOP
            time = last + step
        else:
            time = last + max(step, arrived - last_moment)
            self._arrivals, self._playout = ArrivalFilter(), Playout()
        self._offset = self._reporter.offset = time - session_time
        if after is After.RECONNECT:
            self._connection += 1
            self._emit(NoticeKind.GAP, time, f"{time - last:.1f} s were not seen", start=last, end=time)
            self._emit(NoticeKind.CONNECTED, time, f"{self.shown} delivers pictures again")

    def _resized(self, size: tuple[int, int], at: float) -> None:
        if self._size is not None:
            detail = f"the picture is {size[0]}×{size[1]} now, and was {self._size[0]}×{self._size[1]}"
            self._reporter.say(NoticeKind.RESOLUTION, at, detail)
        self._size = size

    def _captured_at(self, time: float, picture: Picture, session: Session) -> float:
        """Wall time of capture; waits for it where playback is paced."""
        now = self._clock.monotonic()
        if session.paced:
            if self._anchor is None or now - time - self._anchor > _MOST_LAG:
                self._anchor = now - time
            moment = self._anchor + time
            if moment > now:
                self._sleep(moment - now)
        elif picture.arrived is not None:
            assert self._last is not None
            moment = self._last[1] - session.delay
            if picture.sent is not None:
                arrived = self._clock.wall() - (self._clock.monotonic() - picture.arrived)
                told = self._sender.captured(picture.sent, arrived)
                if told is not None:
                    return told
        else:
            moment = now
        return self._clock.wall() - (self._clock.monotonic() - moment)

    def _sleep(self, seconds: float) -> None:
        """Wait on the source's clock. Raises _Stopped as soon as the source is closed."""
        with self._sleep_lock:
            self._check_stop()
            rest = self._rest(seconds)
            try:
                self._sleeping = asyncio.run_coroutine_threadsafe(rest, self._loop)
            except RuntimeError:  # the loop is gone, and the reader with it
                rest.close()
                raise _Stopped from None
        try:
            while not concurrent.futures.wait([self._sleeping], LOOP_CHECK_S).done:
                if self._loop.is_closed():  # it took the call, and was gone before its turn: nobody will ever answer
                    rest.close()
                    raise _Stopped
            self._sleeping.result()
        except concurrent.futures.CancelledError:
            raise _Stopped from None
        self._check_stop()

    async def _rest(self, seconds: float) -> None:
        self._resting = asyncio.current_task()
        try:
            if not self._hurried:
                await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            if not self._hurried:
                raise
        finally:
            self._resting, self._hurried = None, False

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stopped

    def _emit(
        self, kind: NoticeKind, at: float, detail: str, *, start: float | None = None, end: float | None = None
    ) -> None:
        self._post(self._options.on_notice, Notice(kind, at, detail, start, end))

    def _post(self, call: Callable[[T], None], value: T) -> None:
        try:
            self._loop.call_soon_threadsafe(call, value)
        except RuntimeError:  # the loop is gone, and the reader with it
            self._stop.set()
