"""A feed server as a process of its own, for clients in other languages: ``python -m tests.feed_process --help``.

Says where it listens on the first line of stdout. Each line of stdin is a command, answered by a line of JSON:

    event N | draft ID REV [TEXT] | final ID [TEXT] | status STATE | gap     published; the answer is the message
    state                                                                    the state of the stream, folded
    count                                                                    how many subscribers there are
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path

from streamcap.hub import Hub
from streamcap.journal import MemoryJournal
from streamcap.tokens import TokenFile, TokenGuard
from streamcap.wire import StreamState, encode, gap_message
from tests.feeding import caption, event, final, opened, serving, status


class Remembered(MemoryJournal):
    """A journal that was there before: another process filled it, under this epoch."""

    def __init__(self, epoch: str, keep: int) -> None:
        super().__init__(messages=keep)
        self._name = epoch

    @property
    def epoch(self) -> str:
        return self._name


async def _obey(hub: Hub, line: str) -> str:
    word, *rest = line.split(maxsplit=3)
    match word:
        case "event":
            message = await hub.publish("cam", event(int(rest[0])))
        case "draft":
            message = await hub.publish("cam", caption(rest[0], int(rest[1]), text=rest[2] if len(rest) > 2 else ""))
        case "final":
            message = await hub.publish("cam", final(rest[0], " ".join(rest[1:])))
        case "status":
            message = await hub.publish("cam", status(StreamState(rest[0])))
        case "gap":
            message = await hub.publish("cam", gap_message("cam", start=1, end=2, at=1000.0, reason="reconnect"))
        case "state":
            return json.dumps(hub.state("cam").summary())
        case "count":
            return json.dumps(hub.subscribers)
        case _:
            raise ValueError(line)
    return encode(message)


async def _main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--epoch", default="e1")
    parser.add_argument("--events", type=int, default=0, help="events that the journal holds already")
    parser.add_argument("--keep", type=int, default=1000, help="messages that can be replayed")
    parser.add_argument("--heartbeat", type=float, default=15.0)
    parser.add_argument("--tokens", type=Path)
    options = parser.parse_args()
    hub = await opened(journal=Remembered(options.epoch, options.keep), heartbeat_s=options.heartbeat)
    for n in range(1, options.events + 1):
        await hub.publish("cam", event(n))
    tokens = TokenGuard(TokenFile(options.tokens)) if options.tokens else None
    async with serving(hub, port=options.port, tokens=tokens) as where:
        sys.stdout.write(f"{where.url}\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(await _obey(hub, line.strip()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main())
