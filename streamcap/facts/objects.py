"""Things that are put down, taken, and left behind; who did it is read from who was there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streamcap.facts.paths import height, leg, within
from streamcap.facts.scene import SALIENCY, Scene, about, moves_by_itself
from streamcap.facts.things import ThingEvent, Things
from streamcap.geometry import area, contained, place
from streamcap.instances import Stage, Track
from streamcap.labels import FIXTURES
from streamcap.pose import Pose, Posture
from streamcap.stationary import Kind
from streamcap.types import Box, Fact, Skill

__all__ = ["LEFT_AFTER_S", "Handling", "LeftBehind"]

# Reach of an arm to a place, in heights of the person; the hand must not be seen elsewhere all the time.
ARM = 0.3
# Who was there so long (seconds) before the place was disturbed or after it came to rest may have done it.
AROUND_S = 0.6
# People are remembered for this long after they went (seconds).
REMEMBER_S = 12.0
# A place found other so long (seconds) after it came to rest is no news of somebody's deed.
STALE_S = 6.0
# A thing that has no name: at least and at most this large (share of the frame), smaller than this share of whoever
# handles it, and its coming or going this decisive (0..1). Larger ones are the person, seen in part.
UNNAMED_LEAST = 0.001
UNNAMED_MOST = 0.05
UNNAMED_SHARE = 0.25
UNNAMED_SURE = 0.4
# Who handles it stands for so long (seconds) meanwhile: slower than this, in own heights a second.
PAUSE_S = 0.8
PAUSE_SPEED = 0.2
# Of who is smaller than this (share of the frame's height) neither hands nor what they hold can be made out.
LEGIBLE = 0.25
# A place that somebody covered for this share of the time (seconds) before it was disturbed was hidden, not changed:
# the seat of who gets up.
COVERED = 0.8
COVERED_S = 3.0
# Confidence, as share of such statements that are true: the thing named and somebody seen at it; named, and something
# reached in; not named. The last is below the hedge: "seems to put something down".
NAMED = 0.8
REACHED = 0.65
UNNAMED = 0.45
# What has no name came to where somebody was who carried one thing: it is that.
BROUGHT = 0.65

# A hand this far down from hip height (0) to the floor (1), of a body bent by so many degrees: it takes or puts
# something; over for less than this (seconds) it is a stumble, for more it is work at something.
LOW_HAND = 0.5
BENT_DEG = 40.0
REACH_LEAST_S = 0.25
REACH_MOST_S = 6.0
# Upright again: the torso within so many degrees, the hand so far up.
UP_DEG = 25.0
UP_HAND = 0.3
# and the top of the box higher than it was by this share of the height: who fell, or is hidden, did not come up.
RISEN = 0.08
# From this share of a person's box in another's on, joints are mixed up.
MIXED = 0.15
# After that the place has so long (seconds) to tell better what happened. Bending again within AGAIN_S is exercise or
# work and told once.
PATIENCE_S = 0.6
AGAIN_S = 1.5
# What the body tells and what the place tells is one deed within this time (seconds).
TOLD_S = 2.0

# A thing whose bringer is gone from it for this long (seconds) is left behind; gone is further than so many own
# heights.
LEFT_AFTER_S = 15.0
GONE_HEIGHTS = 1.5


@dataclass(slots=True)
class _Reach:
    """What one person does with the hands.

    Attributes:
        since, low: since when the body is bent and a hand is low, and the last time that it was.
        top: where the box began then, the lowest that it was (0..1 of the frame).
        up: since when the body is upright again.
        carrying: something was picked up, as far as could be seen.
    """

    since: float | None = None
    low: float = 0.0
    top: float = 0.0
    up: float | None = None
    carrying: bool = False
    told: float = -AGAIN_S


@dataclass(slots=True)
class Reaching:
    """Pick up and put down as the body tells: bent, a hand low, and up again. A guess, and told as one.

    It belongs to :class:`Handling`, which knows better where a place tells what was done.
    """

    _reaches: dict[int, _Reach] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._reaches.pop(track.id, None)
        people = [t for t in scene.tracks.active if t.label == "person"]
        for track in people:
            pose = track.body.pose
            if any(other is not track and contained(track.box, other.box) > MIXED for other in people):
                self._reaches.pop(track.id, None)
            elif pose is not None and pose.t == scene.pts:
                yield from self._follow(track, pose, self._reaches.setdefault(track.id, _Reach()), scene.pts)

    def note(self, who: int, what: str, end: float) -> bool:
        """A place tells what somebody did until ``end``; false where that was guessed and told already."""
        reach = self._reaches.setdefault(who, _Reach())
        fresh = abs(end - reach.told) > TOLD_S
        reach.carrying, reach.told = what == "pick_up", end
        if reach.since is not None and abs(end - reach.low) <= TOLD_S:
            reach.since, reach.top = None, 0.0
        return fresh

    def _follow(self, track: Track, pose: Pose, reach: _Reach, pts: float) -> Iterator[Fact]:
        word = track.body.posture(pts)[0]
        low = pose.stoop >= LOW_HAND and (pose.tilt or 0.0) >= BENT_DEG
        # Who carries something puts it on a bed as well as on the floor: bending over is enough.
        if low or (reach.carrying and word is Posture.BENT and (pose.reaching or pose.wrists)):
            reach.since = reach.since if reach.since is not None else pts
            reach.top = max(reach.top, track.trail[-1][1][1])
            reach.low, reach.up = pts, None
            return
        if reach.since is None:
            return
        upright = word is Posture.STANDING and (pose.tilt or 0.0) <= UP_DEG and pose.stoop <= UP_HAND
        reach.up = (reach.up if reach.up is not None else pts) if upright else None
        if reach.up is None or pts - reach.up < PATIENCE_S:
            return
        span, lasted = (reach.since, reach.low), reach.low - reach.since
        _, top, _, bottom = track.trail[-1][1]
        risen = reach.top - top >= RISEN * (bottom - top)
        reach.since, reach.up, reach.top = None, None, 0.0
        if risen and REACH_LEAST_S <= lasted <= REACH_MOST_S and span[0] - reach.told >= AGAIN_S:
            what = "put_down" if reach.carrying else "pick_up"
            reach.carrying, reach.told = not reach.carrying, span[1]
            yield _deed(what, track, track.box, span, UNNAMED)


@dataclass(slots=True)
class _Seen:
    """Somebody, and where he was over the last seconds."""

    track: Track
    last: float


@dataclass(slots=True)
class Handling:
    """Pick up, put down; of a named thing that nobody is seen at: appear, disappear."""

    _things: Things = field(default_factory=Things)
    _reaching: Reaching = field(default_factory=Reaching)
    _people: dict[int, _Seen] = field(default_factory=dict)

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in (*scene.tracks.active, *scene.lost):
            if track.label == "person":
                self._people[track.id] = _Seen(track, scene.pts)
        self._people = {key: seen for key, seen in self._people.items() if scene.pts - seen.last <= REMEMBER_S}
        for event in self._things.update(scene):
            fact = self._fact(event, scene)
            if fact is not None:
                yield fact
        yield from self._reaching.update(scene)

    def _fact(self, event: ThingEvent, scene: Scene) -> Fact | None:
        near = [seen.track for seen in self._people.values() if _was_at(seen.track, event, scene.aspect)]
        named = bool(event.label)
        if not named:
            # Where several stand together, a change is as likely one of them, seen in part.
            if len(near) != 1 or not _is_small_beside(event.box, near[0]) or not _had_hand_at(near[0], event):
                return None
            if not _paused(near[0], event, scene.aspect):
                return None
            if _was_hidden_by(near[0], event) or event.sureness < UNNAMED_SURE or scene.pts - event.end > STALE_S:
                return None
            if not UNNAMED_LEAST <= area(event.box) <= UNNAMED_MOST:
                return None
        elif not near and not event.reached:
            return _by_itself(event)
        what = "put_down" if event.kind is Kind.CAME else "pick_up"
        noted = [self._reaching.note(t.id, what, event.end) for t in near]
        if not named and not all(noted):
            return None  # the body told it
        confidence = (NAMED if near else REACHED) if named else UNNAMED
        label = event.label
        if not named and event.kind is Kind.CAME and len(near[0].load.carries) == 1:
            label, confidence = near[0].load.carries[0], BROUGHT
        agent = near[0] if len(near) == 1 and near[0].stage is not Stage.ENDED else None
        return _deed(what, agent, event.box, (event.start, event.end), confidence, label)


def _by_itself(event: ThingEvent) -> Fact | None:
    if event.track is None:
        return None
    what = "appear" if event.kind is Kind.CAME else "disappear"
    return about(event.track, what, event.start, event.end, place(event.box), 0.5)


def _deed(
    what: str, agent: Track | None, box: Box, span: tuple[float, float], confidence: float, label: str = ""
) -> Fact:
    """Somebody does something to a thing at ``box``; ``agent`` is None where it is not known who."""
    where = place(box) if label else ""
    start, end = span
    detail = {"object": label} if label else {}
    saliency = SALIENCY[what] * (1.0 if label else 0.8)
    who = (agent.id,) if agent is not None else ()
    return Fact(
        what, start, max(start, end), confidence, Skill.ACTION, who, "person", where, saliency,
        (agent.trail[-1][1],) if agent is not None else (), detail,
    )  # fmt: skip


def _was_at(person: Track, event: ThingEvent, aspect: float) -> bool:
    """Within reach of the place while it was disturbed."""
    for t, box in person.trail:
        if event.start - AROUND_S <= t <= event.end + AROUND_S:
            reach = ARM * (box[3] - box[1])
            across = max(box[0] - event.box[2], event.box[0] - box[2]) * aspect
            down = max(box[1] - event.box[3], event.box[1] - box[3])
            if across <= reach and down <= reach:
                return True
    return False


def _paused(person: Track, event: ThingEvent, aspect: float) -> bool:
    """Who takes or puts something stops for it: slow for a moment while the place was disturbed."""
    trail = within(list(person.trail), event.start - AROUND_S, event.end + AROUND_S)
    tall = max(height(trail), 1e-3)
    for t, _ in trail:
        part = leg(within(trail, t, t + PAUSE_S), aspect)
        if part.seconds >= 0.75 * PAUSE_S and part.far / part.seconds <= PAUSE_SPEED * tall:
            return True
    return False


def _is_small_beside(box: Box, person: Track) -> bool:
    """Small by the person, who is large enough for that to be seen, and none of the person."""
    tall = max(b[3] - b[1] for _, b in person.trail)
    return tall >= LEGIBLE and area(box) <= UNNAMED_SHARE * max(area(b) for _, b in person.trail)


def _was_hidden_by(person: Track, event: ThingEvent) -> bool:
    before = [box for t, box in person.trail if event.start - COVERED_S <= t < event.start]
    return bool(before) and sum(contained(event.box, box) > 0.6 for box in before) >= COVERED * len(before)


def _had_hand_at(person: Track, event: ThingEvent) -> bool:
    """A hand was seen near the place while it was disturbed."""
    poses = [p for p in person.body.poses if event.start - AROUND_S <= p.t <= event.end + AROUND_S]
    hands = [hand for pose in poses for hand in pose.hand_boxes]
    margin = (event.box[2] - event.box[0] + event.box[3] - event.box[1]) / 4
    wide = event.box[0] - margin, event.box[1] - margin, event.box[2] + margin, event.box[3] + margin
    return any(contained(hand, wide) > 0.1 or contained(event.box, hand) > 0.1 for hand in hands)


@dataclass(slots=True)
class _Item:
    """A thing that somebody brought."""

    track: Track
    alone_since: float | None = None
    told: bool = False


@dataclass(slots=True)
class LeftBehind:
    """Left behind: a thing that somebody brought, who then went away and stays away."""

    _items: dict[int, _Item] = field(default_factory=dict)
    _known: deque[int] = field(default_factory=lambda: deque(maxlen=256))

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.ended:
            self._items.pop(track.id, None)
        if scene.camera.moving:
            return
        people = [t for t in (*scene.tracks.active, *scene.lost) if t.label == "person"]
        for track in scene.tracks.active:
            if track.id in self._known or moves_by_itself(track) or track.label in FIXTURES:
                continue
            self._known.append(track.id)
            if not scene.was_there(track) and _is_attended(track.trail[0][1], people, scene.aspect):
                self._items[track.id] = _Item(track)
        for item in list(self._items.values()):
            yield from self._watch(item, people, scene)

    def _watch(self, item: _Item, people: Sequence[Track], scene: Scene) -> Iterator[Fact]:
        here = item.track.stage is Stage.ACTIVE
        attended = not here or _is_attended(item.track.box, people, scene.aspect)
        if attended or item.track.speed(1.0) > 0.2:
            item.alone_since = None
            return
        item.alone_since = item.alone_since if item.alone_since is not None else scene.pts
        name = item.track.instance()
        if not item.told and scene.pts - item.alone_since >= LEFT_AFTER_S and name.label != "object":
            item.told = True
            yield about(item.track, "left_behind", item.alone_since, scene.pts, place(item.track.box), 0.7)


def _is_attended(box: Box, people: Sequence[Track], aspect: float) -> bool:
    """Somebody is so near that the thing is his or hers."""
    for person in people:
        p = person.box
        far = GONE_HEIGHTS * (p[3] - p[1])
        if max(p[0] - box[2], box[0] - p[2]) * aspect <= far and max(p[1] - box[3], box[1] - p[3]) <= far:
            return True
    return False
