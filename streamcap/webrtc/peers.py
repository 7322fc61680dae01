"""All WebRTC sessions of a server: who publishes, who watches, each with an address of its own until it ends."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import logging
import secrets
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from streamcap.config import WebRtcSettings
from streamcap.errors import StreamcapError, UsageError
from streamcap.frames import View
from streamcap.sources.ports import Ports, Publication
from streamcap.sources.relay import Relay
from streamcap.webrtc.offers import Unmet, checked_offer, fragment, offered_codecs

if TYPE_CHECKING:
    from streamcap.webrtc.broadcast import Broadcast
    from streamcap.webrtc.publisher import Publisher
    from streamcap.webrtc.viewer import Viewer

__all__ = ["PUBLISH", "WATCH", "BadOffer", "Begun", "PeerGone", "Peers", "Refused", "Restart", "Sends", "available"]

logger = logging.getLogger(__name__)

# Sessions remembered that were over before they were ended: OBS closes its connection first, and then says so.
LEFT_MAX: Final = 64
PUBLISH: Final = "whip"
WATCH: Final = "whep"


class BadOffer(UsageError):
    """A description that is none.

    Args:
        unmet: true for one that can be read, and asks for what cannot be.
    """

    def __init__(self, message: str, *, unmet: bool = False) -> None:
        super().__init__(message)
        self.unmet = unmet


class PeerGone(UsageError):
    """There is no such session, or not any more."""


class Restart(UsageError):
    """A client wants to begin ICE anew, which is not supported: it has to begin a new session."""


class Refused(StreamcapError):
    """There are too many sessions already, or the machine takes too long to answer."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A session that has begun.

    Attributes:
        id: its secret part of the address.
        answer: for the client.
        etag: of its ICE session.
    """

    id: str
    answer: str
    etag: str


@dataclass(frozen=True, slots=True)
class Sends:
    """What viewers of a stream get.

    Attributes:
        codec: ``h264`` or ``vp8``.
        relayed: as the source sends it; else the analysed frames, encoded here.
        why: it is not relayed; empty where it is.
    """

    codec: str
    relayed: bool
    why: str = ""


@dataclass(slots=True)
class _Session:
    stream: str
    sort: str
    etag: str
    ufrag: str
    peer: Publisher | Viewer
    task: asyncio.Task[None] | None = None
    ended: bool = False  # because somebody wished it


@functools.cache
def available() -> bool:
    """True where aiortc is installed."""
    return importlib.util.find_spec("aiortc") is not None


class Peers:
    """The sessions. For one event loop; to be closed.

    Args:
        ports: where publishers come in.
        view: the analysed frames of a stream; None where there is no such stream.
        relay: the packets of its source; None where it has none now.

    Attributes:
        refused: sessions of each sort that were not taken because there were too many.
    """

    def __init__(
        self,
        settings: WebRtcSettings,
        ports: Ports,
        view: Callable[[str], View | None],
        relay: Callable[[str], Relay | None],
    ) -> None:
        self.settings = settings
        self.refused: Counter[str] = Counter()
        self._ports, self._view, self._relay = ports, view, relay
        self._sessions: dict[str, _Session] = {}
        self._left: dict[str, tuple[str, str]] = {}  # sort and stream of those that nobody has ended yet, oldest first
        self._broadcasts: dict[tuple[str, bool], tuple[Broadcast, asyncio.Task[None]]] = {}
        self._beginning = {PUBLISH: 0, WATCH: 0}
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False

    async def publish(self, stream: str, offer: str) -> Begun:
        """Begin to take what a client publishes to a stream.

        Raises:
            BadOffer: it cannot be answered.
            PortTaken: somebody publishes there already.
            Refused: too many publish, or the answer took too long.
        """
        from streamcap.webrtc.publisher import Publisher

        port = self._ports.port(stream)
        name = f"a publisher of {stream}"
        return await self._begin(
            stream, PUBLISH, offer, lambda: Publisher(name, port, self.settings.ice_servers), self.settings.publishers
        )

    async def watch(self, stream: str, offer: str) -> Begun:
        """Begin to show a stream to a client.

        Raises:
            BadOffer: it cannot be answered.
            Refused: too many watch, there is nothing to see yet, or the answer took too long.
        """
        from streamcap.webrtc.viewer import Viewer

        _checked(offer, sends=False)
        view, sends = self._view(stream), self.sends(stream)
        if view is None or sends is None:
            raise Refused(f"there is nothing to see of {stream} yet")
        # Who cannot play what the source sends gets the same as of a source that cannot be relayed.
        relayed = sends.relayed and sends.codec in offered_codecs(offer)
        if not relayed and not view.number:
            raise Refused(f"of {stream} there is {sends.codec.upper()} to see yet, and nothing else")

        def made() -> Viewer:
            broadcast = self._broadcast(stream, view, relayed=relayed)
            return Viewer(f"a viewer of {stream}", broadcast, self.settings.ice_servers)

        return await self._begin(stream, WATCH, offer, made, self.settings.viewers)

    async def trickle(self, sort: str, stream: str, key: str, etag: str, text: str) -> None:
        """Take further candidates of a client.

        Args:
            etag: what the client believes the session to be.

        Raises:
            PeerGone: there is no such session.
            Restart: the client wants to begin ICE anew.
            LookupError: the tag is not that of the session.
            BadOffer: what it sent cannot be read.
        """
        session = self._session(sort, stream, key)
        if etag == "*":
            raise Restart("ICE restarts are not supported", hint="begin a new session")
        if etag != session.etag:
            raise LookupError("the session is another by now")
        try:
            more = fragment(text)
            if more.ufrag and more.ufrag != session.ufrag:
                raise Restart("ICE restarts are not supported", hint="begin a new session")
            await session.peer.connection.trickle(more)
        except ValueError as error:
            raise BadOffer(str(error), unmet=isinstance(error, Unmet)) from None

    async def end(self, sort: str, stream: str, key: str) -> None:
        """End a session, and return once everything of it is closed. One that is over by itself is ended once, too.

        Raises:
            PeerGone: there is no such session.
        """
        if self._left.get(key) == (sort, stream):
            del self._left[key]
            return
        session = self._session(sort, stream, key)
        session.ended = True
        session.peer.connection.end()
        if session.task is not None:
            await asyncio.wait({session.task})

    def sends(self, stream: str) -> Sends | None:
        """What viewers of a stream get, if they can play it; None where there is nothing to see, or no WebRTC."""
        view = self._view(stream)
        if view is None or view.closed or not available():
            return None
        source = self._relayable(stream)
        if isinstance(source, Publication):
            return Sends(source.codec, relayed=True)
        if source is not None and not source.unfit:
            return Sends("h264", relayed=True)
        if not view.number:
            return None
        return Sends("vp8", relayed=False, why="its source has no packets" if source is None else source.unfit)

    def count(self, sort: str) -> int:
        """Sessions of a sort."""
        return sum(session.sort == sort for session in self._sessions.values())

    async def close(self) -> None:
        """End all sessions. No new one can begin."""
        self._closed = True
        tasks = [session.task for session in self._sessions.values() if session.task is not None]
        tasks += [task for _, task in self._broadcasts.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._ending, return_exceptions=True)

    def _session(self, sort: str, stream: str, key: str) -> _Session:
        session = self._sessions.get(key)
        if session is None or (session.sort, session.stream) != (sort, stream):
            raise PeerGone("there is no such session, or not any more")
        return session

    async def _begin(
        self, stream: str, sort: str, offer: str, made: Callable[[], Publisher | Viewer], most: int
    ) -> Begun:
        text, ufrag = _checked(offer, sends=sort == PUBLISH)
        if not self._open() or self.count(sort) + self._beginning[sort] >= most:
            self.refused[sort] += 1
            raise Refused(f"there are {most} already" if most else "this server takes none")
        self._beginning[sort] += 1
        peer = made()
        try:
            answer = await peer.begin(text)
        except ValueError as error:
            await peer.close()
            raise BadOffer(str(error), unmet=isinstance(error, Unmet)) from None
        except TimeoutError:
            await peer.close()
            raise Refused("the answer was not ready in time") from None
        except BaseException:
            await peer.close()
            raise
        finally:
            self._beginning[sort] -= 1
            self._tidy()
        key, etag = secrets.token_urlsafe(16), f'"{secrets.token_hex(8)}"'
        session = self._sessions[key] = _Session(stream, sort, etag, ufrag, peer)
        session.task = asyncio.create_task(self._run(key, peer), name=f"{sort}-{stream}")
        if not self._open():  # closed meanwhile
            session.task.cancel()
        return Begun(key, answer, etag)

    async def _run(self, key: str, peer: Publisher | Viewer) -> None:
        try:
            await peer.run()
        except Exception:  # a defect of one session must not be lost, nor end the others
            logger.exception("%s broke", peer.connection.name)
        finally:
            session = self._sessions.pop(key)
            if not session.ended:
                self._left[key] = (session.sort, session.stream)
                while len(self._left) > LEFT_MAX:
                    del self._left[next(iter(self._left))]
            self._tidy()

    def _open(self) -> bool:
        return not self._closed

    def _relayable(self, stream: str) -> Publication | Relay | None:
        publication = self._ports.port(stream).publication
        if publication is not None and publication.codec:
            return publication
        return self._relay(stream)

    def _broadcast(self, stream: str, view: View, *, relayed: bool) -> Broadcast:
        from streamcap.webrtc.encoding import EncodedBroadcast
        from streamcap.webrtc.relaying import PublisherBroadcast, SourceBroadcast

        known = self._broadcasts.get((stream, relayed))
        if known is not None and not known[0].over.is_set():
            return known[0]
        source = self._relayable(stream) if relayed else None
        broadcast: Broadcast
        if isinstance(source, Publication):
            broadcast = PublisherBroadcast(source)
        elif source is not None:
            broadcast = SourceBroadcast(source)
        else:
            broadcast = EncodedBroadcast(view)
        task = asyncio.create_task(broadcast.run(), name=f"broadcast-{stream}")
        self._broadcasts[stream, relayed] = (broadcast, task)
        return broadcast

    def _tidy(self) -> None:
        """End what nobody watches."""
        for key, (broadcast, task) in list(self._broadcasts.items()):
            if not broadcast.watched:
                task.cancel()
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)
                del self._broadcasts[key]


def _checked(offer: str, *, sends: bool) -> tuple[str, str]:
    try:
        return checked_offer(offer, sends=sends)
    except ValueError as error:
        raise BadOffer(str(error), unmet=isinstance(error, Unmet)) from None
