"""Which things came and went: what the tracker saw of named things and what became of places, told as one."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamcap.facts.scene import Scene, moves_by_itself
from streamcap.geometry import area, centre, contained
from streamcap.instances import Stage, Track
from streamcap.labels import FIXTURES
from streamcap.stationary import Kind, PlaceChange
from streamcap.types import Box

__all__ = ["ThingEvent", "Things"]

# A track is held to have come or gone on these signs alone: share of its box in motion, sightings, confidence.
THING_MOTION = 0.3
THING_HITS = 5
THING_SURE = 0.75
# The detector has this long (seconds) to name what came: a track that is new, and a place at which it has been looking
# since it came to rest. A named thing is remembered for so long after it was seen.
NAME_WAIT_S = 1.6
PLACE_WAIT_S = 1.0
REMEMBER_S = 30.0
# A name for a place: so much of the thing lies in the place, or of the place in the thing.
ON_PLACE = 0.4
# and their areas differ by no more than this factor: a reflection of the thing is none of it.
SIZES_ALIKE = 4.0
# The tracker and the place tell of one event within this time (seconds).
SAME_S = 6.0
# A thing that goes and comes by fewer than so many of its own sizes within this time (seconds) was shifted.
SHIFT_SIZES = 1.5
SHIFT_S = 3.0
KEPT = 32


@dataclass(frozen=True, slots=True)
class ThingEvent:
    """Something came to a place or went from it.

    Attributes:
        label: what it is, empty where it has no name.
        sureness: 0..1, how sure coming or going is.
        start, end: media seconds: when the place began to be disturbed, and when it was over.
        reached: what disturbed the place reached in from the border of the picture.
        track: the thing, where it was followed.
    """

    kind: Kind
    box: Box
    label: str
    sureness: float
    start: float
    end: float
    reached: bool = False
    track: Track | None = None


@dataclass(slots=True)
class Things:
    """Brings together what is known of things. Bounded."""

    _known: dict[int, tuple[Track, str, float]] = field(default_factory=dict)  # the thing, its name, when seen
    _fresh: dict[int, Track] = field(default_factory=dict)
    _waiting: list[tuple[float, PlaceChange]] = field(default_factory=list)
    _told: deque[ThingEvent] = field(default_factory=lambda: deque(maxlen=KEPT))

    def update(self, scene: Scene) -> Iterator[ThingEvent]:
        """Events of one frame."""
        found = [*self._of_tracks(scene), *self._of_places(scene)]
        for event in found:
            if not self._is_known(event):
                self._told.append(event)
                yield event

    def _of_tracks(self, scene: Scene) -> Iterator[ThingEvent]:
        for track in scene.tracks.active:
            if track.vote.named and not moves_by_itself(track):
                name = track.instance()
                if name.label not in FIXTURES and name.confidence >= THING_SURE:
                    self._known[track.id] = (track, name.label, scene.pts)
        self._known = {key: item for key, item in self._known.items() if scene.pts - item[2] <= REMEMBER_S}
        for track in scene.tracks.confirmed:
            if not scene.was_there(track):
                self._fresh[track.id] = track
        for key, track in list(self._fresh.items()):
            if track.stage is Stage.ENDED or scene.pts - track.confirmed >= NAME_WAIT_S:
                del self._fresh[key]
                if track.stage is not Stage.ENDED and track.start_motion > THING_MOTION and _is_sure(track):
                    yield _event(track, Kind.CAME, track.born, scene.pts)
        for track in scene.tracks.ended:
            known = track.twin_since is None and _is_sure(track)
            if known and track.id not in self._fresh and track.disturbed and _place_changed(track):
                yield _event(track, Kind.WENT, track.seen, track.seen)

    def _of_places(self, scene: Scene) -> Iterator[ThingEvent]:
        if scene.camera.moving:
            self._waiting.clear()
        elif not scene.settling:
            self._waiting += [(scene.pts, change) for change in scene.places if change.kind is not Kind.OTHER]
        for item in list(self._waiting):
            since, change = item
            track, label = self._name(change, scene.pts)
            if not label and scene.pts - since < PLACE_WAIT_S:
                continue
            self._waiting.remove(item)
            yield ThingEvent(
                change.kind, change.box, label, change.sureness, change.start, change.end, change.reached, track
            )

    def _name(self, change: PlaceChange, pts: float) -> tuple[Track | None, str]:
        """What came or went, if the detector knows it; what came must be there, and what went must not."""
        for track, label, seen in self._known.values():
            there = track.stage is Stage.ACTIVE and pts - seen < 1.0
            box = track.trail[-1][1]
            alike = max(area(box), area(change.box)) <= SIZES_ALIKE * min(area(box), area(change.box))
            on = alike and max(contained(box, change.box), contained(change.box, box)) >= ON_PLACE
            if change.kind is Kind.CAME:
                fits = there and track.born >= change.start - 1.0
            else:
                fits = track.born < change.start and track.seen <= change.end + 0.5
            if on and fits:
                return track, label
        return None, ""

    def _is_known(self, event: ThingEvent) -> bool:
        """Told before from the other source, or no more than a shift."""
        for other in self._told:
            near = max(contained(event.box, other.box), contained(other.box, event.box)) > 0.3
            if near and other.kind is event.kind and abs(event.end - other.end) <= SAME_S:
                return True
            shifted = other.kind is not event.kind and abs(event.end - other.end) <= SHIFT_S
            if shifted and not event.label and _distance(event.box, other.box) <= SHIFT_SIZES:
                return True
        return False


def _event(track: Track, kind: Kind, start: float, end: float) -> ThingEvent:
    return ThingEvent(kind, track.trail[-1][1], track.instance().label, 1.0, start, end, track=track)


def _is_sure(track: Track) -> bool:
    name = track.instance()
    handled = not moves_by_itself(track) and name.label not in FIXTURES
    return handled and track.hits >= THING_HITS and name.confidence >= THING_SURE


def _place_changed(track: Track) -> bool:
    """Its place looks other than with it: as before it came, or as never before."""
    return abs(track.hole - track.covered) > THING_MOTION


def _distance(a: Box, b: Box) -> float:
    """Between the middles, in sizes of the larger."""
    (ax, ay), (bx, by) = centre(a), centre(b)
    size = max(a[2] - a[0], a[3] - a[1], b[2] - b[0], b[3] - b[1], 1e-3)
    return max(abs(ax - bx), abs(ay - by)) / size
