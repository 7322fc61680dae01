"""One connection to a source: what the decode thread reads pictures from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from streamcap.types import SourceInfo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["After", "DamagedPicture", "Picture", "Session", "fit"]


class DamagedPicture(Exception):
    """A picture that was decoded, and cannot be shown. It is counted and left out."""


class After(StrEnum):
    """What follows the last picture of a connection."""

    END = "end"  # nothing: the source is over
    LOOP = "loop"  # it is played again, without a seam
    NEXT = "next"  # something else is played, without a seam
    RECONNECT = "reconnect"  # it was not meant to end: come back until it answers


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded picture that has not been converted yet.

    Attributes:
        time: seconds since the first picture of the clip or connection, strictly increasing.
        size: (width, height) of the source's own picture in pixels.
        convert: makes the (height, width, 3) uint8 RGB image, upright, no side above the limit; called at most once,
            on the decode thread. Raises DamagedPicture.
        arrived: clock seconds at which its data came in, None where time waits for the reader.
        sent: Unix seconds of its capture by the sender's clock, None where the sender does not tell.
        waited: seconds that the transport had nothing, since the picture before.
    """

    time: float
    size: tuple[int, int]
    convert: Callable[[], NDArray[np.uint8]]
    arrived: float | None = None
    sent: float | None = None
    waited: float = 0.0


class Session(ABC):
    """One connection, from open to close; made, used and closed on the decode thread.

    Attributes:
        info: what is known now that it is open.
        paced: true where pictures are to be held back until their time has come.
        bursts: true where a live transport delivers many pictures at once and then none for a while.
        after: what follows the last picture.
        longest_delay: seconds from the glass to here for the quickest picture; more is a sender's wrong clock.
        delay: seconds that the transport holds everything back by design, before it arrives.
    """

    info: SourceInfo
    paced: bool = False
    bursts: bool = False
    after: After = After.END
    delay: float = 0.0
    longest_delay: float = 2.0

    @abstractmethod
    def pictures(self) -> Generator[Picture, None, None]:
        """Pictures in order of time, once.

        Raises:
            SourceError: the source cannot be read on.
        """

    def close(self) -> None:  # noqa: B027 - a session without resources has nothing to do
        """Let go of everything that the connection holds. May be called twice."""


def fit(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Size of a picture scaled down, with its aspect kept, until no side is above ``max_side``.

    Args:
        width, height, max_side: pixels, >= 1.
    """
    scale = min(1.0, max_side / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))
