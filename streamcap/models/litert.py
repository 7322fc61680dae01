"""A LiteRT network that several threads may use at once. LiteRT is imported when the first network is loaded."""

from __future__ import annotations

import logging
import os
import re
import sys
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamcap.errors import ModelError, ModelLoadError

__all__ = ["Network", "packed", "packed_lines"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


# How lines of its own begin, and those of the library that it logs with.
_OWN = re.compile(rb"(?:INFO|WARNING|ERROR): |[IWEF]\d{4} ")
# One at a time, or one would take another's file for stderr.
_turned = threading.Lock()


@contextmanager
def _stderr_to_log() -> Iterator[None]:
    """LiteRT writes a line of good news to file descriptor 2 and has no switch for it: keep it for the debug log.

    What other threads write meanwhile comes a moment late.
    """
    with _turned, tempfile.TemporaryFile() as caught:
        sys.stderr.flush()
        kept = os.dup(2)
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            caught.seek(0)
            lines = [line for line in caught.read().splitlines(keepends=True) if line.strip()]
            with suppress(OSError):  # nobody reads stderr
                os.write(2, b"".join(line for line in lines if not _OWN.match(line)))
            own = b"".join(line for line in lines if _OWN.match(line))
            _log.debug("LiteRT: %s", own.decode(errors="replace").strip())


def packed(path: Path, member: str, role: str) -> bytes:
    """A file that a model's file carries with it: a zip archive, often in its tail.

    Args:
        role: what messages call the network, such as "the detector".

    Raises:
        ModelLoadError: there is none.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read(member)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ModelLoadError(f"cannot load {role} {path.name}: {error}") from error


def packed_lines(path: Path, member: str, role: str) -> tuple[str, ...]:
    """The lines of such a file, of labels for instance. Raises as :func:`packed`."""
    try:
        return tuple(packed(path, member, role).decode().splitlines())
    except UnicodeDecodeError as error:
        raise ModelLoadError(f"cannot load {role} {path.name}: {error}") from error


class Network:
    """One ``.tflite`` file, one thread an interpreter, as many interpreters as pictures may be in it at once.

    Args:
        path: the file.
        role: what messages call it, such as "the detector".
        interpreters: how many pictures may be in the network at once.
        content: of the network, where the file holds more than that.

    Attributes:
        outputs: for each output its index (for :meth:`run`) and shape.

    Raises:
        ModelLoadError: the file or the runtime does not load.
    """

    def __init__(self, path: Path, role: str, *, interpreters: int, content: bytes | None = None) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as error:
            raise ModelLoadError("LiteRT is not installed", hint="pip install 'streamcap[cpu]'") from error
        try:
            with _stderr_to_log():
                source = {"model_path": str(path)} if content is None else {"model_content": content}
                pool = [Interpreter(**source, num_threads=1) for _ in range(interpreters)]
                for interpreter in pool:
                    interpreter.allocate_tensors()
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelLoadError(f"cannot load {role} {path.name}: {error}") from error
        self._role = role
        self._input: int = pool[0].get_input_details()[0]["index"]
        self.outputs = {int(d["index"]): tuple(map(int, d["shape"])) for d in pool[0].get_output_details()}
        self._pool: list[Any] = pool
        self._free = threading.Semaphore(interpreters)

    def run(self, picture: NDArray[Any], *wanted: int) -> list[NDArray[np.float32]]:
        """Put one picture through. Thread safe; waits while all interpreters are busy.

        Args:
            picture: of the shape and type of the network's input, without the batch axis.
            wanted: indices of the outputs.

        Returns:
            Each wanted output without its batch axis, as a copy.

        Raises:
            ModelError: the runtime failed.
        """
        return self.read(picture, lambda *outputs: [output.copy() for output in outputs], *wanted)

    def read(self, picture: NDArray[Any], take: Callable[..., T], *wanted: int) -> T:
        """Put one picture through and let ``take`` choose from the outputs, which are large: no copy is made of them.

        Args:
            picture, wanted: as in :meth:`run`.
            take: gets each wanted output without its batch axis; it must keep no part of them.

        Raises:
            ModelError: the runtime failed, or ``take`` kept a part.
        """
        with self._free:
            interpreter = self._pool.pop()
            try:
                interpreter.set_tensor(self._input, picture[None])
                interpreter.invoke()
                return take(*(interpreter.tensor(index)()[0] for index in wanted))
            except (RuntimeError, ValueError) as error:
                raise ModelError(f"{self._role} failed: {error}") from error
            finally:
                self._pool.append(interpreter)
