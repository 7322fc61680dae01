"""Peers whose certificates are of other sorts than aiortc's own: what a peer is known by is the fingerprint alone.

* aiortc reads the whole certificate, by a library that knows X.509 versions 1 and 3 only. libdatachannel before 0.23,
  which OBS and others publish with, writes version 2 into its own where it is built with OpenSSL. Nothing of a
  self-signed certificate but its digest says anything (RFC 8827, 6.5), so nothing else is read here.
* aiortc agrees to ECDSA certificates only. GStreamer's (``webrtcbin``, and with it ``whipsink``) is RSA.

Neither could connect. There is no public way to either, so methods are replaced under private names, of releases that
are named in ``pyproject.toml`` and looked at by the tests.
"""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from aiortc import RTCCertificate, RTCDtlsTransport, RTCPeerConnection
    from aiortc.rtcdtlstransport import RTCDtlsParameters
    from OpenSSL import SSL

__all__ = ["allow_rsa", "trust_fingerprints"]

logger = logging.getLogger(__name__)

_CERTIFICATES: Final = "_RTCPeerConnection__certificates"
_CONTEXT: Final = "_create_ssl_context"
_UNKNOWN: Final = "this release of aiortc is made otherwise than those that are known"
# aiortc's own, and of those with RSA the ones that browsers offer first: forward secrecy, authenticated encryption.
_CIPHERS: Final = (
    b"ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA:"
    b"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-CHACHA20-POLY1305:ECDHE-RSA-AES256-GCM-SHA384"
)
_VALIDATE: Final = "_validate_peer_identity"
# RFC 8122, 5; what else a peer may offer is weak or unknown, and is not counted.
_DIGESTS: Final = {"sha-256": "SHA256", "sha-384": "SHA384", "sha-512": "SHA512"}


def allow_rsa(peer: RTCPeerConnection) -> None:
    """Have a connection that has not begun agree to peers with RSA certificates, too. Its own stays what it is."""
    for certificate in getattr(peer, _CERTIFICATES, ()):
        if not hasattr(certificate, _CONTEXT):
            raise RuntimeError(_UNKNOWN)
        setattr(certificate, _CONTEXT, functools.partial(_context, certificate))


def _context(certificate: RTCCertificate, srtp_profiles: list[Any]) -> SSL.Context:
    context = type(certificate)._create_ssl_context(certificate, srtp_profiles)
    context.set_cipher_list(_CIPHERS)
    return context


def trust_fingerprints(peer: RTCPeerConnection) -> None:
    """Have a connection that has its remote description, and has not begun, judge its peer by fingerprints alone."""
    for transport in {each.receiver.transport for each in peer.getTransceivers()}:
        if not hasattr(transport, _VALIDATE):
            raise RuntimeError(_UNKNOWN)
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
