"""What people do with their hands: raise them, wave, eat or drink."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from streamcap.facts.scene import Scene, about, is_named
from streamcap.geometry import contained, place
from streamcap.instances import Track
from streamcap.labels import DISHES, FOOD
from streamcap.pose import ARMS, SHOULDERS, Pose
from streamcap.types import Fact

__all__ = ["Gestures", "swings"]

# A hand is up in so many looks on end, over this long (seconds), before it is told; then down for this long before it
# can be told again, and not sooner than this after the last time.
RAISED_LOOKS = 3
RAISED_S = 0.4
LOWERED_S = 0.8
AGAIN_S = 10.0
# One raised hand is said less loudly than two.
ONE_HAND = 0.6
# Waving: the wrist of a forearm that points up goes to and fro by this much (torsos), changing its way so often within
# this time (seconds), while the elbow goes less far than this share of the way.
WAVE_S = 2.0
WAVE_SWING = 0.12
WAVE_TURNS = 3
WAVE_ELBOW = 0.6
# Below the shoulders by this much (torsos) a hand does other things than wave.
WAVE_LOW = 0.25
# Eating: the hand is at the mouth in most looks of this time (seconds), or was brought there so often within a while.
# A hand may be there for other reasons (a telephone, a beard), hence the hedge; food or a cup at the hand says more.
MOUTH_S = 1.2
MOUTH_SHARE = 0.75
MOUTH_TIMES = 2
MOUTH_WHILE_S = 15.0
MOUTH_HELD = 0.4
MOUTH_REPEATED = 0.48
MOUTH_WITH_THING = 0.8
# The elbow of who drinks is no further below the shoulders than this (torsos).
ELBOW_LIFTED = 0.35
# At the mouth for so many looks on end: once brought there.
MOUTH_LOOKS = 2
EAT_AGAIN_S = 60.0


@dataclass(slots=True)
class _Hands:
    """What one person's hands did: times in media seconds."""

    up_since: float | None = None
    up_told: bool = False
    were_down: bool = False
    told: dict[str, float] = field(default_factory=dict)
    down_since: float | None = None
    at_mouth: int = 0
    brought: list[float] = field(default_factory=list)

    def may(self, what: str, pts: float, pause: float) -> bool:
        """Say it now, unless it was said less than ``pause`` seconds ago."""
        if pts - self.told.get(what, -pause) < pause:
            return False
        self.told[what] = pts
        return True


@dataclass(slots=True)
class Gestures:
    """Raise arms, wave, eat or drink."""

    _hands: dict[int, _Hands] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._hands.pop(track.id, None)
        if scene.camera.moving or scene.camera.cut:
            return
        for track in scene.tracks.active:
            pose = track.body.pose
            if track.label != "person" or not is_named(track) or pose is None or pose.t != scene.pts:
                continue
            hands = self._hands.setdefault(track.id, _Hands())
            yield from _raised(track, pose, hands)
            yield from _waved(track, pose, hands)
            yield from _ate(track, pose, hands, scene.tracks.active)


