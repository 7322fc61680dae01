"""The installed ``streamcap`` program, run as a user runs it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import pytest

from streamcap.cli import main
from tests.patience import LONG_S, PATIENCE_S, SOON_S

__all__ = ["Done", "inside", "interrupted", "program", "running", "side_by_side", "streamcap", "until"]

# How soon a program ends that was told to; otherwise it would go on for ever.
QUICK_S = SOON_S
# For its libraries and models to be loaded, which takes three seconds where nobody else is at work.
BEGUN_S = 4 * PATIENCE_S
SIDE_BY_SIDE = 2


@dataclass(frozen=True)
class Done:
    """A program that has ended.

    Attributes:
        seconds: that it took, or since it was told to end.
    """

    code: int
    out: str
    err: str
    seconds: float

    @property
    def lines(self) -> list[str]:
        """What it wrote to stdout."""
        return self.out.splitlines()

    @property
    def complaint(self) -> str:
        """The one line that says what failed; fails where there is not exactly one."""
        found = [line for line in self.err.splitlines() if line.startswith("streamcap: ")]
        assert len(found) == 1, self.err
        return found[0].removeprefix("streamcap: ")

    @property
    def hint(self) -> str:
        """The line that says what to do, or nothing."""
        return next((line for line in self.err.splitlines() if line.startswith("hint: ")), "")

    @property
    def clean(self) -> bool:
        """Nothing in it that only its makers understand."""
        return not any(word in self.out + self.err for word in ("Traceback", "Exception ignored", "never retrieved"))


def program() -> str:
    """The program that the tests' own environment holds."""
    found = Path(sys.executable).with_name("streamcap")
    assert found.exists(), f"{found} is not there: install the project (make setup)"
    return str(found)


def environment(changes: Mapping[str, str]) -> dict[str, str]:
    """The tests' own, in a terminal of 80 columns without colours."""
    kept = {k: v for k, v in os.environ.items() if k not in ("FORCE_COLOR", "STREAMCAP_DEBUG", "NO_COLOR")}
    return {**kept, "COLUMNS": "80", **changes}


def streamcap(*arguments: str, env: Mapping[str, str] | None = None, limit: float = LONG_S) -> Done:
    """Run it to its end.

    Raises:
        subprocess.TimeoutExpired: it hangs.
    """
    began = time.monotonic()
    done = subprocess.run(
        [program(), *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=limit,
        env=environment(env or {}),
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr, time.monotonic() - began)


def inside(*arguments: str) -> Done:
    """The same program without a process of its own: enough where nothing is loaded, opened or interrupted."""
    out, err = io.StringIO(), io.StringIO()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(SystemExit) as ended,
    ):
        patch.setattr(sys, "argv", ["streamcap", *arguments])
        patch.setenv("COLUMNS", "80")
        main()
    code = ended.value.code
    return Done(code if isinstance(code, int) else 0, out.getvalue(), err.getvalue(), 0.0)


def side_by_side(runs: Mapping[str, Callable[[], Done]]) -> dict[str, Done]:
    """Several runs, two at a time: most of each is spent on loading."""
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        started = {name: pool.submit(run) for name, run in runs.items()}
        return {name: future.result() for name, future in started.items()}


@contextlib.contextmanager
def running(
    arguments: Sequence[str], out: IO[str] | int, err: IO[str] | int, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run it beside the block; killed where the block leaves it running."""
    with subprocess.Popen(
        [program(), *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=err, text=True, encoding="utf-8",
        env=environment(env or {}),
    ) as process:  # fmt: skip
        try:
            yield process
        finally:
            process.kill()


def interrupted(
    arguments: Sequence[str],
    folder: Path,
    *,
    when: Callable[[Path, Path], bool],
    after: float = 0.0,
    times: int = 1,
    number: int = signal.SIGINT,
    env: Mapping[str, str] | None = None,
) -> Done:
    """Run it and press Ctrl-C.

    Args:
        folder: an empty one of its own, for what it writes.
        when: is it time? Given the files of stdout and stderr so far.
        after: seconds that it may go on after that.
        times: how often, 30 ms apart.

    Raises:
        AssertionError: it never came to that, or it did not end; with what it wrote, and where its threads stood.
    """
    folder.mkdir()
    out, err = folder / "out", folder / "err"
    telling = {"PYTHONFAULTHANDLER": "1", **(env or {})}
    with (
        out.open("w") as out_file,
        err.open("w") as err_file,
        running(arguments, out_file, err_file, telling) as process,
    ):
        try:
            until(lambda: process.poll() is not None or when(out, err), limit=BEGUN_S)
            time.sleep(after)
            began = time.monotonic()
            for _ in range(times):
                process.send_signal(number)
                time.sleep(0.03)
            code = process.wait(BEGUN_S)
        except (AssertionError, subprocess.TimeoutExpired) as stuck:
            process.send_signal(signal.SIGABRT)
            process.wait(PATIENCE_S)
            pytest.fail(f"{stuck}\n{err.read_text('utf-8', 'replace')[-6000:]}")
        seconds = time.monotonic() - began
    return Done(code, out.read_text("utf-8"), err.read_text("utf-8"), seconds)


def until(condition: Callable[[], bool], *, limit: float = LONG_S) -> None:
    """Wait for something outside this process."""
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.005)
