"""Fixtures for all tests: prerequisites, and a watch that no test leaves anything running or open."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

from streamcap.models.pool import Models, load_default
from streamcap.models.resolver import Resolver
from tests.llm_server import LlmServer, llm_server
from tests.prerequisites import PREREQUISITES, SHARED, SYSTEM_PYTHON, need, required

if TYPE_CHECKING:
    from tests.engine_graphs import Made

# What is about to end after a test (a thread in its last instructions, a cancelled task in its cleanup) gets this long.
GRACE_S = 20.0

# Threads that may outlive a test, by the beginning of their name, each with the reason.
ALLOWED_THREADS: dict[str, str] = {}

# Open files that may outlive a test, by the beginning of what they point to, each with the reason.
ALLOWED_FILES = {
    "/dev/": "random numbers and devices, opened once a process by libraries",
    "/proc/": "read by libraries that keep them",
    "/sys/": "processor layout, kept open by inference runtimes",
}


# Files that take longest, in this order. Where files are shared out among processes (make test) they are begun first,
# so that no process is left alone with one of them when the others are done.
LONGEST = (
    *("quality_floor", "stress", "cli", "sources_files", "crash", "soak", "http_schema", "sources_network"),
    *(
        "server_limits",
        "pipeline",
        "sources_pushed",
        "webrtc",
        "sources_rtsp",
        "webrtc_relay",
        "secrets",
        "sources_faults",
    ),
)

# How often a test of tests/integration that fails is run again: real cameras, servers and peers on a shared machine may
# have a bad second. `make test` says 1, and the summary tells which it was; a unit test is never run again.
RERUNS = int(os.environ.get("STREAMCAP_RERUNS") or 0)
# After so long (seconds): what held the machine up may be over then.
RERUN_AFTER_S = 2.0

# On a busy machine a deadline tells of the machine, not of the code, and so does slow input. `make test` tries the same
# examples each time (they change with the test): whether a change goes in is not drawn by lot. pytest tries others.
settings.register_profile(
    "streamcap",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("STREAMCAP_EXAMPLES") == "same",
)
settings.load_profile("streamcap")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requires(*names): needs these prerequisites")
    for name in PREREQUISITES:
        config.addinivalue_line("markers", f"{name}: needs the prerequisite {name}")
    required()  # a typing error in STREAMCAP_REQUIRE must not pass for a green run


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if RERUNS:
        for item in items:
            if item.path.parent.name == "integration":
                item.add_marker(pytest.mark.flaky(reruns=RERUNS, reruns_delay=RERUN_AFTER_S))
    if hasattr(config, "workerinput"):  # one process of several
        rank = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
        items.sort(key=lambda item: rank.get(item.path.name, len(rank)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    for name in PREREQUISITES:
        if item.get_closest_marker(name):
            need(name)
    for mark in item.iter_markers("requires"):
        for name in mark.args:
            need(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """A test that is run again gets its module's fixtures anew: what failed may be what one of them did, once for all.

    pytest-rerunfailures keeps them, and says here that it is about to run the test again.
    """
    try:
        yield
    finally:
        if getattr(item, "_finalizers_suspended", False) and isinstance(item, pytest.Function):
            for definitions in item._fixtureinfo.name2fixturedefs.values():
                for definition in definitions:
                    if definition.scope == "module":
                        definition.finish(item._request)  # type: ignore[arg-type]  # it asks for its node only


@pytest.fixture(scope="session")
def clips_dir() -> Path:
    """Real clips with their truth."""
    need("clips")
    return SHARED / "clips"


@pytest.fixture(scope="session")
def stress_dir() -> Path:
    """Damaged and odd files."""
    need("stress")
    return SHARED / "stress"


@pytest.fixture(scope="session")
def scorer() -> Path:
    """The program that scores captions."""
    need("scorer")
    return SHARED / "tools" / "score_captions.py"


@pytest.fixture(scope="session")
def ffmpeg() -> str:
    """Path of the ffmpeg program."""
    need("ffmpeg")
    found = shutil.which("ffmpeg")
    assert found is not None
    return found


@pytest.fixture(scope="session")
def rtsp_python() -> str:
    """The Python that can run GStreamer's RTSP server."""
    need("rtsp")
    return SYSTEM_PYTHON


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Tiny exported graphs, each made when it is first asked for."""
    need("engines")
    from tests.engine_graphs import Made

    return Made(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def weights() -> Callable[[str], Path]:
    """Gives the path of a cached weights file by its id in the catalog."""
    need("weights")
    return lambda entry_id: Resolver().ensure(entry_id, offline=True)


@pytest.fixture(scope="session")
def models() -> Iterator[Models]:
    """The embedded default, loaded once; its threads run already, so no test seems to leave them behind."""
    need("weights")
    with load_default() as loaded:
        for _ in range(8):
            loaded.workers.submit(time.sleep, 0.01)
        yield loaded


@pytest.fixture
def llm() -> Iterator[LlmServer]:
    """A running server of OpenAI's chat API, whose faults a test switches."""
    with llm_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _no_leaked_threads_or_files() -> Iterator[None]:
    """Fails a test after which a thread still runs or a file or socket is still open.

    What fixtures of a wider scope hold was there before. The event loop of an async test is closed by then.
    """
    threads, files = set(threading.enumerate()), open_files()
    yield
    deadline = time.monotonic() + GRACE_S
    left = [t for t in threading.enumerate() if t not in threads and not t.name.startswith(tuple(ALLOWED_THREADS))]
    for thread in left:
        thread.join(max(0.0, deadline - time.monotonic()))
    if running := sorted(thread.name for thread in left if thread.is_alive()):
        pytest.fail(f"the test leaves threads running: {', '.join(running)}", pytrace=False)
    while _new_files(files):
        gc.collect()  # an object in a cycle may hold it; whoever forgot to close it gets a ResourceWarning
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)  # a thread that has ended closes some of them: a library's, or a server's
    if still_open := sorted(_new_files(files)):
        pytest.fail(f"the test leaves open: {', '.join(still_open)}", pytrace=False)


@pytest.fixture(autouse=True)
def _watch_tasks(request: pytest.FixtureRequest, _no_leaked_threads_or_files: None) -> None:
    """For async tests only; depends on the other watch, so that the event loop is closed before that one looks."""
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("_no_leaked_tasks")


@pytest.fixture
async def _no_leaked_tasks() -> AsyncIterator[None]:
    """Fails a test after which a task is still pending. Set up first, so other fixtures are torn down by then."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, pending = await asyncio.wait(left, timeout=GRACE_S)
        if pending:
            names = ", ".join(sorted(f"{t.get_name()} ({t.get_coro()})" for t in pending))
            pytest.fail(f"the test leaves tasks pending: {names}", pytrace=False)


def open_files() -> dict[int, str]:
    """Open descriptors and what they point to; empty where the system does not tell."""
    found: dict[int, str] = {}
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        return found
    for name in os.listdir(folder):  # noqa: PTH208 - names only, one system call
        try:
            found[int(name)] = os.readlink(folder / name)  # noqa: PTH115 - sockets are no paths
        except FileNotFoundError:  # the descriptor of this very listing
            continue
    return found


def _new_files(before: dict[int, str]) -> list[str]:
    now = open_files()
    return [what for fd, what in now.items() if before.get(fd) != what and not what.startswith(tuple(ALLOWED_FILES))]
