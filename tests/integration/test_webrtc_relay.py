"""What a camera encodes reaches viewers by WHEP as it is: real cameras and files, aiortc peers that watch."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from statistics import median
from typing import Any

import av
import httpx
import pytest

from streamcap.config import Settings
from streamcap.models.pool import Models
from streamcap.server.service import Service, running
from streamcap.sources import h264
from streamcap.sources.ports import CLOCK
from tests.cameras import Camera, free_port, sending
from tests.clips_made import clip
from tests.feeding import http_to
from tests.integration.test_webrtc import counted, until
from tests.patience import PATIENCE_S
from tests.webrtc_peers import receiving, watching

pytestmark = [pytest.mark.weights, pytest.mark.webrtc]


@contextlib.asynccontextmanager
async def service(models: Models, **sources: str) -> AsyncIterator[tuple[Service, httpx.AsyncClient]]:
    raw: dict[str, Any] = {
        "server": {"port": 0},
        "streams": [{"id": key, "source": source} for key, source in sources.items()],
    }
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
    ):
        yield run, http


@pytest.fixture
def camera(rtsp_python: str) -> Iterator[Camera]:
    camera = Camera(rtsp_python)
    yield camera
    camera.off()


async def growing(frames: list[Any], count: int, patience: float = PATIENCE_S) -> None:
    async with asyncio.timeout(patience):
        while len(frames) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def usual_step(frames: list[Any]) -> float:
    """From one frame to the next, in ticks; where a machine stands still for a moment, one step is long."""
    return median(float(b.timestamp - a.timestamp) for a, b in itertools.pairwise(frames))


def units_of(path: Path) -> set[bytes]:
    """The slices of a file, read from its packets."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        length = h264.length_size(stream.codec_context.extradata)
        packets = [bytes(packet) for packet in container.demux(stream)]
    return {unit for data in packets for unit in h264.units(data, length) if h264.kind(unit) in (1, h264.IDR)}


@pytest.mark.parametrize("name", ["clip.mp4", "clip.ts"])
async def test_a_looped_file_is_passed_on_as_it_is(models: Models, tmp_path: Path, name: str) -> None:
    path = clip(tmp_path / name)
    async with service(models, cam=f"{path}?loop=1") as (_, http):
        seen = await until(http, "/v1/streams/cam", state="live")
        assert seen["whep"] == {"codec": "h264", "relayed": True, "why": ""}
        async with receiving(http, "cam") as frames:
            await growing(frames, 130)  # more than a loop of 75
    sent = [list(h264.units(frame.data, 0)) for frame in frames]
    assert frames[0].key and {h264.kind(unit) for unit in sent[0]} >= {h264.SPS, h264.PPS, h264.IDR}
    slices = {unit for units in sent for unit in units if h264.kind(unit) in (1, h264.IDR)}
    assert slices == units_of(path), "each byte for byte"
    steps = [(b.timestamp - a.timestamp) / CLOCK for a, b in itertools.pairwise(frames)]
    assert all(step > 0 for step in steps)
    assert median(steps[30:]) == pytest.approx(0.04, abs=0.001), "at its own rate"
    arrivals = [frame.arrived for frame in frames[40:]]
    assert 0.03 < (arrivals[-1] - arrivals[0]) / len(arrivals) < 0.4, "in its own time, but for a machine that is late"


@pytest.mark.rtsp
async def test_every_frame_of_a_camera_is_seen_and_it_comes_back_in_another_size(
    models: Models, camera: Camera
) -> None:
    camera.on("--fps", "30", "--keys", "60")
    async with service(models, cam=camera.url, twin=camera.url) as (_, http):
        for stream in ("cam", "twin"):
            seen = await until(http, f"/v1/streams/{stream}", state="live")
            assert seen["whep"]["relayed"], seen
        async with receiving(http, "cam") as frames, watching(http, "twin", "H264") as track:
            async with asyncio.timeout(PATIENCE_S):
                first = await track.recv()
            await growing(frames, 90)
            assert CLOCK / usual_step(frames[-60:]) == pytest.approx(30, rel=0.1)
            assert frames[0].key and sum(frame.key for frame in frames) < len(frames) / 10
            camera.off()
            camera.on("--fps", "30", "--width", "320", "--height", "240")
            async with asyncio.timeout(PATIENCE_S):
                while (shown := await track.recv()).width == first.width:
                    pass
            assert (first.width, shown.width) == (160, 320)
            assert shown.pts > first.pts
        assert (await http.get("/v1/streams/cam")).json()["whep"]["relayed"]