def _raised(track: Track, pose: Pose, hands: _Hands) -> Iterator[Fact]:
    pts = pose.t
    if not pose.raised:
        hands.were_down = True
        hands.up_since = None
        hands.down_since = pts if hands.down_since is None else hands.down_since
        if pts - hands.down_since >= LOWERED_S:
            hands.up_told = False
        return
    hands.down_since = None
    hands.up_since = pts if hands.up_since is None else hands.up_since
    recent = [p.raised for p in track.body.poses if p.t >= hands.up_since]
    if hands.up_told or not hands.were_down or len(recent) < RAISED_LOOKS or pts - hands.up_since < RAISED_S:
        return
    hands.up_told = True
    if hands.may("raise_arms", pts, AGAIN_S):
        both = sorted(recent)[len(recent) // 2] == 2
        fact = about(track, "raise_arms", hands.up_since, pts, place(track.box), 0.8 if both else 0.65)
        yield replace(fact, detail={"pose": "both"}) if both else replace(fact, saliency=fact.saliency * ONE_HAND)


def _waved(track: Track, pose: Pose, hands: _Hands) -> Iterator[Fact]:
    poses = track.body.last(WAVE_S)
    if max(swings(poses, side) for side in (0, 1)) >= WAVE_TURNS and hands.may("wave", pose.t, AGAIN_S):
        yield about(track, "wave", poses[0].t, pose.t, place(track.box), 0.7)


def swings(poses: Sequence[Pose], side: int) -> int:
    """How often a raised forearm turned about while it swung to and fro.

    Args:
        poses: of one person over a short time, the newest last.
        side: 0 for the left arm, 1 for the right one.
    """
    _, elbow, wrist = ARMS[side]
    hand, bend = [], []
    for pose in poses:
        at, below, shoulders = pose.point(wrist), pose.point(elbow), pose.point(*SHOULDERS)
        if at is None or below is None or shoulders is None or not pose.torso:
            continue
        if at[1] < below[1] and at[1] < shoulders[1] + WAVE_LOW * pose.torso:
            hand.append((at[0] - shoulders[0]) / pose.torso)
            bend.append((below[0] - shoulders[0]) / pose.torso)
    if len(hand) < WAVE_TURNS + 2 or len(hand) < 0.7 * len(poses):
        return 0
    if max(bend) - min(bend) > WAVE_ELBOW * (max(hand) - min(hand)):
        return 0
    turns, way, extreme = 0, 0, hand[0]
    for x in hand[1:]:
        step = x - extreme
        if way * step > 0 or (way == 0 and abs(step) >= WAVE_SWING):
            way, extreme = (1 if step > 0 else -1), x
        elif abs(step) >= WAVE_SWING:
            turns, way, extreme = turns + 1, -way, x
    return turns


def _ate(track: Track, pose: Pose, hands: _Hands, things: Sequence[Track]) -> Iterator[Fact]:
    pts = pose.t
    hands.at_mouth = hands.at_mouth + 1 if pose.hand_at_mouth else 0
    if hands.at_mouth == MOUTH_LOOKS:
        hands.brought = [t for t in hands.brought if pts - t < MOUTH_WHILE_S] + [pts]
    looks = track.body.last(MOUTH_S)
    held = len(looks) >= 4 and track.body.share(lambda p: p.hand_at_mouth, MOUTH_S) >= MOUTH_SHARE
    held = held and pts - looks[0].t >= MOUTH_S - 0.3
    if hands.at_mouth < MOUTH_LOOKS or not (held or len(hands.brought) >= MOUTH_TIMES):
        return
    if not hands.may("eat", pts, EAT_AGAIN_S):
        return
    label = _held(pose, things)
    sure = MOUTH_WITH_THING if label else MOUTH_REPEATED if len(hands.brought) >= MOUTH_TIMES else MOUTH_HELD
    drinks = label in DISHES or (not label and _tips(pose))
    yield about(track, "drink" if drinks else "eat", hands.brought[0], pts, place(track.box), sure)


def _tips(pose: Pose) -> bool:
    """An elbow is lifted, as it must be to tip a cup; who eats has it low."""
    shoulders = pose.point(*SHOULDERS)
    return shoulders is not None and any(
        (bend := pose.point(elbow)) is not None
        and (at := pose.point(wrist)) is not None
        and at[1] < bend[1] < shoulders[1] + ELBOW_LIFTED * pose.torso
        for _, elbow, wrist in ARMS
    )


def _held(pose: Pose, things: Sequence[Track]) -> str:
    """Label of food or of a cup at the person's hands, or empty."""
    return next(
        (
            thing.label
            for thing in things
            if thing.label in DISHES | FOOD and any(contained(thing.box, hand) > 0.3 for hand in pose.hand_boxes)
        ),
        "",
    )
