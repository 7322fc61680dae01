"""``python -m streamcap``, and the ``streamcap`` program: quiet also when stopped while it is still loading."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

__all__ = ["main"]

INTERRUPTED: Final = 130


def main() -> None:
    """Load the command line, run it, and leave.

    All that has to be closed in order is closed by then, so the process ends without Python's own end. That waits for
    threads, such as one that fetches the gigabytes of a model from a hub that hardly answers; and a thread that comes
    out of native code meanwhile is torn out of it, which aborts the process (python/cpython#87135). Where a profiler
    or a coverage tool watches, which write at Python's end what they saw, Python ends as usual.
    """
    sys.unraisablehook = _unraisable
    status = _status()
    # Nothing is left to be ended cleanly: Ctrl-C while a reader takes its time ends it at once.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.gettrace() is not None or sys.getprofile() is not None:
        sys.exit(status)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has gone
            stream.flush()
    os._exit(status)


def _status() -> int:
    try:
        from streamcap.cli import main as run

        run()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


def _unraisable(fault: UnraisableHookArgs) -> None:
    """Ctrl-C in a finaliser or a callback, as the import system has them, where Python would tell of it and go on."""
    if issubclass(fault.exc_type, KeyboardInterrupt):
        os._exit(INTERRUPTED)
    sys.__unraisablehook__(fault)


if __name__ == "__main__":
    main()
