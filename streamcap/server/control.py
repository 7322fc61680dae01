"""What the HTTP API may do to streams: add, change and remove them, and have them back after a restart."""

from __future__ import annotations

import asyncio
import logging
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

from streamcap.config import SourcePolicy, StreamSettings
from streamcap.errors import Overloaded, SourceRefused, SourceUnresolved, StreamcapError, UsageError
from streamcap.manager import Manager
from streamcap.server.registry import Kept, Registry
from streamcap.sources.policy import Resolver, check_source, resolve

__all__ = [
    "STREAMS_MAX",
    "AdmitSource",
    "Control",
    "NotAllowed",
    "StreamControl",
    "StreamExists",
    "StreamMissing",
    "admission",
]

logger = logging.getLogger(__name__)

RESOLVE_S: Final = 10.0  # to find the addresses of a host name

RESTORE_AGAIN_S: Final = 30.0  # until a host name that could not be looked up is tried again

STREAMS_MAX: Final = 256  # each has threads, a decoder and a memory of its own; far above what one machine watches

AdmitSource = Callable[[str], Awaitable[None]]
"""Lets a source address pass or raises ``UsageError`` (it cannot be) or ``SourceRefused`` (it may not be)."""


class StreamExists(UsageError):
    """There is a stream of that id."""


class StreamMissing(UsageError):
    """There is no stream of that id."""


class NotAllowed(UsageError):
    """It could be done, but not by way of the API."""


class StreamControl(Protocol):
    """The seam between the HTTP API and what runs the streams."""

    async def add(self, settings: StreamSettings) -> None:
        """Begin to watch a stream, and keep it for the next start.

        Raises:
            StreamExists: there is one of that id.
            SourceRefused: its source may not be opened from here.
            NotAllowed: there are too many streams.
            UsageError: its source is of no known sort.
            Overloaded: the machine has no room for it.
            StreamcapError: it cannot be kept; it is not watched either.
        """
        ...

    async def change(self, stream: str, wanted: Mapping[str, Any], *, paused: bool | None = None) -> None:
        """Watch a stream with other settings, pause or resume it.

        Args:
            wanted: of its settings those that are to be different; not its id or source.
            paused: None leaves it as it is.

        Raises:
            StreamMissing: there is none of that id.
            ConfigError: it is to have a vision–language captioner, and no model is set up.
            StreamcapError: it cannot be kept; nothing has changed.
        """
        ...

    async def remove(self, stream: str) -> None:
        """End a stream and keep it no longer.

        Raises:
            StreamMissing: there is none of that id.
            StreamcapError: that cannot be written down; it goes on.
        """
        ...


def admission(policy: SourcePolicy, resolver: Resolver = resolve) -> AdmitSource:
    """Admits what a policy lets be opened."""

    async def admit(source: str) -> None:
        # In a thread: a name is looked up there. One that is given up ends by itself, as the system's resolver does.
        check = asyncio.to_thread(check_source, source, policy, resolver)
        try:
            await asyncio.wait_for(check, RESOLVE_S)
        except TimeoutError:
            raise SourceUnresolved(f"the address of its host was not found within {RESOLVE_S:g} s") from None

    return admit


