"""One stream's line of media time over all its runs, and publishing that outlasts a journal which cannot commit.

A stream is watched in runs: one ends when its source breaks, when a defect restarts it, or with the process. Its media
time goes on over all of them: a run begins as much later than the last mark as time has passed on the clock, and what
lies between is told as a ``gap`` once pictures flow again.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Final

from streamcap.errors import FeedError, WireError
from streamcap.flow import Clock
from streamcap.hub import Hub
from streamcap.journal import Mark
from streamcap.types import Instance
from streamcap.wire import (
    CaptionMessage,
    PublishableMessage,
    StatusMessage,
    StreamState,
    UnchangedMessage,
    gap_message,
    is_durable,
)

__all__ = ["StreamFeed"]

_log = logging.getLogger(__name__)

RETRY_FIRST_S: Final = 0.5
RETRY_MOST_S: Final = 15.0
# A clock that says that more time has passed, or less than none, is not believed: media time goes on where it stopped.
AWAY_MAX_S: Final = 10 * 365 * 24 * 3600.0
# Shorter breaks are not told: pictures are looked at a few times a second.
GAP_LEAST_S: Final = 1.0


class StreamFeed:
    """Where one stream publishes, over all its runs in this process; the ``Feed`` of its pipelines.

    A durable message that the journal cannot commit waits and is tried again, at growing pauses, until it is committed
    or its publisher is cancelled; those after it wait behind it, so their order stays. Waiting holds the pipeline up,
    and a live source drops what it would have shown meanwhile: if nothing was seen, that is told as a ``gap``.

    Attributes:
        trouble: why nothing can be committed just now; empty when all is well.
    """

    def __init__(self, hub: Hub, stream: str, clock: Clock) -> None:
        self._hub, self._stream, self._clock = hub, stream, clock
        self._turn = asyncio.Lock()
        self._mark: Mark | None = None
        self._missed: tuple[float, float] | None = None
        self.trouble = ""

    async def begin_run(self) -> float:
        """A run begins. Returns the media seconds that its first picture is laid on.

        Raises:
            FeedError: the journal cannot be read.
        """
        last = self._mark = self._mark or await self._hub.last_mark(self._stream)
        if last is None:
            return 0.0
        away = self._clock.wall() - last.wall
        if not 0.0 <= away <= AWAY_MAX_S:
            _log.warning("%s: the clock says that %.0f s have passed; not believed", self._stream, away)
            away = 0.0
        origin = round(last.media + away, 3)
        status = self._hub.state(self._stream).status
        # After its end there was nothing to watch.
        ended = status is not None and status.state is StreamState.ENDED
        self._missed = (last.media, origin) if away >= GAP_LEAST_S and not ended else None
        return origin

    async def publish(self, stream: str, message: PublishableMessage, /) -> PublishableMessage:
        """Publish; see ``Hub.publish``. A cancelled call may have published.

        Raises:
            UsageError, ValueError, WireError: as ``Hub.publish``, whose ``FeedError`` is waited out.
        """
        if isinstance(message, UnchangedMessage) or not is_durable(message):
            self._note(message)
            return await self._hub.publish(stream, message)
        async with self._turn:
            if isinstance(message, StatusMessage) and message.state is StreamState.LIVE and self._missed is not None:
                missed, self._missed = self._missed, None
                await self._gap(*missed, "the stream was not watched")
            return await self._commit(message)

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """See ``Hub.set_scene``."""
        self._hub.set_scene(stream, summary, instances, camera)

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """See ``Hub.show_instances``."""
        self._hub.show_instances(stream, t, instances)

    async def _commit(self, message: PublishableMessage) -> PublishableMessage:
        self._note(message)  # before: then the mark is in the same commit
        committed = await self._try(message)
        if committed is None:
            before, since = self._mark, self._clock.monotonic()
            committed = await self._try_again(message)
            away = self._clock.monotonic() - since
            _log.warning("%s: the journal commits again, after %.1f s", self._stream, away)
            if before is not None and before == self._mark and away >= GAP_LEAST_S:
                await self._gap(before.media, before.media + away, "the journal could not commit")
        return committed

    async def _try_again(self, message: PublishableMessage) -> PublishableMessage:
        _log.error("%s: %s; trying again", self._stream, self.trouble)
        pause = RETRY_FIRST_S
        try:
            while True:
                await self._clock.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
                pause = min(2 * pause, RETRY_MOST_S)
                committed = await self._try(message)
                if committed is not None:
                    return committed
        except asyncio.CancelledError:
            _log.error("%s: %s message never committed: %s", self._stream, message.type, self.trouble)
            raise

    async def _try(self, message: PublishableMessage) -> PublishableMessage | None:
        try:
            committed = await self._hub.publish(self._stream, message)
        except WireError:
            raise
        except FeedError as error:
            self.trouble = str(error)
            return None
        self.trouble = ""
        return committed

    async def _gap(self, start: float, end: float, reason: str) -> None:
        await self._commit(gap_message(self._stream, start=start, end=end, at=self._clock.wall(), reason=reason))

    def _note(self, message: PublishableMessage) -> None:
        """Take note of how far the stream was watched."""
        if isinstance(message, StatusMessage):
            return
        media = message.t if isinstance(message, UnchangedMessage) else message.end
        seen = message.captured_at if isinstance(message, CaptionMessage) else message.at
        if self._mark is None or media > self._mark.media:
            self._mark = Mark(media, seen.timestamp())
            self._hub.mark(self._stream, self._mark)
