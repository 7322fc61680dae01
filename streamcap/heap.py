"""Memory that was freed goes back to the system.

The C library keeps what is freed in the arena of the thread that asked for it, for its next use. Threads come and go
with sources and their reconnects, pictures of three megabytes are made in one thread and dropped in another, and what
is kept so adds up to as much again as is in use, and grows (docs/decisions/023-memory.md).
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

__all__ = ["give_back"]


def give_back() -> None:
    """Return free memory of all arenas to the system; some milliseconds, without the interpreter lock.

    Does nothing where the C library is not GNU's: others give memory back by themselves, or cannot.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        found = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library (musl)
        return None
    found.argtypes, found.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda pad: int(found(pad))
