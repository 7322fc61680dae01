"""The journal on disk: what a commit takes, how many a second, how fast it is read back.

python benchmarks/journal.py --quick

The folder matters: a journal is as fast as its disk's fsync, which is measured in the same run.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Quick, Result, Table, conclude, median, percentile, progress
from streamcap.journal import Retention
from streamcap.journal.sqlite import SqliteJournal
from streamcap.journal.store import Append, Store
from streamcap.types import Caption, CaptionKind, CaptionStatus, Instance
from streamcap.wire import CaptionMessage, caption_message

__all__ = ["measure"]

STREAMS = 20
RATE = 2.0  # messages a second and stream
CHUNK = 256  # as the hub replays


def message(stream: str, n: int) -> CaptionMessage:
    """A final caption of the usual size, about 900 bytes."""
    person = Instance(7, "person", 0.9, (0.412, 0.331, 0.489, 0.722), (0.01, 0.0), 1.0, 2.0, ("red coat",))
    car = Instance(9, "car", 0.8, (0.1, 0.5, 0.4, 0.9), (0.0, 0.0), 1.0, 2.0)
    text = f"A person in a red coat walks in from the left and stops beside a parked car, {n} s after the last one."
    made = Caption(
        f"3fa2c1-c{n}", 3, CaptionStatus.FINAL, CaptionKind.DIFF, float(n), n + 1.5, text, 1.7e9 + n, 0.62, "grounded",
        instances=(person, car),
    )  # fmt: skip
    return caption_message(stream, made, emitted_at=1.7e9 + n + 0.7)


def fsync_times(folder: Path, count: int) -> list[float]:
    """Seconds of a 4 KiB write and fdatasync: the floor under any commit on this disk."""
    times = []
    with (folder / "floor").open("wb", buffering=0) as file:
        for _ in range(count):
            file.write(b"x" * 4096)
            began = time.perf_counter()
            os.fdatasync(file.fileno())
            times.append(time.perf_counter() - began)
            time.sleep(0.01)
    return times


async def commit_times(folder: Path, seconds: float) -> list[float]:
    """Seconds of each commit while the streams publish at their rate, out of step."""
    journal = await SqliteJournal.open(folder)
    times: list[float] = []

    async def publish(k: int) -> None:
        await asyncio.sleep(k / STREAMS / RATE)
        for n in range(round(seconds * RATE)):
            due = asyncio.create_task(asyncio.sleep(1 / RATE))
            began = time.perf_counter()
            await journal.append(f"s{k}", [message(f"s{k}", n)])
            times.append(time.perf_counter() - began)
            await due

    await asyncio.gather(*(publish(k) for k in range(STREAMS)))
    await journal.close()
    return times


async def grouped(folder: Path, each: int) -> float:
    """Messages a second where every stream appends as soon as it may."""
    journal = await SqliteJournal.open(folder)

    async def publish(stream: str) -> None:
        for n in range(each):
            await journal.append(stream, [message(stream, n)])

    began = time.perf_counter()
    await asyncio.gather(*(publish(f"s{k}") for k in range(STREAMS)))
    taken = time.perf_counter() - began
    await journal.close()
    return STREAMS * each / taken


def one_by_one(folder: Path, count: int) -> float:
    """Messages a second with a transaction for each: the same file and the same work, without the grouping."""
    store = Store(folder, Retention())
    began = time.perf_counter()
    for n in range(count):
        stream = f"s{n % STREAMS}"
        store.commit([Append(stream, [message(stream, n)])], {})
    taken = time.perf_counter() - began
    store.close()
    return count / taken


async def replay(folder: Path, count: int) -> dict[str, float]:
    """Messages a second read back from the journal, and from a file of lines."""
    journal = await SqliteJournal.open(folder)
    for first in range(0, count, 1000):
        await journal.append("cam", [message("cam", n) for n in range(first, min(count, first + 1000))])
    lines = folder / "lines.jsonl"
    with lines.open("w") as file:
        at = 0
        while entries := await journal.read("cam", after=at, limit=CHUNK):
            file.writelines(entry.text + "\n" for entry in entries)
            at = entries[-1].seq or 0
    began = time.perf_counter()
    at = read = 0
    while entries := await journal.read("cam", after=at, limit=CHUNK):
        at, read = entries[-1].seq or 0, read + len(entries)
    from_journal = read / (time.perf_counter() - began)
    assert read == count
    began = time.perf_counter()
    with lines.open() as file:
        assert sum(1 for line in file if json.loads(line)["seq"] > 0) == count
    from_lines = count / (time.perf_counter() - began)
    began = time.perf_counter()
    with lines.open() as file:
        assert sum(1 for _ in file) == count
    unread_lines = count / (time.perf_counter() - began)
    began = time.perf_counter()
    found = await journal.search("red coat", streams=["cam"], limit=50)
    search_ms = 1e3 * (time.perf_counter() - began)
    assert len(found) == 50
    began = time.perf_counter()
    assert len(await journal.history("cam", start=count / 2, end=count / 2 + 20)) > 10
    history_ms = 1e3 * (time.perf_counter() - began)
    size = journal.path.stat().st_size + journal.path.with_name(journal.path.name + "-wal").stat().st_size
    await journal.close()
    began = time.perf_counter()
    await (await SqliteJournal.open(folder)).close()
    return {
        "journal_per_s": from_journal,
        "lines_per_s": from_lines,
        "lines_not_parsed_per_s": unread_lines,
        "ratio": from_journal / from_lines,
        "search_ms": search_ms,
        "history_ms": history_ms,
        "bytes_per_message": size / count,
        "open_and_check_s": time.perf_counter() - began,
    }


def run(*, quick: bool) -> dict[str, Any]:
    """All figures; in a temporary folder beside the results' disk (``TMPDIR`` chooses)."""
    floods = 1 if quick else 5
    with tempfile.TemporaryDirectory(prefix="streamcap-journal-") as name, progress("journal", floods + 3) as step:
        folder = Path(name)
        floor = fsync_times(folder, 50 if quick else 300)
        step("bare fsync")
        commits = asyncio.run(commit_times(folder / "a", 5.0 if quick else 60.0))
        step("commits")
        rounds = []
        for n in range(floods):  # in turn: how long an fsync takes changes from minute to minute
            together = asyncio.run(grouped(folder / f"b{n}", 50 if quick else 200))
            rounds.append((together, one_by_one(folder / f"c{n}", 100 if quick else 500)))
            step("appends")
        back = asyncio.run(replay(folder / "d", 10_000 if quick else 100_000))
        step("replay")
    return {
        "fsync_ms": _milliseconds(floor),
        "commit_ms": _milliseconds(commits),
        "append": {
            "grouped_per_s": median([together for together, _ in rounds]),
            "one_by_one_per_s": median([alone for _, alone in rounds]),
            "ratio": median([together / alone for together, alone in rounds]),
        },
        "replay": back | {"messages": 10_000 if quick else 100_000},
    }


