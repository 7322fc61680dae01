"""A client that publishes a stream (WHIP, RFC 9725)."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from streamcap.config import IceServer
from streamcap.sources.ports import Port, Publication
from streamcap.webrtc.connection import CONNECT_S, Connection
from streamcap.webrtc.offers import Unmet
from streamcap.webrtc.taking import ask_key, take_frames

__all__ = ["Publisher"]

logger = logging.getLogger(__name__)

# Seconds without media after which the session is over: long enough for a network that fails and comes back.
EXPIRE_S: Final = 30.0


class Publisher:
    """One publishing session.

    Args:
        port: where its frames go.
    """

    def __init__(self, name: str, port: Port, servers: tuple[IceServer, ...]) -> None:
        self.connection = Connection(name, servers)
        self._port = port
        self._publication: Publication | None = None

    async def begin(self, offer: str) -> str:
        """Take the offer, and the port; returns the answer.

        Raises:
            Unmet, ValueError: the offer cannot be answered.
            PortTaken: somebody else publishes there.
            TimeoutError: the answer was not ready in time.
        """
        await self.connection.accept(offer)
        peer, loop = self.connection.peer, asyncio.get_running_loop()
        video = [each for each in peer.getTransceivers() if each.kind == "video" and each.receiver.track is not None]
        for each in peer.getTransceivers():
            each.direction = "recvonly" if video and each is video[0] else "inactive"
        if not video:
            raise Unmet("the offer sends no video")
        receiver = video[0].receiver

        def end() -> None:
            loop.call_soon_threadsafe(self.connection.end)

        publication = Publication(self.connection.name, ask_key=lambda: ask_key(receiver), on_close=end)
        take_frames(receiver, publication)
        self._port.attach(publication)
        self._publication = publication
        return await self.connection.answer()

    async def run(self) -> None:
        """Watch over the session until it ends; then everything of it is closed. Also when cancelled."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.connection.settled()
            await self._until_silent()
        except TimeoutError:
            logger.info("%s did not connect within %g s", self.connection.name, CONNECT_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """End it."""
        if self._publication is not None:
            self._publication.close()
        await self.connection.close()

    async def _until_silent(self) -> None:
        assert self._publication is not None
        while not self.connection.ended.is_set() and (rest := EXPIRE_S - self._publication.silence) > 0:
            try:
                async with asyncio.timeout(rest):
                    await self.connection.ended.wait()
            except TimeoutError:
                continue
        if not self.connection.ended.is_set():
            logger.info("nothing has come from %s for %g s", self.connection.name, EXPIRE_S)
