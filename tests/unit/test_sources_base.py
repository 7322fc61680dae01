"""The life of a source: open, frames, faults, close, and nothing left behind at any point."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamcap.errors import (
    LoginRefused,
    SourceClosed,
    SourceError,
    SourceNotFound,
    SourceTimeout,
    SourceUnreadable,
    UsageError,
)
from streamcap.sources import Source, SourceOptions, open_source
from streamcap.sources.backoff import GROWTH, REFUSED_PLAN
from streamcap.sources.session import After, DamagedPicture, Picture, Session, fit
from streamcap.types import Frame, Notice, NoticeKind, SourceInfo
from tests.patience import LONG_S, PATIENCE_S, SOON_S


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    left = [thread for thread in threading.enumerate() if thread not in before]
    for thread in left:
        thread.join(PATIENCE_S)
    assert [thread.name for thread in left if thread.is_alive()] == []


class JumpingClock:
    """Time that moves only when somebody sleeps or says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return self.now + 1e9

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)


Step = float | tuple[float, float] | Exception | Callable[[], None]


class Script(Session):
    """Plays steps: a time (file), a time and its arrival (live), an error to raise, or something to do."""

    def __init__(self, steps: Sequence[Step], *, live: bool, after: After, source: ScriptedSource) -> None:
        self.info = SourceInfo("script", live, 8, 6, 10.0, None)
        self.after = after
        self._steps = steps
        self._source = source

    def pictures(self) -> Generator[Picture, None, None]:
        for step in self._steps:
            if isinstance(step, Exception):
                raise step
            if callable(step):
                step()
                continue
            moment, arrived = step if isinstance(step, tuple) else (step, None)
            yield Picture(moment, (8, 6), partial(self._convert, moment), arrived)

    def _convert(self, moment: float) -> NDArray[np.uint8]:
        if self.info.live:
            assert self._source.taken.acquire(timeout=PATIENCE_S)
        if moment == 0.666:
            raise DamagedPicture
        return np.full((6, 8, 3), int(moment * 10) % 256, dtype=np.uint8)

    def close(self) -> None:
        self._source.closed += 1


class ScriptedSource(Source):
    """A source whose connections are given."""

    def __init__(
        self, *sessions: Sequence[Step] | Exception, live: bool = False, after: After = After.END, **options: Any
    ) -> None:
        self.notices: list[Notice] = []
        self.told_on: set[int] = set()
        self.lost = asyncio.Event()
        super().__init__("script", SourceOptions(stream="s", fps=1000, on_notice=self._note, **options))
        self.taken = threading.Semaphore(1)  # a live script goes on once the frame before was taken
        self.closed = 0
        self._sessions = list(sessions)
        self._live = live
        self._after = after

    def _note(self, notice: Notice) -> None:
        self.notices.append(notice)
        if notice.kind is NoticeKind.LOST:
            self.lost.set()
        self.told_on.add(threading.get_ident())

    def _connect(self, *, first: bool) -> Session:
        if not self._sessions:
            self._stop.wait(LONG_S)
            raise SourceNotFound("the script is over")
        steps = self._sessions.pop(0)
        if isinstance(steps, Exception):
            raise steps
        return Script(steps, live=self._live, after=self._after, source=self)


async def take(source: ScriptedSource, count: int) -> list[Frame]:
    frames = []
    async for frame in source.frames():
        frames.append(frame)
        source.taken.release()
        if len(frames) == count:
            break
    return frames


async def test_a_file_is_read_to_its_end_and_nothing_is_dropped() -> None:
    source = ScriptedSource([n / 10 for n in range(50)])
    async with source:
        frames = []
        async for frame in source.frames():
            await asyncio.sleep(0.001)
            frames.append(frame)
    assert [f.index for f in frames] == list(range(50))
    assert [f.pts for f in frames] == [n / 10 for n in range(50)]
    assert (source.drops, source.decoded, source.closed) == (0, 50, 1)
    assert source.notices == []


async def test_a_fault_of_a_file_reaches_the_reader_after_what_could_be_read() -> None:
    source = ScriptedSource([0.0, 0.1, SourceUnreadable("the disk is gone")])
    seen = []
    async with source:
        with pytest.raises(SourceUnreadable, match="the disk is gone"):
            async for frame in source.frames():
                seen.append(frame.pts)
    assert seen == [0.0, 0.1]


