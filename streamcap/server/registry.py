"""The streams that were added at run time, kept in the data folder for the next start.

The file holds source addresses with their credentials, so only its owner may read it. It is written whole beside the
old one, which it then replaces: whatever happens in between, one of the two is there.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from streamcap.config import StreamSettings
from streamcap.errors import ConfigError, StreamcapError

__all__ = ["FILE_NAME", "Kept", "Registry", "RegistryError"]

FILE_NAME: Final = "streams.json"
_HINT: Final = "mend it, or move it away to begin without the streams that it names"


class RegistryError(StreamcapError):
    """The file cannot be written; what it held before is still there."""


class Kept(BaseModel):
    """One stream as it is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    settings: StreamSettings
    paused: bool = False


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Literal[1] = 1
    streams: tuple[Kept, ...] = ()


class Registry:
    """Reads and writes ``streams.json``.

    Args:
        folder: the data folder; made where it is missing.

    Raises:
        ConfigError: the file is there and cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._kept = {each.settings.id: each for each in _read(self._path)}

    @property
    def kept(self) -> Mapping[str, Kept]:
        """By id, in the order of their adding."""
        return dict(self._kept)

    async def put(self, kept: Kept) -> None:
        """Keep a stream, in place of the one with its id. Calls must not overlap.

        Raises:
            RegistryError: it cannot be written; nothing has changed.
        """
        await self._replace({**self._kept, kept.settings.id: kept})

    async def drop(self, stream: str) -> None:
        """Keep a stream no longer; nothing happens where it is not kept. Calls must not overlap.

        Raises:
            RegistryError: it cannot be written; nothing has changed.
        """
        if stream in self._kept:
            await self._replace({key: each for key, each in self._kept.items() if key != stream})

    async def _replace(self, kept: dict[str, Kept]) -> None:
        try:
            await asyncio.to_thread(_write, self._path, kept.values())
        except OSError as error:
            raise RegistryError(f"{self._path} cannot be written: {error.strerror or error}") from error
        self._kept = kept


def _read(path: Path) -> tuple[Kept, ...]:
    try:
        return _File.model_validate_json(path.read_bytes()).streams
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "file"
        raise ConfigError(f"{path} does not hold: {where}: {first['msg']}", hint=_HINT) from None


def _write(path: Path, kept: Iterable[Kept]) -> None:
    text = json.dumps(_File(streams=tuple(kept)).model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # readable by its owner only
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # else the new name may not outlive a loss of power
    finally:
        os.close(folder)
