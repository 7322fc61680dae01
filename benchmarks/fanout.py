"""One stream to a thousand subscribers: latency beside stalled ones, throughput beside a bare loop, memory of each.

python benchmarks/fanout.py --quick

The server has one processor for itself and the clients (``fanout_reader.py``) another. All on 127.0.0.1.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import socket
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Aim, CannotRun, Quick, Result, Table, conclude, median, percentile, progress
from benchmarks.fanout_reader import ACK_EVERY, Reader, Tally
from benchmarks.process import cpu_seconds, memory_mb

__all__ = ["measure"]

SERVER = Path(__file__).with_name("fanout_server.py")
SUBSCRIBERS, STALLED = 1000, 0.05
CROWD = 200  # of the throughput
FILES = 200  # open files beside the sockets
RATIO_AIM, THROUGHPUT_AIM = 1.3, 0.5
SMALL_BUFFER = 4096  # of a client that does not read
PATIENCE_S = 60.0
ONE, BOTH = "/v1/streams/cam/captions", "/v1/captions?streams=cam,fill"
_HEAD = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@dataclass(slots=True)
class Server:
    """The server's process, its clients, and the pipe by which it is told what to publish."""

    process: asyncio.subprocess.Process
    port: int
    tally: Tally = field(default_factory=Tally)
    readers: list[Reader] = field(default_factory=list)

    def say(self, line: str) -> None:
        """A command without an answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n".encode())

    async def ask(self, line: str, patience: float = PATIENCE_S) -> dict[str, Any]:
        """A command and its answer."""
        self.say(line)
        return await _answer(self.process, patience)

    async def join(self, count: int, *, stalls: bool = False, spare: bool = False, path: str = ONE) -> None:
        """Let so many more subscribers in and wait until they are live.

        Raises:
            CannotRun: the server does not take them.
        """
        there = (await self.ask("state"))["subscribers"]
        request = _HEAD.format(path=path, port=self.port).encode()
        for first in range(0, count, 50):  # a few at a time, as a listener's queue is finite
            some = [await self._connect(request, stalls=stalls, spare=spare) for _ in range(min(50, count - first))]
            await asyncio.wait_for(asyncio.gather(*(reader.ready for reader in some)), PATIENCE_S)
            self.readers += some
        until = time.monotonic() + PATIENCE_S
        while (await self.ask("state"))["subscribers"] < there + count:
            if time.monotonic() > until:
                raise CannotRun("the subscribers did not all come in")
            await asyncio.sleep(0.05)

    async def _connect(self, request: bytes, *, stalls: bool, spare: bool) -> Reader:
        connection = socket.socket()
        if stalls:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        connection.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.sock_connect(connection, ("127.0.0.1", self.port))
        _, reader = await loop.create_connection(
            lambda: Reader(self.tally, request, stalls=stalls, spare=spare), sock=connection
        )
        return reader

    @property
    def memory_kb(self) -> float:
        """Resident memory now (KiB)."""
        return 1024 * memory_mb(self.process.pid)

    @property
    def cpu(self) -> float:
        """Processor seconds so far."""
        return cpu_seconds(self.process.pid)


async def _answer(process: asyncio.subprocess.Process, patience: float) -> dict[str, Any]:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), patience)
    if not line:
        raise CannotRun("the server's process ended")
    answer: dict[str, Any] = json.loads(line)
    return answer


@asynccontextmanager
async def server(kind: str, processor: int) -> AsyncIterator[Server]:
    """A fresh server; its process is gone at the end."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(SERVER), kind, "--processor", str(processor),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    made = None
    try:
        made = Server(process, (await _answer(process, PATIENCE_S))["port"])
        yield made
    finally:
        for reader in made.readers if made else ():
            reader.leave()
        if process.returncode is None:
            process.kill()
        await process.wait()


async def latency(processor: int, count: int, seconds: float, *, stalled: bool) -> dict[str, float]:
    """Milliseconds from due to got of the same share of subscribers, the others reading or stalled."""
    others = round(count * STALLED)
    async with server("ours", processor) as feed:
        await feed.join(count - others)
        await feed.join(others, stalls=stalled, spare=True, path=BOTH if stalled else ONE)
        await feed.ask("beat 2")
        if stalled:
            await feed.ask("fill")
        cpu, own, feed.tally.since = feed.cpu, time.process_time(), time.monotonic()
        published = (await feed.ask(f"beat {seconds:g}", seconds + PATIENCE_S))["published"]
        await asyncio.sleep(1.0)
        taken, own = feed.cpu - cpu, time.process_time() - own
        state = await feed.ask("state")
        late = [1e3 * each for each in feed.tally.late]
        return {
            "p50_ms": percentile(late, 0.5),
            "p99_ms": percentile(late, 0.99),
            "max_ms": max(late),
            "delivered": len(late) / (published * (count - others)),
            "lost": feed.tally.lost,
            "cut": state["cut"],
            "server_cpu": taken / seconds,
            "clients_cpu": own / seconds,
        }


