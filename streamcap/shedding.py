"""How often each stream is looked at when the machine cannot keep up with all of them. Pure: no clock, no I/O.

One share, the same for every stream, is taken of the rate that each is to have. It falls soon when the load comes near
what can be done and rises when there is room, further where there is much: each is judged by a load that has been seen
to last, what was read at one share is carried over to the next (else the lag of the reading would take a second step
where one was enough), the share rises only where the load foretold for it is below the limit, and a rise that had to be
taken back makes the next one wait twice as long. So it does not swing.
"""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["FULL", "Load", "Shedder"]

# Load (1.0: nothing more can be done) above which the share falls, and the most that is foretold where it rises.
HIGH = 0.9
ROOM = 0.8
# At the lowest share and above this there is no room for another stream.
FULL = 0.95
# One step down, and the least and the largest one up, as factors of the share.
STEP_DOWN = 0.85
STEP_UP = 1.15
STEP_UP_MOST = 1.6
# The load has to last this long (seconds) before the share falls, and before it rises.
DOWN_AFTER_S = 3.0
UP_AFTER_S = 5.0
# A rise that is taken back within this time (seconds) doubles the wait for the next one, up to this many times.
REGRET_S = 30.0
PATIENCE_MOST = 32.0
# The reading follows the load with this time constant (seconds).
SMOOTH_S = 3.0
# Load of a stream that was not measured yet, in processors: 720p30 H.264 at 3 frames a second (docs/benchmarks.md).
STREAM_COST = 0.12


class Load(NamedTuple):
    """How it stands now.

    Attributes:
        load: how much of what can be looked at is looked at, 0..1.
        share: of the rate that each stream is to have, what all get, 0..1.
    """

    load: float
    share: float


class Shedder:
    """Chooses the share of the wanted rate that streams get.

    Args:
        floor: frames a second below which no stream is lowered by this, > 0.
        cores: processors that work is spread over, >= 1.
    """

    def __init__(self, floor: float, cores: int) -> None:
        self._floor, self._cores = floor, cores
        self.share = 1.0
        self.load = 0.0
        self._since = 0.0  # seconds since the share last changed or the load was last on the other side
        self._rose: float | None = None  # seconds since a rise of which it is not known yet whether it holds
        self._held = 0  # rises in a row that held
        self._patience = 1.0

    def target(self, wanted: float) -> float:
        """Frames a second that a stream gets, of those that it is to have; > 0."""
        return max(min(self._floor, wanted), wanted * self.share)

    def update(self, load: float, elapsed: float, most: float) -> bool:
        """Take in how busy the machine was; True where the share has changed.

        Args:
            load: share of the time in which all that can be done was done, 0..1 or a little more.
            elapsed: seconds that it is about, > 0.
            most: highest rate that a stream is to have, frames a second; 0 where there are no streams.
        """
        self.load += (load - self.load) * min(1.0, elapsed / SMOOTH_S)
        self._prove(elapsed)
        lowest = self.lowest(most)
        before = self.share
        if self.load > HIGH:
            self._since = max(0.0, self._since) + elapsed
            if self._since >= DOWN_AFTER_S:
                self._fall(lowest)
        elif self.share < 1.0 and self.load * STEP_UP < ROOM:
            self._since = min(0.0, self._since) - elapsed
            if -self._since >= UP_AFTER_S * self._patience:
                self._rise()
        else:
            self._since = 0.0
        if most and self.share < lowest:  # the stream that needed it is gone
            self.share = lowest
        return self.share != before

    def lowest(self, most: float) -> float:
        """Share at which every stream is at the floor, 0..1."""
        return min(1.0, self._floor / most) if most else 1.0

    def room(self, most: float, *, streams: int, seen: float) -> bool:
        """True where one more stream can be looked at, if need be with all of them lowered to the floor.

        Args:
            most: as in :meth:`update`.
            streams: that are watched.
            seen: of so many the cost is part of the load by now, 0..streams: one that began just now counts for a part
                of itself, so that one who adds many is neither let in on trust nor refused for a load that was counted
                twice.
        """
        at_floor = self.load * self.lowest(most) / self.share
        each = at_floor / seen if seen >= 1 else max(at_floor, STREAM_COST / self._cores)
        return at_floor + (streams - seen + 1) * each <= FULL

    def _fall(self, lowest: float) -> None:
        if self._rose is not None:
            self._patience = min(PATIENCE_MOST, 2 * self._patience)
            self._rose, self._held = None, 0
        self._step(max(lowest, self.share * STEP_DOWN))

    def _rise(self) -> None:
        step = max(STEP_UP, min(STEP_UP_MOST, ROOM / max(self.load, 0.01)))
        self._step(min(1.0, self.share * step))
        self._rose = 0.0

    def _step(self, share: float) -> None:
        self.load *= share / self.share
        self.share, self._since = share, 0.0

    def _prove(self, elapsed: float) -> None:
        """A rise that was not taken back in time holds; after two of them the next one need not wait longer."""
        if self._rose is None:
            return
        self._rose += elapsed
        if self._rose > REGRET_S:
            self._rose = None
            self._held += 1
            if self._held >= 2:
                self._patience = 1.0
