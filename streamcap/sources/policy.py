"""Whether a source may be opened on behalf of somebody who is not at this machine (server-side request forgery).

A server opens what it is told to, from where it stands: behind the firewall, next to the cloud's credentials, with its
owner's files. So what comes over the API is checked first: the scheme, the shape of the address, and every address that
its host name stands for.

What this cannot see: libav resolves the name again when it connects, and a name may stand for something else by then
(DNS rebinding); and an http source may redirect, or be a playlist that names other addresses. Where whoever adds
streams is not trusted with the network, the network has to say no: an egress rule, or a network namespace.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import Path
from typing import Final, TypeAlias

from streamcap.config import SourcePolicy
from streamcap.errors import SourceRefused, SourceUnresolved
from streamcap.sources.address import Address, Kind, parse

__all__ = ["Resolver", "check_source", "resolve"]

Resolver: TypeAlias = Callable[[str], Iterable[str]]
_Address: TypeAlias = IPv4Address | IPv6Address

# One spelling only: what different parsers could read differently (a second @, a backslash, a space) is refused.
_URL: Final = re.compile(
    r"[a-z][a-z0-9+.-]*://"
    r"(?:[A-Za-z0-9._~!$&'()*+,;=:%-]*@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)"
    r"(?::[0-9]{1,5})?"
    r"(?:[/?][\x21-\x5b\x5d-\x7e]*)?",
    re.ASCII | re.IGNORECASE,
)
# The C library reads 2130706433, 0x7f.1 and 0177.0.0.1 as 127.0.0.1; people write four decimal numbers.
_LOOKS_NUMERIC: Final = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)", re.ASCII | re.IGNORECASE)

_PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
)
# Where clouds hand out credentials to whoever asks from inside.
_METADATA: Final = frozenset(
    ipaddress.ip_address(text)
    for text in (
        *("169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
        *("fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254"),
    )
)
_NAT64: Final = (ipaddress.ip_network("64:ff9b::/96"), ipaddress.ip_network("64:ff9b:1::/48"))
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def check_source(uri: str, policy: SourcePolicy, resolver: Resolver) -> None:
    """Return where the policy lets this source be opened.

    The resolver may block: in an event loop, call this in a thread and bound it in time.

    Args:
        resolver: all addresses of a host name, as text; ``resolve`` asks the system. Raises OSError for a name that has
            none.

    Raises:
        SourceRefused: it does not. The message names no credentials and tells nothing about the network.
        UsageError: the address cannot be read.
    """
    if any(ord(letter) < 0x20 or ord(letter) == 0x7F for letter in uri):
        raise SourceRefused("the address holds control characters")
    address = parse(uri)
    if address.kind is Kind.DEVICE:
        raise SourceRefused("cameras of the server's own machine are not opened over the API")
    if address.scheme not in policy.schemes:
        allowed = ", ".join(sorted(policy.schemes))
        raise SourceRefused(f"sources of the sort {address.scheme}: are not opened over the API", hint=f"of {allowed}")
    if address.kind is Kind.FILE:
        _check_file(address, policy.media_root)
    elif address.kind is Kind.NETWORK:
        _check_network(address, policy, resolver)


def resolve(host: str) -> list[str]:
    """All addresses of a host name, as the system resolves it.

    Raises:
        OSError: it has none.
    """
    return [str(entry[4][0]) for entry in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)]


def _check_file(address: Address, root: Path | None) -> None:
    if root is None:
        raise SourceRefused("files are not opened over the API", hint="security.sources.media_root names a folder")
    try:
        inside = Path(address.target).resolve(strict=True).is_relative_to(root.resolve(strict=True))
    except (OSError, ValueError, RuntimeError):  # missing, a NUL, a loop of links: all told the same, as from outside
        inside = False
    if not inside or not Path(address.target).is_absolute():
        raise SourceRefused("there is no such file in the media folder", hint="give its whole path")


def _check_network(address: Address, policy: SourcePolicy, resolver: Resolver) -> None:
    # Named by whoever asks, these would read files of this machine, and open its ports.
    if "ca_file" in address.query or (address.waits and address.scheme != "udp"):
        what = "the option ca_file" if "ca_file" in address.query else "an address that listens"
        raise SourceRefused(f"{what} cannot be given over the API", hint="put the stream into the settings file")
    match = _URL.fullmatch(address.target)
    if match is None:
        raise SourceRefused(
            f"{address.shown} is not written as an address has to be over the API",
            hint="scheme://user:password@host:port/path, with what is special in them as %XX",
        )
    host = match["host"].strip("[]").rstrip(".")
    try:
        addresses = [ipaddress.ip_address(host)]
    except ValueError:
        addresses = _resolved(host, resolver)
    for each in addresses:
        if not _is_open(each, policy):
            raise SourceRefused(f"{host} is at an address that is not opened over the API", hint=_way_in(each))


def _way_in(address: _Address) -> str:
    """What would open an address that the policy keeps closed."""
    if {address, *_wrapped(address)} & _METADATA:
        return "nothing opens it: a machine is told its own credentials there"
    if address.is_private and not (address.is_loopback or address.is_link_local):
        return "security.sources.allow_private or networks opens it"
    return "security.sources.networks opens it"


def _resolved(host: str, resolver: Resolver) -> list[_Address]:
    if _LOOKS_NUMERIC.fullmatch(host.rpartition(".")[2]):
        raise SourceRefused(f"{host} is no address in the usual spelling", hint="four decimal numbers, or a name")
    try:
        # A scope (fe80::1%eth0) says which link; link-local is refused whichever it is.
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in resolver(host)]
    except (OSError, ValueError, UnicodeError):
        addresses = []
    if not addresses:
        raise SourceUnresolved(f"the address of {host} cannot be found", hint="is the name spelt right?")
    return addresses


def _is_open(address: _Address, policy: SourcePolicy) -> bool:
    """True where this address, and any that is wrapped in it, may be connected to."""
    forms = {address, *_wrapped(address)}
    if forms & _METADATA:
        return False
    return all(_is_public(form, policy) or _is_in(form, policy.networks) for form in forms)


def _is_public(address: _Address, policy: SourcePolicy) -> bool:
    if _is_in(address, _PRIVATE):
        return policy.allow_private
    # ``is_global`` of a wrapping form tells of the wrapper; what is in it is judged by itself.
    wrapper = bool(_wrapped(address))
    return (address.is_global or wrapper) and not (
        address.is_multicast
        or address.is_loopback
        or address.is_link_local
        or address.is_unspecified
        or (address.is_reserved and not wrapper)
        or (isinstance(address, IPv6Address) and address.is_site_local)
    )


def _wrapped(address: _Address) -> set[_Address]:
    """IPv4 addresses that a packet to this IPv6 address may end at."""
    if isinstance(address, IPv4Address):
        return set()
    found: set[_Address] = {each for each in (address.ipv4_mapped, address.sixtofour) if each is not None}
    if address.teredo is not None:
        found |= set(address.teredo)
    low = int(address) & 0xFFFFFFFF
    if any(address in network for network in _NAT64) or (address in _COMPATIBLE and low > 0xFFFF):
        found.add(IPv4Address(low))
    return found


def _is_in(address: _Address, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    return any(address.version == network.version and address in network for network in networks)
