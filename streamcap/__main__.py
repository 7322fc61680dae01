"""``python -m streamcap``, and the ``streamcap`` program: quiet also when stopped while it is still loading."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from typing import Final

__all__ = ["main"]

# Python waits at its end for threads, such as one that fetches the gigabytes of a model from a hub that hardly answers.
# All that has to be closed in order is closed by then; after this time (seconds) the program ends without them.
LEFT_S: Final = 5.0


def main() -> None:
    """Load the command line and run it."""
    try:
        from streamcap.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    status = 1
    try:
        run()
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        # Nothing is left to be ended cleanly: who is still pressing Ctrl-C gets no traceback of the interpreter's end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        leaving = threading.Timer(LEFT_S, _leave, [status])
        leaving.daemon = True
        leaving.start()


def _leave(status: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has gone
            stream.flush()
    os._exit(status)


if __name__ == "__main__":
    main()
