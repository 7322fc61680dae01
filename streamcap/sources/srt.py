"""An SRT connection that libav reads its MPEG transport stream from, as from a file."""

from __future__ import annotations

import socket
import threading
import time
from typing import Final
from urllib.parse import urlsplit

from streamcap.errors import SourceError, SourceNotFound, SourceTimeout, SourceUnreadable
from streamcap.sources.address import Address
from streamcap.sources.srt_library import ERR, IN, OUT, Broken, Socket, sockaddr

__all__ = ["SrtReader"]

_LOOK_S: Final = 0.1  # how soon a wait hears that it is to stop
_SHARE: Final = 0.8
_HINT: Final = "check the address, the network, and that the sender is on"
_PORT_HINT: Final = "does another program listen there? Choose another port, or stop that program"
_SECRET_HINT: Final = "give the sender's passphrase: srt://HOST:PORT?passphrase=…"  # noqa: S105 - no password
_SECRET_WORDS: Final = ("pass", "secret", "encryption")


class SrtReader:
    """One connection, from open to close, for one thread; libav calls :meth:`read`.

    Options of the address: ``mode`` (caller, or listener: wait for a sender), ``latency`` (milliseconds that a lost
    packet may take to be sent again), ``passphrase``, ``pbkeylen``, ``streamid``.

    Args:
        stop: set from another thread to give up; reading then ends like a stream that is over.
        open_timeout: seconds until it is connected at most; of a listener: until somebody calls.
        read_timeout: seconds of silence after which it is lost.

    Raises:
        SourceError: it cannot be had.
    """

    def __init__(self, address: Address, stop: threading.Event, *, open_timeout: float, read_timeout: float) -> None:
        self._shown, self._stop, self._read_timeout = address.shown, stop, read_timeout
        self._socket = self._opened(address, open_timeout)
        self._rest = b""
        self.delay = self._socket.get("rcvlatency") / 1000

    def read(self, size: int) -> bytes:
        """What has arrived, at most ``size`` bytes; waits for the first. Empty at the end.

        Raises:
            SourceTimeout: nothing came for as long as is waited.
            SourceUnreadable: the connection was lost.
        """
        begun = time.monotonic()
        while not self._rest and not self._stop.is_set():
            if not self._socket.wait(IN, _LOOK_S):
                if (waited := time.monotonic() - begun) > self._read_timeout:
                    raise SourceTimeout(f"{self._shown} did not answer for {waited:.0f} s", hint=_HINT)
                continue
            self._rest = self._take(size)
            if not self._rest:
                break
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken

    def close(self) -> None:
        """Close the connection. May be called again."""
        self._socket.close()

    def _take(self, size: int) -> bytes:
        parts = bytearray()
        try:
            while len(parts) < size and (message := self._socket.receive()):
                parts += message
        except Broken as error:
            if not parts:
                raise SourceUnreadable(f"the connection to {self._shown} was lost ({error})", hint=_HINT) from None
        return bytes(parts)

    def _opened(self, address: Address, timeout: float) -> Socket:
        options = dict(address.query)
        options.pop("mode", None)
        listens = address.waits
        options.pop("transtype", None)  # live is the only one
        found = Socket()
        try:
            where = self._resolve(address, listens=listens)
            timeout *= _SHARE  # so that what is known of the cause comes before the source's own timeout
            found.set("conntimeo", int(timeout * 1000))
            for name, value in options.items():
                found.set(name, int(value) if name in {"latency", "pbkeylen"} else value)
            return self._listened(found, where, timeout) if listens else self._called(found, where, timeout)
        except Broken as error:
            found.close()
            raise SourceUnreadable(f"{self._shown}: {error}", hint="check the options behind the ?") from None
        except BaseException:
            found.close()
            raise

    def _resolve(self, address: Address, *, listens: bool) -> bytes:
        try:
            url = urlsplit(address.target)
            host, port = url.hostname, url.port
        except ValueError:
            host, port = "", None
        if not port:
            raise SourceUnreadable(f"{self._shown} names no port", hint="write srt://HOST:PORT")
        flags = socket.AI_PASSIVE if listens else 0
        try:
            family, *_, where = socket.getaddrinfo(host or None, port, type=socket.SOCK_DGRAM, flags=flags)[0]
        except socket.gaierror:
            raise SourceNotFound(f"{self._shown}: no host named {host} is known", hint="check its spelling") from None
        return sockaddr(family, str(where[0]), port)

    def _called(self, caller: Socket, where: bytes, timeout: float) -> Socket:
        caller.connect(where)
        events = self._awaited(caller, OUT, timeout)
        if events & OUT and not events & ERR:
            return caller
        raise self._refused(caller.refusal(), answered=bool(events))

    def _listened(self, listener: Socket, where: bytes, timeout: float) -> Socket:
        try:
            listener.listen(where)
        except Broken as error:
            raise SourceUnreadable(f"{self._shown}: its port cannot be had ({error})", hint=_PORT_HINT) from None
        if not self._awaited(listener, IN, timeout):
            raise SourceTimeout(f"nobody sends to {self._shown}", hint="point the sender (mode caller) at this port")
        caller = listener.accept()
        listener.close()
        return caller

    def _awaited(self, one: Socket, events: int, timeout: float) -> int:
        end = time.monotonic() + timeout
        while time.monotonic() < end and not self._stop.is_set():
            if found := one.wait(events, _LOOK_S):
                return found
        return 0

    def _refused(self, reason: str, *, answered: bool) -> SourceError:
        if any(word in reason.lower() for word in _SECRET_WORDS):
            return SourceUnreadable(f"{self._shown}: wrong passphrase, or one is wanted", hint=_SECRET_HINT)
        if not answered or "timeout" in reason.lower():
            return SourceTimeout(f"{self._shown} does not answer", hint=_HINT)
        return SourceUnreadable(
            f"{self._shown} refuses the connection ({reason})", hint="check streamid and passphrase"
        )
