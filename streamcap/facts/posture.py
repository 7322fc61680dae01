"""Who sits down, stands up, bends, falls and lies: from the joints, and where these are not legible from the box."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

from streamcap.body import Body
from streamcap.facts.scene import Scene, about, is_named
from streamcap.geometry import area, place, touches
from streamcap.instances import Track
from streamcap.pose import ANKLES, KNEES, LEVEL_DEG, UPRIGHT_DEG, Pose, Posture, Vector, seat_of
from streamcap.types import Box, Fact, Side

__all__ = ["Postures", "fall_began", "fell"]

# Height by width, in pixels, of a box around who stands or sits, and around who lies.
UPRIGHT = 1.1
FLAT = 0.75
# A fall takes at least and at most this long (seconds), and the head comes down by this share of the height.
FALL_QUICKEST_S = 0.3
FALL_LONGEST_S = 2.0
DROP = 0.35
# The feet stay where they are: the bottom of the box moves less than this share of the height.
FEET = 0.3
# Flat for this long: it was no glitch of the box.
FLAT_S = 0.3
# By the joints: from upright to level within this time (seconds), the head comes down by so many torsos, the hips too
# (who lies down on a bed from sitting has them where they were), and at some moment the head is at least this fast
# (torsos a second): one who lets himself down is slower.
PLUNGE_S = 1.7
PLUNGE_HEAD = 0.9
PLUNGE_HIPS = 0.35
PLUNGE_SPEED = 1.5
# Level in this many looks on end, to be sure.
LEVEL_LOOKS = 2
# A box that takes up this much of the frame is of somebody close, and flat when the arms are spread.
CLOSE = 0.3
# On the floor for this long (seconds) after a fall, or lying without one: lies.
LIE_S = 1.5
# A posture is believed from this confidence on, once it has lasted this long (seconds).
SURE = 0.6
HOLD_S = {Posture.SITTING: 0.5, Posture.CROUCHING: 0.5, Posture.BENT: 0.35, Posture.STANDING: 0.3, Posture.LYING: LIE_S}
# A look at which a posture fits at least so well (0..1) shows where the body is in that posture.
FITS = 0.5
# Sitting down and standing up are changes that take at most this long (seconds), in which the top of the body comes
# down or goes up by this much (torsos): joints that jump because a table hides the legs move no head.
CHANGE_S = 5.0
HEAD_MOVES = 0.3
TOP_S = 1.0
# And the feet stay where they are, up to this much (torsos): who walks is seen from another angle each moment.
FEET_STAY = 0.8
# Bent is who has the torso this far from the vertical (degrees) in two looks, or whose feet stay within so many torsos
# for this long (seconds). Where that is not sure at once it may become so for a while (seconds).
BENT_DEG = 45.0
FEET_BENT = 0.35
BENT_S = 0.8
BEND_DOUBT_S = 2.0
# Who bends over again and again at work is told of once in this time (seconds).
BEND_AGAIN_S = 8.0
# Leaning forward while sitting: torso at least this far from the vertical, further than before by this (degrees).
LEAN_DEG = 36.0
LEAN_MORE_DEG = 15.0
LEAN_S = 2.5
# The lower hand is this far on its way from the hips to the floor: bends down, not only forward.
DOWN = 0.5
# Poses of a camera in motion and from before it say nothing of who moves up or down; nor do old ones (seconds).
LEGIBLE_S = 1.0


@dataclass(frozen=True, slots=True)
class _Held:
    """A posture that was held: since when and until when (media seconds), where the top of the body was (0..1 of the
    height) and where the feet were (frame heights)."""

    word: Posture
    since: float
    until: float
    top: float
    torso: float
    feet: Vector | None


@dataclass(slots=True)
class _State:
    """What is known of one person: the posture held now, the one before it, and what was told."""

    now: _Held | None = None
    before: _Held | None = None
    fell: float | None = None
    lies: bool = False
    bent: float = -BEND_AGAIN_S


@dataclass(slots=True)
class Postures:
    """Sit, stand up, bend, fall and lie."""

    _states: dict[int, _State] = field(default_factory=dict)
    _still_since: float = 0.0

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._states.pop(track.id, None)
        if scene.camera.moving or scene.camera.cut or scene.steady_since >= scene.pts:
            self._states.clear()
            self._still_since = scene.pts
            return
        for track in scene.tracks.active:
            if track.label == "person" and is_named(track):
                state = self._states.setdefault(track.id, _State())
                yield from self._falls(track, state, scene)
                yield from self._changes(track, state, scene)

    def _falls(self, track: Track, state: _State, scene: Scene) -> Iterator[Fact]:
        body, pts = track.body, scene.pts
        word, _ = body.posture(pts)
        legible = body.pose is not None and pts - body.pose.t <= LEGIBLE_S
        if state.fell is None:
            poses = [p for p in body.poses if p.t > self._still_since and pts - p.t <= 2 * PLUNGE_S]
            seen = fell(poses)
            # A box may become flat for many reasons; legs that stand under the body speak against a fall.
            began, sure = seen or (None if legible and _is_up(body) else self._box_fell(track, scene.aspect), 0.65)
            if began is not None:
                state.fell, state.lies = pts, False
                yield about(track, "fall", began, pts, place(track.box), sure)
        elif word is Posture.STANDING or (not legible and _shape(track.trail[-1][1], scene.aspect) > UPRIGHT):
            state.fell = None
        elif not state.lies and pts - state.fell >= LIE_S and word in (Posture.LYING, Posture.UNKNOWN):
            state.lies = True
            fact = about(track, "lie", state.fell, pts, place(track.box), 0.8)
            yield replace(fact, detail={"pose": "floor"})

    def _box_fell(self, track: Track, aspect: float) -> float | None:
        """When a fall began, from the box; one that is cut by a side, or was before the camera moved, tells none."""
        since = self._still_since
        whole = [(t, box) for t, box in track.trail if t > since and not touches(box, 0.01) - {Side.BOTTOM}]
        whole = [(t, box) for t, box in whole if area(box) < CLOSE]
        return fall_began(whole, aspect) if whole and whole[-1][0] == track.trail[-1][0] else None

    def _changes(self, track: Track, state: _State, scene: Scene) -> Iterator[Fact]:
        body, pts = track.body, scene.pts
        pose = body.pose
        word, sure = body.posture(pts)
        if pose is None or pose.t <= self._still_since or not word or sure < SURE or pose.top is None:
            return
        if body.looked != pts or pose.t != pts:
            return
        lasted = pts - body.since
        if state.now is not None and state.now.word is word:
            if body.fits.get(word, 0.0) >= FITS:  # while the word still stands, the body may have gone on
                state.now = _held(word, body, pose)
            if word is Posture.SITTING:
                yield from self._leans(track, state, pts)
            elif word is Posture.BENT and state.before is not None and pts - body.since <= BEND_DOUBT_S:
                yield from self._change(track, state, scene)
        elif lasted >= HOLD_S[word]:
            if state.now is not None:
                state.before = state.now
            state.now = _held(word, body, pose)
            if state.before is not None and not scene.settling:
                yield from self._change(track, state, scene)

    def _change(self, track: Track, state: _State, scene: Scene) -> Iterator[Fact]:
        before, now, pts = state.before, state.now, scene.pts
        assert before is not None
        assert now is not None
        if now.since - before.until > CHANGE_S or _walked(before, now):
            return
        down = (now.top - before.top) / max(before.torso, now.torso)
        where, sure = place(track.box), min(0.9, 0.55 + 0.25 * abs(down))
        start = min(before.until, now.since)
        match now.word:
            case Posture.SITTING if before.word in (Posture.STANDING, Posture.BENT) and down >= HEAD_MOVES:
                seat = seat_of(track.box, [(t.label, t.box) for t in scene.tracks.active])
                detail = {"object": seat} if seat else {}
                yield replace(about(track, "sit", start, pts, where, sure), detail=detail)
            case Posture.STANDING if before.word is not Posture.STANDING and -down >= HEAD_MOVES:
                straightens = before.word is Posture.BENT
                fact = about(track, "stand_up", start, pts, where, sure)
                yield replace(fact, detail={"pose": "bending"} if straightens else {})
            case Posture.BENT if down >= HEAD_MOVES and _is_bent(track.body):
                yield from self._bends(track, state, start, pts, sure)
            case Posture.CROUCHING if before.word is Posture.STANDING and down >= 2 * HEAD_MOVES:
                state.bent = pts
                yield replace(about(track, "bend", start, pts, where, sure), detail={"pose": "crouching"})
            case Posture.LYING if state.fell is None and not state.lies:
                state.lies = True
                yield about(track, "lie", start, pts, where, 0.7)
        if now.word is not Posture.LYING:
            state.lies = False

    def _bends(self, track: Track, state: _State, start: float, pts: float, sure: float) -> Iterator[Fact]:
        if pts - state.bent < BEND_AGAIN_S:
            return
        state.bent = pts
        stoop = max((p.stoop for p in track.body.last(1.0)), default=0.0)
        detail = {"pose": "down"} if stoop >= DOWN else {}
        yield replace(about(track, "bend", start, pts, place(track.box), sure), detail=detail)

    def _leans(self, track: Track, state: _State, pts: float) -> Iterator[Fact]:
        tilts = [(p.t, p.tilt) for p in track.body.last(LEAN_S) if p.tilt is not None and p.t > self._still_since]
        if pts - state.bent < BEND_AGAIN_S or len(tilts) < 4:
            return
        straightest = min(tilts, key=lambda item: item[1])
        if min(tilts[-1][1], tilts[-2][1]) >= max(LEAN_DEG, straightest[1] + LEAN_MORE_DEG):
            state.bent = pts
            yield about(track, "bend", straightest[0], pts, place(track.box), 0.65)


def _held(word: Posture, body: Body, pose: Pose) -> _Held:
    """A posture as it is held now; of the tops of the last second, the one that is most of that posture."""
    tops = [p.top for p in body.last(TOP_S) if p.t >= body.since and p.top is not None]
    top = (min if word is Posture.STANDING else max)(tops, default=pose.top or 0.0)
    return _Held(word, body.since, pose.t, top, pose.torso, pose.point(*ANKLES))


def _walked(before: _Held, now: _Held) -> bool:
    if before.feet is None or now.feet is None or Posture.LYING in (before.word, now.word):
        return False
    return math.dist(before.feet, now.feet) > FEET_STAY * max(before.torso, now.torso)


def _is_bent(body: Body) -> bool:
    """Truly: either the torso is seen to be tilted, or the head came down between feet that stand where they are."""
    looks = body.last(BENT_S)
    if sum((p.tilt or 0.0) >= BENT_DEG for p in looks) >= LEVEL_LOOKS:
        return True
    feet = [at for p in looks if (at := p.point(*ANKLES)) is not None]
    return len(feet) > LEVEL_LOOKS and all(math.dist(at, feet[-1]) <= FEET_BENT * looks[-1].torso for at in feet)


def fell(poses: Sequence[Pose]) -> tuple[float, float] | None:
    """Whether somebody fell who is on the ground now: when that began (media seconds) and how sure it is, or None.

    Args:
        poses: of one person over the last seconds, the newest last, seen by a camera that stands.
    """
    level = 0
    while level < len(poses) and _is_level(poses[-1 - level]):
        level += 1
    if level < LEVEL_LOOKS or level == len(poses):
        return None
    ground = poses[len(poses) - level]
    end, low = poses[-1].top, poses[-1].hips
    if end is None or low is None:
        return None
    upright = [p for p in poses if 0 < ground.t - p.t <= PLUNGE_S and (p.tilt or 90.0) < UPRIGHT_DEG + 10]
    for start in reversed(upright):
        if start.top is None or start.hips is None or start.point(*ANKLES, *KNEES) is None:
            continue  # of who is seen to the hips only it is not known what carries the body
        head, hips = end - start.top, low - start.hips
        if head < PLUNGE_HEAD * start.torso or hips < PLUNGE_HIPS * start.torso:
            continue
        between = [p for p in poses if start.t <= p.t and p.top is not None]
        speed = max(
            (b.top - a.top) / (b.t - a.t) for a, b in pairwise(between) if a.top is not None and b.top is not None
        )
        if speed >= PLUNGE_SPEED * start.torso:
            return start.t, min(0.95, 0.7 + 0.1 * speed / start.torso / PLUNGE_SPEED)
    return None


def _is_level(pose: Pose) -> bool:
    fits = pose.likelihoods()
    return fits.get(Posture.LYING, 0.0) >= 0.5 if fits else (pose.tilt or 0.0) >= LEVEL_DEG


def _is_up(body: Body) -> bool:
    """The joints say that the legs are under the body."""
    return body.share(lambda p: p.likelihoods().get(Posture.LYING, 1.0) < 0.5, 0.5) > 0.5


def fall_began(trail: list[tuple[float, Box]], aspect: float) -> float | None:
    """When a fall that is over now began (media seconds), or None; from the box alone.

    Args:
        trail: (media seconds, box) of a person, the newest last.
        aspect: width of the frame by its height.
    """
    now, last = trail[-1]
    flat = [t for t, box in trail if now - t <= FLAT_S + 0.05 and _shape(box, aspect) < FLAT]
    if len(flat) < 2 or now - flat[0] < FLAT_S - 0.15 or _shape(last, aspect) >= FLAT:
        return None
    for t, box in reversed(trail):
        if not FALL_QUICKEST_S <= flat[0] - t <= FALL_LONGEST_S:
            continue
        height = box[3] - box[1]
        if (
            _shape(box, aspect) >= UPRIGHT
            and last[1] - box[1] >= DROP * height
            and abs(last[3] - box[3]) <= FEET * height
        ):
            return t
    return None


def _shape(box: Box, aspect: float) -> float:
    """Height by width in pixels."""
    return (box[3] - box[1]) / max((box[2] - box[0]) * aspect, 1e-6)
