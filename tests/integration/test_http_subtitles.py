"""Live subtitles over HTTP: a real server, read by ffmpeg as a player would."""

from __future__ import annotations

import asyncio
import itertools
import re
from pathlib import Path

import httpx
import pysubs2

from streamcap.flow import SystemClock
from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.subtitles_live import SEGMENT_S, WINDOW
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import StreamState, caption_message, status_message
from tests.feeding import http_to, opened, serving
from tests.patience import PATIENCE_S

PATH = "/v1/streams/cam/live.m3u8"


class QuickClock(SystemClock):
    """Runs four times as fast as the machine's, so that a minute of subtitles takes a quarter of one."""

    RATE = 4.0

    def wall(self) -> float:
        return self._offset + self.monotonic() * self.RATE


async def say(hub: Hub, key: str, text: str, captured_at: float) -> None:
    made = Caption(key, 1, CaptionStatus.FINAL, CaptionKind.DIFF, 0.0, 1.0, text, captured_at)
    await hub.publish("cam", caption_message("cam", made, emitted_at=max(captured_at, hub.clock.wall())))


async def test_ffmpeg_reads_the_live_playlist_to_its_end(ffmpeg: str, tmp_path: Path) -> None:
    clock = QuickClock()
    hub = Hub(MemoryJournal(), clock=clock)
    await hub.open_stream("cam")
    written = tmp_path / "read.vtt"
    text = "Person {} walks across the yard & waves to somebody who stands at the gate."  # read in over 4 s
    async with serving(hub) as where:
        url = where.url.replace("ws", "http") + PATH
        player = await asyncio.create_subprocess_exec(
            *(ffmpeg, "-v", "warning", "-nostdin", "-i", url, "-f", "webvtt", str(written)),
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            for n in range(12):
                await say(hub, f"c{n}", text.format(n), clock.wall())
                await asyncio.sleep(1.2)
            await hub.publish("cam", status_message("cam", StreamState.ENDED, at=clock.wall()))
            _, complaints = await asyncio.wait_for(player.communicate(), PATIENCE_S)
        finally:
            if player.returncode is None:
                player.kill()
                await player.wait()
    # A cue of several segments is the same in each, as ffmpeg notes: it drops all but the first.
    others = [line for line in complaints.decode().splitlines() if "duplicated subtitle events" not in line]
    assert player.returncode == 0 and others == []
    assert b"duplicated subtitle events" in complaints
    read = pysubs2.load(str(written))
    assert [line.plaintext for line in read] == [text.format(n) for n in range(12)]
    gaps = [later.start - earlier.start for earlier, later in itertools.pairwise(read)]
    assert all(4_000 < gap < 40_000 for gap in gaps), gaps  # 1.2 s of a clock that runs four times as fast


async def test_playlist_and_segments_as_they_are_served() -> None:
    hub = await opened("cam", clock=QuickClock())
    now = hub.clock.wall()
    for n in range(300):  # several chunks of the journal
        await say(hub, f"c{n}", f"Said {n}.", now)
    await say(hub, "late", "Said late.", now - 30)
    async with (
        serving(hub) as where,
        http_to(where) as http,
    ):
        shown = await http.get(PATH)
        assert shown.headers["content-type"] == "application/vnd.apple.mpegurl"
        assert shown.headers["cache-control"] == f"private, max-age={SEGMENT_S // 2}"
        uris = [line for line in shown.text.splitlines() if not line.startswith("#")]
        assert len(uris) == WINDOW
        first = await http.get(PATH.removesuffix("live.m3u8") + uris[0])
        assert first.headers["content-type"] == "text/vtt; charset=utf-8"
        assert re.match(r"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:\d+,LOCAL:00:00:00\.000\n", first.text)
        number = int(uris[-1].removeprefix("live/").removesuffix(".vtt"))
        for path, code in (
            (f"/v1/streams/cam/live/{number + 2}.vtt", 404),
            ("/v1/streams/cam/live/0.vtt", 404),
            ("/v1/streams/cam/live/x.vtt", 422),
            ("/v1/streams/nobody/live.m3u8", 404),
            ("/v1/streams/nobody/live/1.vtt", 404),
        ):
            refused = await http.get(path)
            assert (refused.status_code, refused.headers["content-type"]) == (code, "application/problem+json"), path
        async with asyncio.timeout(PATIENCE_S):
            while "Said 299." not in (await _segment_of(http, now)):  # noqa: ASYNC110 - time rings no bell
                await asyncio.sleep(0.1)


async def _segment_of(http: httpx.AsyncClient, at: float) -> str:
    return (await http.get(f"/v1/streams/cam/live/{int(at) // SEGMENT_S}.vtt")).text
