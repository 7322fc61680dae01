"""``python -m streamcap``, and the ``streamcap`` program: quiet also when stopped while it is still loading."""

from __future__ import annotations

import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Load the command line and run it."""
    try:
        from streamcap.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        run()
    finally:
        # Nothing is left to be ended cleanly: who is still pressing Ctrl-C gets no traceback of the interpreter's end.
        signal.signal(signal.SIGINT, signal.SIG_DFL)


if __name__ == "__main__":
    main()
