"""The journal on disk where things go wrong: clear errors, nothing lost that was committed, nothing begun anew."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamcap.errors import ConfigError, FeedError, StreamcapError
from streamcap.flow import SystemClock
from streamcap.hub import Subscription
from streamcap.journal import Bounds
from streamcap.journal.files import FILE_NAME, SCHEMA_VERSION
from streamcap.journal.sqlite import SqliteJournal
from streamcap.runs import StreamFeed
from streamcap.wire import Encoded, EventMessage, decode
from tests.feeding import event, opened
from tests.patience import PATIENCE_S
from tests.unit.test_journal_sqlite import count, filled


@contextlib.contextmanager
def hold(path: Path) -> Iterator[None]:
    """Another program's write lock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "journal.lock"}


async def refused(folder: Path) -> StreamcapError:
    """What opening says; nothing in the folder may change."""
    before = contents(folder)
    with pytest.raises(StreamcapError) as caught:
        await SqliteJournal.open(folder)
    assert contents(folder) == before
    assert caught.value.hint
    return caught.value


@contextlib.contextmanager
def other_process(folder: Path) -> Iterator[int]:
    """Another process that holds the folder; its number."""
    code = "import sys; from streamcap.journal.files import FolderLock; from pathlib import Path;"
    code += "lock = FolderLock(Path(sys.argv[1])); print('held', flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout and other.stdout.readline() == "held\n"
        yield other.pid
        other.kill()


async def test_two_servers_cannot_share_a_folder(tmp_path: Path) -> None:
    with other_process(tmp_path) as holder, pytest.raises(ConfigError, match=rf"\(process {holder}\) uses"):
        await SqliteJournal.open(tmp_path)
    await (await SqliteJournal.open(tmp_path)).close()


async def test_too_many_that_wait_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcap.journal.sqlite.WAITING_MAX", 3)
    journal = await SqliteJournal.open(tmp_path)
    with hold(journal.path):  # the writer waits for the lock, with at most three in hand
        tasks = [asyncio.create_task(journal.append(f"s{n}", [event(n, f"s{n}")])) for n in range(20)]
        waiting = set(tasks)
        async with asyncio.timeout(PATIENCE_S):
            while len(waiting) > 6:
                _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert len(waiting) >= 3
    results = await asyncio.gather(*tasks, return_exceptions=True)
    for n, result in enumerate(results):
        if isinstance(result, BaseException):
            assert isinstance(result, FeedError) and "behind: 3 commits wait" in str(result)
        assert (await journal.bounds(f"s{n}")).newest == (0 if isinstance(result, BaseException) else 1)
    assert sum(not isinstance(result, BaseException) for result in results) == len(waiting)
    await journal.close()


@pytest.mark.parametrize("damage", ["empty", "text", "short", "page", "header"])
async def test_a_damaged_journal_is_refused_and_left_alone(tmp_path: Path, damage: str) -> None:
    await filled(tmp_path, 2000)
    path = tmp_path / FILE_NAME
    whole = path.read_bytes()
    if damage == "page":  # a page of the messages themselves
        place = whole.index(b'"id":"e1500"') // 4096 * 4096
        path.write_bytes(whole[:place] + os.urandom(4096) + whole[place + 4096 :])
    else:
        spoilt = {"empty": b"", "text": b"hello\n" * 100, "short": whole[:9000], "header": b"SQLite X" + whole[8:]}
        path.write_bytes(spoilt[damage])
    error = await refused(tmp_path)
    assert isinstance(error, ConfigError) and FILE_NAME in str(error), error
    assert "move journal.sqlite3 away" in error.hint


async def test_a_log_without_its_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / (FILE_NAME + "-wal")).write_bytes(b"x")
    assert "is gone" in str(await refused(tmp_path))
    assert not (tmp_path / FILE_NAME).exists()


