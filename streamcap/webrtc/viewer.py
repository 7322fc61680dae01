"""A client that watches a stream (WHEP, draft-ietf-wish-whep)."""

from __future__ import annotations

import asyncio
import logging
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCRtpSender
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack

from streamcap.config import IceServer
from streamcap.sources.ports import CLOCK
from streamcap.webrtc.broadcast import Broadcast, Seat
from streamcap.webrtc.connection import CONNECT_S, Connection, either
from streamcap.webrtc.offers import Unmet
from streamcap.webrtc.taking import key_was_asked

__all__ = ["Viewer"]

logger = logging.getLogger(__name__)


class _Track(MediaStreamTrack):
    """A seat as aiortc reads it: encoded packets, which it only has to pack."""

    kind = "video"

    def __init__(self, seat: Seat) -> None:
        super().__init__()
        self._seat = seat
        self.sender: RTCRtpSender | None = None

    async def recv(self) -> av.Packet[Any]:
        if self.sender is not None and key_was_asked(self.sender):
            self._seat.ask_key()
        frame = await self._seat.get()
        if frame is None:
            self.stop()
            raise MediaStreamError
        packet = av.Packet(frame.data)
        packet.pts, packet.time_base = frame.timestamp, Fraction(1, CLOCK)
        return packet


class Viewer:
    """One watching session, with a seat at the broadcast until it is closed."""

    def __init__(self, name: str, broadcast: Broadcast, servers: tuple[IceServer, ...]) -> None:
        self.connection = Connection(name, servers)
        self._broadcast = broadcast
        self._seat = broadcast.sit()

    async def begin(self, offer: str) -> str:
        """Take the offer; returns the answer.

        Raises:
            Unmet, ValueError: the offer cannot be answered.
            TimeoutError: the answer was not ready in time.
        """
        track = _Track(self._seat)
        transceiver = self.connection.peer.addTransceiver(track, direction="sendonly")
        track.sender = transceiver.sender
        wanted = {f"video/{self._broadcast.codec}", "video/rtx"}
        capabilities = RTCRtpSender.getCapabilities("video").codecs
        transceiver.setCodecPreferences([each for each in capabilities if each.mimeType.lower() in wanted])
        try:
            await self.connection.accept(offer)
        except Unmet:
            raise Unmet(f"this stream is sent as {self._broadcast.codec.upper()}, which was not offered") from None
        return await self.connection.answer()

    async def run(self) -> None:
        """Watch over the session until it ends; then everything of it is closed. Also when cancelled."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self.connection.settled()
            await either(self.connection.ended, self._broadcast.over)
        except TimeoutError:
            logger.info("%s did not connect within %g s", self.connection.name, CONNECT_S)
        finally:
            await self.close()

    async def close(self) -> None:
        """End it."""
        self._broadcast.leave(self._seat)
        await self.connection.close()
