"""A feed server as a process of its own, for clients in other languages: ``python -m tests.feed_process --help``.

Says where it listens on the first line of stdout. Each line of stdin is a command, answered by a line of JSON:

    say ID SALIENCY TEXT                                                     a final caption of this moment
    take_back ID                                                             a retraction
    withdraw ID REV                                                          a draft is withdrawn
    event N | draft ID REV [TEXT] | final ID [TEXT] | status STATE | gap     published; the answer is the message
    state                                                                    the state of the stream, folded
    count                                                                    how many subscribers there are
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path

from streamcap.config import SecuritySettings
from streamcap.hub import Hub
from streamcap.journal import Journal, MemoryJournal
from streamcap.journal.sqlite import SqliteJournal
from streamcap.tokens import TokenFile, TokenGuard
from streamcap.types import Caption, CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, StreamState, caption_message, encode, gap_message
from tests.feeding import caption, event, final, opened, serving, status


class Remembered(MemoryJournal):
    """A journal that was there before: another process filled it, under this epoch."""

    def __init__(self, epoch: str, keep: int) -> None:
        super().__init__(messages=keep)
        self._name = epoch

    @property
    def epoch(self) -> str:
        return self._name


def _said(id: str, saliency: float, text: str, status: CaptionStatus = CaptionStatus.FINAL) -> CaptionMessage:
    now = time.time()
    made = Caption(id, 9, status, CaptionKind.DIFF, 1.0, 2.0, text, now, saliency=saliency)
    return caption_message("cam", made, emitted_at=now)


async def _obey(hub: Hub, line: str) -> str:
    word, *rest = line.split(maxsplit=3)
    match word:
        case "say":
            message = await hub.publish("cam", _said(rest[0], float(rest[1]), rest[2]))
        case "take_back":
            message = await hub.publish("cam", _said(rest[0], 0.0, "", CaptionStatus.RETRACTED))
        case "withdraw":
            gone = caption(rest[0], int(rest[1])).model_copy(update={"text": ""})
            message = await hub.publish("cam", gone)
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
    parser.add_argument("--data", type=Path, help="a journal that outlives this process")
    parser.add_argument("--origin", action="append", default=[], help="of other servers' pages, that may subscribe")
    options = parser.parse_args()
    journal: Journal = Remembered(options.epoch, options.keep)
    if options.data is not None:
        journal = await SqliteJournal.open(options.data)
    hub = await opened(journal=journal, heartbeat_s=options.heartbeat)
    for n in range(1, options.events + 1):
        await hub.publish("cam", event(n))
    tokens = TokenGuard(TokenFile(options.tokens)) if options.tokens else None
    security = SecuritySettings(allowed_origins=tuple(options.origin))
    async with serving(hub, port=options.port, tokens=tokens, security=security) as where:
        sys.stdout.write(f"{where.url}\n")
        sys.stdout.flush()
        while line := await asyncio.to_thread(sys.stdin.readline):
            sys.stdout.write(await _obey(hub, line.strip()) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main())