@pytest.mark.rtsp
@pytest.mark.parametrize(
    ("options", "why"), [(("--b-frames",), "it has B-frames"), (("--codec", "mjpeg"), "mjpeg is not")]
)
async def test_what_browsers_do_not_play_is_encoded(
    models: Models, camera: Camera, options: tuple[str, ...], why: str
) -> None:
    camera.on(*options)
    async with service(models, cam=camera.url) as (_, http):
        seen = await until(http, "/v1/streams/cam", state="live")
        async with asyncio.timeout(PATIENCE_S):
            while seen["whep"] is None or seen["whep"]["relayed"]:
                seen = (await http.get("/v1/streams/cam")).json()
        assert (seen["whep"]["codec"], seen["whep"]["relayed"]) == ("vp8", False)
        assert seen["whep"]["why"].startswith(why)
        async with watching(http, "cam", "VP8") as track, asyncio.timeout(PATIENCE_S):
            await track.recv()


async def test_who_cannot_play_h264_sees_the_analysed_frames(models: Models, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    async with service(models, cam=f"{path}?loop=1") as (_, http):
        async with asyncio.timeout(PATIENCE_S):
            while not (await http.get("/v1/streams/cam")).json()["frames"]:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        async with (
            watching(http, "cam", "VP8") as one,
            watching(http, "cam", "H264") as other,
            asyncio.timeout(PATIENCE_S),
        ):
            assert {(await track.recv()).width for track in (one, other)} == {320}


async def test_a_damaged_stream_harms_neither_its_viewers_nor_its_source(models: Models, tmp_path: Path) -> None:
    whole = clip(tmp_path / "whole.ts")
    data = bytearray(whole.read_bytes())
    for at in range(20_000, len(data), 997):
        data[at] ^= 0x5A
    broken = tmp_path / "broken.ts"
    broken.write_bytes(data)
    async with service(models, cam=f"{broken}?loop=1") as (_, http):
        await until(http, "/v1/streams/cam", state="degraded")
        async with receiving(http, "cam") as frames:
            await growing(frames, 100)
            before = (await http.get("/v1/streams/cam")).json()["frames"]
            await growing(frames, len(frames) + 50)
        assert (await http.get("/v1/streams/cam")).json()["frames"] > before


async def test_twenty_viewers_leave_nothing_behind(models: Models, tmp_path: Path) -> None:
    path = clip(tmp_path / "clip.mp4")
    async with service(models, cam=f"{path}?loop=1") as (_, http):
        await until(http, "/v1/streams/cam", state="live")
        async with receiving(http, "cam") as frames:
            await growing(frames, 5)
        before = counted()
        for _ in range(20):
            async with receiving(http, "cam") as frames:
                await growing(frames, 5)
        gc.collect()
        after = counted()
        assert all(b - a < 5 for a, b in zip(before, after, strict=True)), (before, after)
        assert not any(task.get_name() == "broadcast-cam" for task in asyncio.all_tasks())


@pytest.mark.ffmpeg
@pytest.mark.parametrize("scheme", ["rtmp", "udp"])
async def test_what_an_encoder_sends_is_passed_on(models: Models, ffmpeg: str, scheme: str) -> None:
    port = free_port(socket.SOCK_DGRAM if scheme == "udp" else socket.SOCK_STREAM)
    here, form = {
        "rtmp": (f"rtmp://127.0.0.1:{port}/live/a?listen=1", "flv"),
        "udp": (f"udp://127.0.0.1:{port}", "mpegts"),
    }[scheme]
    async with service(models, cam=here) as (_, http):
        await asyncio.sleep(1.0)  # it listens
        with sending(ffmpeg, "-pix_fmt", "yuv420p", "-f", form, here.partition("?")[0], rate=25):
            seen = await until(http, "/v1/streams/cam", state="live")
            assert seen["whep"]["relayed"], seen
            async with receiving(http, "cam") as frames:
                await growing(frames, 60)
    assert CLOCK / usual_step(frames[-40:]) == pytest.approx(25, rel=0.1)
    assert all(h264.IDR in {h264.kind(unit) for unit in h264.units(frame.data, 0)} for frame in frames if frame.key)
