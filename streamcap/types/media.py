"""What a source gives: pictures, and what it has to say beside them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a subscriber installs without numpy
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Alike", "Frame", "KeyFrame", "Notice", "NoticeKind", "SourceInfo", "Stretch"]


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded picture.

    Attributes:
        stream: id of the stream.
        index: number of the picture in the source's own rate; a hole in the numbers is a drop.
        pts: media seconds from the start of the stream, strictly increasing.
        captured_at: wall time of capture in Unix seconds, as near to the glass as the source knows.
        image: (height, width, 3) uint8 RGB, read-only.
        connection: counts up each time that the source was lost: what lies between two connections was not seen.
        round: counts up each time that a looped file begins again: no time passed in which anybody could have moved.
        due: ``time.monotonic()`` seconds by which the look at it is wanted; None where nobody says.
    """

    stream: str
    index: int
    pts: float
    captured_at: float
    image: NDArray[np.uint8]
    connection: int = 0
    round: int = 0
    due: float | None = None


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known of a source once it is open.

    Attributes:
        uri: the source as a user may see it: credentials removed.
        live: true where time does not wait (camera, looped or ``realtime`` file).
        width, height: size of the first picture in pixels.
        fps: the source's own rate, 0 where unknown.
        duration: seconds of media, None where unknown or endless.
    """

    uri: str
    live: bool
    width: int
    height: int
    fps: float
    duration: float | None


class NoticeKind(StrEnum):
    """What a source has to say beside its frames."""

    CONNECTED = "connected"  # frames flow (again)
    LOST = "lost"  # a live source went away; a reconnect follows
    DAMAGE = "damage"  # the decoder met damaged data
    TRUNCATED = "truncated"  # the file ends before its header says so
    RESOLUTION = "resolution"  # the picture size changed
    DISCONTINUITY = "discontinuity"  # time stamps jumped and were re-based
    GAP = "gap"  # media time that was not seen


@dataclass(frozen=True, slots=True)
class Notice:
    """Something a source has to say beside its frames.

    Attributes:
        at: media seconds at which it happened.
        detail: one line for a person.
        start, end: span in media seconds, for a gap.
    """

    kind: NoticeKind
    at: float
    detail: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True, slots=True)
class KeyFrame:
    """A picture that stands for a span; it is kept small, or left out.

    Attributes:
        t: media seconds.
        jpeg: the picture, 320 pixels wide, or None where only the time is kept.
    """

    t: float
    jpeg: bytes | None = None


@dataclass(frozen=True, slots=True)
class Stretch:
    """A span of the past, and the kept frame that stands for it.

    Attributes:
        count: frames that ``key`` stands for by itself.
        others: kept frames of the span beside it, each with what it stands for; the weightiest few.
    """

    key: KeyFrame
    count: int = 1
    others: tuple[tuple[KeyFrame, int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """A picture that another one stands for.

    Attributes:
        image: (height, width, 3) uint8 RGB.
        count: frames that it stands for, >= 1.
    """

    image: NDArray[np.uint8]
    count: int
