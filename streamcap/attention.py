"""Where the detector looks in a frame: at what moves, at who is followed, and bit by bit over all of it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamcap.gating import GateReading
from streamcap.geometry import area, clip, contained
from streamcap.regions import Look, TileWalk, plan, tiles
from streamcap.tracks import Stage, Track
from streamcap.types import Box

__all__ = ["Attention"]

# Crops a frame, beside one tile of the walk over the frame.
BUDGET = 2
# Seconds between two steps of that walk, while something moves and while nothing does.
WALK_BUSY_S = 0.6
WALK_QUIET_S = 2.0
# A quiet track is looked at again after this many seconds.
REVISIT_S = 3.0
# The first frames of a scene see every tile.
START_FRAMES = 4
# Where something came or went the detector looks for so long (seconds).
CURIOUS_S = 1.2
# A track moves where this share of its box changed, or at this speed (own heights a second).
MOVING_SHARE, MOVING_SPEED = 0.1, 0.1
# A blob of which a track explains this share is no wish of its own.
EXPLAINED = 0.6


class Attention:
    """Chooses the crops of each frame of a stream. State: where the walk is, and the places that became other."""

    def __init__(self) -> None:
        self._walk = TileWalk()
        self._walked = 0.0
        self._places: dict[Box, float] = {}

    def restart(self) -> None:
        """Another scene begins."""
        self._walk.restart()
        self._places.clear()

    def note(self, places: Iterable[Box], pts: float) -> None:
        """Look at these places for a while: something was put there or taken."""
        self._places |= dict.fromkeys(places, pts)
        self._places = {box: since for box, since in self._places.items() if pts - since <= CURIOUS_S}

    def looks(
        self,
        size: tuple[int, int],
        pts: float,
        number: int,
        gate: GateReading,
        blobs: Sequence[Box],
        tracks: Sequence[Track],
    ) -> list[Box]:
        """The crops of one frame, in 0..1 of it.

        Args:
            size: (width, height) of the frame in pixels.
            pts: media seconds, increasing.
            number: which frame of its scene it is, from 1.
            gate: where pixels changed.
            blobs: where something moves.
            tracks: all that are followed.
        """
        if number <= START_FRAMES:
            every = tiles(size)
            half = (len(every) + 1) // 2
            return every if number == 1 else every[:half] if number % 2 else every[half - 1 :]
        crops = plan([look for look in self._wishes(pts, gate, blobs, tracks) if area(look.box) > 0], size, BUDGET)
        if pts - self._walked >= (WALK_BUSY_S if gate.open else WALK_QUIET_S):
            self._walked = pts
            crops.append(self._walk.next(size))
        return crops

    def _wishes(self, pts: float, gate: GateReading, blobs: Sequence[Box], tracks: Sequence[Track]) -> list[Look]:
        known = [t.box for t in tracks if t.id]
        wishes = [Look(b, 2.0 + area(b)) for b in blobs if not any(contained(b, box) > EXPLAINED for box in known)]
        for track in tracks:
            waited = pts - track.looked
            moving = gate.open and (gate.share(track.box) > MOVING_SHARE or track.speed(1.0) > MOVING_SPEED)
            if moving or track.stage is Stage.TENTATIVE:
                wishes.append(Look(clip(track.expected(pts)), 1.0 + 3.0 * waited, closer=track.misses % 2 == 1))
            elif waited > REVISIT_S:
                wishes.append(Look(track.box, waited / REVISIT_S, closer=track.misses % 2 == 1))
        return wishes + [Look(box, 4.0) for box in self._places]
