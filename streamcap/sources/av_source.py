"""Files, network streams and cameras, read through PyAV (libav)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from streamcap.sources.address import Address
from streamcap.sources.av_errors import SENDER_HINT
from streamcap.sources.av_interrupt import interruptible
from streamcap.sources.av_session import AvSession
from streamcap.sources.base import Source
from streamcap.sources.options import SourceOptions
from streamcap.sources.relay import Relay
from streamcap.sources.session import Session

__all__ = ["AvSource"]

LISTEN_AGAIN_S: Final = 0.2  # until somebody can call again after a sender has left


class AvSource(Source):
    """A file (also played as a live stream), an ``http(s)``, ``rtsp`` … stream, or a V4L2 camera.

    What decides whether it is live: a file is where it loops or is played in real time; http and HLS are where they
    have no end; everything else always is. Live network streams and cameras come back after a fault. Where a sender has
    to come here, somebody listens all but without a break: many a sender tries once.

    Args:
        address: what to open.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        if address.waits:
            options = replace(
                options,
                open_timeout=options.sender_timeout,
                reconnect_first=min(options.reconnect_first, LISTEN_AGAIN_S),
                reconnect_cap=min(options.reconnect_cap, LISTEN_AGAIN_S),
            )
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
        return SENDER_HINT if self._address.waits else super()._hint_silent()

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
