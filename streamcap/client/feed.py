"""The connection of a subscriber: messages out, back after a loss, on from where it stood."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, Self
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from streamcap.client.address import (
    FINAL_CODES,
    STATUS_CODES,
    checked_token,
    closed_for_good,
    feed_url,
    in_short,
    is_loopback,
)
from streamcap.errors import FeedClosed, FeedError
from streamcap.wire import (
    FRAME_MAX_BYTES,
    SUBPROTOCOL,
    CaughtUpMessage,
    CloseCode,
    HelloMessage,
    Message,
    SnapshotMessage,
    decode,
)
from streamcap.wire.fold import FeedState

__all__ = ["Feed", "Gap", "subscribe"]

logger = logging.getLogger(__name__)

OPEN_TIMEOUT_S: Final = 10.0
CLOSE_TIMEOUT_S: Final = 2.0
QUEUE_FRAMES: Final = 16  # read ahead of the caller; past it the socket is left to fill, and the server conflates
FIRST_TRIES: Final = 5  # of the first connection, about 4 s: enough for a server that is just being started
BACKOFF_FIRST_S: Final = 0.25
BACKOFF_MAX_S: Final = 15.0
SILENCE_BEATS: Final = 3  # heartbeats missed before a connection is given up
SILENCE_MIN_S: Final = 5.0
# Request lines past 8 KB are refused by common servers; a feed of that many streams begins with snapshots instead.
AFTER_MAX_CHARS: Final = 6_000


@dataclass(frozen=True, slots=True)
class Gap:
    """Durable messages that this subscriber never gets: the server no longer holds them, or began its numbers anew.

    Comes before the snapshot that the feed goes on from. Not to be taken for ``wire.GapMessage``, which tells of media
    that the server itself did not watch.

    Attributes:
        after: number of the last durable message that was handed out.
        upto: number of the last one that is missing; None where the server began anew and nobody knows.
    """

    stream: str
    after: int
    upto: int | None
    type: Literal["gap of the subscriber"] = "gap of the subscriber"


class Feed:
    """An async iterator over the messages of a feed. Made by ``subscribe``.

    Iteration ends when the stream has ended (1000). A cancelled step loses no message: the next step goes on. Messages
    come as the server sent them, less doubles and superseded drafts; a draft whose text is empty withdraws the one of
    its id. After a loss of connection there is another ``hello``, then what was missed and ``caught_up``, or a
    ``snapshot`` where the server no longer holds it.

    Attributes:
        states: the state of each stream as of the last message that was handed out, to read; ``states[s].seq`` and
            ``.epoch`` are where a later ``subscribe`` can go on.
    """

    def __init__(
        self,
        url: str,
        *,
        after: int | Mapping[str, int] | None,
        epoch: str | None,
        interim: bool,
        kinds: Iterable[str] | None,
        reconnect: bool,
        token: str | None = None,
    ) -> None:
        self._url = feed_url(url)
        self._headers = {"Authorization": f"Bearer {checked_token(token)}"} if token is not None else {}
        if token is not None and urlsplit(self._url).scheme == "ws" and not is_loopback(self._url):
            logger.warning("the token goes to %s in the clear; wss:// would hide it", self._server)
        self._options: dict[str, str] = {} if interim else {"interim": "false"}
        if kinds is not None:
            self._options["kinds"] = ",".join(sorted(kinds))
        self._complete = "kinds" not in self._options and "kinds=" not in urlsplit(self._url).query
        self._after, self._epoch = after, epoch
        self._reconnect = reconnect
        self._socket: ClientConnection | None = None
        self._ended = False
        self._leave = asyncio.Event()
        self._silence_s: float | None = None
        self._failures = 0
        # Streams whose place is known. One that has only said hello has none: from 0 its whole life would be replayed.
        self._standing: set[str] = set()
        self._places: dict[str, tuple[str | None, int]] = {}  # epoch and number up to which each stream was handed out
        self._behind_gap: Message | None = None
        self.states: dict[str, FeedState] = {}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message | Gap:
        """The next message, or a :class:`Gap` where some are lost to this subscriber for good.

        Raises:
            FeedClosed: the server will not have this subscription (4400, 4401, 4403, 4404).
            FeedError: the connection is lost, and it is not to reconnect.
            WireError: the server speaks something else.
        """
        if self._behind_gap is not None:
            message, self._behind_gap = self._behind_gap, None
            return message
        while not self._ended:
            if self._socket is None:
                await self._connect_again()
                continue
            try:
                async with asyncio.timeout(self._silence_s):
                    data = await self._socket.recv()
            except TimeoutError:
                await self._lost(f"nothing was heard for {self._silence_s:g} s")
                continue
            except ConnectionClosed as closed:
                await self._closed(closed)
                continue
            message = decode(data)
            gap = self._gap_before(message)
            if await self._take(message):
                if gap is not None:
                    self._behind_gap = message
                    return gap
                return message
        raise StopAsyncIteration

    async def connect_first(self) -> None:
        """Connect, trying a few times where it may reconnect.

        Raises:
            FeedClosed, FeedError: as for iteration; also where nothing can be reached.
        """
        tries = FIRST_TRIES if self._reconnect else 1
        while True:
            try:
                await self._connect()
            except FeedClosed:
                raise
            except FeedError:
                if self._failures >= tries:
                    raise
                await self._back_off()
            else:
                return

    async def close(self) -> None:
        """Leave; the server is told, within ``CLOSE_TIMEOUT_S``. Iteration ends, in whatever task it waits."""
        self._ended = True
        self._leave.set()
        await self._drop()

    async def _connect_again(self) -> None:
        await self._back_off()
        connecting = asyncio.create_task(self._connect())
        leaving = asyncio.create_task(self._leave.wait())
        try:
            await asyncio.wait([connecting, leaving], return_when=asyncio.FIRST_COMPLETED)
        finally:
            connecting.cancel()
            leaving.cancel()
            await asyncio.gather(connecting, leaving, return_exceptions=True)
        error = None if connecting.cancelled() else connecting.exception()
        if isinstance(error, FeedError) and not isinstance(error, FeedClosed):
            logger.info("%s; trying again", error)
        elif error is not None:
            raise error
        if self._ended:
            await self._drop()  # it was left while it connected

    async def _connect(self) -> None:
        self._silence_s = OPEN_TIMEOUT_S  # until a hello says what to expect
        try:
            self._socket = await connect(
                self._resume_url(),
                subprotocols=[Subprotocol(SUBPROTOCOL)],
                additional_headers=self._headers,
                compression=None,
                proxy=None if is_loopback(self._url) else True,
                open_timeout=OPEN_TIMEOUT_S,
                close_timeout=CLOSE_TIMEOUT_S,
                max_size=FRAME_MAX_BYTES,
                max_queue=QUEUE_FRAMES,
            )
        except InvalidStatus as refused:
            status = refused.response.status_code
            if status in STATUS_CODES:
                raise closed_for_good(STATUS_CODES[status], f"HTTP {status}") from None
            self._failures += 1
            raise FeedError(f"{self._server} answers with HTTP {status}") from None
        except (OSError, TimeoutError, InvalidHandshake, InvalidURI, EOFError) as error:
            self._failures += 1
            raise FeedError(
                f"cannot reach a feed at {self._server}: {in_short(error)}", hint="is `streamcap serve` running there?"
            ) from None

    async def _back_off(self) -> None:
        if self._failures:
            longest = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(self._failures, 16))
            # Jitter, so that a thousand subscribers do not come back in one instant.
            pause = longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._leave.wait(), pause)

    async def _closed(self, closed: ConnectionClosed) -> None:
        await self._drop()
        code, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "the connection broke off")
        if code == CloseCode.ENDED:
            self._ended = True
        elif code in FINAL_CODES:
            raise closed_for_good(CloseCode(code), reason)
        else:
            await self._lost(f"{reason or 'closed'} ({code})")

    async def _lost(self, why: str) -> None:
        await self._drop()
        if self._ended:
            return
        if not self._reconnect:
            self._ended = True
            raise FeedError(f"the feed at {self._server} was cut off: {why}")
        self._failures += 1
        logger.info("lost %s: %s; coming back", self._server, why)

    async def _drop(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close()

    async def _take(self, message: Message) -> bool:
        """Fold a message in; False where the caller has had it."""
        if message.stream is None:
            return True
        state = self.states.get(message.stream)
        if state is None:
            state = self.states[message.stream] = self._new_state(message.stream)
        if state.missing_before(message) is not None:
            # The server promises that this cannot be; a proxy in between may have other ideas. Replay heals it.
            await self._lost(f"messages of {message.stream} are missing after {state.seq}")
            return False
        if isinstance(message, HelloMessage):
            self._failures = 0
            self._silence_s = max(SILENCE_MIN_S, SILENCE_BEATS * message.heartbeat_s)
            if state.epoch != message.epoch:
                self._standing.discard(message.stream)
        elif isinstance(message, SnapshotMessage | CaughtUpMessage):
            self._standing.add(message.stream)
        return state.apply(message)

    def _gap_before(self, message: Message) -> Gap | None:
        """What a snapshot passes over, of a stream that was followed before. Called before the message is folded in."""
        stream = message.stream
        if stream is None:
            return None
        if stream not in self.states:
            after = self._after.get(stream) if isinstance(self._after, Mapping) else self._after
            if isinstance(message, HelloMessage) and after is not None and self._epoch is not None:
                self._places[stream] = (self._epoch, after)
            return None
        state = self.states[stream]
        if isinstance(message, HelloMessage) and stream in self._standing:
            self._places[stream] = (state.epoch, state.seq)  # another epoch is about to wipe them
        if isinstance(message, CaughtUpMessage):
            self._places.pop(stream, None)
        if not isinstance(message, SnapshotMessage) or stream not in self._places:
            return None
        epoch, seq = self._places.pop(stream)
        if epoch != state.epoch:
            return Gap(stream, seq, None)
        return Gap(stream, seq, message.seq) if message.seq > seq else None

    def _new_state(self, stream: str) -> FeedState:
        after = self._after.get(stream) if isinstance(self._after, Mapping) else self._after
        if after is not None and self._epoch is not None:
            self._standing.add(stream)
        return FeedState(stream, epoch=self._epoch, seq=after or 0, complete=self._complete)

    def _resume_url(self) -> str:
        parts = urlsplit(self._url)
        query = {**dict(parse_qsl(parts.query, keep_blank_values=True)), **self._options, **self._place()}
        return urlunsplit(parts._replace(query=urlencode(query, safe="*,:")))

    def _place(self) -> dict[str, str]:
        """Where to go on: from what was taken, before that from what the caller gave."""
        epochs = {self.states[stream].epoch for stream in self._standing} or {self._epoch}
        epoch = epochs.pop()
        if epoch is None or epochs:
            return {}
        places: dict[str, int] = {}
        if epoch == self._epoch:
            if isinstance(self._after, int) and not self._standing:
                return {"after": str(self._after), "epoch": epoch}
            places |= self._after if isinstance(self._after, Mapping) else {}
        places |= {stream: self.states[stream].seq for stream in self._standing}
        after = ",".join(f"{stream}:{seq}" for stream, seq in places.items())
        return {"after": after, "epoch": epoch} if 0 < len(after) <= AFTER_MAX_CHARS else {}

    @property
    def _server(self) -> str:
        parts = urlsplit(self._url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@contextlib.asynccontextmanager
async def subscribe(
    url: str,
    *,
    after: int | Mapping[str, int] | None = None,
    epoch: str | None = None,
    interim: bool = True,
    kinds: Iterable[str] | None = None,
    reconnect: bool = True,
    token: str | None = None,
) -> AsyncIterator[Feed]:
    """Subscribe for the length of the block; leaving it, also by cancellation, closes the connection.

    Args:
        url: ``ws://host:port`` for all streams of a server, or the address of a feed.
        after, epoch: go on after this number (for several streams: by stream), from an earlier subscription.
        interim: False for durable messages only.
        kinds: of ``caption``, ``event``, ``status``, ``gap``, ``unchanged``, which None stands for, and ``instances``.
        reconnect: come back after a loss, with growing pauses, and resume; no durable message is missed that the
            server still holds, and none comes twice. Otherwise a loss raises ``FeedError``.
        token: for a server that asks for one, sent as a header.

    Raises:
        UsageError: not the address of a feed, or not a token.
        FeedError: nothing can be reached there.
        FeedClosed: the server will not have this subscription.
    """
    feed = Feed(url, after=after, epoch=epoch, interim=interim, kinds=kinds, reconnect=reconnect, token=token)
    try:
        await feed.connect_first()
        yield feed
    finally:
        await feed.close()