def _milliseconds(times: list[float]) -> dict[str, float]:
    return {"p50": 1e3 * percentile(times, 0.5), "p99": 1e3 * percentile(times, 0.99), "max": 1e3 * max(times)}


def _rows(found: dict[str, Any]) -> tuple[tuple[str, str, str], ...]:
    commit, floor, append, back = found["commit_ms"], found["fsync_ms"], found["append"], found["replay"]
    return (
        (
            f"commit, {STREAMS} streams × {RATE:g}/s",
            f"p50 {commit['p50']:.1f} ms, p99 {commit['p99']:.1f} ms",
            f"a bare fsync: p50 {floor['p50']:.1f} ms, p99 {floor['p99']:.1f} ms",
        ),
        (
            "append as fast as it goes",
            f"{append['grouped_per_s']:,.0f} messages/s",
            f"a transaction each: {append['one_by_one_per_s']:,.0f}/s (× {append['ratio']:.1f})",
        ),
        (
            f"replay of {back['messages']:,}",
            f"{back['journal_per_s']:,.0f} messages/s",
            f"lines of JSON: {back['lines_per_s']:,.0f}/s (× {back['ratio']:.2f}),"
            f" {back['lines_not_parsed_per_s']:,.0f}/s without looking for their numbers",
        ),
        ("search, newest 50 of all that match", f"{back['search_ms']:.1f} ms", "–"),
        ("history of 20 s of media", f"{back['history_ms']:.1f} ms", "–"),
        ("open, with the check of the whole file", f"{back['open_and_check_s']:.2f} s", "–"),
        ("file size", f"{back['bytes_per_message']:,.0f} bytes/message", "–"),
    )


def measure(*, quick: bool = False) -> Result:
    """Commits at the pace of live streams, appends as fast as they go, and reading back, on this machine's disk."""
    found = run(quick=quick)
    return Result(
        "journal",
        {"streams": STREAMS, "rate": RATE, "chunk": CHUNK, "messages": found["replay"]["messages"]},
        found,
        [Table(("what", "here", "beside"), _rows(found))],
        notes=["Every commit is synced to the disk before anybody sees it; a journal is as fast as the disk's fsync."],
        quick=quick,
    )


def command(quick: Quick = False) -> None:
    """Measure the journal on this machine's disk."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
