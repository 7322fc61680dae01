"""libsrt, Haivision's library for SRT, as this machine has it: loaded when the first ``srt:`` source is opened.

PyAV's wheels come without SRT. The system's library is used instead of a helper program: its timeouts are exact, it can
be stopped at any moment, and no passphrase stands in a process list. Only functions are bound whose signatures have
been the same since libsrt 1.4 (2019); the numbers are those of ``srt.h``.
"""

from __future__ import annotations

import atexit
import ctypes
import ctypes.util
import functools
import socket
import struct
import sys
from ctypes import POINTER, Structure, byref, c_char_p, c_int, c_int64, c_uint32, c_void_p, create_string_buffer
from typing import Final

from streamcap.errors import SourceUnreadable

__all__ = ["ERR", "IN", "INSTALL", "OUT", "Broken", "Socket", "library_path", "load", "sockaddr"]

IN, OUT, ERR = 0x1, 0x4, 0x8  # SRT_EPOLL_OPT
MESSAGE: Final = 1456  # bytes; no live message is larger
_NAMES = ("libsrt.so.1.5", "libsrt-gnutls.so.1.5", "libsrt-openssl.so.1.5", "libsrt.so.1.4", "libsrt-gnutls.so.1.4")
INSTALL: Final = "apt install libsrt1.5-openssl (Debian, Ubuntu), dnf install srt-libs, or brew install srt"
_INVALID = -1
_LOG_CRITICAL = 2
_LEAST_VERSION = 0x010400
_WOULD_BLOCK = 6002  # SRT_EASYNCRCV: nothing to be had just now

# SRT_SOCKOPT, and how the value is laid out
_FLAGS = {
    "rcvsyn": (2, "bool"), "sndsyn": (1, "bool"), "passphrase": (26, "text"), "pbkeylen": (27, "int"),
    "conntimeo": (36, "int"), "latency": (23, "int"), "rcvlatency": (43, "int"), "streamid": (46, "text"),
}  # fmt: skip


class _Event(Structure):
    _fields_ = (("socket", c_int), ("events", c_int))


class Broken(Exception):
    """A call failed; the text says why, in libsrt's words."""


def library_path() -> str | None:
    """Name under which libsrt can be loaded here, None where it is not installed."""
    for name in (*_NAMES, ctypes.util.find_library("srt") or ""):
        try:
            if name:
                ctypes.CDLL(name)
                return name
        except OSError:
            continue
    return None


@functools.cache
def load() -> ctypes.CDLL:
    """The library, ready for use; its threads end with the process.

    Raises:
        SourceUnreadable: it is not installed, or too old.
    """
    name = library_path()
    if name is None:
        raise SourceUnreadable("srt: needs libsrt, which is not installed here", hint=INSTALL)
    library = ctypes.CDLL(name)
    for function, result, arguments in _SIGNATURES:
        bound = getattr(library, function)
        bound.restype, bound.argtypes = result, arguments
    if library.srt_getversion() < _LEAST_VERSION:
        raise SourceUnreadable(f"srt: {name} is older than 1.4", hint=INSTALL)
    library.srt_startup()
    library.srt_setloglevel(_LOG_CRITICAL)  # it writes to stderr
    atexit.register(library.srt_cleanup)
    return library


_SIGNATURES: tuple[tuple[str, object, list[object]], ...] = (
    ("srt_getversion", c_uint32, []),
    ("srt_startup", c_int, []),
    ("srt_cleanup", c_int, []),
    ("srt_setloglevel", None, [c_int]),
    ("srt_create_socket", c_int, []),
    ("srt_close", c_int, [c_int]),
    ("srt_bind", c_int, [c_int, c_char_p, c_int]),
    ("srt_listen", c_int, [c_int, c_int]),
    ("srt_accept", c_int, [c_int, c_void_p, c_void_p]),
    ("srt_connect", c_int, [c_int, c_char_p, c_int]),
    ("srt_recv", c_int, [c_int, c_char_p, c_int]),
    ("srt_setsockflag", c_int, [c_int, c_int, c_char_p, c_int]),
    ("srt_getsockflag", c_int, [c_int, c_int, c_void_p, POINTER(c_int)]),
    ("srt_getlasterror", c_int, [c_void_p]),
    ("srt_getlasterror_str", c_char_p, []),
    ("srt_getrejectreason", c_int, [c_int]),
    ("srt_rejectreason_str", c_char_p, [c_int]),
    ("srt_epoll_create", c_int, []),
    ("srt_epoll_add_usock", c_int, [c_int, c_int, POINTER(c_int)]),
    ("srt_epoll_update_usock", c_int, [c_int, c_int, POINTER(c_int)]),
    ("srt_epoll_uwait", c_int, [c_int, POINTER(_Event), c_int, c_int64]),
    ("srt_epoll_release", c_int, [c_int]),
)


