"""Whom to trust where a source is reached by TLS: one answer for libav and for our own look at what is wrong."""

from __future__ import annotations

import ssl
from pathlib import Path

import certifi

from streamcap.sources.address import Address, flag

__all__ = ["TLS_SCHEMES", "tls_context", "tls_options"]

TLS_SCHEMES = frozenset({"https", "rtsps", "rtmps"})


def tls_options(address: Address) -> dict[str, str]:
    """libav's options. Certificates are checked unless the address says otherwise: a password is at stake.

    What an HLS playlist names is opened by libav without them: it does not pass them on.
    """
    if address.scheme not in TLS_SCHEMES:
        return {}
    return {"tls_verify": "1", "ca_file": _authorities(address)} if _verifies(address) else {"tls_verify": "0"}


def tls_context(address: Address) -> ssl.SSLContext | None:
    """The same for Python, None where nothing is checked.

    Raises:
        OSError: the file of authorities cannot be read.
    """
    return ssl.create_default_context(cafile=_authorities(address)) if _verifies(address) else None


def _verifies(address: Address) -> bool:
    return flag(address.query.get("tls_verify", "1"), "tls_verify")


def _authorities(address: Address) -> str:
    # The wheel's TLS library was built elsewhere and looks in that machine's places.
    system = ssl.get_default_verify_paths().cafile
    return address.query.get("ca_file") or (system if system and Path(system).exists() else certifi.where())
