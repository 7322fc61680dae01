"""Who came back: those who left are remembered for a while, and known again by where, when and how they look.

Colour names tell people apart better than a CLIP embedding or a finer histogram does (docs/decisions/012-identity.md),
and still many wear black. So a look alone never decides: who comes back comes from where it went, soon, as large as it
was, and looks the same; the less its colours stand out, the more the same. Two who fit are no one. A new id for who was
here before costs a word; an old one for who was not is a false statement.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from streamcap.appearance import Appearance, common_colour, unlike
from streamcap.geometry import centre, touches
from streamcap.labels import group
from streamcap.tracks import Track
from streamcap.types import Box, Side

__all__ = ["Departed", "Gallery"]

# Remembered for this long (seconds), and so many.
KEEP_S = 30.0
CAPACITY = 32
# Comes in within this much (share of the frame) of a side, and of where along that side it went out.
EDGE = 0.05
ALONG = 0.2
# Hidden within the frame: comes out within this many of its own sizes, and so many more for each second.
HIDDEN = 1.0
HIDDEN_PER_S = 0.3
HIDDEN_LONGEST_S = 8.0
# As large as it was, within this factor.
SIZE = 1.6
# Sightings of the whole of it that are waited for before it is compared, and how long (seconds) at most.
LOOKS = 2
WAIT_S = 1.2
# Largest distance of two looks in black, white and grey, and how much it grows with what they share in true colour:
# a third of those who come back, at one of forty wrong before place and time are asked.
LIMIT = 0.12
LIMIT_COLOUR = 0.25
# These limits are for a middling wait: times so much for who is back at once, and after KEEP_S.
SOON = 1.3
LATE = 0.7
# So unlike at the first sight of the whole, and no further ones are waited for.
HOPELESS = 0.41
# The next best is this much less alike, and too unlike on its own.
LEAD = 1.5


@dataclass(frozen=True, slots=True)
class Departed:
    """One who left.

    Attributes:
        side: by which side of the frame, or None for who was lost inside it.
        box: where it was last seen.
        at: when, in media seconds.
        first_seen: when it was seen for the first time.
    """

    id: int
    label: str
    appearance: Appearance
    side: Side | None
    box: Box
    at: float
    first_seen: float


class Gallery:
    """Those who left in the last half minute, at most 32."""

    def __init__(self) -> None:
        self._gone: deque[Departed] = deque(maxlen=CAPACITY)

    def __len__(self) -> int:
        return len(self._gone)

    def clear(self) -> None:
        """Forget all: after a cut."""
        self._gone.clear()

    def add(self, track: Track) -> None:
        """Remember one who is gone."""
        if track.appearance.dress is None or track.twin_since is not None:
            return
        box = track.trail[-1][1]
        self._gone.append(
            Departed(track.id, track.label, track.appearance, track.exit_side(), box, track.seen, track.first_seen)
        )

    def awaits(self, track: Track, pts: float) -> bool:
        """Somebody may be coming back, but not enough of them has been seen yet to tell."""
        if track.ready is None:
            track.ready = pts
        if track.appearance.whole >= LOOKS or pts - track.ready >= WAIT_S:
            return False
        look = track.appearance.dress
        return any(
            look is None or gone.appearance.dress is None or unlike(look, gone.appearance.dress) <= HOPELESS
            for gone in self._candidates(track, pts)
        )

    def recall(self, track: Track, pts: float) -> Departed | None:
        """Who of the departed this is, taken out of the gallery; None for somebody new."""
        look = track.appearance.dress
        if look is None or track.appearance.whole < LOOKS:
            return None
        ranked = []
        for gone in self._candidates(track, pts):
            known = gone.appearance.dress
            if known is not None:
                limit = (LIMIT + LIMIT_COLOUR * common_colour(look, known)) * _favour(track.born - gone.at)
                ranked.append((unlike(look, known) / limit, gone))
        ranked.sort(key=lambda r: r[0])
        if not ranked or ranked[0][0] > 1 or (len(ranked) > 1 and ranked[1][0] < max(1.0, LEAD * ranked[0][0])):
            return None
        self._gone.remove(ranked[0][1])
        return ranked[0][1]

    def _candidates(self, track: Track, pts: float) -> list[Departed]:
        while self._gone and pts - self._gone[0].at > KEEP_S:
            self._gone.popleft()
        return [
            gone
            for gone in self._gone
            if track.born >= gone.at and group(gone.label) == group(track.label) and _comes_from(track, gone)
        ]


def _favour(waited: float) -> float:
    """Who is back at once is likelier the same than who comes after half a minute."""
    return SOON + (LATE - SOON) * min(1.0, waited / KEEP_S)


def _comes_from(track: Track, gone: Departed) -> bool:
    """Place, time and size fit."""
    first, now = track.trail[0][1], track.trail[-1][1]
    size, was = _size(now), _size(gone.box)
    if max(size, was) > SIZE * min(size, was):
        return False
    (x0, y0), (x1, y1) = centre(gone.box), centre(first)
    if gone.side is None:
        waited = track.born - gone.at
        reach = (HIDDEN + HIDDEN_PER_S * waited) * was
        return waited <= HIDDEN_LONGEST_S and (x1 - x0) ** 2 + (y1 - y0) ** 2 <= reach**2
    # Feet are the part of a box that a side of the frame does not move.
    along = abs(first[3] - gone.box[3]) if gone.side in (Side.LEFT, Side.RIGHT) else abs(x1 - x0)
    return gone.side in touches(first, EDGE) and along <= ALONG


def _size(box: Box) -> float:
    return max(box[3] - box[1], box[2] - box[0], 1e-3)
