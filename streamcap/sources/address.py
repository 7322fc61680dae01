"""Where a source is: a user's SOURCE string taken apart, without touching disk or network.

clip.mp4, file:clip.mp4, clip.mp4?loop=1      a file, or a file played for ever as a live stream
recordings/, recordings/?loop=1               a folder: its files one after the other
http:// https:// rtsp:// rtsps:// rtmp:// …   a network stream; HLS is an http address of a playlist
device:/dev/video0?size=1280x720&fps=30       a camera of this machine
whip:                                         what is published to this server by WebRTC
test:?seconds=60&fps=10                       the rendered test scene
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import parse_qsl, unquote, urlsplit

from streamcap.errors import UsageError

__all__ = ["ESCAPES", "NETWORK_SCHEMES", "TRANSPORTS", "Address", "Kind", "flag", "parse", "redact"]

NETWORK_SCHEMES = frozenset({"http", "https", "rtsp", "rtsps", "rtmp", "rtmps", "srt", "tcp", "udp"})
# What streamcap itself understands behind the ? of a network address; all else belongs to the camera.
_TLS_OPTIONS = frozenset({"tls_verify", "ca_file"})
_NETWORK_OPTIONS: dict[str, frozenset[str]] = {
    "rtsp": frozenset({"transport"}),
    "rtsps": frozenset({"transport"}) | _TLS_OPTIONS,
    "https": _TLS_OPTIONS,
    "rtmps": _TLS_OPTIONS,
    "rtmp": frozenset({"listen"}),
    "srt": frozenset({"mode", "latency", "passphrase", "pbkeylen", "streamid", "transtype"}),
}
_SRT_LATENCY_MAX = 30_000  # milliseconds; ffmpeg's option of that name is in microseconds
_SRT_KEY_BYTES = frozenset({"0", "16", "24", "32"})
TRANSPORTS = ("auto", "tcp", "udp")
ESCAPES = "in a user name or password @ is written %40, : %3A, / %2F, ? %3F, # %23 and % itself %25"
_POSSIBLE = (
    "a file or folder, FILE?loop=1, http(s)://, rtsp(s)://, rtmp(s)://, srt://, udp://, tcp://, "
    "device:/dev/video0, whip: or test:"
)
# Two letters at least: one letter is a Windows drive.
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):")
_SECRET = re.compile(
    r"([?&;](?:[\w.-]*(?:token|secret|passw|passphrase|streamid|signature|credential|api[_-]?key)[\w.-]*"
    r"|pass|pwd|key|sig|auth|user|username|login|usr)=)[^&;#\s]*",
    re.IGNORECASE,
)
_STREAM_KEY = re.compile(r"^([^/?#]*/[^/?#]+/)[^?#\s]+")
_TRUE, _FALSE = frozenset({"1", "true", "yes", "on"}), frozenset({"0", "false", "no", "off"})


class Kind(StrEnum):
    """What sort of place an address names."""

    FILE = "file"
    NETWORK = "network"
    DEVICE = "device"
    TEST = "test"
    PUSH = "push"


@dataclass(frozen=True, slots=True)
class Address:
    """A SOURCE string taken apart.

    Attributes:
        kind: what sort of place.
        scheme: ``file``, ``rtsp`` … in lower case.
        target: path of a file or device, whole URL of a network stream, else empty.
        shown: the address as a user may see it: credentials removed.
        query: options that are streamcap's own; of a network address they are taken out of ``target``.
        loop: true for a file that is played for ever.
    """

    kind: Kind
    scheme: str
    target: str
    shown: str
    query: dict[str, str] = field(default_factory=dict)
    loop: bool = False

    @property
    def waits(self) -> bool:
        """True where a sender has to come here: there is nobody to be called."""
        if self.scheme == "srt":
            return self.query.get("mode") == "listener" or not _host_of(self.target)
        if self.scheme == "tcp":
            return re.search(r"[?&]listen(=1)?(&|$)", self.target) is not None
        return self.scheme == "udp" or flag(self.query.get("listen", "0"), "listen")


def parse(uri: str) -> Address:
    """Take a SOURCE string apart; no I/O.

    Raises:
        UsageError: the scheme is unknown, or an option of the address is.
    """
    if not uri.strip():
        raise UsageError("the source is empty", hint=f"give {_POSSIBLE}")
    match = _SCHEME.match(uri)
    scheme = match.group(1).lower() if match else "file"
    shown = redact(uri)
    if scheme in NETWORK_SCHEMES:
        return _network(uri, scheme, shown)
    if scheme == "file":
        return _file(uri, shown, explicit=match is not None)
    if scheme == "device":
        return _device(uri, shown)
    if scheme == "test":
        return Address(Kind.TEST, "test", "", shown, _own_query(uri.partition("?")[2], uri))
    if scheme == "whip":
        if uri.partition(":")[2]:
            raise UsageError(
                f"{shown} says too much", hint="write whip: alone; the stream's id is where it is published"
            )
        return Address(Kind.PUSH, "whip", "", shown)
    hint = f"possible: {_POSSIBLE}"
    if "://" not in uri:
        hint += f"; a file of that name is written ./{shown}"
    raise UsageError(f"“{scheme}:” is not a kind of source that is known", hint=hint)


def redact(uri: str) -> str:
    """The address without its secrets: no user name, no password, no tokens in the query, no key of an RTMP stream.

    A password may hold ``@``, ``/``, ``?`` or ``#`` that nobody escaped, so where an address is ambiguous more is
    taken away than has to be.
    """
    head, mark, rest = uri.partition("://")
    if not mark or not _SCHEME.fullmatch(head + ":"):
        match = _SCHEME.match(uri)
        mistyped = match is not None and match.group(1).lower() in NETWORK_SCHEMES and "@" in uri
        return f"{match.group(0)}{uri.rpartition('@')[2]}" if match and mistyped else uri
    authority, slash, path = rest.partition("/")
    # `admin:pa/ss@host/…` puts part of the password behind the first slash.
    if "@" in path and ("@" in authority or (":" in authority and not authority.startswith("["))):
        rest = rest.rpartition("@")[2]
    elif authority.rpartition("@")[0]:
        rest = authority.rpartition("@")[2] + slash + path
    if head.lower() in {"rtmp", "rtmps"}:  # behind the application stands the stream key, which opens the door
        rest = _STREAM_KEY.sub(r"\1***", rest)
    return _SECRET.sub(r"\1***", head + mark + rest)


def _network(uri: str, scheme: str, shown: str) -> Address:
    if not _host_of(uri) and scheme not in {"udp", "srt"}:
        raise UsageError(f"{shown} names no host", hint=f"write {scheme}://HOST/PATH")
    if not _has_fit_port(uri):  # libav would take the port modulo 65536, or half a password for the host
        raise UsageError(
            f"{shown} is not an address that can be read",
            hint=ESCAPES if "@" in uri else "a port is a number up to 65535",
        )
    head, mark, query = uri.rpartition("?")
    known = _NETWORK_OPTIONS.get(scheme, frozenset())
    parts = query.split("&") if mark else []
    own = [part for part in parts if part.partition("=")[0] in known]
    if not own:
        return Address(Kind.NETWORK, scheme, uri, shown)
    options = dict(parse_qsl("&".join(own), keep_blank_values=True))
    _check_network_options(options)
    rest = "&".join(part for part in parts if part not in own)
    return Address(Kind.NETWORK, scheme, f"{head}?{rest}" if rest else head, shown, options)


def _check_network_options(options: dict[str, str]) -> None:
    if options.get("transport", "auto") not in TRANSPORTS:
        raise UsageError(f"transport={options['transport']} is not known", hint=f"one of {', '.join(TRANSPORTS)}")
    if options.get("ca_file") == "":
        raise UsageError("ca_file= names no file", hint="give the PEM file of who signed the camera's certificate")
    if options.get("mode", "caller") not in {"caller", "listener"}:
        raise UsageError(f"mode={options['mode']} is not known", hint="caller or listener")
    for name in ("latency", "pbkeylen"):
        if not options.get(name, "0").isdecimal():
            raise UsageError(
                f"{name}={options[name]} is no whole number", hint="latency=120 (milliseconds), pbkeylen=16"
            )
    if options.get("pbkeylen", "0") not in _SRT_KEY_BYTES:
        raise UsageError(f"pbkeylen={options['pbkeylen']} is no length of a key", hint="16, 24 or 32 (bytes)")
    if "passphrase" in options and not 10 <= len(options["passphrase"].encode()) <= 79:
        raise UsageError("the passphrase is too short or too long for SRT", hint="10 to 79 letters, as at the sender")
    if int(options.get("latency", "0")) > _SRT_LATENCY_MAX:
        raise UsageError(f"latency={options['latency']} is more than any network needs", hint="it is in milliseconds")
    for name in ("tls_verify", "listen"):
        flag(options.get(name, "0"), name)


def _host_of(uri: str) -> str:
    """Host of a URL, empty where it has none or cannot be read."""
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:  # a bracket without its partner
        return ""


def _has_fit_port(uri: str) -> bool:
    """False where what stands behind the host's colon is no port."""
    try:
        _ = urlsplit(uri).port
    except ValueError:
        return False
    return True