async def test_what_another_program_or_a_newer_streamcap_wrote_is_refused(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("CREATE TABLE mine (x)")
    assert "another program" in str(await refused(tmp_path))
    (tmp_path / FILE_NAME).unlink()
    await filled(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as newer:
        newer.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert f"layout {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}" in str(await refused(tmp_path))


async def test_a_half_made_journal_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / (FILE_NAME + ".new")).write_bytes(b"half")
    await filled(tmp_path)
    assert count(tmp_path, "SELECT count(*) FROM messages") == 5


async def test_a_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("x")
    with pytest.raises(ConfigError, match="cannot be used"):
        await SqliteJournal.open(tmp_path / "data")


async def test_another_program_that_holds_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamcap.journal.files.BUSY_S", 0.05)
    journal = await SqliteJournal.open(tmp_path)
    await journal.append("cam", [event(1)])
    with hold(journal.path):
        with pytest.raises(FeedError, match="another program holds"):
            await journal.append("cam", [event(2)])
        assert len(await journal.read("cam", after=0, limit=10)) == 1
    ((message, _),) = await journal.append("cam", [event(3)])
    assert message.seq == 2
    await journal.close()


async def test_damage_that_shows_later_is_an_error_and_not_an_end(tmp_path: Path) -> None:
    await filled(tmp_path, 3000)
    await filled(tmp_path, 10, "yard")
    path = tmp_path / FILE_NAME
    journal = await SqliteJournal.open(tmp_path)
    whole = path.read_bytes()
    place = whole.index(b'"id":"e1500"') // 4096 * 4096
    with path.open("r+b") as file:
        file.seek(place)
        file.write(b"\xff" * 4096)
    with pytest.raises(FeedError, match="damaged"):
        await journal.read("cam", after=0, limit=3000)
    assert len(await journal.read("yard", after=0, limit=100)) == 10
    ((message, _),) = await journal.append("yard", [event(1, "yard")])
    assert message.seq == 11
    await journal.close()


@contextlib.contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of its own; mounting one needs root."""
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", folder], capture_output=True, check=False
    )
    if done.returncode != 0:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    try:
        yield folder
    finally:
        # Lazily: a file that a failed test left open must not leave the mount behind.
        subprocess.run(["umount", "--lazy", folder], check=True)


def make_readonly(disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)


async def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 600) as disk:
        journal = await SqliteJournal.open(disk / "data")
        (disk / "ballast").write_bytes(b"x" * 150_000)
        committed = 0
        with pytest.raises(FeedError, match="the disk is full") as caught:
            for n in range(1000):
                await journal.append("cam", [event(n, text="x" * 2000)])
                committed = n + 1
        assert 5 < committed < 1000 and "goes on by itself" in caught.value.hint
        with pytest.raises(FeedError, match="the disk is full"):
            await journal.append("cam", [event(0, text="x" * 9000)] * 5)
        assert await journal.bounds("cam") == Bounds(1, committed)
        assert len(await journal.read("cam", after=0, limit=1000)) == committed
        (disk / "ballast").unlink()
        ((message, _),) = await journal.append("cam", [event(1)])
        assert message.seq == committed + 1
        await journal.close()
        again = await SqliteJournal.open(disk / "data")
        held = [decode(entry.text) for entry in await again.read("cam", after=0, limit=1000)]
        assert [m.seq for m in held if isinstance(m, EventMessage)] == list(range(1, committed + 2))
        await again.close()


async def test_a_full_disk_is_waited_out_and_subscribers_miss_nothing(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 12_000) as disk:
        journal = await SqliteJournal.open(disk / "data")
        hub = await opened("cam", "yard", journal=journal)
        (disk / "ballast").write_bytes(b"x" * 11_500_000)

        async def publish(stream: str) -> None:
            feed = StreamFeed(hub, stream, SystemClock())
            for n in range(40):
                await feed.publish(stream, event(n, stream, "x" * 9000))

        async def collect(subscription: Subscription) -> list[Encoded]:
            return [item async for item in subscription if item.seq is not None]

        async with hub.subscribe("*") as subscription:
            reading = asyncio.create_task(collect(subscription))
            await asyncio.sleep(0)
            publishing = [asyncio.create_task(publish(stream)) for stream in hub.streams]
            async with asyncio.timeout(PATIENCE_S):
                while not hub.trouble:
                    _, pending = await asyncio.wait(publishing, timeout=0.05)
                    assert pending
                (disk / "ballast").unlink()
                await asyncio.gather(*publishing)
            await hub.close()
            seen = await reading
        for stream in hub.streams:
            held = await journal.read(stream, after=0, limit=1000)
            assert [item for item in seen if item.stream == stream] == held
            events = [
                message.id for message in map(decode, (e.text for e in held)) if isinstance(message, EventMessage)
            ]
            assert events == [f"e{n}" for n in range(40)]
        await journal.close()


async def test_a_disk_that_is_full_from_the_start(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 40) as disk, pytest.raises(FeedError, match="the disk is full"):
        await SqliteJournal.open(disk)


async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 600) as disk:
        await filled(disk)
        make_readonly(disk)
        error = await refused(disk)
        assert isinstance(error, ConfigError) and "Read-only file system" in str(error)
