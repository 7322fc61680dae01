"""How much one client may ask for: token buckets and counted connections, both in bounded memory."""

from __future__ import annotations

import ipaddress
import logging
import resource
import time
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Final

from streamcap.config import Networks

__all__ = ["FILES_RESERVED", "Buckets", "Connections", "Lease", "allow_open_files", "client_key", "room_for"]

logger = logging.getLogger(__name__)

ADDRESSES_MAX: Final = 10_000  # remembered at a time: about 2 MB


FILES_RESERVED: Final = 200  # open files kept for sources, journal, models and the like


def allow_open_files(connections: int) -> None:
    """Let the process hold this many connections, as far as the system allows. For the owner of the process."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_RESERVED
    if soft != resource.RLIM_INFINITY and soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def room_for(connections: int) -> int:
    """How many of these connections the process can hold. Without this a flood would take the files of everything else:
    a camera could not be opened again, nor a journal be written.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= connections + FILES_RESERVED:
        return connections
    room = max(1, soft - FILES_RESERVED)
    logger.warning("%d connections at most, as the system allows %d open files: see ulimit -n", room, soft)
    return room


def client_key(host: str | None, *, exempt_loopback: bool = True, exempt: Networks = ()) -> str | None:
    """Who counts as one client: an IPv4 address, or a /64 of IPv6, which is what one customer gets.

    Args:
        exempt: not counted.

    Returns:
        None for a client that is not counted.
    """
    try:
        address = ipaddress.ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or "unknown"
    if isinstance(address, ipaddress.IPv6Address):
        address = address.ipv4_mapped or address
    if (address.is_loopback and exempt_loopback) or any(address in network for network in exempt):
        return None
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((int(address) >> 64 << 64, 64)))
    return str(address)


class Buckets:
    """One token bucket for each client.

    Args:
        rate: tokens that come back, a second.
        burst: what a full bucket holds.
        size: clients remembered. Beyond it those are forgotten that were quiet longest, which gives them a full bucket:
            who has that many addresses is held by the limits that count everybody.
    """

    def __init__(
        self, rate: float, burst: int, *, size: int = ADDRESSES_MAX, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._rate, self._burst, self._size, self._monotonic = rate, float(burst), size, monotonic
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()  # tokens, as of this time

    def __len__(self) -> int:
        return len(self._levels)

    def take(self, key: str) -> float:
        """Take a token; returns 0, or the seconds until there is one."""
        now = self._monotonic()
        level, since = self._levels.pop(key, (self._burst, now))
        level = min(self._burst, level + max(0.0, now - since) * self._rate)
        taken = level >= 1.0
        self._levels[key] = (level - 1.0 if taken else level, now)
        while len(self._levels) > self._size:
            self._levels.popitem(last=False)
        return 0.0 if taken else (1.0 - level) / self._rate


class Lease:
    """A counted connection, until it leaves."""

    def __init__(self, connections: Connections, key: str | None) -> None:
        self._connections: Connections | None = connections
        self._key = key

    def leave(self) -> None:
        """The connection is gone. Idempotent."""
        if self._connections is not None:
            self._connections._left(self._key)
            self._connections = None


class Connections:
    """Counts open connections, in all and by client."""

    def __init__(self, most: int, most_per_client: int) -> None:
        self.most, self.most_per_client = most, most_per_client
        self.open = 0
        self.refused = 0
        self._by_client: Counter[str] = Counter()

    def enter(self, key: str | None) -> Lease | None:
        """Count a connection; None where it is one too many. A key of None counts in all only."""
        if self.open >= self.most or (key is not None and self._by_client[key] >= self.most_per_client):
            self.refused += 1
            return None
        self.open += 1
        if key is not None:
            self._by_client[key] += 1
        return Lease(self, key)

    def _left(self, key: str | None) -> None:
        self.open -= 1
        if key is not None:
            self._by_client[key] -= 1
            if self._by_client[key] <= 0:
                del self._by_client[key]
