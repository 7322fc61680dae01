"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
import threading

import pytest

from benchmarks.process import memory_mb
from streamcap.heap import give_back

PARTS = 20_000
SIZE = 4096  # bytes: small enough to come from an arena


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_what_a_thread_left_in_its_arena_goes_back_to_the_system() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    library.free.argtypes = [ctypes.c_void_p]
    parts: list[int] = []

    def fill() -> None:
        for _ in range(PARTS):
            part = library.malloc(SIZE)
            ctypes.memset(part, 1, SIZE)
            parts.append(part)

    thread = threading.Thread(target=fill)
    thread.start()
    thread.join()
    full = memory_mb(os.getpid())
    # One in fifty stays in use: what lies between them cannot be given back by the library itself.
    for number, part in enumerate(parts):
        if number % 50:
            library.free(part)
    held = memory_mb(os.getpid())
    give_back()
    left = memory_mb(os.getpid())
    for number, part in enumerate(parts):
        if not number % 50:
            library.free(part)
    freed = PARTS * SIZE / 2**20
    assert held > full - 0.3 * freed, "the premise: the library keeps it"
    assert left < full - 0.7 * freed


def test_another_system_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from streamcap import heap

    heap._trim.cache_clear()
    monkeypatch.setattr(sys, "platform", "darwin")
    try:
        give_back()
        assert heap._trim() is None
    finally:
        heap._trim.cache_clear()
