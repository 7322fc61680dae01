"""The settings file as a whole."""

from __future__ import annotations

import tomllib
from pathlib import Path

from pydantic import ValidationError, field_validator, model_validator

from streamcap.config.models import ModelSettings, VisionSettings
from streamcap.config.serving import (
    JournalSettings,
    LoadSettings,
    SecuritySettings,
    ServerSettings,
    WebRtcSettings,
)
from streamcap.config.streams import CaptionerName, StreamSettings
from streamcap.config.strict import Strict
from streamcap.errors import ConfigError

__all__ = [
    "Settings",
    "load_settings",
    "parse_settings",
]


class Settings(Strict):
    """The whole of ``streamcap.toml``."""

    server: ServerSettings = ServerSettings()
    journal: JournalSettings = JournalSettings()
    security: SecuritySettings = SecuritySettings()
    webrtc: WebRtcSettings = WebRtcSettings()
    load: LoadSettings = LoadSettings()
    vision: VisionSettings | None = None
    models: ModelSettings = ModelSettings()
    streams: tuple[StreamSettings, ...] = ()

    @field_validator("streams")
    @classmethod
    def _distinct(cls, streams: tuple[StreamSettings, ...]) -> tuple[StreamSettings, ...]:
        names = [stream.id for stream in streams]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            raise ValueError(f"stream ids must differ: {', '.join(doubled)}")
        return streams

    @model_validator(mode="after")
    def _have_a_model(self) -> Settings:
        wanting = [stream.id for stream in self.streams if stream.captioner is CaptionerName.VISION]
        if wanting and self.vision is None:
            raise ValueError(f'captioner = "vision" of {", ".join(wanting)} needs a [vision] section')
        return self


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