async def throughput(kind: str, processor: int, count: int, seconds: float) -> dict[str, float]:
    """Captions that all clients together get a second, while the publisher never runs far ahead of the slowest."""
    async with server(kind, processor) as feed:
        await feed.join(count)
        tally = feed.tally
        tally.since = 0.0
        feed.say("flood")
        acks = asyncio.create_task(_acknowledge(feed, count))
        try:
            await asyncio.sleep(1.0)
            began, got, cpu, own = time.monotonic(), tally.got, feed.cpu, time.process_time()
            await asyncio.sleep(seconds)
            taken = time.monotonic() - began
            rate, busy, own = (tally.got - got) / taken, (feed.cpu - cpu) / taken, (time.process_time() - own) / taken
        finally:
            acks.cancel()
        await feed.ask("stop")
        if tally.lost or (await feed.ask("state"))["cut"]:
            raise CannotRun("the server cut a subscriber that reads")
        return {"per_s": rate, "per_cpu_s": rate / busy, "server_cpu": busy, "clients_cpu": own}


async def _acknowledge(feed: Server, count: int) -> None:
    place, tally = ACK_EVERY, feed.tally
    while True:
        await tally.on_passed.wait()
        tally.on_passed.clear()
        while tally.passed.get(place) == count:
            del tally.passed[place]
            feed.say(f"ack {place}")
            place += ACK_EVERY


