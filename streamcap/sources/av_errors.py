"""libav's errors put into words that a person can act on."""

from __future__ import annotations

import errno
import os
import socket
import ssl
import stat
import struct
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import av.error

from streamcap.errors import LoginRefused, SourceError, SourceNotFound, SourceTimeout, SourceUnreadable
from streamcap.sources.address import ESCAPES, Address, Kind
from streamcap.sources.device import explain_device
from streamcap.sources.tls import TLS_SCHEMES, tls_context

__all__ = ["SENDER_HINT", "check_file", "explain", "explain_read", "explain_silence"]

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443, "rtmp": 1935, "rtmps": 443}
_CAMERA_HINT = "check the address, the network and that the camera is on"
_PORT_HINT = "choose another, or stop that program"
SENDER_HINT = "is somebody sending to this address? Look at the port, and at the firewall between"
_TLS_HINT = "name who signed it with ?ca_file=FILE.pem, or, on a network that you trust, write ?tls_verify=0"
_PROBE_S = 2.0  # seconds for each step of looking what is wrong
_LOGIN_HINT = "give them in the address, as in {}://USER:PASSWORD@HOST/PATH"
_REFUSED_HINT = f"check both; {ESCAPES}"
_MOV_BOXES = frozenset({b"ftyp", b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"styp", b"sidx", b"uuid"})


def check_file(address: Address) -> None:
    """See that a path names a file with something in it, before libav is asked.

    Raises:
        SourceNotFound: there is nothing.
        SourceUnreadable: it is no regular file, may not be read, or is empty.
    """
    path = Path(address.target)
    try:
        status = path.stat()
    except FileNotFoundError:
        raise SourceNotFound(f"{address.shown}: no such file", hint="check the path") from None
    except OSError as exc:
        raise _from_os(exc, address) from None
    if stat.S_ISDIR(status.st_mode):
        raise SourceUnreadable(f"{address.shown} is a folder", hint="give a video file")
    if not stat.S_ISREG(status.st_mode):
        # A pipe without a writer would hold the thread in open() where nothing can wake it.
        raise SourceUnreadable(f"{address.shown} is not a regular file", hint="a camera is written device:/dev/video0")
    if status.st_size == 0:
        raise SourceUnreadable(f"{address.shown} is empty", hint="was it still being written, or the disk full?")
    if not os.access(path, os.R_OK):
        raise SourceUnreadable(f"{address.shown} may not be read: permission denied", hint="check its owner and mode")


def explain(exc: Exception, address: Address, *, waited: float, timeout: float) -> SourceError:
    """The error to raise for one of libav's in opening.

    Args:
        waited: seconds that the failed call took.
        timeout: seconds that it was allowed.
    """
    shown = address.shown
    if isinstance(exc, (av.error.HTTPUnauthorizedError, av.error.HTTPForbiddenError)):
        return _refused(address)
    if isinstance(exc, av.error.HTTPNotFoundError):
        return SourceNotFound(f"{shown}: the server knows no such stream", hint="check the path behind the host name")
    if isinstance(exc, (av.error.HTTPClientError, av.error.HTTPServerError)):
        return SourceUnreadable(f"{shown}: the server answered with an error ({_words(exc)})", hint="try again later")
    if isinstance(exc, (av.error.ProtocolNotFoundError, av.error.DemuxerNotFoundError)):
        return SourceUnreadable(f"{shown}: this build of PyAV cannot read {address.scheme}", hint="use rtsp or http")
    if isinstance(exc, (av.error.DecoderNotFoundError, av.error.PatchWelcomeError)):
        return SourceUnreadable(f"{shown}: no decoder for this sort of video", hint="convert it to H.264")
    if isinstance(exc, av.error.ExitError | TimeoutError):
        return _timeout(address, waited)
    if address.kind is Kind.NETWORK:
        return _network(exc, address, waited, timeout)
    if address.kind is Kind.DEVICE:
        return explain_device(exc, address)
    if isinstance(exc, OSError):
        return _from_os(exc, address)
    return _unreadable(address)


def explain_read(exc: Exception, address: Address, *, waited: float, timeout: float) -> SourceError:
    """The error to raise for one of libav's in reading on.

    Args:
        waited: seconds that the failed call took.
        timeout: seconds that it was allowed.
    """
    if isinstance(exc, av.error.ExitError | TimeoutError):
        return _timeout(address, max(waited, timeout))
    if address.kind is Kind.DEVICE:
        return SourceNotFound(f"{address.shown} was lost ({_words(exc)})", hint="is it still plugged in?")
    return SourceUnreadable(f"the connection to {address.shown} was lost ({_words(exc)})", hint=_CAMERA_HINT)


def explain_silence(address: Address, waited: float) -> SourceTimeout:
    """The error to raise where nothing has come for so many seconds."""
    return _timeout(address, waited)


def _words(exc: Exception) -> str:
    # Never str(exc): it holds the whole address with its password.
    words = getattr(exc, "strerror", "") or type(exc).__name__
    return str(words)


def _refused(address: Address) -> SourceUnreadable:
    """Of who asks for a login: whether one was given makes the difference of what is to be done."""
    if "@" in address.target.partition("://")[2].partition("/")[0]:
        return LoginRefused(f"{address.shown} refuses the user name or password", hint=_REFUSED_HINT)
    hint = _LOGIN_HINT.format(address.scheme)
    return SourceUnreadable(f"{address.shown} wants a user name and a password", hint=hint)


