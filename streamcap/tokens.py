"""Bearer tokens: who may read, publish or manage which streams. Kept hashed in one file.

    sc_1f0c9a7e_mO0…          the id, which is no secret and names the token in lists, and 256 random bits

Only the SHA-256 of a token is kept. Slow, salted hashes exist for passwords that people make up and reuse: they buy
time against guessing from a small set. Nobody guesses 256 random bits, whatever the speed, so here a slow hash would
only make each request dear, which is a way to attack the server.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import logging
import os
import re
import secrets
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamcap.config import Settings, is_loopback
from streamcap.errors import ConfigError, UsageError

__all__ = ["TOKENS_FILE", "Access", "Scope", "Token", "TokenFile", "TokenGuard", "guard_for"]

logger = logging.getLogger(__name__)

TOKENS_FILE: Final = "tokens.json"  # in the data folder
TOKEN_MAX_CHARS: Final = 256  # longer ones are refused unread
RELOAD_S: Final = 1.0  # how often, at most, the file is looked at
TOKENS_MAX: Final = 10_000

_PATTERN: Final = re.compile(r"[A-Za-z0-9._*?-]{1,64}", re.ASCII)
_SHAPE: Final = re.compile(r"sc_([0-9a-f]{8})_[A-Za-z0-9_-]{43}", re.ASCII)
_NOBODY: Final = hashlib.sha256(b"").hexdigest()


class Scope(StrEnum):
    """What a token allows. ``admin`` includes the other two; ``publish`` does not include ``read``."""

    READ = "read"
    PUBLISH = "publish"
    ADMIN = "admin"


class Token(BaseModel):
    """A token as the file holds it.

    Attributes:
        id: eight hexadecimal digits, not secret.
        name: for people.
        hash: SHA-256 of the whole token, in hexadecimal.
        streams: patterns (``*`` and ``?``) of the ids of the streams it is for.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{8}$")]
    name: Annotated[str, Field(max_length=200)] = ""
    hash: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    streams: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    created: datetime