async def memory(processor: int, count: int, *, stalled: bool) -> dict[str, float]:
    """KiB of the server's process with none, half and all of its subscribers, each after some messages."""
    others = round(count * STALLED) if stalled else 0
    async with server("ours", processor) as feed:
        await feed.ask("beat 4")
        found = {"none": feed.memory_kb}
        await feed.join(count // 2)
        await feed.ask("beat 2")
        found["half"] = feed.memory_kb
        await feed.join(count - count // 2 - others)
        if stalled:
            await feed.join(others, stalls=True, path=BOTH)
            await feed.ask("fill")
        await feed.ask("beat 4")
        found["all"] = feed.memory_kb
        return found


@contextmanager
def clients_on(processor: int, sockets: int) -> Iterator[None]:
    """This process on one processor, with so many files; both as before at the end.

    Raises:
        CannotRun: the system does not allow it.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sockets + FILES
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise CannotRun(f"{wanted} open files are needed and the system allows {hard}: raise it with ulimit -Hn")
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {processor})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def _all(processor: int, *, quick: bool) -> dict[str, Any]:
    count, rounds = (200, 1) if quick else (SUBSCRIBERS, 3)
    beat, flood, crowd = (4.0, 2.0, 50) if quick else (12.0, 4.0, CROWD)
    floods = 1 if quick else 5
    found: dict[str, Any] = {"reading": [], "stalled": [], "ours": [], "bare": []}
    with progress("fanout", 2 * rounds + 2 * floods + 2) as step:
        for n in range(2 * rounds):
            name = ("reading", "stalled")[n % 2]
            found[name].append(await latency(processor, count, beat, stalled=name == "stalled"))
            step(name)
        for n in range(2 * floods):
            name = ("ours", "bare")[n % 2]
            found[name].append(await throughput(name, processor, crowd, flood))
            step(name)
        found["memory"] = await memory(processor, count, stalled=False)
        step("memory")
        found["memory_stalled"] = await memory(processor, count, stalled=True)
        step("memory, stalled")
    return found | {"count": count, "beat_s": beat, "crowd": crowd, "flood_s": flood}


def measure(*, quick: bool = False) -> Result:
    """Latency with and without stalled subscribers in turn, throughput beside the bare loop in turn, and memory.

    Raises:
        CannotRun: there are no two processors, too few open files, or a subscriber that reads was cut.
    """
    if not hasattr(os, "sched_getaffinity") or len(processors := sorted(os.sched_getaffinity(0))) < 2:
        raise CannotRun("it needs Linux and two processors: one for the server, one for its clients")
    with clients_on(processors[1], SUBSCRIBERS):
        found = asyncio.run(_all(processors[0], quick=quick))
    count, stalled = found["count"], round(found["count"] * STALLED)
    ratios = [b["p99_ms"] / a["p99_ms"] for a, b in zip(found["reading"], found["stalled"], strict=True)]
    shares = [a["per_cpu_s"] / b["per_cpu_s"] for a, b in zip(found["ours"], found["bare"], strict=True)]
    plain, held = found["memory"], found["memory_stalled"]
    per_one = (plain["all"] - plain["none"]) / count
    per_stalled = (held["all"] - held["none"] - per_one * (count - stalled)) / stalled
    ratio, share = median(ratios), median(shares)
    return Result(
        "fanout",
        {"subscribers": count, "stalled": stalled, "rate": 5, "seconds": found["beat_s"], "rounds": len(ratios),
         "crowd": found["crowd"], "flood_s": found["flood_s"], "floods": len(shares)},
        {"latency": {name: found[name] for name in ("reading", "stalled")}, "p99_ratio": ratios,
         "throughput": {name: found[name] for name in ("ours", "bare")}, "throughput_ratio": shares,
         "memory_kb": {"reading": plain, "with_stalled": held, "each": per_one, "each_stalled": per_stalled}},
        [_latency_table(found, count, stalled), _throughput_table(found, shares), _memory_table(found, count, stalled)],
        [Aim("p99 of the others beside stalled subscribers", f"≤ {RATIO_AIM} × that beside none",
             f"{_spread(ratios, 2)} ×", ratio <= RATIO_AIM),
         Aim("deliveries a second of the server's processor", f"≥ {THROUGHPUT_AIM} × bare websockets.broadcast()",
             f"{_spread(shares, 2)} ×", share >= THROUGHPUT_AIM)],
        [f"Memory of one subscriber that reads: {per_one:.1f} kB; of one that is stalled, its outbox and buffer in the "
         f"process full: {per_stalled:.0f} kB. The kernel's socket buffers come on top.",
         "Medians (least–most) of runs in turn, a fresh server each. Latency runs from the moment a message was due, "
         "however late its turn came, to the read of each client. The stalled ones take nothing from before the run "
         "on, with every buffer on the way full; the server cuts them after ten seconds: that is part of the run.",
         "Throughput is held against the bare loop by the processor time of the server, as others may be at work on "
         "the machine and take turns with it; deliveries a second are what was left to it."],
        quick=quick,
    )  # fmt: skip


def _spread(values: Sequence[float], digits: int) -> str:
    middle, least, most = (f"{value:,.{digits}f}" for value in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({least}–{most})"


def _of(runs: Sequence[dict[str, float]], name: str, digits: int = 1) -> str:
    return _spread([run[name] for run in runs], digits)


def _latency_table(found: dict[str, Any], count: int, stalled: int) -> Table:
    rows = []
    for name, what in (("reading", f"{count:,} read"), ("stalled", f"{count - stalled:,} read, {stalled} stalled")):
        runs = found[name]
        columns = [_of(runs, key) for key in ("p50_ms", "p99_ms", "max_ms")]
        rows.append((what, *columns, _of(runs, "server_cpu", 2), _of(runs, "clients_cpu", 2), _of(runs, "cut", 0)))
    headers = ("subscribers", "p50 ms", "p99 ms", "most ms", "server CPUs", "client CPUs", "cut")
    return Table(headers, tuple(rows), "Five messages a second of about 600 bytes: due to received")


def _throughput_table(found: dict[str, Any], shares: Sequence[float]) -> Table:
    rows = []
    for name, what in (("ours", "streamcap"), ("bare", "websockets.broadcast()")):
        runs = found[name]
        cost = _spread([1e6 / run["per_cpu_s"] for run in runs], 1)
        busy = (_of(runs, "server_cpu", 2), _of(runs, "clients_cpu", 2))
        beside = _spread(shares, 2) if name == "ours" else "1"
        rows.append((what, _of(runs, "per_s", 0), _of(runs, "per_cpu_s", 0), cost, *busy, beside))
    headers = (
        "server",
        "deliveries/s",
        "deliveries/CPU s",
        "µs of CPU each",
        "server CPUs",
        "client CPUs",
        "× the bare loop",
    )
    return Table(headers, tuple(rows), f"As fast as {found['crowd']} subscribers take it")


def _memory_table(found: dict[str, Any], count: int, stalled: int) -> Table:
    plain, held = found["memory"], found["memory_stalled"]
    rows = [("none", f"{plain['none'] / 1024:.1f}", "–")]
    for what, number, run, key in (
        (f"{count // 2:,} that read", count // 2, plain, "half"),
        (f"{count:,} that read", count, plain, "all"),
        (f"{count - stalled:,} that read, {stalled} stalled", count, held, "all"),
    ):
        rows.append((what, f"{run[key] / 1024:.1f}", f"{(run[key] - run['none']) / number:.1f}"))
    return Table(("subscribers", "server MB", "kB each"), tuple(rows), "Memory")


def command(quick: Quick = False) -> None:
    """Measure the feed's fan-out on one processor of this machine."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(command)
