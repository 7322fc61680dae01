"""The journal on disk against a plain list, through any order of appends, reads, restarts and kills."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from streamcap.errors import WireError
from streamcap.journal import Bounds, Retention
from streamcap.journal.files import FILE_NAME
from streamcap.journal.sqlite import SqliteJournal
from streamcap.types import CaptionStatus
from streamcap.wire import MESSAGE_MAX_BYTES, DurableMessage, Encoded
from tests.feeding import caption, event, final, status

T = TypeVar("T")

MEMORY_DISK = Path("/dev/shm")  # a real disk would take its time over thousands of commits

streams = st.sampled_from(["a", "b", "c"])
sorts = st.lists(st.sampled_from(["event", "event", "final", "retracted", "status", "long"]), max_size=4)


def id_of(entry: Encoded) -> str:
    name: str = json.loads(entry.text)["id"]
    return name


def is_retraction(entry: Encoded) -> bool:
    return bool(json.loads(entry.text).get("status") == "retracted")


class Model:
    """What should be held of one stream."""

    def __init__(self) -> None:
        self.newest = 0
        self.held: list[Encoded] = []

    def add(self, entries: list[Encoded], keep: Retention) -> None:
        if not entries:  # bounds are met at the next append that adds something
            return
        self.newest += len(entries)
        self.held += entries
        assert keep.messages is not None and keep.size is not None
        while len(self.held) > keep.messages or (sum(e.size for e in self.held) > keep.size and len(self.held) > 1):
            self.held.pop(0)

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.newest - len(self.held) + 1, self.newest)


class JournalStates(RuleBasedStateMachine):
    """Everything that can be asked gives what the list gives."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = Path(tempfile.mkdtemp(dir=MEMORY_DISK if MEMORY_DISK.is_dir() else None))
        self.keep = Retention(messages=10, size=4000)
        self.models: dict[str, Model] = {}
        self.made = 0
        self.lives = 0
        self.journal = self.run(SqliteJournal.open(self.life, retention=self.keep))
        self.epoch = self.journal.epoch

    @property
    def life(self) -> Path:
        return self.folder / str(self.lives)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def teardown(self) -> None:
        self.run(self.journal.close())
        self.runner.close()
        shutil.rmtree(self.folder)

    def model(self, stream: str) -> Model:
        return self.models.setdefault(stream, Model())

    def message(self, sort: str, stream: str) -> DurableMessage:
        self.made += 1
        match sort:
            case "event":
                return event(self.made, stream, "Somebody waves.")
            case "long":
                return event(self.made, stream, "Somebody waves. " * 30)
            case "final":
                return final(f"c{self.made}", "Somebody waves.", stream)
            case "retracted":
                earlier = [e for e in self.model(stream).held if e.type == "caption"]
                return caption(
                    id_of(earlier[-1]) if earlier else "c0", 10, CaptionStatus.RETRACTED, "Somebody waves.", stream
                )
            case _:
                return status(stream=stream)

    @rule(stream=streams, sorts=sorts)
    def append(self, stream: str, sorts: list[str]) -> None:
        messages = [self.message(sort, stream) for sort in sorts]
        committed = self.run(self.journal.append(stream, messages))
        model = self.model(stream)
        assert [m.seq for m, _ in committed] == list(range(model.newest + 1, model.newest + len(sorts) + 1))
        model.add([entry for _, entry in committed], self.keep)

    @rule(sorts=sorts)
    def append_everywhere_at_once(self, sorts: list[str]) -> None:
        async def all_at_once() -> list[list[tuple[DurableMessage, Encoded]]]:
            work = [self.journal.append(name, [self.message(sort, name) for sort in sorts]) for name in "abc"]
            return await asyncio.gather(*work)

        for name, committed in zip("abc", self.run(all_at_once()), strict=True):
            self.model(name).add([entry for _, entry in committed], self.keep)

    @rule(stream=streams)
    def append_what_cannot_be(self, stream: str) -> None:
        try:
            self.run(self.journal.append(stream, [event(0, stream), event(0, stream, "x" * MESSAGE_MAX_BYTES)]))
        except WireError:
            return
        raise AssertionError("committed what is too large")

    @rule(stream=streams, after=st.integers(0, 80), limit=st.integers(1, 12))
    def read(self, stream: str, after: int, limit: int) -> None:
        expected = [entry for entry in self.model(stream).held if (entry.seq or 0) > after][:limit]
        assert self.run(self.journal.read(stream, after=after, limit=limit)) == expected
        assert self.run(self.journal.history(stream, after=after, limit=limit)) == expected

    @rule(stream=streams)
    def search(self, stream: str) -> None:
        held = [entry for entry in reversed(self.model(stream).held) if entry.type != "status"]
        withdrawn = {id_of(entry) for entry in held if is_retraction(entry)}
        expected = [e for e in held if not is_retraction(e) and id_of(e) not in withdrawn]
        assert self.run(self.journal.search("waving", streams=[stream], limit=100)) == expected

    @rule(messages=st.integers(1, 12), size=st.sampled_from([600, 2000, 4000]))
    def restart_with_other_bounds(self, messages: int, size: int) -> None:
        self.run(self.journal.close())
        self.keep = Retention(messages=messages, size=size)
        self.journal = self.run(SqliteJournal.open(self.life, retention=self.keep))

    @rule()
    def kill(self) -> None:
        """What a killed process leaves on the disk, taken up by the next one."""
        before = self.life
        self.lives += 1
        self.life.mkdir()
        for name in (FILE_NAME, FILE_NAME + "-wal"):
            if (before / name).exists():
                shutil.copy(before / name, self.life / name)
        self.run(self.journal.close())
        shutil.rmtree(before)
        self.journal = self.run(SqliteJournal.open(self.life, retention=self.keep))

    @invariant()
    def bounds_and_epoch(self) -> None:
        assert self.journal.epoch == self.epoch
        for stream, model in self.models.items():
            assert self.run(self.journal.bounds(stream)) == model.bounds


JournalStates.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
TestJournalStates = JournalStates.TestCase
