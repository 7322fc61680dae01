"""For the schemathesis program: how bodies are sent that it does not know."""

from __future__ import annotations

import schemathesis


@schemathesis.serializer("application/sdp", "application/trickle-ice-sdpfrag")
def as_text(ctx: object, value: object) -> bytes:
    return str(value).encode("utf-8", "replace")