async def test_a_bug_in_the_decode_thread_is_not_lost_with_it(caplog: pytest.LogCaptureFixture) -> None:
    source = ScriptedSource([0.0, ZeroDivisionError("bug")])
    async with source:
        with pytest.raises(ZeroDivisionError):
            async for _ in source.frames():
                pass
    assert "the decode thread failed" in caplog.text


async def test_a_live_source_comes_back_and_its_time_goes_on() -> None:
    clock = JumpingClock()

    def pass_time(seconds: float) -> Callable[[], None]:
        def step() -> None:
            clock.now += seconds

        return step

    source = ScriptedSource(
        [(0.0, 1000.0), (0.1, 1000.1), pass_time(20.1), SourceTimeout("script did not answer")],
        SourceNotFound("still off"),
        SourceNotFound("still off"),
        [(0.0, 1030.0), (0.1, 1030.1)],  # then it ends the stream
        [(0.0, 1040.0)],
        live=True,
        after=After.RECONNECT,
        clock=clock,
    )
    async with source:
        frames = await take(source, 5)
    assert [f.pts for f in frames] == pytest.approx([0.0, 0.1, 30.0, 30.1, 40.0])
    assert [f.index for f in frames] == [0, 1, 2, 3, 4]
    assert [f.captured_at for f in frames] == pytest.approx([1e9 + 1000 + f.pts for f in frames])
    told = [(n.kind, round(n.at, 3)) for n in source.notices]
    assert told[:7] == [
        (NoticeKind.CONNECTED, 0.0),
        (NoticeKind.LOST, 0.1),
        (NoticeKind.GAP, 30.0),
        (NoticeKind.CONNECTED, 30.0),
        (NoticeKind.LOST, 30.1),
        (NoticeKind.GAP, 40.0),
        (NoticeKind.CONNECTED, 40.0),
    ]
    assert source.notices[1].detail == "script did not answer"
    assert source.notices[4].detail == "script ended the stream"
    gap = source.notices[2]
    assert (gap.start, gap.end) == pytest.approx((0.1, 30.0))
    assert source.closed == 3
    assert source.told_on == {threading.get_ident()}


async def test_a_stream_that_was_watched_before_goes_on_from_there() -> None:
    clock = JumpingClock()
    source = ScriptedSource(
        [(0.0, 1000.0), (0.1, 1000.1), (0.2, 1000.2)],
        [(0.0, 1010.0)],
        live=True,
        after=After.RECONNECT,
        clock=clock,
        origin=500.0,
        start=0.1,
    )
    async with source:
        frames = await take(source, 3)
    assert [f.pts for f in frames] == pytest.approx([500.1, 500.2, 510.0])
    assert [f.captured_at for f in frames] == pytest.approx([1e9 + 1000.1, 1e9 + 1000.2, 1e9 + 1010.0])
    told = [(n.kind, round(n.at, 3)) for n in source.notices if n.kind is not NoticeKind.LOST]
    assert told[:2] == [(NoticeKind.CONNECTED, 500.0), (NoticeKind.GAP, 510.0)]
    with pytest.raises(UsageError, match="cannot begin"):
        SourceOptions(stream="s", origin=-1.0)


async def away(*faults: SourceError, cap: float) -> tuple[float, ScriptedSource]:
    """Seconds that a source was away which failed so each time that it was tried; its first wait is a second."""
    clock, back = JumpingClock(), []
    source = ScriptedSource(
        [(0.0, 1000.0)],
        *faults,
        [lambda: back.append(clock.now), (0.0, 9000.0)],
        live=True,
        after=After.RECONNECT,
        clock=clock,
        reconnect_first=1.0,
        reconnect_cap=cap,
    )
    async with source:
        await take(source, 2)
    return back[0] - 1000.0, source


async def test_waits_between_attempts_grow_and_have_chance_in_them() -> None:
    seconds, _ = await away(*[SourceNotFound("off")] * 9, cap=30.0)
    full = sum(min(30.0, GROWTH**n) for n in range(10))
    assert full / 2 <= seconds <= full


