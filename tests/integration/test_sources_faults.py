"""RTSP cameras over bad networks: they come back as another camera, freeze and thaw, lose packets, want TLS."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from streamcap.errors import SourceError, SourceUnreadable
from streamcap.types import Frame, NoticeKind
from tests.cameras import Camera, Watch
from tests.integration.test_server_tls import certificate
from tests.lossy import lossy_rtsp

pytestmark = pytest.mark.rtsp


@contextmanager
def switched_on(camera: Camera) -> Iterator[Camera]:
    camera.on()
    try:
        yield camera
    finally:
        camera.off()


@asynccontextmanager
async def watching(url: str, **values: float) -> AsyncIterator[Watch]:
    watch = Watch(url, **values)
    async with watch.source:
        yield watch
    watch.assert_sound()


async def test_it_comes_back_with_another_codec_and_size(rtsp_python: str) -> None:
    async def one(before: str, after: str) -> None:
        with switched_on(Camera(rtsp_python, "--codec", before)) as camera:
            async with watching(camera.url) as watch:
                await watch.pictures(5)
                died = time.monotonic()
                camera.off()
                await watch.told(NoticeKind.LOST)
                camera.on("--codec", after, "--width", "320", "--height", "240")
                await watch.until(NoticeKind.CONNECTED, 2)
                away = time.monotonic() - died
                await watch.pictures(5)
        assert [f.image.shape[:2] for f in (watch.frames[0], watch.frames[-1])] == [(120, 160), (240, 320)]
        (gap,) = watch.of(NoticeKind.GAP)
        assert gap.end is not None and gap.start is not None
        assert gap.end - gap.start == pytest.approx(away, rel=0.5, abs=1.0)
        assert "320×240 now, and was 160×120" in watch.of(NoticeKind.RESOLUTION)[0].detail
        assert [watch.frames[0].connection, watch.frames[-1].connection] == [0, 1]

    await asyncio.gather(one("h264", "h265"), one("h265", "mjpeg"), one("mjpeg", "h264"))


async def test_it_freezes_and_thaws(rtsp_python: str) -> None:
    with switched_on(Camera(rtsp_python)) as camera:
        async with watching(camera.url, read_timeout=3) as watch:
            await watch.pictures(5)
            froze = time.monotonic()
            camera.freeze()
            await watch.told(NoticeKind.LOST)
            await asyncio.sleep(1.0)  # attempts to come back meet silence
            camera.thaw()
            await watch.until(NoticeKind.CONNECTED, 2)
            away = time.monotonic() - froze
            await watch.pictures(5)
    (gap,) = watch.of(NoticeKind.GAP)
    assert gap.end is not None and gap.start is not None
    assert gap.end - gap.start == pytest.approx(away, rel=0.5, abs=1.0)


async def test_each_transport(rtsp_python: str) -> None:
    async def one(only: str, wanted: str) -> None:
        with switched_on(Camera(rtsp_python, "--only", only)) as camera:
            url = camera.url + (f"?transport={wanted}" if wanted else "")
            async with watching(url) as watch:
                await watch.pictures(10)
                assert watch.frames[-1].captured_at == pytest.approx(time.time(), abs=10)

    async def refused(only: str, wanted: str) -> None:
        with switched_on(Camera(rtsp_python, "--only", only)) as camera:
            with pytest.raises(SourceUnreadable, match=f"does not send by {wanted}") as caught:
                await Watch(f"{camera.url}?transport={wanted}").source.open()
            assert "transport" in caught.value.hint

    await asyncio.gather(one("tcp", ""), one("udp", ""), one("udp", "udp"), refused("udp", "tcp"))


def spread(frames: list[Frame]) -> float:
    """How far apart the beginnings of the stream lie that pictures tell of, seconds."""
    offsets = [frame.captured_at - frame.pts for frame in frames]
    return max(offsets) - min(offsets)


async def test_sender_reports_tell_when_a_picture_was_taken(rtsp_python: str) -> None:
    with switched_on(Camera(rtsp_python)) as camera:
        async with watching(camera.url) as watch:
            # The first report comes after some seconds; from then on the camera's clock, which is ours, is used.
            while not watch.frames or watch.frames[-1].pts < 6:
                await watch.pictures(10)
            while spread(watch.frames[-15:]) >= 0.002 and watch.frames[-1].pts < 30:
                await watch.pictures(5)
    assert spread(watch.frames[-15:]) < 0.002  # by the camera's stamps, not by arrivals, which jitter
    assert all(f.captured_at <= time.time() for f in watch.frames)


async def test_by_tls(rtsp_python: str, tmp_path: Path) -> None:
    (ours, key), (others, _) = certificate(tmp_path, "ours"), certificate(tmp_path, "others")
    both = tmp_path / "both.pem"
    both.write_bytes(ours.read_bytes() + key.read_bytes())
    with switched_on(Camera(rtsp_python, "--tls", str(both), "--user", "me", "--password", "hush")) as camera:
        url = camera.url.replace("//", "//me:hush@")

        async def trusted(options: str) -> None:
            async with watching(url + options, read_timeout=5) as watch:
                await watch.pictures(3)

        async def refused(address: str, words: str) -> None:
            with pytest.raises(SourceError, match=words) as caught:
                await Watch(address).source.open()
            assert "hush" not in f"{caught.value}{caught.value.hint}"
            assert caught.value.hint

        await asyncio.gather(
            trusted(f"?ca_file={ours}"),
            trusted("?tls_verify=0"),
            refused(url, "certificate is not trusted"),
            refused(f"{url}?ca_file={others}", "certificate is not trusted"),
            refused(f"{url}?ca_file={tmp_path / 'none.pem'}", "ca_file cannot be read"),
            refused(url.replace("hush", "wrong") + "?tls_verify=0", "user name or password"),
        )


async def test_a_network_that_loses_packets(rtsp_python: str) -> None:
    with switched_on(Camera(rtsp_python, "--pattern", "snow")) as camera:
        async with lossy_rtsp(camera.port, 0.03) as port:
            async with watching(f"rtsp://127.0.0.1:{port}/cam?transport=udp", read_timeout=10) as watch:
                await watch.pictures(60)
            await asyncio.sleep(0.1)  # the relay sees the end
    assert watch.of(NoticeKind.DAMAGE)  # told, not shown as if it were sound
    assert not watch.of(NoticeKind.LOST)
    assert watch.frames[-1].pts > 60 / 15 - 1


async def test_a_camera_that_dies_again_and_again_leaves_nothing(rtsp_python: str) -> None:
    """The watch over leaks of each test sees what is left; here there is more to leave."""
    with switched_on(Camera(rtsp_python)) as camera:
        async with watching(camera.url) as watch:
            for _ in range(3):
                await watch.pictures(3)
                camera.off()
                await watch.told(NoticeKind.LOST)
                camera.on()
                await watch.told(NoticeKind.CONNECTED)
            await watch.pictures(3)
    assert [n.kind for n in watch.notices if n.kind is not NoticeKind.DAMAGE] == [
        NoticeKind.CONNECTED,
        *([NoticeKind.LOST, NoticeKind.GAP, NoticeKind.CONNECTED] * 3),
    ]
