"""``python -m streamcap``, and the ``streamcap`` program: quiet also when stopped while it is still loading."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Final

__all__ = ["main"]

INTERRUPTED: Final = 130
_SHOW_CURSOR: Final = "\x1b[?25h"


def main() -> None:
    """Load the command line, run it, and leave.

    All that has to be closed in order is closed by then, so the process ends without Python's own end. That waits for
    threads, such as one that fetches the gigabytes of a model from a hub that hardly answers; and a thread that comes
    out of native code meanwhile is torn out of it, which aborts the process (docs/decisions/041-leaving.md). Where a
    profiler or a coverage tool watches, which write at Python's end what they saw, Python ends as usual.
    """
    signal.signal(signal.SIGINT, _interrupted)
    status = _status()
    # Nothing is left to be ended cleanly: Ctrl-C while a reader takes its time ends it at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has gone
            stream.flush()
    os._exit(status)


def _interrupted(_number: int, _frame: FrameType | None) -> None:
    """Ctrl-C before a command watches anything (``streamcap.cli.signals``): there is nothing to be ended in order.

    What is fetched is carried on with the next time. ``KeyboardInterrupt`` would be raised wherever Python happens to
    be: where that is a finaliser or a callback, as the import system has them, it is told of and lost.
    """
    with contextlib.suppress(OSError):
        shown = _SHOW_CURSOR if os.isatty(2) else ""  # a progress bar hides it
        os.write(2, f"{shown}streamcap: interrupted\n".encode())
    os._exit(INTERRUPTED)


def _status() -> int:
    try:
        from streamcap.cli import main as run

        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    main()
