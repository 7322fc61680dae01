"""Kernels that TensorRT-RTX compiled while it loaded a plan, kept on disk: the next start need not compile them.

They are good for one plan, library, driver and GPU, which the file is named after; the library looks at that once more
and takes nothing that does not fit. They do not lie beside the plan: who serves need not be able to change plans.
TensorRT, whose plans hold their kernels, has no such cache.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

from streamcap.models.graph import write_whole
from streamcap.models.store import cache_root

__all__ = ["KernelCache", "kernels_path"]

_log = logging.getLogger(__name__)

_DIGEST = hashlib.sha256().digest_size


def kernels_path(plan: Path, machine: str) -> Path:
    """Where the kernels of a plan lie: in ``$STREAMCAP_CACHE/kernels``, else in the user's cache directory.

    Args:
        plan: its file; two of one name in two folders have a file each.
        machine: library, driver and GPU, in words.
    """
    key = hashlib.sha256(f"{plan.absolute()} {machine}".encode()).hexdigest()[:12]
    return cache_root().parent / "kernels" / f"{plan.stem}-{key}.kernels"


class KernelCache:
    """The library's cache of one engine, and its file: a SHA-256 digest and what the library wrote.

    A cache is never worth a failure: what cannot be read or written is told of in the log, and compiled anew.

    Args:
        cache: ``IRuntimeCache``, as the contexts use it.
        path: the file.
    """

    def __init__(self, cache: Any, path: Path) -> None:
        self._cache, self._path = cache, path
        self._read = b""

    @classmethod
    def of(cls, settings: Any, path: Path) -> KernelCache | None:
        """Give contexts that are made with these settings (``IRuntimeConfig``) a cache, filled from the file.

        None where the library has none.
        """
        if not hasattr(settings, "create_runtime_cache"):
            return None
        made = cls(settings.create_runtime_cache(), path)
        made._fill()
        if settings.set_runtime_cache(made._cache) is False:
            _log.warning("TensorRT-RTX takes no cache of kernels: it compiles them at each start")
            return None
        return made

    def keep(self) -> None:
        """Write what is in the cache, in one step, if that is not what was read."""
        try:
            kernels = bytes(self._cache.serialize())
            if kernels != self._read:
                write_whole(self._path, hashlib.sha256(kernels).digest() + kernels)
        except (OSError, RuntimeError, TypeError) as error:  # a full disk; what the bindings make of a null pointer
            _log.warning("compiled kernels cannot be kept: %s", error)

    def _fill(self) -> None:
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        except OSError as error:
            _log.warning("compiled kernels cannot be read: %s", error)
            return
        digest, kernels = content[:_DIGEST], content[_DIGEST:]
        # The library takes the bytes on trust: half a file is not shown to it.
        if hashlib.sha256(kernels).digest() != digest:
            _log.warning("%s is damaged: kernels are compiled anew", self._path)
        elif self._cache.deserialize(kernels):
            self._read = kernels
        else:
            _log.info("%s does not fit this machine: kernels are compiled anew", self._path)
