"""One connection and one decoder for all who read the same source.

    camera ── Source (decode thread) ── pump (task) ──┬── reader: own rate, own media time, newest frame wins
                                                      └── reader …

The first reader opens the connection and the last one closes it, unless it is kept for somebody who is about to come
back. Files that are played once, and whatever else has a beginning, are read by each for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from streamcap.errors import SourceClosed
from streamcap.flow import Channel, ChannelClosed
from streamcap.metrics import Stages
from streamcap.sources.address import Kind, parse
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.timeline import Sampler
from streamcap.types import Frame, Notice, NoticeKind, SourceInfo

if TYPE_CHECKING:
    from streamcap.sources.relay import Relay

__all__ = ["FrameSource", "SharedReader", "SharedSources"]

_log = logging.getLogger(__name__)

OpenSource = Callable[[str, SourceOptions], Source]

# A connection that is kept and that nobody reads hands over one picture in so many seconds.
_IDLE_FPS = 0.1


class FrameSource(Protocol):
    """What a pipeline reads from: a source of its own, or a reader of a shared one."""

    fps: float
    """Most frames a second; may be set at any time."""

    @property
    def stages(self) -> Stages:
        """Time of the decode thread."""
        ...

    @property
    def relay(self) -> Relay | None:
        """Its packets as they come; None where it has none, or is not open."""
        ...

    @property
    def info(self) -> SourceInfo:
        """What is known of the source. Raises RuntimeError before it is open."""
        ...

    @property
    def drops(self) -> int:
        """Frames that were replaced by newer ones before anybody took them."""
        ...

    def hurry(self) -> None:
        """See :meth:`Source.hurry`."""
        ...

    async def open(self) -> SourceInfo:
        """See :meth:`Source.open`."""
        ...

    def frames(self) -> AsyncIterator[Frame]:
        """See :meth:`Source.frames`."""
        ...

    def newest(self, frame: Frame) -> Frame:
        """See :meth:`Source.newest`."""
        ...

    async def close(self) -> None:
        """See :meth:`Source.close`."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class SharedSources:
    """The connections of a process, by their address. For one event loop.

    Args:
        open_source: makes a source; made again for each new connection.
    """

    def __init__(self, open_source: OpenSource) -> None:
        self._open_source = open_source
        self._entries: dict[tuple[str, str], _Connection] = {}
        self._ending: set[asyncio.Task[None]] = set()

    def reader(self, uri: str, options: SourceOptions) -> SharedReader:
        """A reader of the source that a SOURCE string names; made, not opened: no I/O.

        Raises:
            UsageError: as ``open_source``.
        """
        self._open_source(uri, options)  # what cannot be named fails here; nothing was opened
        return SharedReader(self, uri, options)

    def keep(self, uri: str, stream: str, seconds: float) -> None:
        """Keep the connection that a stream reads for this long after its last reader has gone; 0: no longer."""
        entry = self._entries.get(_key(uri, stream))
        if entry is not None:
            entry.keep(seconds)

    async def close(self) -> None:
        """Close what is kept or still open, and wait for it."""
        for entry in tuple(self._entries.values()):
            self._end(entry)
        if self._ending:
            await asyncio.wait(set(self._ending))

    def _join(self, reader: SharedReader, uri: str, options: SourceOptions) -> _Connection:
        key = _key(uri, options.stream)
        entry = self._entries.get(key)
        if entry is None:
            entry = _Connection(key, self)
            source = self._open_source(uri, replace(options, origin=0.0, on_notice=entry.notify))
            self._entries[key] = entry
            entry.start(source)
        entry.add(reader)
        return entry

    def _forget(self, entry: _Connection) -> None:
        if self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def _end(self, entry: _Connection) -> asyncio.Task[None]:
        """Close a connection; from now on the next reader opens another."""
        self._forget(entry)
        task = asyncio.create_task(entry.stop(), name=f"close-{entry.key[1] or 'shared'}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)
        return task


class _Connection:
    """One source, its pump and its readers."""

    def __init__(self, key: tuple[str, str], shared: SharedSources) -> None:
        self.key = key
        self._shared = shared
        self._readers: list[SharedReader] = []
        self._kept: asyncio.TimerHandle | None = None
        self.lost: Notice | None = None  # the newest of why it is away, None while it is there

    def start(self, source: Source) -> None:
        """Begin to open the source and to hand out its frames."""
        self.source = source
        self.opened: asyncio.Future[SourceInfo] = asyncio.get_running_loop().create_future()
        self._pump = asyncio.create_task(self._run(), name=f"source-{self.key[1] or 'shared'}")

    def add(self, reader: SharedReader) -> None:
        """Let one more read."""
        self._readers.append(reader)
        self.rate()

    def owns(self, reader: SharedReader) -> bool:
        """True for the reader that the connection's costs are counted for."""
        return bool(self._readers) and self._readers[0] is reader

    def rate(self) -> None:
        """Set the source to the highest rate that anybody wants."""
        self.source.fps = max((reader.fps for reader in self._readers), default=_IDLE_FPS)

    def keep(self, seconds: float) -> None:
        """See :meth:`SharedSources.keep`."""
        self._unkeep()
        if seconds > 0:
            self._kept = asyncio.get_running_loop().call_later(seconds, self._keep_no_longer)

    async def leave(self, reader: SharedReader) -> None:
        """Read no more; the last one to leave waits until the connection is closed, unless it is kept."""
        if reader not in self._readers:
            return
        self._readers.remove(reader)
        if self._readers or self._kept is not None:
            self.rate()
            return
        await asyncio.shield(self._shared._end(self))

    def notify(self, notice: Notice) -> None:
        """Pass on what the source has to say."""
        if notice.kind in (NoticeKind.LOST, NoticeKind.CONNECTED):
            self.lost = notice if notice.kind is NoticeKind.LOST else None
        for reader in tuple(self._readers):
            reader.notify(notice)

    async def stop(self) -> None:
        """Close the source and wait for the end of the pump."""
        self._unkeep()
        await self.source.close()
        await asyncio.wait({self._pump})

    def _unkeep(self) -> None:
        if self._kept is not None:
            self._kept.cancel()
            self._kept = None

    def _keep_no_longer(self) -> None:
        self._kept = None
        if not self._readers:
            self._shared._end(self)

    async def _run(self) -> None:
        """Hand each frame to all readers, and at the end what it ended with."""
        error: Exception | None = None
        try:
            async with self.source as source:
                self.opened.set_result(source.info)
                async for frame in source.frames():
                    for reader in tuple(self._readers):
                        reader.offer(frame)
        except Exception as exc:  # whatever it is belongs to the readers: each raises it
            error = exc
        finally:
            self._shared._forget(self)
            self._unkeep()
            if not self.opened.done():
                self.opened.set_exception(error or SourceClosed(f"{self.source.shown} was closed while it was opening"))
                self.opened.exception()  # seen: there may be no reader left to see it
            for reader in tuple(self._readers):
                reader.end(error)


class SharedReader:
    """One reader of a source that others may read too; used like a :class:`Source`, opened once.

    Media time begins at the reader's own origin with the first frame that it gets.
    """

    def __init__(self, shared: SharedSources, uri: str, options: SourceOptions) -> None:
        self._shared, self._uri, self._options = shared, uri, options
        self._sampler = Sampler(options.fps)
        self._connection: _Connection | None = None
        self._channel: Channel[Frame] | None = None
        self._shift: float | None = None  # own media time minus the source's
        self._closed = asyncio.Event()
        self._missed = 0  # what the source had dropped before
        self._drops = 0
        self._no_stages = Stages()

    @property
    def fps(self) -> float:
        """Most frames a second. May be set at any time."""
        return self._sampler.rate

    @fps.setter
    def fps(self, fps: float) -> None:
        self._sampler.rate = fps
        if self._connection is not None:
            self._connection.rate()

    @property
    def stages(self) -> Stages:
        """Time of the decode thread; empty for all readers but one."""
        if self._connection is not None and self._connection.owns(self):
            return self._connection.source.stages
        return self._no_stages

    @property
    def relay(self) -> Relay | None:
        """The packets of the source, the same for all its readers."""
        return self._connection.source.relay if self._connection is not None else None

    @property
    def info(self) -> SourceInfo:
        """What is known of the source. Raises RuntimeError before it is open."""
        if self._connection is None:
            raise RuntimeError("the source is not open")
        return self._connection.source.info

    @property
    def drops(self) -> int:
        """Frames that were replaced by newer ones before anybody took them, here or at the source."""
        if self._connection is None or self._channel is None:
            return self._drops
        return self._channel.drops + self._connection.source.drops - self._missed

    def hurry(self) -> None:
        """See :meth:`Source.hurry`; for all that read it."""
        if self._connection is not None:
            self._connection.source.hurry()

    async def open(self) -> SourceInfo:
        """Join the connection, or make it, and wait for its first picture. One that is away is tried again at once.

        Raises:
            SourceError: it cannot be had, for whatever reason (see :meth:`Source.open`).
            SourceClosed: another task closed the reader meanwhile, or before.
        """
        if self._closed.is_set():
            raise SourceClosed("it was closed before it was opened")
        self._channel = Channel(1, "newest")
        connection = self._connection = self._shared._join(self, self._uri, self._options)
        self._missed = connection.source.drops
        connection.source.hurry()
        closed = asyncio.create_task(self._closed.wait(), name="reader-closed")
        try:
            either: list[asyncio.Future[Any]] = [closed, connection.opened]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        except BaseException:
            await self.close()
            raise
        finally:
            closed.cancel()
            await asyncio.wait({closed})
        if not connection.opened.done():
            raise SourceClosed("it was closed while it was opening")
        try:
            info = connection.opened.result()
        except BaseException:
            await self.close()
            raise
        if connection.lost is not None:  # it was open before, and is away now
            self.notify(connection.lost)
        return info

    async def frames(self) -> AsyncIterator[Frame]:
        """See :meth:`Source.frames`."""
        if self._channel is None:
            raise RuntimeError("the source is not open")
        async for frame in self._channel:
            yield frame

    def newest(self, frame: Frame) -> Frame:
        """See :meth:`Source.newest`."""
        return frame if self._channel is None else self._channel.newest(frame)

    async def close(self) -> None:
        """Read no more. May be called again, and while another task reads frames."""
        self._closed.set()
        self._drops = self.drops
        connection, self._connection = self._connection, None
        if self._channel is not None:
            self._channel.discard()
        if connection is not None:
            await connection.leave(self)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- the connection's side

    def offer(self, frame: Frame) -> None:
        """Take a frame if it is wanted."""
        if self._channel is None or self._connection is None:
            return
        # At the source's own rate its choice is the choice: a second one could leave out what came a little early.
        alone = self.fps >= self._connection.source.fps
        if not alone and not self._sampler.take(frame.pts):
            return
        if self._shift is None:
            self._shift = self._options.origin - frame.pts
        with contextlib.suppress(ChannelClosed):  # it is being closed
            self._channel.put(replace(frame, stream=self._options.stream, pts=frame.pts + self._shift))

    def notify(self, notice: Notice) -> None:
        """Pass on what the source has to say, in the reader's own media time."""
        shift = self._options.origin - notice.at if self._shift is None else self._shift
        start = None if notice.start is None else max(self._options.origin, notice.start + shift)
        end = None if notice.end is None else max(self._options.origin, notice.end + shift)
        at = max(self._options.origin, notice.at + shift)
        self._options.on_notice(replace(notice, at=at, start=start, end=end))

    def end(self, error: Exception | None) -> None:
        """The source is over."""
        if self._channel is not None:
            self._channel.close(error)


def _key(uri: str, stream: str) -> tuple[str, str]:
    """What makes two readings one: the address, where it has neither beginning nor end; else each stream's own."""
    address = parse(uri)
    endless = address.kind in (Kind.NETWORK, Kind.DEVICE) or address.loop
    return (uri, "" if endless else stream)