async def test_after_a_refused_login_it_is_tried_rarely_and_says_so_at_once() -> None:
    seconds, source = await away(*[LoginRefused("script refuses it", hint="check both")] * 4, cap=1.0)
    rest = 60.0 + 3 * 600.0
    assert rest <= seconds <= 1.0 + rest * 1.1
    lost = [n.detail for n in source.notices if n.kind is NoticeKind.LOST]
    assert lost[:2] == ["script ended the stream", f"script refuses it; check both; {REFUSED_PLAN}"]
    assert sum(REFUSED_PLAN in detail for detail in lost) == 1, "told once"


async def test_one_that_is_away_can_be_tried_at_once() -> None:
    """Nothing else ends the waits: they are longer than any test."""
    source = ScriptedSource(
        [(0.0, 1000.0)],
        [(0.0, 1001.0)],
        SourceNotFound("off"),
        [(0.0, 1002.0)],
        live=True,
        after=After.RECONNECT,
        reconnect_first=LONG_S,
        reconnect_cap=LONG_S,
    )
    source.hurry()  # not open

    async def hurry() -> None:
        await source.lost.wait()
        while True:  # in the middle of a wait, before it, and while it is tried
            source.hurry()
            await asyncio.sleep(0.01)

    async with source, asyncio.timeout(PATIENCE_S):
        source.hurry()  # not away
        hurrying = asyncio.create_task(hurry())
        assert len(await take(source, 3)) == 3
        hurrying.cancel()
        await asyncio.wait({hurrying})


async def test_a_loop_has_no_seam() -> None:
    source = ScriptedSource([0.0, 0.1, 0.2], [0.0, 0.1, 0.2], [0.0], after=After.LOOP)
    async with source:
        frames = await take(source, 7)
    assert [f.pts for f in frames] == pytest.approx([n / 10 for n in range(7)])
    assert [f.index for f in frames] == list(range(7))
    assert [f.round for f in frames] == [0, 0, 0, 1, 1, 1, 2]
    assert source.notices == []


async def test_a_picture_that_cannot_be_shown_is_left_out_and_told() -> None:
    source = ScriptedSource([0.0, 0.666, 0.7])
    async with source:
        assert [f.pts for f in await take(source, 9)] == [0.0, 0.7]
    assert [n.kind for n in source.notices] == [NoticeKind.DAMAGE]


async def test_only_what_was_asked_for_is_handed_over() -> None:
    source = ScriptedSource([n / 10 for n in range(100)], start=2.0, end=2.5)
    async with source:
        frames = await take(source, 99)
    assert [f.pts for f in frames] == [2.0, 2.1, 2.2, 2.3, 2.4]
    assert source.decoded == 26


async def test_a_live_reader_that_is_slow_gets_the_newest() -> None:
    async with open_source("test:?realtime=1&fps=100&width=64&height=64", SourceOptions(stream="s", fps=100)) as source:
        frames = []
        async for frame in source.frames():
            frames.append(frame)
            if len(frames) == 5:
                break
            seen = source.decoded
            async with asyncio.timeout(PATIENCE_S):
                # The last of them may still be on its way.
                while source.decoded < seen + 4:  # noqa: ASYNC110 - a thread sets no event of this loop
                    await asyncio.sleep(0.001)
        assert source.drops >= 8
        holes = frames[-1].index - frames[0].index - 4
        assert holes <= source.drops <= source.decoded - len(frames)
    kept = source.drops
    await source.close()
    assert source.drops == kept


async def test_live_pictures_come_when_their_time_has_come() -> None:
    clock = JumpingClock()
    options = SourceOptions(stream="s", fps=5, clock=clock)
    async with open_source("test:?realtime=1&seconds=20&width=64&height=64", options) as source:
        assert source.info.live
        frames = [frame async for frame in source.frames()]
    assert clock.now == pytest.approx(1000.0 + 19.8)
    for frame in frames:
        assert frame.captured_at == pytest.approx(1e9 + 1000.0 + frame.pts)


async def test_without_realtime_nothing_waits() -> None:
    clock = JumpingClock()
    options = SourceOptions(stream="s", clock=clock)
    async with open_source("test:?seconds=20&width=64&height=64", options) as source:
        assert len([frame async for frame in source.frames()]) == 100
    assert clock.now == 1000.0