class _Contents(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    version: Annotated[int, Field(ge=1, le=1)] = 1
    tokens: Annotated[tuple[Token, ...], Field(max_length=TOKENS_MAX)] = ()


@dataclass(frozen=True, slots=True)
class Access:
    """What the bearer of a connection may do.

    Attributes:
        token: id of the token, None where the server asks for none.
    """

    token: str | None = None
    scopes: frozenset[Scope] = frozenset(Scope)
    streams: tuple[str, ...] = ("*",)

    @property
    def everywhere(self) -> bool:
        """True where it is for all streams, also those to come."""
        return "*" in self.streams

    def covers(self, stream: str) -> bool:
        """True where it is for this stream."""
        return any(fnmatchcase(stream, pattern) for pattern in self.streams)

    def holds(self, scope: Scope) -> bool:
        """True where it has this scope, or the one that includes it; of which streams, ``covers`` tells."""
        return scope in self.scopes or Scope.ADMIN in self.scopes


class TokenFile:
    """The file of tokens. Changes are atomic and made one at a time, also between processes.

    Args:
        path: need not exist; reading gives no tokens then.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> tuple[Token, ...]:
        """The tokens.

        Raises:
            ConfigError: others than its owner may read the file, or it cannot be read, or is no file of tokens.
        """
        try:
            with self.path.open("rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                if mode & (stat.S_IRWXG | stat.S_IRWXO):
                    raise ConfigError(
                        f"others than its owner may use {self.path} (mode {stat.S_IMODE(mode):04o})",
                        hint=f"chmod 600 {self.path}",
                    )
                return _Contents.model_validate_json(file.read()).tokens
        except FileNotFoundError:
            return ()
        except OSError as error:
            raise ConfigError(f"cannot read {self.path}: {error.strerror}") from error
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors(include_input=False)[0]["loc"])
            raise ConfigError(f"{self.path} is not a file of tokens ({where or 'not JSON'})") from None

    def create(self, scopes: Sequence[Scope], streams: Sequence[str] = ("*",), name: str = "") -> tuple[Token, str]:
        """Add a token; returns it with its secret text, which is kept nowhere.

        Raises:
            UsageError: no scope, or a pattern that no id of a stream can match.
            ConfigError: as ``read``; also where the file cannot be written.
        """
        if not scopes:
            raise UsageError("a token needs a scope", hint=f"of {', '.join(Scope)}")
        for pattern in streams:
            if not _PATTERN.fullmatch(pattern):
                raise UsageError(f"{pattern!r} is no pattern of stream ids", hint="such as door, yard-* or *")
        with self._change() as tokens:
            known = {token.id for token in tokens}
            token_id = next(made for made in iter(lambda: secrets.token_hex(4), None) if made not in known)
            secret = f"sc_{token_id}_{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode().rstrip('=')}"
            token = Token(
                id=token_id,
                name=name[:200],
                hash=_hash(secret),
                scopes=tuple(dict.fromkeys(scopes)),
                streams=tuple(dict.fromkeys(streams)) or ("*",),
                created=datetime.now(UTC).replace(microsecond=0),
            )
            tokens.append(token)
        return token, secret

    def revoke(self, which: str) -> list[Token]:
        """Take away the token of this id, or all of this name; returns them.

        Raises:
            UsageError: there is none.
            ConfigError: as ``create``.
        """
        with self._change() as tokens:
            gone = [token for token in tokens if token.id == which] or [t for t in tokens if t.name == which]
            if not gone:
                raise UsageError(f"no token {which!r} in {self.path}", hint="streamcap token list shows them")
            tokens[:] = [token for token in tokens if token not in gone]
        return gone

    @contextlib.contextmanager
    def _change(self) -> Iterator[list[Token]]:
        """The tokens, to be changed in place; written back at the end of the block, unless it raises."""
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._locked():
                tokens = list(self.read())
                yield tokens
                try:
                    text = _Contents(tokens=tuple(tokens)).model_dump_json(indent=1) + "\n"
                    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                    with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor, not a path
                        file.write(text)
                        file.flush()
                        os.fsync(file.fileno())
                    temporary.replace(self.path)
                finally:
                    temporary.unlink(missing_ok=True)
        except OSError as error:
            raise ConfigError(f"cannot write {self.path}: {error.strerror}") from error

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        import fcntl  # POSIX; a subscriber elsewhere does without tokens of its own

        # A file of its own: the file of tokens is replaced by each change, and a lock stays with what was replaced.
        descriptor = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


class TokenGuard:
    """The tokens as a running server sees them: changes of the file count within a second or so.

    Where the file is gone, nobody has a token any more. Where it cannot be read any more, the tokens that were known
    last stay, and the log says so: a typing error must not lock everybody out.

    Args:
        file: None where tokens play no part.
        required: ask for a token from the start. Otherwise it is asked for once the file is there.

    Raises:
        ConfigError: as ``TokenFile.read``.
    """

    def __init__(
        self,
        file: TokenFile | None = None,
        *,
        required: bool = False,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._file, self._monotonic = file, monotonic
        self._tokens: dict[str, Token] = {}
        self._version: tuple[int, ...] | None = None
        self._required = required
        self._looked = monotonic()
        if file is not None:
            self._version = self._look()
            self._take(file.read())

    @property
    def required(self) -> bool:
        """True where nobody does anything without a token."""
        self._refresh()
        return self._required

    def __len__(self) -> int:
        return len(self._tokens)

    def check(self, secret: str) -> Access | None:
        """What a token allows; None for one that is not valid."""
        self._refresh()
        shape = _SHAPE.fullmatch(secret) if len(secret) <= TOKEN_MAX_CHARS else None
        token = self._tokens.get(shape.group(1)) if shape else None
        # The same work for an id that is not known; the comparison takes as long wherever two hashes part.
        same = hmac.compare_digest(_hash(secret[:TOKEN_MAX_CHARS]), token.hash if token else _NOBODY)
        if token is None or not same:
            return None
        return _access(token)

    def access(self, token: str) -> Access | None:
        """What the token of this id allows now; None where there is none any more."""
        self._refresh()
        found = self._tokens.get(token)
        return _access(found) if found is not None else None

    def holds(self, access: Access) -> bool:
        """True while an access that was given still holds: its token was neither revoked nor changed."""
        self._refresh()
        if access.token is None:
            return not self._required
        token = self._tokens.get(access.token)
        return token is not None and (frozenset(token.scopes), token.streams) == (access.scopes, access.streams)

    def _refresh(self) -> None:
        now = self._monotonic()
        if self._file is None or now - self._looked < RELOAD_S:
            return
        self._looked = now
        version = self._look()
        if version == self._version:
            return
        self._version = version
        try:
            self._take(self._file.read())
        except ConfigError as error:
            logger.error("%s; the tokens known before stay in force", error)  # noqa: TRY400 - no defect of ours
        else:
            logger.info("%d tokens in force", len(self._tokens))

    def _look(self) -> tuple[int, ...] | None:
        assert self._file is not None
        try:
            now = self._file.path.stat()
        except OSError:
            return None
        return (now.st_ino, now.st_size, now.st_mtime_ns, now.st_mode)

    def _take(self, tokens: tuple[Token, ...]) -> None:
        self._tokens = {token.id: token for token in tokens}
        # Once asked for, always asked for: a file that is deleted must not open the server to everybody.
        self._required = self._required or self._version is not None


def guard_for(settings: Settings) -> TokenGuard:
    """The tokens that a server with these settings asks for.

    Raises:
        UsageError: it would be open to everybody beyond this machine, and nobody said that it should.
        ConfigError: the file that was named is not there; as ``TokenFile.read``.
    """
    security, server = settings.security, settings.server
    path = security.tokens or (server.data / TOKENS_FILE if server.data is not None else None)
    if security.tokens is not None and not security.tokens.exists():
        raise ConfigError(
            f"no such file of tokens: {security.tokens}",
            hint=f"make it: streamcap token create --scope read --tokens {security.tokens}",
        )
    closed = not is_loopback(server.host) and not security.insecure
    guard = TokenGuard(TokenFile(path) if path else None, required=closed or security.tokens is not None)
    if closed and not len(guard):
        where = f"--data {server.data}" if path and security.tokens is None else f"--tokens {path or 'FILE'}"
        raise UsageError(
            f"{server.host} can be reached from other machines, and no token keeps them out",
            hint=f"streamcap token create --scope read {where}, then serve with {where}; or --insecure for everybody",
        )
    return guard


def _access(token: Token) -> Access:
    return Access(token.id, frozenset(token.scopes), token.streams)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
