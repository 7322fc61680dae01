"""The watch over leaks and the prerequisites, tried on test files of their own."""

from __future__ import annotations

import pytest

from tests.patience import LONG_S
from tests.prerequisites import ROOT

pytest_plugins = ["pytester"]

LEAKS = """
import asyncio, socket, threading
import pytest
import tests.conftest

tests.conftest.GRACE_S = 0.5
KEPT = []

def test_clean():
    with socket.socket():
        thread = threading.Thread(target=lambda: None)
        thread.start()
        thread.join()

async def test_clean_async():
    await asyncio.create_task(asyncio.sleep(0))
    await asyncio.to_thread(lambda: None)

@pytest.fixture
async def server():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    yield server.sockets[0].getsockname()
    server.close()
    await server.wait_closed()

async def test_clean_with_a_fixture(server):
    reader, writer = await asyncio.open_connection(*server)
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()

def test_leaks_socket():
    KEPT.append(socket.socket())

def test_leaks_file(tmp_path):
    KEPT.append(open(tmp_path / "kept", "w"))

def test_leaks_thread():
    stop = threading.Event()
    KEPT.append(stop)
    threading.Thread(target=stop.wait, name="stray thread", daemon=True).start()

async def test_leaks_task():
    KEPT.append(asyncio.create_task(asyncio.sleep(60), name="stray task"))
"""

NEEDS = """
import pytest

@pytest.mark.there
def test_there():
    pass

@pytest.mark.absent
def test_absent():
    raise AssertionError("must not run")

@pytest.mark.requires("there", "absent")
def test_both():
    raise AssertionError("must not run")
"""

# Each fails at its first run; one of them at the setup of its module, one by what a fixture of its module did, one
# leaves a task behind.
BAD_SECONDS = """
import asyncio
import pathlib
import pytest
import tests.conftest

tests.conftest.GRACE_S = 0.5
SEEN = pathlib.Path(__file__).with_suffix(".seen")

def first(what):
    with SEEN.open("a+") as file:
        file.seek(0)
        before = file.read().split()
        file.write(what + "\\n")
    return what not in before

@pytest.fixture(scope="module")
def server():
    assert not first("server"), "the server had a bad second"
    yield "server"

@pytest.fixture(scope="module")
def program():
    yield "failed" if first("program") else "ended well"
    first("closed")

def test_plain():
    assert not first("plain"), "the test had a bad second"

async def test_async():
    await asyncio.sleep(0)
    assert not first("async")

async def test_leaves_a_task():
    if first("task"):
        asyncio.create_task(asyncio.sleep(60), name="stray task")

def test_of_the_module(server):
    assert server == "server"

def test_also_of_the_module(server):
    assert server == "server"

def test_of_a_run_of_the_program(program):
    assert program == "ended well"

def test_also_of_that_run(program):
    assert program == "ended well"

def test_never():
    assert False, "it is broken"
"""

# The real watch, and two prerequisites whose state is known.
CONFTEST = """
from tests import prerequisites
prerequisites.PREREQUISITES.update(there=lambda: "", absent=lambda: "it is not there")
pytest_plugins = ["tests.conftest"]
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("STREAMCAP_REQUIRE", raising=False)
    pytester.makeini("[pytest]\nasyncio_mode=auto\nasyncio_default_fixture_loop_scope=function\n")
    pytester.makeconftest(CONFTEST)
    return pytester


def test_what_a_test_leaves_behind_fails_it(inner: pytest.Pytester) -> None:
    inner.makepyfile(LEAKS)
    result = inner.runpytest_subprocess("-p", "no:cacheprovider", "-W", "ignore", timeout=LONG_S)
    # The watch looks at the teardown, so a leaking test counts as passed, with an error.
    result.assert_outcomes(passed=7, errors=4)
    result.stdout.fnmatch_lines_random(
        [
            "*ERROR at teardown of test_leaks_socket*",
            "*ERROR at teardown of test_leaks_file*",
            "*leaves open: */kept*",
            "*leaves threads running: stray thread*",
            "*leaves tasks pending: stray task*",
        ]
    )


def test_a_missing_prerequisite_skips(inner: pytest.Pytester) -> None:
    inner.makepyfile(NEEDS)
    result = inner.runpytest_subprocess("-p", "no:cacheprovider", "--strict-markers", "-rs", timeout=LONG_S)
    result.assert_outcomes(passed=1, skipped=2)
    result.stdout.fnmatch_lines(["*absent: it is not there*"])


def test_a_missing_prerequisite_that_is_required_fails(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAP_REQUIRE", "there, absent")
    inner.makepyfile(NEEDS)
    result = inner.runpytest_subprocess("-p", "no:cacheprovider", timeout=LONG_S)
    result.assert_outcomes(passed=1, errors=2)
    result.stdout.fnmatch_lines(["*absent is required here, but it is not there*"])


def test_an_unknown_requirement_is_an_error(inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMCAP_REQUIRE", "ffmpg")
    inner.makepyfile(NEEDS)
    result = inner.runpytest_subprocess("-p", "no:cacheprovider", timeout=LONG_S)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*unknown ffmpg*"])


@pytest.mark.parametrize("jobs", [(), ("-n", "2", "--dist", "loadfile")], ids=["alone", "side by side"])
def test_an_integration_test_that_fails_is_run_once_more_and_a_unit_test_is_not(
    inner: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, jobs: tuple[str, ...]
) -> None:
    monkeypatch.setenv("STREAMCAP_RERUNS", "1")
    for folder in ("integration", "unit"):
        (inner.path / folder).mkdir()
        (inner.path / folder / f"test_{folder}.py").write_text(BAD_SECONDS, "utf-8")
    plain = ("-p", "no:cacheprovider", "-W", "ignore", "-r", "aR", "--rerun-show-tracebacks")
    result = inner.runpytest_subprocess(*plain, *jobs, timeout=LONG_S)
    outcomes = result.parseoutcomes()
    # Of integration all but the last pass then; of unit none has a second try, and what needs the server meets it late.
    assert outcomes["rerun"] == 6, result.outlines
    assert outcomes["failed"] == 1 + 5, result.outlines
    for name, times in (("integration", 2), ("unit", 1)):
        seen = (inner.path / name / f"test_{name}.seen").read_text("utf-8").split()
        assert seen.count("program") == seen.count("closed") == times
    result.stdout.fnmatch_lines(["*RERUN integration/test_integration.py::test_plain*"])
    result.stdout.fnmatch_lines(["*the test had a bad second*"])
    assert not any(line.startswith("RERUN unit") for line in result.outlines)
