"""Who stops and starts."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from streamcap.facts.scene import Scene, about, moves_by_itself
from streamcap.geometry import place
from streamcap.instances import Track
from streamcap.types import Fact

__all__ = ["Motion"]

# Own heights (the longer side of the box) a second.
MOVING_SPEED = 0.16
STILL_SPEED = 0.07
STILL_S = 0.8
# Over this span (seconds) somebody is seen to stand; over a longer one the walk before would still count.
STILL_SPAN_S = 0.6
# A stop is news after this long a walk, a start after this long a rest (seconds).
WALK_S = 1.2
REST_S = 3.0
# In a scene with more movers than this, single stops and starts are no news.
BUSY = 4


@dataclass(slots=True)
class _Gait:
    moving: bool
    since: float
    still_since: float | None = None


@dataclass(slots=True)
class Motion:
    """Stop and start of what moves by itself."""

    _gaits: dict[int, _Gait] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._gaits.pop(track.id, None)
        if scene.camera.moving or scene.camera.cut or scene.steady_since >= scene.pts:
            self._gaits.clear()
            return
        movers = [t for t in scene.tracks.active if moves_by_itself(t)]
        for track in movers:
            fact = self._walk(track, scene.watched_since(track), scene.pts)
            if fact is not None and len(movers) <= BUSY and fact.label != "object":
                yield fact

    def _walk(self, track: Track, watched: float, pts: float) -> Fact | None:
        speed = track.speed(1.0)
        gait = self._gaits.get(track.id)
        if gait is None:
            if pts - watched >= 1.0:
                self._gaits[track.id] = _Gait(speed > MOVING_SPEED, watched)
            return None
        if gait.moving:
            if track.speed(STILL_SPAN_S) >= STILL_SPEED:
                gait.still_since = None
            elif gait.still_since is None:
                gait.still_since = pts
            elif pts - gait.still_since >= STILL_S:
                walked = gait.still_since - gait.since
                self._gaits[track.id] = _Gait(False, gait.still_since)
                if walked >= WALK_S:
                    return about(track, "stop", gait.still_since - 1.0, pts, place(track.box), 0.7)
        elif speed > MOVING_SPEED:
            rested = pts - gait.since
            self._gaits[track.id] = _Gait(True, pts)
            if rested >= REST_S:
                return about(track, "start", pts - 0.5, pts, place(track.box), 0.7)
        return None
