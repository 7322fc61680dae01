"""Pictures of a stream: the newest for any number of viewers, and those that captions point at."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamcap.errors import FeedError
from streamcap.frames import FrameKeeper, FrameStore, MemoryFrames, StoredFrame, View
from streamcap.frames.jpeg import narrowed
from streamcap.frames.sqlite import FILE_NAME, SqliteFrames
from streamcap.frames.store import nearest_of
from streamcap.types import Frame
from tests.patience import PATIENCE_S


def frame(t: float, grey: int = 100, width: int = 640) -> Frame:
    image = np.full((width * 9 // 16, width, 3), grey, np.uint8)
    return Frame("cam", round(t * 10), t, 1000.0 + t, image)


def size_of(jpeg: bytes) -> tuple[int, int]:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return image.shape[1], image.shape[0]


async def test_all_viewers_of_a_width_share_one_encoding() -> None:
    view = View()
    assert await view.picture(640) is None
    view.show(frame(1.0))
    first, second, small = await asyncio.gather(view.picture(600), view.picture(640), view.picture(100))
    assert first is second, "encoded once"
    assert first is not None and small is not None
    assert (size_of(first.jpeg), first.t, first.captured_at) == ((640, 360), 1.0, 1001.0)
    assert size_of(small.jpeg) == (160, 90)
    wide = await view.picture(1280)
    assert wide is not None and size_of(wide.jpeg) == (640, 360), "no larger than it was analysed"
    view.show(frame(2.0))
    later = await view.picture(640)
    assert later is not None and later.number == first.number + 1


async def test_who_waits_for_a_frame_is_woken_by_it_and_by_the_end() -> None:
    view = View()
    waiting = [asyncio.create_task(view.fresh(0)) for _ in range(3)]
    await asyncio.sleep(0)
    view.show(frame(1.0))
    await asyncio.wait_for(asyncio.gather(*waiting), PATIENCE_S)
    last = asyncio.create_task(view.fresh(1))
    await asyncio.sleep(0)
    assert not last.done()
    view.close()
    await asyncio.wait_for(last, PATIENCE_S)
    assert view.closed


async def test_frames_are_kept_where_something_points_at_them() -> None:
    store = MemoryFrames()
    keeper = FrameKeeper("cam", store)
    for n in range(20):
        t = n * 0.2
        keeper.take(frame(t, grey=10 * n), [t - 1.0] if n == 12 else [])
    keeper.want([3.0])
    keeper.flush()
    for asked, kept in ((1.4, 1.4), (3.0, 3.0), (9.0, 3.0), (0.0, 1.4)):
        found = await store.nearest("cam", asked)
        assert found is not None and found.t == pytest.approx(kept)
    found = await store.nearest("cam", 1.4)
    assert found is not None and size_of(found.jpeg) == (480, 270)
    shade = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shade is not None and abs(float(shade.mean()) - 70) < 3, "the picture of that moment, not of the present"


async def test_who_has_gone_is_shown_as_last_seen_though_that_was_seconds_ago() -> None:
    store = MemoryFrames()
    keeper = FrameKeeper("cam", store)
    for n in range(50):
        t = n * 0.2
        keeper.take(frame(t, grey=5 * n), [t - 4.2] if n == 40 else [])
    found = await store.nearest("cam", 3.8)
    assert found is not None and found.t == pytest.approx(3.8, abs=0.31)
    shade = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shade is not None and abs(float(shade.mean()) - 25 * found.t) < 3


async def test_a_picture_in_which_nothing_changes_stands_for_each_moment_until_it_does() -> None:
    store = MemoryFrames()
    keeper = FrameKeeper("cam", store)
    keeper.take(frame(0.0), [0.0])
    for n in range(1, 50):
        keeper.unchanged(frame(n * 0.2))
    keeper.want([5.0])
    keeper.take(frame(10.0, grey=200), [])
    found = await store.nearest("cam", 5.0)
    assert found is not None and (found.t, found.captured_at) == (5.0, 1005.0)
    shade = cv2.imdecode(np.frombuffer(found.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert shade is not None and abs(float(shade.mean()) - 100) < 3


async def test_a_busy_scene_keeps_some_two_frames_a_second() -> None:
    store = MemoryFrames()
    keeper = FrameKeeper("cam", store)
    for n in range(100):
        keeper.take(frame(n * 0.1), [n * 0.1])
    kept = {found.t for n in range(100) if (found := await store.nearest("cam", n * 0.1)) is not None}
    assert 15 <= len(kept) <= 25


@pytest.mark.parametrize("kind", ["memory", "disk"])
async def test_the_oldest_frames_go_first(kind: str, tmp_path: Path) -> None:
    store: FrameStore = MemoryFrames(10_000) if kind == "memory" else SqliteFrames(tmp_path, size=10_000, age_s=1e10)
    try:
        assert await store.nearest("cam", 0.0) is None
        for n in range(193):  # the disk looks at every 64th
            store.put("cam", StoredFrame(float(n), 1.0, b"x" * 1000))
        store.put("other", StoredFrame(0.0, 1.0, b"y"))
        store.put("cam", StoredFrame(192.0, 2.0, b"z" * 1000))
        oldest, newest, other = [await store.nearest(*asked) for asked in (("cam", 0.0), ("cam", 1e6), ("other", 50.0))]
        assert oldest is not None and newest is not None and other is not None
        assert 180 <= oldest.t <= 184 and (newest.t, newest.jpeg[:1]) == (192.0, b"z") and other.jpeg == b"y"
    finally:
        await store.close()
        await store.close()


async def test_frames_on_disk_outlive_a_restart_but_not_their_age(tmp_path: Path) -> None:
    store = SqliteFrames(tmp_path, size=10_000, age_s=3600)
    store.put("cam", StoredFrame(1.0, time.time() - 7200, b"old"))
    store.put("cam", StoredFrame(2.0, time.time(), b"new"))
    await store.close()
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    with pytest.raises(FeedError):
        await store.nearest("cam", 1.0)
    again = SqliteFrames(tmp_path, size=10_000, age_s=3600)
    again.put("cam", StoredFrame(3.0, time.time(), b"newest"))
    found = await again.nearest("cam", 0.0)
    await again.close()
    assert found is not None and found.jpeg == b"new", "the old one went when the first new one came"


async def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database, but long enough to be looked at" * 50)
    with pytest.raises(FeedError, match="cannot be used"):
        SqliteFrames(tmp_path, size=1, age_s=1)


def test_the_nearest_of_none_is_none() -> None:
    assert nearest_of([], 1.0) is None
    assert [nearest_of([1.0, 2.0, 4.0], t) for t in (0.0, 1.4, 2.9, 3.1, 9.0)] == [1.0, 1.0, 2.0, 4.0, 4.0]


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (960, 540), (1281, 721), (641, 480), (2560, 1441)])
def test_a_narrowed_picture_is_the_picture(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.integers(0, 255, (12, 20, 3), dtype=np.uint8)
    image = np.asarray(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), np.uint8)
    small = narrowed(image, 480)
    assert small.shape == (round(480 * size[1] / size[0]), 480, 3)
    means = cv2.resize(image, (480, small.shape[0]), interpolation=cv2.INTER_AREA).astype(np.float32)
    assert float(np.abs(small - means).mean()) < 1.0
    assert narrowed(small, 480) is small
