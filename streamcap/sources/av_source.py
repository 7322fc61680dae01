"""Files, network streams and cameras, read through PyAV (libav)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from streamcap.sources.address import Address
from streamcap.sources.av_interrupt import interruptible
from streamcap.sources.av_session import AvSession
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.relay import Relay
from streamcap.sources.session import Session

__all__ = ["AvSource"]


class AvSource(Source):
    """A file (also played as a live stream), an ``http(s)``, ``rtsp`` … stream, or a V4L2 camera.

    What decides whether it is live: a file is where it loops or is played in real time; http and HLS are where they
    have no end; everything else always is. Live network streams and cameras come back after a fault.

    Args:
        address: what to open.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        super().__init__(address.shown, options)
        self._address = address
        self._relay = self.relay = Relay(options.clock.monotonic)

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            with interruptible(self._stop):
                yield
        finally:
            self._relay.close()

    def _hint_silent(self) -> str:
        if self._address.scheme == "udp" or {"listen", "mode"} & self._address.query.keys():
            return "is somebody sending to this address? Look at the port, and at the firewall between"
        return super()._hint_silent()

    def _connect(self, *, first: bool) -> Session:
        start = self._options.start or 0.0
        return AvSession(
            self._address,
            self._options,
            self._reporter,
            self._stop,
            start=start if first else 0.0,
            relay=self._relay,
        )
