"""`streamcap serve` as a process of its own, for the benchmarks that measure a service."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass

import httpx
from prometheus_client.parser import text_string_to_metric_families

from benchmarks.common import CannotRun
from benchmarks.process import stop, streamcap

__all__ = ["Scrape", "Server", "serving"]

START_S = 60.0
STOP_S = 20.0
_URL = re.compile(r"ws://\S+:\d+")


@dataclass(frozen=True, slots=True)
class Scrape:
    """What ``/metrics`` said at one moment.

    Attributes:
        frames: looked at, by stream.
        drops: frames nobody had time to look at, by stream.
        stage_cpu: processor seconds by stage, over all streams.
    """

    frames: dict[str, float]
    drops: dict[str, float]
    stage_cpu: dict[str, float]


@dataclass(frozen=True, slots=True)
class Server:
    """A running service.

    Attributes:
        url: of its websocket feed.
    """

    pid: int
    url: str

    @property
    def http(self) -> str:
        """Address of its HTTP API."""
        return self.url.replace("ws", "http", 1)

    async def scrape(self) -> Scrape:
        """Read ``/metrics``."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
            text = (await client.get(f"{self.http}/metrics")).text
        frames: dict[str, float] = {}
        drops: dict[str, float] = {}
        stage_cpu: dict[str, float] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sample.labels
                if sample.name == "streamcap_frames_total":
                    frames[labels["stream"]] = sample.value
                elif sample.name == "streamcap_frames_dropped_total":
                    drops[labels["stream"]] = sample.value
                elif sample.name == "streamcap_stage_cpu_seconds_total":
                    stage_cpu[labels["stage"]] = stage_cpu.get(labels["stage"], 0.0) + sample.value
        return Scrape(frames, drops, stage_cpu)


@contextlib.asynccontextmanager
async def serving(streams: Mapping[str, str], *options: str) -> AsyncIterator[Server]:
    """Run ``streamcap serve`` with these streams (sources by id) for the length of the block.

    Raises:
        CannotRun: it does not say within a minute where it listens.
    """
    named = [part for name, source in streams.items() for part in ("--stream", f"{name}={source}")]
    server = await asyncio.create_subprocess_exec(
        *streamcap("serve", "--port", "0", *named, *options),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert server.stderr is not None
    drain: asyncio.Task[None] | None = None
    try:
        url = await _url(server.stderr)
        drain = asyncio.create_task(_drain(server.stderr), name="server-log")
        yield Server(server.pid, url)
    finally:
        await stop(server, STOP_S)
        if drain is not None:
            await drain


async def _url(stderr: asyncio.StreamReader) -> str:
    last = "no word"
    try:
        async with asyncio.timeout(START_S):
            while line := (await stderr.readline()).decode("utf-8", "replace"):
                if found := _URL.search(line):
                    return found[0]
                last = line.strip() or last
    except TimeoutError:
        raise CannotRun(f"streamcap serve did not start within {START_S:.0f} s: {last}") from None
    raise CannotRun(f"streamcap serve ended at once: {last}")


async def _drain(stderr: asyncio.StreamReader) -> None:
    while await stderr.readline():
        pass
