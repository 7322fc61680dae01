"""Time of media: raw time stamps made into one line that only runs forward. Pure, no I/O, no clock."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

__all__ = ["ArrivalFilter", "Playout", "Sampler", "SenderClock", "SlidingLeast", "Stamp", "Timeline"]

_LEAST_STEP = 1e-6  # seconds; what "strictly increasing" means where stamps stand still
_REORDER = 0.5  # seconds that a stamp may lie behind without being a jump: damaged or reordered pictures
_STUCK = 10  # stamps in a row that do not advance before they are held to be meaningless
_HEALS_WITHIN = 5  # pictures after a jump in which a return to the old stamps takes it back
_CLOCK_SLACK = 2.0  # seconds by which stamps and clock may differ over a pause and still agree
_ROLL_OVER_SLACK = 60.0  # seconds of missing media across which a roll-over is still recognised
_CLOCKS_AGREE = 0.25  # seconds by which a camera's clock may be ahead of ours and still be set by the same time
_LONGEST_INTERVAL = 2.0  # seconds; longer steps say nothing about the rate
_NOTHING = 0.15  # seconds without data: the transport has handed over all that it had
_CALM = 20.0  # media seconds of even playing, after which what was once late is made up for
_QUICKER = 0.05  # … by so much of the time
_BEHIND = 15.0  # seconds behind the quickest picture; more is not played but passed over. Longer than segments are


@dataclass(frozen=True, slots=True)
class Stamp:
    """Where a picture lies on the line.

    Attributes:
        time: media seconds, larger than that of the picture before.
        jump: seconds by which the raw stamps jumped here and the line was re-based, None where they ran on.
    """

    time: float
    jump: float | None = None


class Timeline:
    """Raw time stamps to media time from the first picture of a clip or connection.

    Sound stamps keep their own distances exactly. Missing ones are filled in, a counter that rolls over is unwound, a
    jump forward or back is re-based so that the picture after it follows the one before; a lone wrong stamp heals.

    Args:
        interval: seconds between pictures to go by until they are known, > 0.
        max_jump: seconds forward that are still believed, > 0.
        wrap: seconds after which the raw counter starts again, None where it does not.
        origin: raw stamp of the clip's first picture where the line starts later (after a seek), else None.
    """

    def __init__(
        self, *, interval: float = 0.04, max_jump: float = 10.0, wrap: float | None = None, origin: float | None = None
    ) -> None:
        self._interval = interval
        self._max_jump = max_jump
        self._wrap = wrap
        self._turns = 0.0  # seconds added for the roll-overs so far
        self._shift: float | None = None if origin is None else -origin
        self._old_shift: float | None = None
        self._last: float | None = None
        self._last_raw: float | None = None
        self._stuck = 0
        self._sound = 0  # pictures since the last jump whose stamps ran on

    @property
    def last(self) -> float | None:
        """Media seconds of the newest picture, None before the first."""
        return self._last

    @property
    def interval(self) -> float:
        """Seconds between pictures, as seen lately."""
        return self._interval

    def place(self, raw: float | None, elapsed: float | None = None) -> Stamp:
        """Put the next picture on the line.

        Args:
            raw: its own stamp in seconds, None where it has none.
            elapsed: seconds on the clock since the picture before, None where time waits (a file).
        """
        raw = self._unwind(raw)
        stamp = self._first(raw) if self._last is None else self._next(self._last, raw, elapsed)
        self._last = stamp.time
        if raw is not None:
            self._last_raw = raw
        return stamp

    def _first(self, raw: float | None) -> Stamp:
        if raw is None:
            return Stamp(0.0)
        if self._shift is None:
            self._shift = -raw
        return Stamp(max(0.0, raw + self._shift))

    def _next(self, last: float, raw: float | None, elapsed: float | None) -> Stamp:
        step = self._interval if elapsed is None else max(elapsed, _LEAST_STEP)
        if raw is None:
            return Stamp(last + step)
        if self._shift is None:  # the first stamp after pictures without one
            time = last + max(step, self._interval)
            self._shift = time - raw
            return Stamp(time)
        ahead = raw + self._shift - last
        if self._runs_on(ahead, elapsed):
            self._learn(ahead)
            return Stamp(raw + self._shift)
        if -_REORDER <= ahead < _LEAST_STEP:
            return self._stand_still(last, raw, step)
        if self._old_shift is not None and self._runs_on(raw + self._old_shift - last, elapsed):
            self._shift, self._old_shift = self._old_shift, None  # a few wrong stamps lie behind us
            return Stamp(raw + self._shift)
        jump = raw - (self._last_raw if self._last_raw is not None else raw)
        time = last + max(step, _LEAST_STEP)
        self._old_shift, self._shift, self._sound = self._shift, time - raw, 0
        return Stamp(time, jump)

    def _runs_on(self, ahead: float, elapsed: float | None) -> bool:
        if ahead < _LEAST_STEP:
            return False
        return ahead <= self._max_jump or (elapsed is not None and abs(ahead - elapsed) <= _CLOCK_SLACK)

    def _learn(self, step: float) -> None:
        self._stuck = 0
        self._sound += 1
        if self._sound >= _HEALS_WITHIN:
            self._old_shift = None
        if step <= _LONGEST_INTERVAL:
            self._interval += 0.1 * (step - self._interval)

    def _stand_still(self, last: float, raw: float, step: float) -> Stamp:
        self._stuck += 1
        if self._stuck < _STUCK:
            return Stamp(last + _LEAST_STEP)
        self._stuck = 0
        self._shift = last + step - raw
        return Stamp(last + step)

    def _unwind(self, raw: float | None) -> float | None:
        if raw is None or self._wrap is None or self._last_raw is None:
            return raw
        raw += self._turns
        turns = round((self._last_raw - raw) / self._wrap) * self._wrap
        # Only a step that lands close by is the counter rolling over; anything else is a jump.
        if turns and abs(raw + turns - self._last_raw) <= _ROLL_OVER_SLACK:
            self._turns += turns
            raw += turns
        return raw


class Sampler:
    """Chooses at most ``rate`` pictures a second by media time.

    A picture may come early by half the distance of the source's own pictures, up to a quarter of the interval: so the
    nearest one is taken, and a source that jitters around the rate keeps its pictures. What was taken early is paid
    back by the next one.

    Args:
        rate: pictures a second, > 0.
    """

    def __init__(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError("rate must be above 0")
        self._interval = 1.0 / rate
        self._due: float | None = None
        self._before = 0.0

    @property
    def rate(self) -> float:
        """Pictures a second. May be set from another thread; it holds from the next picture that is taken on."""
        return 1.0 / self._interval

    @rate.setter
    def rate(self, rate: float) -> None:
        if not rate > 0:
            raise ValueError("rate must be above 0")
        self._interval = 1.0 / rate

    def take(self, time: float) -> bool:
        """True where the picture at ``time`` (media seconds, increasing) is wanted."""
        due = time if self._due is None else self._due
        early = min(0.25 * self._interval, 0.5 * (time - self._before))
        self._before = time
        if time < due - early:
            return False
        self._due = (due if time < due + self._interval else time) + self._interval
        return True


class SlidingLeast:
    """The least value of the last ``window`` seconds, in O(1) a value on average.

    Args:
        window: seconds, > 0.
    """

    def __init__(self, window: float) -> None:
        self._window = window
        self._values: deque[tuple[float, float]] = deque()  # (when, value), values increasing

    def add(self, when: float, value: float) -> float:
        """Take in a value and return the least one now.

        Args:
            when: seconds, not decreasing from call to call.
        """
        while self._values and self._values[-1][1] >= value:
            self._values.pop()
        self._values.append((when, value))
        while self._values[0][0] < when - self._window:
            self._values.popleft()
        return self._values[0][1]


class ArrivalFilter:
    """Tells when a live picture was captured from when it arrived.

    Pictures that a network held back arrive in a burst; the quickest picture of the last ``window`` seconds tells how
    media time and clock belong together, and no picture is held to be younger than that allows. A window, because
    the camera's clock and ours drift apart.

    Args:
        window: seconds, > 0.
    """

    def __init__(self, window: float = 60.0) -> None:
        self._least = SlidingLeast(window)

    def captured(self, time: float, arrived: float) -> float:
        """Clock seconds of the capture: at most ``arrived``.

        Args:
            time: media seconds of the picture.
            arrived: clock seconds, not decreasing from call to call.
        """
        return min(arrived, time + self._least.add(arrived, arrived - time))


class SenderClock:
    """Believes the time of day that a sender gives with its pictures, while that can be true.

    A camera's clock may be hours off. So it is held against ours by the quickest picture of the last ``window``
    seconds: that one cannot have come before it was taken, nor have taken longer than a camera and its network do.

    Args:
        window: seconds, > 0.
        longest: seconds from the glass to here that the quickest picture may take, > 0.
    """

    def __init__(self, window: float = 60.0, longest: float = 2.0) -> None:
        self._least, self._longest = SlidingLeast(window), longest

    def captured(self, sent: float, arrived: float) -> float | None:
        """Unix seconds of the capture, at most ``arrived``; None where the camera's clock cannot be right.

        Args:
            sent: Unix seconds by the camera's clock.
            arrived: Unix seconds by ours, not decreasing from call to call.
        """
        least = self._least.add(arrived, arrived - sent)
        return min(sent, arrived) if -_CLOCKS_AGREE <= least <= self._longest else None


class Playout:
    """Evens out a live transport that delivers in bursts: pictures are handed over at their own distances.

    A playlist has a segment of seconds at once and then nothing until the next. Whoever takes the newest picture then
    sees one a segment. So what comes after a wait is shown as it comes, and what lies behind it follows in its own
    time; by then the next segment is there. One that comes late moves the play back by as much, after 20 s without such
    it runs 5 % quicker until there is nothing more to be had. What waits at the beginning, or after an outage, is not
    played but passed over. So a picture is held for the length of a segment, 15 s at most.
    """

    def __init__(self) -> None:
        self._least = SlidingLeast(60.0)
        self._anchor: float | None = None  # clock time of media time 0; None: as it comes
        self._even_since = self._before = 0.0

    def due(self, time: float, arrived: float, waited: float) -> float:
        """Clock seconds at which a picture is to be handed over; call it for each, taken or not.

        Args:
            time: media seconds, increasing.
            arrived: clock seconds, not decreasing from call to call.
            waited: seconds that the transport had nothing before this picture.
        """
        behind = arrived - time - self._least.add(arrived, arrived - time)
        if behind > _BEHIND:
            self._anchor = None
        elif waited >= _NOTHING:
            self._anchor, self._even_since = arrived - time, time
        elif self._anchor is not None and time - self._even_since > _CALM:
            self._anchor -= _QUICKER * (time - self._before)
        self._before = time
        return arrived if self._anchor is None else max(arrived, self._anchor + time)