class Socket:
    """One SRT socket that never blocks, and what waits for it. For one thread.

    Raises:
        SourceUnreadable: there is no library.
        Broken: the library has no socket to give.
    """

    def __init__(self, *, accepted: int | None = None) -> None:
        self._library = load()
        self._id = self._library.srt_create_socket() if accepted is None else accepted
        if self._id == _INVALID:
            raise Broken(self._words())
        self._poll, self._awaited = _INVALID, 0
        self.set("rcvsyn", 0)

    def set(self, name: str, value: int | str) -> None:
        """Set an option by its lower-case name. Raises Broken where the library does not take it."""
        number, form = _FLAGS[name]
        if form == "text":
            raw = str(value).encode()
        elif form == "bool":
            raw = struct.pack("=?", bool(value))
        else:
            raw = struct.pack("=i", int(value))
        self._check(self._library.srt_setsockflag(self._id, number, raw, len(raw)))

    def get(self, name: str) -> int:
        """A number among the options."""
        value, size = c_int(0), c_int(4)
        self._check(self._library.srt_getsockflag(self._id, _FLAGS[name][0], byref(value), byref(size)))
        return value.value

    def connect(self, address: bytes) -> None:
        """Begin to connect to a ``sockaddr``; done when the socket is ready to write."""
        self._check(self._library.srt_connect(self._id, address, len(address)))

    def listen(self, address: bytes) -> None:
        """Wait for one caller at a ``sockaddr``."""
        self._check(self._library.srt_bind(self._id, address, len(address)))
        self._check(self._library.srt_listen(self._id, 1))

    def accept(self) -> Socket:
        """The caller that waits."""
        return Socket(accepted=self._check(self._library.srt_accept(self._id, None, None)))

    def wait(self, events: int, seconds: float) -> int:
        """Events among ``events`` and ERR that are there within ``seconds``, 0 where none is."""
        if self._poll < 0:
            self._poll = self._check(self._library.srt_epoll_create())
            self._check(self._library.srt_epoll_add_usock(self._poll, self._id, byref(c_int(events | ERR))))
        elif events != self._awaited:
            self._check(self._library.srt_epoll_update_usock(self._poll, self._id, byref(c_int(events | ERR))))
        self._awaited = events
        found = (_Event * 1)()
        count = self._library.srt_epoll_uwait(self._poll, found, 1, int(seconds * 1000))
        return int(found[0].events) if count > 0 else 0

    def receive(self) -> bytes:
        """One message, empty where none is there or the peer has closed. Raises Broken where it was lost."""
        buffer = create_string_buffer(MESSAGE)
        size = self._library.srt_recv(self._id, buffer, MESSAGE)
        if size >= 0:
            return buffer.raw[:size]
        if self._library.srt_getlasterror(None) == _WOULD_BLOCK:
            return b""
        raise Broken(self._words())

    def refusal(self) -> str:
        """Why the peer would not be connected to, in libsrt's words."""
        words = self._library.srt_rejectreason_str(self._library.srt_getrejectreason(self._id))
        return bytes(words or b"").decode("ascii", "replace")

    def close(self) -> None:
        """Close it. May be called again."""
        if self._poll >= 0:
            self._library.srt_epoll_release(self._poll)
        if self._id >= 0:
            self._library.srt_close(self._id)
        self._poll = self._id = _INVALID

    def _check(self, result: int) -> int:
        if result < 0:
            raise Broken(self._words())
        return result

    def _words(self) -> str:
        return bytes(self._library.srt_getlasterror_str() or b"").decode("ascii", "replace").partition("\n")[0]


def sockaddr(family: int, host: str, port: int) -> bytes:
    """A C ``sockaddr`` of an IPv4 or IPv6 address."""
    packed = socket.inet_pton(family, host)
    if family == socket.AF_INET:
        body = struct.pack("!H4s8x", port, packed)
    else:
        body = struct.pack("!HI16sI", port, 0, packed, 0)
    if sys.platform == "darwin":  # BSD: length and family in a byte each
        return struct.pack("=BB", len(body) + 2, family) + body
    return struct.pack("=H", family) + body
