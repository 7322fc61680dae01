"""Settings: what a user may choose, with its defaults, from ``streamcap.toml`` and the command line."""

from __future__ import annotations

import tomllib
from enum import StrEnum
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from streamcap.errors import ConfigError

__all__ = [
    "DEFAULT_PORT",
    "FLOORS",
    "CaptionerName",
    "Profile",
    "ServerSettings",
    "Settings",
    "StreamSettings",
    "load_settings",
]

DEFAULT_PORT = 8750
DEFAULT_FPS = 5.0


class Profile(StrEnum):
    """Who reads: a guard wants every salient fact, others a smoother and shorter account."""

    SURVEILLANCE = "surveillance"
    GENERAL = "general"


class CaptionerName(StrEnum):
    """Who makes the final text."""

    GROUNDED = "grounded"


# Facts of lower saliency (0..1) are not spoken of.
FLOORS = {Profile.SURVEILLANCE: 0.2, Profile.GENERAL: 0.4}


class _Strict(BaseModel):
    # A misspelt key is an error, not a silent default.
    model_config = ConfigDict(extra="forbid", frozen=True)


class StreamSettings(_Strict):
    """One stream.

    Attributes:
        id: what the feed calls it: letters, digits, ``.``, ``_`` and ``-``, at most 64.
        source: file, URL, ``device:`` or ``test:``.
        fps: pictures analysed a second, at most.
        captioner: name of what makes the final text.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    source: Annotated[str, Field(min_length=1)]
    fps: Annotated[float, Field(gt=0, le=60)] = DEFAULT_FPS
    profile: Profile = Profile.SURVEILLANCE
    captioner: CaptionerName = CaptionerName.GROUNDED


class ServerSettings(_Strict):
    """Where the feed is served. ``data`` is where a durable journal will lie; see docs/decisions."""

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = DEFAULT_PORT
    data: Path | None = None
    heartbeat_s: Annotated[float, Field(gt=0, le=300)] = 15.0


class Settings(_Strict):
    """The whole of ``streamcap.toml``."""

    server: ServerSettings = ServerSettings()
    streams: tuple[StreamSettings, ...] = ()

    @field_validator("streams")
    @classmethod
    def _distinct(cls, streams: tuple[StreamSettings, ...]) -> tuple[StreamSettings, ...]:
        names = [stream.id for stream in streams]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"stream ids must differ: {', '.join(doubled)}")
        return streams


def load_settings(path: Path) -> Settings:
    """Read a settings file.

    Raises:
        ConfigError: it is not there, not TOML, or holds something that cannot be; the line says where.
    """
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"no such settings file: {path}") from error
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"cannot read {path}: {error}") from error
    return parse_settings(raw, str(path))


def parse_settings(raw: object, origin: str) -> Settings:
    """Check settings that were read from ``origin``.

    Raises:
        ConfigError: something does not hold.
    """
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ConfigError(f"{origin}: {where}: {first['msg']}") from error
