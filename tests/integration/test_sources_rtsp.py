"""RTSP against a real server: it is watched, killed, restarted, stalled and asked for passwords."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Iterator

import pytest

from benchmarks.process import memory_mb
from streamcap.errors import LoginRefused, SourceNotFound, SourceTimeout, SourceUnreadable
from streamcap.heap import give_back
from streamcap.sources import SourceOptions, open_source
from streamcap.types import NoticeKind
from tests.cameras import Camera, Watch
from tests.patience import LONG_S, SOON_S

pytestmark = pytest.mark.rtsp

# How much later than it was taken a picture may be here, where the machine stands still for a moment.
LATE_S = 10.0


@pytest.fixture
def camera(rtsp_python: str) -> Iterator[Camera]:
    camera = Camera(rtsp_python)
    camera.on()
    yield camera
    camera.off()


async def test_frames_arrive_in_real_time(camera: Camera) -> None:
    watch = Watch(camera.url)
    async with watch.source as source:
        assert (source.info.live, source.info.width, source.info.height, source.info.fps) == (True, 160, 120, 15.0)
        assert source.info.duration is None
        await watch.pictures(30)
    times = [f.pts for f in watch.frames]
    assert all(a < b for a, b in itertools.pairwise(times))
    newest = watch.frames[-1]
    assert 0 <= time.time() - newest.captured_at < LATE_S
    steady = watch.frames[-10:]
    assert steady[-1].captured_at - steady[0].captured_at == pytest.approx(steady[-1].pts - steady[0].pts, abs=3)
    assert watch.kinds == [NoticeKind.CONNECTED]


async def test_a_camera_that_dies_is_missed_and_welcomed_back(camera: Camera) -> None:
    watch = Watch(camera.url, read_timeout=LONG_S)
    async with watch.source:
        await watch.pictures(10)
        died = time.monotonic()
        camera.off()
        lost = await watch.told(NoticeKind.LOST)
        await asyncio.sleep(0.8)  # some attempts fail
        camera.on()
        await watch.told(NoticeKind.CONNECTED)
        away = time.monotonic() - died
        await watch.pictures(10)
    told = [n for n in watch.notices if n.kind is not NoticeKind.DAMAGE]  # it may have died in the middle of a picture
    assert [n.kind for n in told] == [NoticeKind.CONNECTED, NoticeKind.LOST, NoticeKind.GAP, NoticeKind.CONNECTED]
    gap = told[2]
    assert gap.start is not None
    assert gap.end is not None
    assert gap.start == lost.at
    assert gap.end - gap.start == pytest.approx(away, rel=0.5, abs=0.7)
    times = [f.pts for f in watch.frames]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert all(a.index < b.index for a, b in itertools.pairwise(watch.frames))
    assert [t for t in times if gap.start < t < gap.end] == []
    assert times[-1] > gap.end


async def test_a_camera_that_freezes_is_lost_within_bounds_and_closed_at_once(camera: Camera) -> None:
    watch = Watch(camera.url, read_timeout=4.0)
    async with watch.source as source:
        await watch.pictures(5)
        camera.freeze()
        froze = time.monotonic()
        lost = await watch.told(NoticeKind.LOST)
        assert 3.0 < time.monotonic() - froze < 7.5  # not twice as long: that libav waited once is enough
        assert "did not answer for 4 s" in lost.detail
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        await source.close()
        assert time.monotonic() - begun < SOON_S


async def test_closing_does_not_wait_for_a_frozen_camera(camera: Camera) -> None:
    watch = Watch(camera.url, read_timeout=LONG_S)
    async with watch.source as source:
        await watch.pictures(5)
        camera.freeze()
        await asyncio.sleep(0.3)
        begun = time.monotonic()
        await source.close()
        assert time.monotonic() - begun < SOON_S


async def test_opening_a_frozen_camera_ends_in_time_or_when_it_is_cancelled(camera: Camera) -> None:
    camera.freeze()
    begun = time.monotonic()
    with pytest.raises(SourceTimeout):
        await Watch(camera.url, open_timeout=0.7, read_timeout=LONG_S).source.open()
    assert time.monotonic() - begun < SOON_S
    opening = asyncio.create_task(Watch(camera.url, open_timeout=LONG_S, read_timeout=LONG_S).source.open())
    await asyncio.sleep(0.2)
    begun = time.monotonic()
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    assert time.monotonic() - begun < SOON_S


@pytest.mark.parametrize("delay", [0.05, 0.4, 0.9])
async def test_cancelled_anywhere_it_leaves_nothing(camera: Camera, delay: float) -> None:
    async def watch() -> None:
        async with open_source(camera.url, SourceOptions(stream="s")) as source:
            async for _ in source.frames():
                pass

    watching = asyncio.create_task(watch())
    await asyncio.sleep(delay)
    begun = time.monotonic()
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching
    assert time.monotonic() - begun < SOON_S


async def test_an_unknown_path(camera: Camera) -> None:
    with pytest.raises(SourceNotFound, match="knows no such stream"):
        await Watch(camera.url + "2").source.open()


@pytest.mark.parametrize("login", ["basic", "digest"])
async def test_passwords(rtsp_python: str, login: str) -> None:
    camera = Camera(rtsp_python, "--user", "me", "--password", "h@sh/1", "--login", login)
    camera.on()
    try:
        with pytest.raises(SourceUnreadable, match="wants a user name and a password") as unasked:
            await Watch(camera.url).source.open()
        assert not isinstance(unasked.value, LoginRefused), "no login was given that could be locked"
        assert "rtsp://USER:PASSWORD@HOST" in unasked.value.hint
        with pytest.raises(LoginRefused, match="refuses the user name or password") as refused:
            await Watch(camera.url.replace("//", "//me:wrong@")).source.open()
        assert "wrong" not in refused.value.in_full
        for transport in ("tcp", "udp"):
            watch = Watch(camera.url.replace("//", "//me:h%40sh%2F1@") + f"?transport={transport}")
            async with watch.source as source:
                assert source.info.uri == f"{camera.url}?transport={transport}"
                await watch.pictures(2)
            assert not any(secret in watch.notices[0].detail for secret in ("h@sh", "h%40sh"))
    finally:
        camera.off()


async def test_a_camera_whose_password_is_changed_is_tried_on(rtsp_python: str) -> None:
    camera = Camera(rtsp_python, "--user", "me", "--login", "digest")
    camera.on("--password", "s3same")
    watch = Watch(camera.url.replace("//", "//me:s3same@"))
    try:
        async with watch.source:
            await watch.pictures(3)
            camera.off()
            camera.on("--password", "another")
            await watch.told_that("refuses the user name or password")
            camera.off()
            camera.on("--password", "s3same")
            watch.source.hurry()
            await watch.told(NoticeKind.CONNECTED)
            await watch.pictures(3)
        assert not any("s3same" in notice.detail for notice in watch.notices)
        assert watch.kinds[-2:] == [NoticeKind.GAP, NoticeKind.CONNECTED]
        watch.assert_sound()
    finally:
        camera.off()


async def test_a_connection_leaves_no_memory_behind(camera: Camera) -> None:
    async def connect(times: int) -> float:
        for _ in range(times):
            watch = Watch(camera.url)
            async with watch.source:
                await watch.pictures(1)
        await asyncio.to_thread(give_back)
        return memory_mb(os.getpid())

    before = await connect(6)
    assert await connect(14) - before < 5.0, "a demuxer and a decoder with its pictures are more than a megabyte each"