class Control:
    """The control of a manager's streams, with a registry where there is a data folder. One call at a time.

    Args:
        fixed: ids from the settings file: they are as the file says again after a restart, whatever is done here.
        admit: which sources may be added; None for those that the policy lets pass as it comes.
        streams_max: streams beyond this are refused.

    Attributes:
        refused: streams that were not taken, by why: ``load`` (no room), ``most`` (too many), ``source`` (the policy).
    """

    def __init__(
        self,
        manager: Manager,
        registry: Registry | None = None,
        *,
        fixed: Collection[str] = (),
        admit: AdmitSource | None = None,
        streams_max: int = STREAMS_MAX,
    ) -> None:
        self._manager, self._registry = manager, registry
        self._fixed = frozenset(fixed)
        self._admit, self._streams_max = admit or admission(SourcePolicy()), streams_max
        self.refused: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._restoring: asyncio.Task[None] | None = None

    async def restore(self) -> None:
        """Begin what was kept at an earlier run.

        One that cannot be begun any more, or that the policy does not let pass as it is now, is told of in the log,
        and kept. One whose host name cannot be looked up yet is begun as soon as it can; until :meth:`close`.
        """
        kept = [k for k in self._registry.kept.values() if k.settings.id not in self._fixed] if self._registry else []
        for stream in self._fixed & (self._registry.kept.keys() if self._registry else set()):
            logger.warning("the settings file's stream %s is taken, not the one that was added to it", stream)
        later = await self._begin(kept)
        if later:
            self._restoring = asyncio.create_task(self._begin_later(later), name="restore-streams")

    async def close(self) -> None:
        """Stop trying to restore streams. May be called again."""
        if self._restoring is not None:
            self._restoring.cancel()
            await asyncio.wait({self._restoring})

    async def _begin(self, kept: Sequence[Kept]) -> list[Kept]:
        """Begin what may be; returns what has to wait, because its host name cannot be looked up."""
        checks = await asyncio.gather(*(self._admit(k.settings.source) for k in kept), return_exceptions=True)
        later: list[Kept] = []
        async with self._turn:
            for each, refused in zip(kept, checks, strict=True):
                stream = each.settings.id
                if not self._is_wanted(stream):
                    continue
                try:
                    if isinstance(refused, BaseException):
                        raise refused
                    await self._manager.start(each.settings, paused=each.paused)
                except SourceUnresolved as error:
                    logger.warning("stream %s waits: %s", stream, error)
                    later.append(each)
                except UsageError as error:
                    logger.error("stream %s cannot be begun again: %s", stream, error)  # noqa: TRY400 - no defect
        return later

    def _is_wanted(self, stream: str) -> bool:
        """It is kept, and nobody has begun one of its name since."""
        kept = self._registry is not None and stream in self._registry.kept
        return kept and all(info.id != stream for info in self._manager.infos())

    async def _begin_later(self, waiting: list[Kept]) -> None:
        while waiting:
            await asyncio.sleep(RESTORE_AGAIN_S * random.uniform(0.5, 1.0))  # noqa: S311 - not a secret
            try:
                waiting = await self._begin(waiting)
            except StreamcapError as error:
                logger.warning("streams cannot be begun again yet: %s", error)

    async def add(self, settings: StreamSettings) -> None:
        """See ``StreamControl``."""
        # As plain settings: a subclass with the same values would never be equal to them.
        settings = StreamSettings.model_validate(settings.model_dump())
        try:
            await self._admit(settings.source)  # before the turn: a slow name server must not hold up the others
        except SourceRefused:
            self.refused["source"] += 1
            raise
        async with self._turn:
            known = [info.id for info in self._manager.infos()]
            if settings.id in known:
                raise StreamExists(f"there is already a stream {settings.id}")
            if len(known) >= self._streams_max:
                self.refused["most"] += 1
                raise NotAllowed(f"there are {len(known)} streams already, and no more are taken")
            try:
                self._manager.admit()
            except Overloaded:
                self.refused["load"] += 1
                raise
            if self._registry is not None:
                await self._registry.put(Kept(settings=settings))
            try:
                await self._manager.start(settings)
            except BaseException:  # one that was not started is not kept for the next start
                if self._registry is not None:
                    await self._registry.drop(settings.id)
                raise

    async def change(self, stream: str, wanted: Mapping[str, Any], *, paused: bool | None = None) -> None:
        """See ``StreamControl``."""
        async with self._turn:
            now = self._is_paused(stream)
            settings = StreamSettings.model_validate(self._manager.settings(stream).model_dump() | dict(wanted))
            pause = now if paused is None else paused
            if (settings, pause) == (self._manager.settings(stream), now):
                return
            self._manager.check(settings)  # what cannot be is not kept either
            if self._registry is not None and stream not in self._fixed:
                await self._registry.put(Kept(settings=settings, paused=pause))
            await self._manager.change(stream, settings, paused=pause)

    async def remove(self, stream: str) -> None:
        """See ``StreamControl``."""
        async with self._turn:
            self._is_paused(stream)
            if self._registry is not None:
                await self._registry.drop(stream)
            await self._manager.remove(stream)

    def _is_paused(self, stream: str) -> bool:
        """Whether the stream is paused."""
        for info in self._manager.infos():
            if info.id == stream:
                return info.paused
        raise StreamMissing(f"there is no stream {stream}")
