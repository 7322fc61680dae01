"""H.264 access units taken apart and put together, without decoding them (ITU-T H.264, 7.3.1 and annex B). Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["IDR", "PPS", "SPS", "kind", "length_size", "parameter_sets", "to_annex_b", "units"]

IDR: Final = 5  # slice of a picture from which decoding can begin
SPS: Final = 7
PPS: Final = 8
_START: Final = b"\0\0\0\1"
# What RFC 6184 carries as single units: from 24 on the numbers are its own, and 0 is nobody's.
_CARRIED: Final = range(1, 24)


def length_size(extradata: bytes | None) -> int:
    """Bytes of the length before each unit of a packet, as a decoder configuration (ISO 14496-15) tells; 0: annex B."""
    return (extradata[4] & 3) + 1 if extradata and len(extradata) >= 7 and extradata[0] == 1 else 0


def kind(unit: bytes) -> int:
    """``nal_unit_type`` of a unit that is not empty."""
    return unit[0] & 0x1F


def units(data: bytes, length: int) -> Iterator[bytes]:
    """The units of a packet that can be carried; what is damaged ends them, or is left out.

    Args:
        length: see ``length_size``.
    """
    for unit in _by_length(data, length) if length else _by_start(data):
        if unit and not unit[0] & 0x80 and kind(unit) in _CARRIED:
            yield unit


def parameter_sets(extradata: bytes | None) -> tuple[bytes, ...]:
    """SPS and PPS units that stand outside of the packets, in their order."""
    if not extradata:
        return ()
    if not length_size(extradata):
        return tuple(unit for unit in units(extradata, 0) if kind(unit) in (SPS, PPS))
    found: list[bytes] = []
    at = 5
    for mask in (0x1F, 0xFF):  # the count of SPS has five bits, that of PPS eight
        if at >= len(extradata):
            break
        count, at = extradata[at] & mask, at + 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            found.append(extradata[at + 2 : at + 2 + size])
            at += 2 + size
    return tuple(unit for unit in found if unit and kind(unit) in (SPS, PPS))


def to_annex_b(parts: Iterable[bytes]) -> bytes:
    """Units as a byte stream; empty where there are none."""
    return b"".join(_START + part for part in parts)


def _by_start(data: bytes) -> Iterator[bytes]:
    at = data.find(b"\0\0\1")
    while at >= 0:
        begin = at + 3
        at = data.find(b"\0\0\1", begin)
        # Zeros before a start code belong to it, and a unit never ends with one (7.4.1).
        yield data[begin : at if at >= 0 else len(data)].rstrip(b"\0")


def _by_length(data: bytes, length: int) -> Iterator[bytes]:
    at = 0
    while at + length <= len(data):
        size = int.from_bytes(data[at : at + length], "big")
        at += length
        if size > len(data) - at:
            return
        yield data[at : at + size]
        at += size
