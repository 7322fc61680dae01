"""A feed server whose streams say what they are told to, for tests and figures of the pages.

``python -m tests.page_server --streams N`` says where it listens on the first line of stdout. Each line of stdin is a
command, answered by a line of JSON once it is done:

    say STREAM TEXT            a final caption; the answer is its number
    draft STREAM TEXT          a draft, which the next ``say`` of the stream makes final
    flood STREAM COUNT RATE    so many final captions, so many a second
    spread COUNT RATE          the same, on one stream after the other
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import sys
import time

from streamcap.hub import Hub
from streamcap.types import Caption, CaptionKind, CaptionStatus, Instance
from streamcap.wire import StreamState, caption_message
from tests.feeding import opened, serving, status

LINES = ("A person enters from the left.", "The person in the red top stops in the centre.", "Two cars drive past.")


class Speaker:
    """Says things on streams."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._numbers = itertools.count(1)
        self._began = time.time()
        self._open: dict[str, str] = {}

    async def say(self, stream: str, text: str, state: CaptionStatus = CaptionStatus.FINAL) -> int | None:
        """One caption, of a moment ago."""
        n = next(self._numbers)
        now = time.time()
        key = self._open.pop(stream, "") or f"c{n}"
        if state is not CaptionStatus.FINAL:
            self._open[stream] = key
        t = now - self._began
        seen = Instance(n, "person", 0.9, (0.1, 0.2, 0.3, 0.9), (0.0, 0.0), t - 1, t)
        saliency = (0.3, 0.5, 0.9)[n % 3]
        made = Caption(
            key, n, state, CaptionKind.DIFF, max(0.0, t - 1), t, text, now - 0.2, saliency, "test", {}, (seen,), (t,)
        )
        message = await self._hub.publish(stream, caption_message(stream, made, emitted_at=now))
        return getattr(message, "seq", None)

    async def flood(self, streams: list[str], count: int, rate: float) -> None:
        """Captions at an even rate."""
        begin = time.monotonic()
        for n in range(count):
            await self.say(streams[n % len(streams)], f"{LINES[n % len(LINES)]} ({n})")
            ahead = begin + n / rate - time.monotonic()
            await asyncio.sleep(max(0.0, ahead))


async def _obey(speaker: Speaker, streams: list[str], line: str) -> object:
    word, *rest = line.split(maxsplit=2)
    match word:
        case "say":
            return await speaker.say(rest[0], rest[1])
        case "draft":
            return await speaker.say(rest[0], rest[1], CaptionStatus.OPEN)
        case "flood":
            count, rate = rest[1].split()
            await speaker.flood([rest[0]], int(count), float(rate))
        case "spread":
            await speaker.flood(streams, int(rest[0]), float(rest[1]))
        case _:
            raise ValueError(line)
    return None


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--streams", type=int, default=1)
    options = parser.parse_args()
    streams = [f"cam{n:02}" for n in range(options.streams)]
    hub = await opened(*streams)
    for stream in streams:
        await hub.publish(stream, status(StreamState.LIVE, stream))
    speaker = Speaker(hub)
    async with serving(hub) as where:
        sys.stdout.write(f"{where.url}\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(json.dumps(await _obey(speaker, streams, line.strip())) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main())