def _timeout(address: Address, waited: float) -> SourceTimeout:
    if address.waits:
        return SourceTimeout(f"nothing has come to {address.shown} for {waited:.0f} s", hint=SENDER_HINT)
    return SourceTimeout(f"{address.shown} did not answer for {waited:.0f} s", hint=_CAMERA_HINT)


def _from_os(exc: OSError, address: Address) -> SourceError:
    shown = address.shown
    if isinstance(exc, FileNotFoundError):
        return SourceNotFound(f"{shown}: no such file", hint="check the path")
    if isinstance(exc, PermissionError):
        return SourceUnreadable(f"{shown} may not be read: permission denied", hint="check its owner and mode")
    return SourceUnreadable(f"{shown} cannot be read: {_words(exc)}", hint="check the disk")


def _network(exc: Exception, address: Address, waited: float, timeout: float) -> SourceError:
    shown = address.shown
    if isinstance(exc, ConnectionRefusedError):
        return SourceNotFound(f"{shown}: the connection was refused: nothing listens there", hint=_CAMERA_HINT)
    if getattr(exc, "errno", None) == errno.EADDRINUSE:
        return SourceUnreadable(f"{shown}: another program listens on this port", hint=_PORT_HINT)
    if waited >= 0.9 * timeout:  # libav reports some timeouts as bad data
        return _timeout(address, waited)
    if getattr(exc, "errno", None) == errno.EPROTONOSUPPORT and address.scheme in {"rtsp", "rtsps"}:
        wanted = address.query.get("transport", "auto")
        return SourceUnreadable(
            f"{shown}: the camera does not send by {wanted}", hint="leave ?transport= out, or change it"
        )
    return _probe(address) or SourceUnreadable(
        f"{shown} answers, but not with a video stream that can be read ({_words(exc)})",
        hint="check the path and the protocol; try it in another player",
    )


def _probe(address: Address) -> SourceError | None:
    """Ask the host itself what is wrong, where libav only says that something is. None where it can be reached."""
    url = urlsplit(address.target)
    host, port = url.hostname or "", url.port or _PORTS.get(address.scheme, 0)
    if not port or address.scheme in {"udp", "srt"}:
        return None
    try:
        with socket.create_connection((host, port), timeout=_PROBE_S) as connection:
            if address.scheme in TLS_SCHEMES and (context := tls_context(address)) is not None:
                context.wrap_socket(connection, server_hostname=host).close()
    except ssl.SSLCertVerificationError as exc:
        return SourceUnreadable(
            f"{address.shown}: its certificate is not trusted ({exc.verify_message})", hint=_TLS_HINT
        )
    except ssl.SSLError as exc:
        reason = (exc.reason or "no common version").replace("_", " ").lower()
        return SourceUnreadable(
            f"{address.shown}: TLS fails ({reason})", hint="is it the right port? Without TLS: rtsp://"
        )
    except socket.gaierror:
        if host not in address.shown.lower():  # it is the user name: a / in the password ended the authority
            return SourceNotFound(f"{address.shown}: its host cannot be told from its password", hint=ESCAPES)
        return SourceNotFound(f"{address.shown}: no host named {host} is known", hint="check its spelling")
    except TimeoutError:
        return SourceTimeout(f"{address.shown}: the host does not answer", hint=_CAMERA_HINT)
    except OSError as exc:
        if "ca_file" in address.query and not os.access(address.query["ca_file"], os.R_OK):
            return SourceUnreadable(f"{address.shown}: its ca_file cannot be read", hint="check the path")
        return SourceNotFound(f"{address.shown} cannot be reached: {exc.strerror or exc}", hint=_CAMERA_HINT)
    return None


def _unreadable(address: Address) -> SourceUnreadable:
    if address.kind is Kind.FILE and _lacks_index(Path(address.target)):
        return SourceUnreadable(
            f"{address.shown}: the MP4 index (moov) is missing: the file was cut short before it was finished",
            hint="record it again, or as fragmented MP4 or MPEG-TS, which survive a cut",
        )
    return SourceUnreadable(
        f"{address.shown} is not a media file that can be read", hint="is it a video, and wholly copied?"
    )


def _lacks_index(path: Path) -> bool:
    """True for an MP4 or QuickTime file without a ``moov`` box."""
    try:
        with path.open("rb") as file:
            boxes = _top_boxes(file, path.stat().st_size)
    except OSError:
        return False
    return bool(boxes & {b"ftyp", b"mdat"}) and not boxes & {b"moov", b"moof"}


def _top_boxes(file: BinaryIO, size: int) -> set[bytes]:
    boxes: set[bytes] = set()
    at = 0
    while at + 8 <= size and len(boxes) < 64:
        file.seek(at)
        header = file.read(16)
        length, name = struct.unpack(">I4s", header[:8])
        if name not in _MOV_BOXES:
            break
        boxes.add(name)
        if length == 1 and len(header) == 16:
            length = struct.unpack(">Q", header[8:])[0]
        if length < 8:  # 0: the box goes on to the end
            break
        at += length
    return boxes