def flag(value: str, name: str) -> bool:
    """A yes or no from an option of an address.

    Raises:
        UsageError: it is neither.
    """
    word = value.strip().lower()
    if word not in _TRUE | _FALSE:
        raise UsageError(f"{name}={value} is neither yes nor no", hint=f"write {name}=1 or {name}=0")
    return word in _TRUE


def _file(uri: str, shown: str, *, explicit: bool) -> Address:
    path, mark, query = uri.rpartition("?")
    options: dict[str, str] = {}
    if mark and re.fullmatch(r"loop=[A-Za-z0-9]*", query):
        options = dict(parse_qsl(query, keep_blank_values=True))
    else:
        path = uri
    if explicit:
        path = path[len("file:") :]
        if path.startswith("//"):
            path = unquote(urlsplit("file:" + path).path)
    if not path:
        raise UsageError("the source names no file", hint=f"give {_POSSIBLE}")
    return Address(Kind.FILE, "file", path, shown, options, loop=flag(options.get("loop", "0"), "loop"))


def _device(uri: str, shown: str) -> Address:
    path, _, query = uri[len("device:") :].partition("?")
    if not path:
        raise UsageError("device: names no device", hint="write device:/dev/video0")
    options = _own_query(query, uri)
    unknown = sorted(options.keys() - {"size", "fps", "format"})
    if unknown:
        raise UsageError(f"device: has no option {unknown[0]}", hint="possible: size=1280x720, fps=30, format=mjpeg")
    if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", options.get("size", "1x1")):
        raise UsageError(f"size={options['size']} is no picture size", hint="write size=1280x720")
    if not re.fullmatch(r"\d{1,4}(\.\d+|/[1-9]\d*)?", options.get("fps", "1")):
        raise UsageError(f"fps={options['fps']} is no rate", hint="write fps=30")
    return Address(Kind.DEVICE, "device", path, shown, options)


def _own_query(query: str, uri: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise UsageError(f"the options of {uri} cannot be read", hint="write them as ?name=value&name=value") from None
