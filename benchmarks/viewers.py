"""What do viewers cost? WHEP, H.264 passed on as the camera sent it, beside a program that encodes for each of them."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import CannotRun, Quick, Result, Table, conclude, progress
from benchmarks.footage import footage
from benchmarks.process import cpu_seconds, need_weights, peak_mb, stop
from benchmarks.serving import serving

__all__ = ["Load", "measure"]

NAIVE = Path(__file__).with_name("naive_viewers.py")
VIEWERS, QUICK_VIEWERS = (0, 1, 4, 8), (0, 2)
START_S, STOP_S = 30.0, 10.0
SDP = {"content-type": "application/sdp"}


@dataclass(frozen=True, slots=True)
class Load:
    """What so many viewers cost.

    Attributes:
        cpus: processors that the server had.
        fps: frames a second that came to a viewer, the mean of all; 0 without any.
    """

    viewers: int
    cpus: float
    fps: float
    peak: float


@dataclass(frozen=True, slots=True)
class _Way:
    """A server to watch, by process and WHEP address, and the codec that its viewers ask for."""

    start: Callable[[str], AbstractAsyncContextManager[tuple[int, str]]]
    codec: str


@contextlib.asynccontextmanager
async def _ours(clip: str) -> AsyncIterator[tuple[int, str]]:
    async with serving({"cam": f"{clip}?loop=1"}) as server:
        yield server.pid, f"{server.http}/v1/streams/cam/whep"


@contextlib.asynccontextmanager
async def _naive(clip: str) -> AsyncIterator[tuple[int, str]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(NAIVE), clip, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    assert process.stdout is not None
    try:
        line = await asyncio.wait_for(process.stdout.readline(), START_S)
        if not line:
            raise CannotRun("the program to compare with did not start")
        yield process.pid, f"{line.decode().strip()}/whep"
    finally:
        await stop(process, STOP_S)


WAYS = {
    "streamcap, H.264 passed on": _Way(_ours, "H264"),
    "streamcap, VP8 of what is analysed": _Way(_ours, "VP8"),
    "aiortc's relay, H.264 encoded for each": _Way(_naive, "H264"),
}


def measure(*, quick: bool = False) -> Result:
    """Let ever more viewers watch one 720p30 stream.

    Raises:
        CannotRun: no weights, or a server did not start or answer.
    """
    need_weights()
    settle, watch, counts = (3.0, 4.0, QUICK_VIEWERS) if quick else (6.0, 15.0, VIEWERS)
    clip = str(footage(2, 8 if quick else 20)[-1])
    loads: dict[str, list[Load]] = {}
    with progress("viewers", len(WAYS)) as step:
        for name, way in WAYS.items():
            loads[name] = [asyncio.run(_watched(way, clip, number, settle, watch)) for number in counts]
            step(name)
    each = {name: _each(found) for name, found in loads.items()}
    rows = [
        (name if index == 0 else "", f"{one.viewers}", f"{one.fps:.1f}" if one.viewers else "–", f"{one.cpus:.2f}",
         f"{one.peak:.0f}")
        for name, found in loads.items()
        for index, one in enumerate(found)
    ]  # fmt: skip
    return Result(
        "viewers",
        {"settle_s": settle, "watch_s": watch, "source": "1280x720, 30/s, H.264", "viewers": list(counts)},
        {
            "cpus_each": {name: round(cpus, 4) for name, cpus in each.items()},
            "runs": {
                name: [
                    {"viewers": one.viewers, "cpus": round(one.cpus, 3), "fps": round(one.fps, 2),
                     "peak_mb": round(one.peak)}
                    for one in found
                ]
                for name, found in loads.items()
            },
        },
        [Table(("way", "viewers", "frames/s each", "CPUs of the server", "peak MB"), tuple(rows), "Viewers by WHEP")],
        notes=[
            "Processors that each viewer takes: " + ", ".join(f"{name} {cpus:.3f}" for name, cpus in each.items())
            + ". streamcap's figures hold the watching and captioning of the stream, which the program beside it does "
            "not do: what viewers cost is the difference to none. VP8 is what viewers get whose offer has no H.264, or "
            "of a source that cannot be passed on: the analysed frames, encoded once for all of them. The viewers take "
            "the frames and do not decode them; they run beside the server on the same processors."
        ],
        quick=quick,
    )  # fmt: skip


def _each(loads: list[Load]) -> float:
    """Processors a viewer, by the largest number of them."""
    none, most = loads[0], loads[-1]
    return (most.cpus - none.cpus) / max(1, most.viewers)


async def _watched(way: _Way, clip: str, number: int, settle: float, watch: float) -> Load:
    async with way.start(clip) as (pid, url), contextlib.AsyncExitStack() as stack:
        await asyncio.sleep(settle)
        counts = [await stack.enter_async_context(_viewer(url, way.codec)) for _ in range(number)]
        await asyncio.sleep(settle)
        before, cpu, began = [each() for each in counts], cpu_seconds(pid), time.monotonic()
        await asyncio.sleep(watch)
        spent = time.monotonic() - began
        frames = sum(each() - then for each, then in zip(counts, before, strict=True))
        cpus = (cpu_seconds(pid) - cpu) / spent
        return Load(number, cpus, frames / spent / number if number else 0.0, peak_mb(pid))


@contextlib.asynccontextmanager
async def _viewer(url: str, codec: str) -> AsyncIterator[Callable[[], int]]:
    """Watch for the length of the block; gives how many frames have come so far."""
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription

    from streamcap.sources.ports import Publication
    from streamcap.webrtc.taking import take_frames

    count = [0]

    def come(frame: Any) -> None:
        count[0] += frame is not None

    kept = Publication("viewer", ask_key=lambda: None, on_close=lambda: None)
    kept.listen(come)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    try:
        transceiver = peer.addTransceiver("video", direction="recvonly")
        known = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([one for one in known if one.mimeType in (f"video/{codec}", "video/rtx")])
        await peer.setLocalDescription(await peer.createOffer())
        take_frames(transceiver.receiver, kept)
        async with httpx.AsyncClient(trust_env=False, timeout=20) as http:
            answer = await http.post(url, content=peer.localDescription.sdp, headers=SDP)
        if answer.status_code != 201:
            raise CannotRun(f"a viewer was answered {answer.status_code}: {answer.text[:200]}")
        await peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        yield lambda: count[0]
    finally:
        kept.close()
        await peer.close()


def command(quick: Quick = False) -> None:
    """What viewers cost the server."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
