"""Whose joints are looked at in this frame: a budget, spent on who is large, moves, or has waited for long."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamcap.crew import Crew
from streamcap.geometry import contained, touches, union
from streamcap.models.base import PoseEstimator
from streamcap.pose import Pose, Posture
from streamcap.tracks import Track
from streamcap.types import Box, Frame

__all__ = ["PoseStage", "chosen"]

STAGE = "pose"
# Most people a frame; each costs about 4 ms of one core.
BUDGET = 3
# Smaller people (pixels of height, or of width for who lies) have no legible joints.
LEAST_PX = 60
# People smaller than this (pixels) show postures but no gestures, so that a look now and then (seconds) is enough.
SMALL_PX = 120
SMALL_S = 0.35
# From this share of the box in change on, somebody moves, be it only a hand; still ones are looked at again after a
# while (seconds).
MOVING = 0.01
STILL_S = 2.0
# Joints of whom no pixel has changed are as they were, once so many looks have shown them; after this long (seconds)
# they are looked at anew.
AGREED = 2
RENEW_S = 12.0
# Who goes along upright, at this speed (own heights a second) at least, is looked at less often (seconds), unless the
# box has become lower by this share within the time given (seconds): a fall begins like that.
WALKING = 0.15
WALK_S = 1.0
LOWER = 0.12
LOWER_S = 0.65
# Whose last look could not be read is looked at again after this long (seconds).
ILLEGIBLE_S = 0.35
# Of a track that was neither seen nor unchanged for longer (seconds) the place is a guess.
SEEN_S = 1.0
# The box of somebody who was not seen in this frame is enlarged by this share: the body may have gone on.
UNSEEN_ROOM = 0.15
# Joints this old at most (seconds) tell where the body is now, where they lie in the track's box with this share of
# their extent, and are at least this long, compared with the box.
FRESH_S = 0.65
INSIDE = 0.8
LENGTH = 0.55


@dataclass(slots=True)
class _Rest:
    """Somebody of whom no pixel changes: how often, and when last (media seconds), the estimator looked meanwhile."""

    looks: int = 0
    looked: float = -math.inf


class PoseStage:
    """Adds to the ``body`` of tracks what a pose estimator sees of them.

    Args:
        estimator: shared by all streams.
        crew: where people are looked at side by side.
    """

    def __init__(self, estimator: PoseEstimator, crew: Crew) -> None:
        self._estimator, self._crew = estimator, crew
        self._rests: dict[int, _Rest] = {}

    def begin(self, frame: Frame, tracks: Sequence[Track], changed: Callable[[Box], float]) -> Callable[[], None]:
        """Start to look at those who are due.

        Args:
            frame: the picture.
            tracks: confirmed and in view.
            changed: share of a box whose pixels changed since the last frame, 0..1.

        Returns:
            Waits, and adds what was seen to the tracks. It raises ModelError where the estimator failed.
        """
        height, width = frame.image.shape[:2]
        with self._crew.stages.part(STAGE):
            self._rests = {t.id: _Rest() if changed(t.box) > 0 else self._rests.get(t.id, _Rest()) for t in tracks}
            due = chosen(tracks, frame.pts, (width, height), changed)
            who = [track for track in due if not self._is_known(track, frame.pts)]
            boxes = [_place(track, frame.pts) for track in who]
            found = self._crew.begin(STAGE, lambda box: self._estimator.estimate(frame.image, box), boxes)

        def finish() -> None:
            with self._crew.stages(STAGE):
                for track, joints in zip(who, found(), strict=True):
                    track.body.add(Pose(frame.pts, joints, width / height))
                    rest = self._rests[track.id]
                    rest.looks, rest.looked = rest.looks + 1, frame.pts

        return finish

    def _is_known(self, track: Track, pts: float) -> bool:
        """The look that is due would show what the last ones did; the body is told so."""
        rest = self._rests[track.id]
        if rest.looks < AGREED or pts - rest.looked >= RENEW_S:
            return False
        track.body.rest(pts)
        return True


def chosen(tracks: Sequence[Track], pts: float, size: tuple[int, int], changed: Callable[[Box], float]) -> list[Track]:
    """Who is to be looked at, the most urgent first, at most ``BUDGET``."""
    due = []
    for track in tracks:
        across, down = (track.box[2] - track.box[0]) * size[0], (track.box[3] - track.box[1]) * size[1]
        if track.label != "person" or max(across, down) < LEAST_PX or pts - track.trail[-1][0] > SEEN_S:
            continue
        waited = min(pts - track.body.looked, 2 * STILL_S)
        moving = changed(track.box) >= MOVING
        pause = max(_pause(track, pts, moving=moving), SMALL_S if max(across, down) < SMALL_PX else 0.0)
        if waited >= pause:
            due.append((waited * max(across, down) * (2.0 if moving else 1.0), track))
    return [track for _, track in sorted(due, key=lambda item: -item[0])[:BUDGET]]


def _pause(track: Track, pts: float, *, moving: bool) -> float:
    if not moving:
        return STILL_S
    strides = track.body.posture(pts)[0] is Posture.STANDING and track.speed(1.0) >= WALKING
    newest = track.body.pose.t if track.body.pose is not None else -math.inf
    if newest < track.body.looked:
        return ILLEGIBLE_S  # somebody half hidden, or too blurred
    # At the border a person comes into view bit by bit, and soon there may be more to see.
    return WALK_S if strides and not touches(track.box, 0.01) and not _lower(track) else 0.0


def _lower(track: Track) -> bool:
    end, last = track.trail[-1]
    tallest = max(box[3] - box[1] for t, box in track.trail if end - t <= LOWER_S)
    return last[3] - last[1] < (1 - LOWER) * tallest


def _place(track: Track, pts: float) -> Box:
    """Where to look: around the joints as they were a moment ago, which fit closer than a box; else around the box."""
    pose = track.body.pose
    extent = pose.extent if pose is not None and pts - pose.t <= FRESH_S else None
    if pose is not None and extent is not None:
        dx, dy = (v * (pts - pose.t) for v in track.velocity)
        close = (extent[0] + dx, extent[1] + dy, extent[2] + dx, extent[3] + dy)
        lengths = [max((b[2] - b[0]) * pose.aspect, b[3] - b[1]) for b in (close, track.box)]
        if contained(close, track.box) >= INSIDE and lengths[0] >= LENGTH * lengths[1]:
            return close
    box = track.box
    if track.trail[-1][0] == pts:
        return box
    box = union(box, track.trail[-1][1])
    dx, dy = UNSEEN_ROOM * (box[2] - box[0]), UNSEEN_ROOM * (box[3] - box[1])
    return box[0] - dx, box[1] - dy, box[2] + dx, box[3] + dy
