"""That a peer is who its description says: by the fingerprint of its certificate alone (RFC 8827, 6.5).

aiortc reads the whole certificate for that, by a library that knows X.509 versions 1 and 3 only. libdatachannel before
0.23, which OBS and others publish with, writes version 2 into its own (where it is built with OpenSSL), and could not
connect. Nothing of a self-signed certificate but its digest says anything, so nothing else is read here. The method is
replaced under a private name, of releases that are named in ``pyproject.toml`` and looked at by the tests.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from aiortc import RTCDtlsTransport, RTCPeerConnection
    from aiortc.rtcdtlstransport import RTCDtlsParameters

__all__ = ["trust_fingerprints"]

logger = logging.getLogger(__name__)

_VALIDATE: Final = "_validate_peer_identity"
# RFC 8122, 5; what else a peer may offer is weak or unknown, and is not counted.
_DIGESTS: Final = {"sha-256": "SHA256", "sha-384": "SHA384", "sha-512": "SHA512"}


def trust_fingerprints(peer: RTCPeerConnection) -> None:
    """Have a connection that has its remote description, and has not begun, judge its peer by fingerprints alone."""
    for transport in {each.receiver.transport for each in peer.getTransceivers()}:
        if not hasattr(transport, _VALIDATE):
            raise RuntimeError("this release of aiortc is made otherwise than those that are known")
        setattr(transport, _VALIDATE, functools.partial(_validate, transport))


def _validate(transport: RTCDtlsTransport, told: RTCDtlsParameters) -> None:
    """Fail the transport unless there is a fingerprint that can be judged, and all of these are right."""
    from aiortc.rtcdtlstransport import State

    connection = transport._ssl
    certificate = connection.get_peer_certificate() if connection is not None else None
    known = [each for each in told.fingerprints if each.algorithm.lower() in _DIGESTS]
    if certificate is not None and known:
        digests = {name: certificate.digest(_DIGESTS[name]).decode() for name in _DIGESTS}
        if all(each.value.upper() == digests[each.algorithm.lower()] for each in known):
            return
    logger.warning("a peer's certificate is not the one that its description names")
    transport._set_state(State.FAILED)
