"""How one person held the body over the last seconds: postures, smoothed over several looks. Pure and bounded."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from streamcap.pose import UPRIGHT_DEG, Pose, Posture

__all__ = ["Body"]

# Seconds, but at least looks, over which postures are averaged, and the least share of a word that is believed; a word
# that stands gives way when another is ahead of it by the margin.
SMOOTH_S = 0.7
LOOKS = 2
BELIEVED = 0.55
MARGIN = 0.15
# After this long (seconds) without a new look, nothing is known.
STALE_S = 4.0
# Poses kept: 10 s at five looks a second.
KEPT = 50
# A person's rise while standing is this quantile of what it was in the last looks that show an upright body.
RISE_QUANTILE = 0.7
RISE_LOOKS = 4


@dataclass(slots=True, eq=False)
class Body:
    """How one person held the body over the last seconds. Bounded; only the perception lane writes it.

    Attributes:
        poses: readable poses, the newest last.
        looked: media seconds of the last look, also of one that could not be read.
        since: since when (media seconds) the posture is what it is.
    """

    poses: deque[Pose] = field(default_factory=lambda: deque(maxlen=KEPT))
    looked: float = -math.inf
    since: float = 0.0
    _word: Posture = Posture.UNKNOWN
    _sure: float = 0.0
    _rises: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT // 2))
    _recent: deque[tuple[float, dict[Posture, float]]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def add(self, pose: Pose) -> None:
        """Take in a look at this person."""
        self.looked = pose.t
        if not pose.readable:
            return
        self.poses.append(pose)
        fits = pose.likelihoods(self._standing_rise)
        if fits:
            self._recent.append((pose.t, fits))
            rise = pose.rise
            # Who bends towards the camera looks upright too; the quantile stands that for some seconds.
            if rise is not None and (pose.tilt or 0.0) < UPRIGHT_DEG / 2 and fits[Posture.SITTING] < 0.3:
                self._rises.append(rise)
        self._settle(pose.t)

    def rest(self, now: float) -> None:
        """It is as at the last look: nothing has changed since."""
        if self.pose is not None and self.pose.t == self.looked:
            self.add(replace(self.pose, t=now))
        else:
            self.looked = now  # it could not be read, and cannot be now

    @property
    def pose(self) -> Pose | None:
        """The newest readable pose."""
        return self.poses[-1] if self.poses else None

    @property
    def fits(self) -> dict[Posture, float]:
        """How well each posture fits the newest look that tells one; empty before there was any."""
        return self._recent[-1][1] if self._recent else {}

    def posture(self, now: float) -> tuple[Posture, float]:
        """The word for the posture and how sure it is, 0..1; unknown where the last look is too old."""
        if not self._recent or now - self._recent[-1][0] > STALE_S:
            return Posture.UNKNOWN, 0.0
        return self._word, self._sure

    def last(self, span: float) -> list[Pose]:
        """Poses of the last ``span`` seconds before the newest look, oldest first."""
        return [p for p in self.poses if self.looked - p.t <= span]

    def share(self, holds: Callable[[Pose], bool], span: float) -> float:
        """Share of the poses of the last ``span`` seconds for which something holds, 0..1."""
        poses: Sequence[Pose] = self.last(span)
        return sum(map(holds, poses)) / len(poses) if poses else 0.0

    @property
    def _standing_rise(self) -> float | None:
        """Learnt from the person, as it depends on the height of the camera; None until enough was seen."""
        if len(self._rises) < RISE_LOOKS:
            return None
        return sorted(self._rises)[int(RISE_QUANTILE * len(self._rises))]

    def _settle(self, now: float) -> None:
        recent = [(t, fits) for t, fits in self._recent if now - t <= SMOOTH_S]
        if len(recent) < LOOKS:  # one look alone may be wrong
            recent = [(t, fits) for t, fits in list(self._recent)[-LOOKS:] if now - t <= STALE_S]
        if len(recent) < LOOKS:
            return
        mean = {word: sum(fits[word] for _, fits in recent) / len(recent) for word in recent[0][1]}
        best = max(mean, key=lambda word: mean[word])
        held = mean.get(self._word, 0.0)
        if mean[best] < BELIEVED and held < BELIEVED - MARGIN:
            best = Posture.UNKNOWN
        elif best != self._word and mean[best] < held + MARGIN:
            best = self._word
        if best != self._word:
            self._word = best
            self.since = next((t for t, fits in recent if fits.get(best, 0.0) >= BELIEVED), now)
        self._sure = mean.get(self._word, 0.0)
