"""One peer connection, from a client's offer until it ends, by whomever.

aiortc answers, decrypts, puts packets in order, asks for what was lost. Decoding is not left to it: its queues have no
bounds, and a picture that is only passed on need not be decoded.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

from streamcap.config import IceServer
from streamcap.webrtc.identity import allow_rsa, trust_fingerprints
from streamcap.webrtc.offers import Fragment, Unmet

if TYPE_CHECKING:
    from aiortc import RTCPeerConnection

__all__ = ["ANSWER_S", "CONNECT_S", "Connection", "close_peer", "either"]

logger = logging.getLogger(__name__)

ANSWER_S: Final = 15.0  # to make an answer; a STUN server that is silent takes five of them
CONNECT_S: Final = 20.0  # from the answer until media can flow
CLOSE_S: Final = 5.0
CHECKS_S: Final = 1.0  # of these, for connectivity checks to come to their end


class Connection:
    """A peer connection and the task that watches over it.

    Args:
        name: for the log.
    """

    def __init__(self, name: str, servers: tuple[IceServer, ...]) -> None:
        from aiortc import RTCConfiguration, RTCIceServer, RTCPeerConnection

        self.name = name
        self.ufrag = ""
        self._ended = asyncio.Event()
        self._connected = asyncio.Event()
        ice = [RTCIceServer(each.url, each.username or None, each.credential or None) for each in servers]
        # An empty list, not none at all: else aiortc asks a STUN server of its own choice.
        self.peer: RTCPeerConnection = RTCPeerConnection(RTCConfiguration(iceServers=ice))
        allow_rsa(self.peer)
        self.peer.on("connectionstatechange", self._changed)

    @property
    def ended(self) -> asyncio.Event:
        """Set once it is over, or is to be."""
        return self._ended

    async def accept(self, offer: str) -> None:
        """Take the client's offer.

        Raises:
            Unmet: there is no codec in common.
            ValueError: aiortc cannot make anything of it.
        """
        from aiortc import RTCSessionDescription
        from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError

        try:
            await self.peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
        except OperationError:
            raise Unmet("no codec in common: of video H.264 and VP8 are known here") from None
        except (InvalidAccessError, InvalidStateError, ValueError, KeyError, IndexError, AssertionError) as error:
            # Its parser tells of what it did not expect in all of these ways.
            logger.debug("%s: an offer that cannot be read: %r", self.name, error)
            raise ValueError("the offer cannot be read") from None
        trust_fingerprints(self.peer)

    async def answer(self) -> str:
        """The answer, with all candidates in it.

        Raises:
            TimeoutError: they were not found in time.
        """
        async with asyncio.timeout(ANSWER_S):
            await self.peer.setLocalDescription(await self.peer.createAnswer())
        return self.peer.localDescription.sdp

    async def trickle(self, more: Fragment) -> None:
        """Take further candidates of the client.

        Raises:
            ValueError: one of them is none.
        """
        from aiortc.sdp import candidate_from_sdp

        for mid, text in more.candidates:
            try:
                candidate = candidate_from_sdp(text.removeprefix("candidate:"))
            except (ValueError, IndexError, AssertionError):
                raise ValueError("a candidate cannot be read") from None
            candidate.sdpMid = mid or "0"
            with contextlib.suppress(ValueError):  # of a sort that is of no use here, such as TCP
                await self.peer.addIceCandidate(candidate)

    async def settled(self) -> None:
        """Return once media can flow, or it is over."""
        await either(self._connected, self._ended)

    def end(self) -> None:
        """Have it end. Idempotent; on the event loop's thread."""
        self._ended.set()

    async def close(self) -> None:
        """Let go of its sockets and tasks."""
        self._ended.set()
        try:
            async with asyncio.timeout(CLOSE_S):
                await close_peer(self.peer)
        except TimeoutError:
            logger.error("%s: the connection was not closed within %g s", self.name, CLOSE_S)  # noqa: TRY400

    def _changed(self) -> None:
        state = self.peer.connectionState
        logger.debug("%s is %s", self.name, state)
        if state == "connected":
            self._connected.set()
        elif state in ("failed", "closed"):
            self._ended.set()


async def close_peer(peer: RTCPeerConnection) -> None:
    """Close a peer connection; one that is still finding its way is given a second to do so.

    aioice asks for consent from the moment that its checks succeed until it is closed: closed in just that moment, it
    would ask for ever.
    """
    checked = asyncio.Event()

    def look() -> None:
        if peer.iceConnectionState != "checking":
            checked.set()

    peer.on("iceconnectionstatechange", look)
    look()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(CHECKS_S):
            await checked.wait()
    await peer.close()


async def either(*events: asyncio.Event) -> None:
    """Return once one of the events is set. Cancellation leaves nothing behind."""
    waits = [asyncio.create_task(each.wait()) for each in events]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waits:
            each.cancel()
        await asyncio.gather(*waits, return_exceptions=True)