async def test_opening_that_takes_too_long_is_a_timeout() -> None:
    source = ScriptedSource(open_timeout=0.1)
    begun = time.monotonic()
    with pytest.raises(SourceTimeout, match=r"no picture within 0\.1 s"):
        await source.open()
    assert time.monotonic() - begun < SOON_S
    with pytest.raises(RuntimeError):
        await source.open()


async def test_an_error_in_opening_is_raised_by_open() -> None:
    with pytest.raises(SourceNotFound, match="nobody there"):
        await ScriptedSource(SourceNotFound("nobody there")).open()


@pytest.mark.parametrize("delay", [0.0, 0.001, 0.01, 0.1])
async def test_opening_can_be_cancelled_at_any_moment(delay: float) -> None:
    opening = asyncio.create_task(ScriptedSource(open_timeout=LONG_S).open())
    await asyncio.sleep(delay)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening


@pytest.mark.parametrize("uri", ["test:?width=64&height=64&seconds=1000", "test:?realtime=1&fps=2&width=64&height=64"])
@pytest.mark.parametrize("delay", [0.0, 0.003, 0.02, 0.1])
async def test_reading_can_be_cancelled_at_any_moment(uri: str, delay: float) -> None:
    async def watch() -> None:
        async with open_source(uri, SourceOptions(stream="s")) as source:
            async for _ in source.frames():
                await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    await asyncio.sleep(delay)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


async def test_closing_while_it_waits_to_come_back() -> None:
    source = ScriptedSource(
        [(0.0, 0.0)], [(0.0, 0.0)], live=True, after=After.RECONNECT, reconnect_first=LONG_S, reconnect_cap=LONG_S
    )
    async with source:
        await take(source, 1)
        await asyncio.wait_for(source.lost.wait(), PATIENCE_S)
        begun = time.monotonic()
    assert time.monotonic() - begun < SOON_S


async def test_closing_ends_the_frames_of_another_task() -> None:
    source = open_source("test:?realtime=1&fps=1&width=64&height=64", SourceOptions(stream="s"))
    await source.open()
    reading = asyncio.create_task(take_all(source))
    await asyncio.sleep(0.05)
    await source.close()
    await source.close()
    assert len(await asyncio.wait_for(reading, PATIENCE_S)) <= source.decoded


async def take_all(source: Source) -> list[Frame]:
    return [frame async for frame in source.frames()]


async def test_use_out_of_order_is_told() -> None:
    source = open_source("test:", SourceOptions(stream="s"))
    with pytest.raises(RuntimeError):
        _ = source.info
    with pytest.raises(RuntimeError):
        await anext(source.frames())
    assert (source.drops, source.decoded) == (0, 0)
    await source.close()
    with pytest.raises(SourceClosed):
        await source.open()


def test_a_loop_that_goes_away_takes_the_thread_with_it() -> None:
    async def forget() -> None:
        source = open_source("test:?realtime=1&width=64&height=64", SourceOptions(stream="forgotten", fps=100))
        await source.open()

    asyncio.run(forget())
    for thread in threading.enumerate():
        if thread.name == "source-forgotten":
            thread.join(PATIENCE_S)


def test_a_loop_that_goes_away_with_a_call_in_its_hands_takes_the_thread_with_it() -> None:
    """It accepts the thread's wait, and is closed before that had a turn."""
    loop = asyncio.new_event_loop()
    source = open_source("test:?realtime=1&width=64&height=64", SourceOptions(stream="left", fps=100))
    loop.run_until_complete(source.open())
    while source._sleeping is None or source._sleeping.running() or source._sleeping.done():
        loop.run_until_complete(asyncio.sleep(0))  # between these calls the loop stands, and takes calls still
        time.sleep(0.001)
    loop.close()
    for thread in threading.enumerate():
        if thread.name == "source-left":
            thread.join(PATIENCE_S)


@pytest.mark.parametrize(
    ("size", "most", "expected"),
    [
        ((1920, 1080), 1280, (1280, 720)),
        ((640, 480), 1280, (640, 480)),
        ((1080, 1920), 1280, (720, 1280)),
        ((4000, 2), 100, (100, 1)),
    ],
)
def test_fit(size: tuple[int, int], most: int, expected: tuple[int, int]) -> None:
    assert fit(*size, most) == expected
