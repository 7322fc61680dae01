"""Who comes and goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from streamcap.facts.scene import SALIENCY, Scene, about, is_named, moves_by_itself
from streamcap.geometry import area, contained, nearest_side, place, touches
from streamcap.instances import Stage, Track
from streamcap.labels import ANIMALS, MOVERS, group
from streamcap.types import Fact, Skill

__all__ = ["Presence"]

# How near (share of the frame) to a side something enters.
EDGE = 0.05
# Something that moves at birth came; something still was only found late. Share of its box in motion; heights a second.
BORN_MOVING = 0.12
BORN_SPEED = 0.18
# An unnamed instance waits this long (seconds) for the detector to name it before it is spoken of.
NAME_WAIT_S = 1.6
# From this confidence on it is spoken of at once; a poorer name waits a little for a better one.
NAME_AT_ONCE = 0.8
NAME_POOR_S = 0.6
# A poorer name that came later than its instance must hold for so long (seconds): two looks more at least.
NAME_HOLDS_S = 0.5
# What never gets a name is spoken of where it is plainly there: it went about by itself, was seen in so many frames and
# is this large (share of the frame). That is said this long (seconds) after it came, or when it has gone; and where
# so many are about, it may be a part of anyone, and is not said.
UNNAMED_HITS = 6
UNNAMED_AREA = 0.01
UNNAMED_WAIT_S = 3.0
UNNAMED_AMONG = 4
# So shortly after the whole picture moved (seconds), what comes to a side or goes from it is the camera's doing.
CAMERA_S = 0.6
# People in a group hide each other: this close (own widths) to another of its kind, nothing appears or disappears.
CROWDED = 0.8
# So many that went without a word are remembered: of them it is not said either that they come back.
REMEMBERED = 64
# Share of a box that lies in something close to the camera.
CLOSE_UP = 0.6
# Who walked out over the border is likely gone after so long (seconds) without a sight: a look at five a second. Of 103
# such, on clips of all kinds, 102 had gone (docs/decisions/035-likely-before-sure.md); so had all 7 who went straight
# out, too slowly for that, and whose place was seen empty. Nothing is likely of who is not seen anywhere else: four of
# five were only missed, or hidden.
LIKELY_S = 0.15
# Nobody in view for this long: the scene is empty again. That is said where somebody was there, not only an arm.
EMPTY_S = 0.6


@dataclass(slots=True)
class Presence:
    """Enter, leave, appear, disappear, and empty again; and who is likely leaving."""

    _here: dict[int, Track] = field(default_factory=dict)
    _waiting: dict[int, Track] = field(default_factory=dict)
    _unnamed: dict[int, float] = field(default_factory=dict)  # who was last found to have no name, and when
    _came_told: set[int] = field(default_factory=set)  # of those that are here
    _likely: frozenset[int] = frozenset()  # who was likely gone as of the last frame
    _misjudged: set[int] = field(default_factory=set)  # of those that are here: likely gone once, and yet seen again
    _untold: deque[int] = field(default_factory=lambda: deque(maxlen=REMEMBERED))  # who went without a word
    _empty_since: float | None = None
    _occupied: bool = False

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.confirmed:
            if scene.was_there(track):
                self._here[track.id] = track
            else:
                self._waiting[track.id] = track
        yield from self._arrivals(scene)
        self._unnamed = {key: at for key, at in self._unnamed.items() if key in self._waiting}
        for track in scene.tracks.ended:
            yield from self._departure(track, scene)
        yield from self._likely_departures(scene)
        yield from self._emptiness(scene)

    def _arrivals(self, scene: Scene) -> Iterator[Fact]:
        for key, track in list(self._waiting.items()):
            if track.stage is Stage.ENDED:
                del self._waiting[key]
                if track.roams and (is_named(track) or _is_plain(track)):  # quick: it comes and goes in one breath
                    self._here[key] = track
                    yield from self._came(track, scene)
                continue
            name, holds = track.instance(), self._holds_name(track, scene.pts)
            patience = 0.0 if name.confidence >= NAME_AT_ONCE else NAME_POOR_S
            # What moves and is called a chair, or a bird, needs another look; who is half in view may yet be coming.
            doubtful = name.label not in MOVERS or name.label == "object" or name.label in ANIMALS
            if doubtful or not _is_moving(track):
                patience = NAME_WAIT_S
            if scene.pts - track.confirmed < patience:
                continue
            if not holds and scene.pts - track.confirmed < UNNAMED_WAIT_S:
                continue  # what is seen coming is often named once all of it is in view
            del self._waiting[key]
            if not holds and (is_named(track) or not _is_plain(track)):
                continue
            self._here[key] = track
            yield from self._came(track, scene)

    def _holds_name(self, track: Track, pts: float) -> bool:
        """Named well, or since its confirmation, or for a while: who waits for any name gets a wrong one by luck."""
        if not is_named(track):
            self._unnamed[track.id] = pts
        since = self._unnamed.get(track.id)
        return since is None or pts - since >= NAME_HOLDS_S or track.instance().confidence >= NAME_AT_ONCE

    def _came(self, track: Track, scene: Scene) -> Iterator[Fact]:
        if scene.close is not None and track.label in ANIMALS and contained(track.box, scene.close.box) > CLOSE_UP:
            return  # a hand before the lens is easily taken for an animal; that something is there has been told
        if track.again and track.id in self._untold:
            return
        if _is_cameras(track, track.born, scene):
            return
        if not is_named(track) and sum(map(is_named, self._here.values())) > UNNAMED_AMONG:
            return
        crowded = any(_beside(track, other) for other in self._here.values() if other is not track)
        for fact in _arrival(track, scene.pts, crowded=crowded):
            self._came_told.add(track.id)
            if track.again:
                fact.detail["again"] = "1"
            yield fact

    def _departure(self, track: Track, scene: Scene) -> Iterator[Fact]:
        known, told = self._here.pop(track.id, None), self._is_told_going(track, scene)
        self._came_told.discard(track.id)
        self._misjudged.discard(track.id)
        fact = self._gone(track, scene) if known is not None and told else None
        if track.id in self._untold:
            self._untold.remove(track.id)
        if fact is not None:
            yield fact
        elif track.trail[-1][0] >= scene.watched_since(track):  # else it went before the scene began
            self._untold.append(track.id)

    def _gone(self, track: Track, scene: Scene) -> Fact | None:
        """How it went, None where that is not sure enough."""
        if moves_by_itself(track) and track.is_out(scene.pts):
            return _leave(track)
        if any(_beside(track, other) for other in self._here.values()):
            return None
        if track.disturbed and track.roams and track.vacated:
            return about(track, "disappear", track.seen, track.seen, place(track.trail[-1][1]), 0.5)
        return None

    def _likely_departures(self, scene: Scene) -> Iterator[Fact]:
        """Those who are going out over the border right now: told before it is sure, and once in a track's life.

        Each condition of the sure fact is asked here too, so that what is drafted is what will be said.
        """
        likely: set[int] = set()
        for track in self._here.values():
            if track.seen == scene.pts and track.id in self._likely:
                self._misjudged.add(track.id)
            unseen = track.misses > 0 and track.looked - track.seen >= LIKELY_S
            if not unseen or track.id in self._misjudged or not self._is_told_going(track, scene):
                continue
            if moves_by_itself(track) and track.is_out(scene.pts):
                likely.add(track.id)
                yield replace(_leave(track), sure=False)
        self._likely = frozenset(likely)

    def _is_told_going(self, track: Track, scene: Scene) -> bool:
        """It is worth a word when it goes, and not a second view of another, nor the camera's doing."""
        if track.twin_since is not None or _is_cameras(track, track.seen, scene):
            return False
        return is_named(track) or (track.id in self._came_told and _is_plain(track))

    def _emptiness(self, scene: Scene) -> Iterator[Fact]:
        here = [t for key, t in self._here.items() if moves_by_itself(t)]
        waiting = any(moves_by_itself(t) for t in self._waiting.values())
        if here or waiting:
            self._occupied = self._occupied or any(_is_somebody(t) for t in here)
            self._empty_since = None
        elif self._occupied:
            self._empty_since = self._empty_since if self._empty_since is not None else scene.pts
            if scene.pts - self._empty_since >= EMPTY_S:
                self._occupied = False
                yield Fact("empty", self._empty_since, scene.pts, 0.8, Skill.ENVIRONMENT, saliency=SALIENCY["empty"])


def _leave(track: Track) -> Fact:
    return about(track, "leave", track.seen, track.seen, track.exit_side() or "", 0.8)


def _beside(track: Track, other: Track) -> bool:
    """Two of one kind so close, when ``track`` was first or is last seen, that one may hide the other."""
    if other is track or group(other.label) != group(track.label):
        return False
    width = max(track.box[2] - track.box[0], 0.02) * CROWDED
    places = [box for _, box in other.trail]
    return any(
        mine[0] - width < theirs[2] and theirs[0] < mine[2] + width and mine[1] < theirs[3] and theirs[1] < mine[3]
        for mine in (track.trail[0][1], track.trail[-1][1])
        for theirs in places[-12:]
    )


def _arrival(track: Track, pts: float, *, crowded: bool) -> Iterator[Fact]:
    first = track.trail[0][1]
    moving = _is_moving(track)
    if not moves_by_itself(track):
        return  # things are put there, see objects.py
    if moving and (sides := touches(first, EDGE)):
        side = nearest_side(first, _negated(track.heading(5.0)), sides)
        yield about(track, "enter", track.born, pts, side, 0.85)
    elif not moving or crowded or not is_named(track):
        return  # without a name it is noise, unless it comes in from a side
    elif track.roams or track.label == "person":  # nothing else steps out of a door
        yield about(track, "appear", track.born, pts, place(track.box), 0.6)


def _is_somebody(track: Track) -> bool:
    """More than an arm that reaches in: it was seen whole, or went about."""
    return track.roams or bool(track.appearance.whole) or group(track.label) != "person"


def _is_plain(track: Track) -> bool:
    """Large, lasting and about by itself: worth a word without a name."""
    return track.roams and track.hits >= UNNAMED_HITS and area(track.trail[-1][1]) >= UNNAMED_AREA


def _is_cameras(track: Track, at: float, scene: Scene) -> bool:
    """The picture moved about then (media seconds), and of the track it is not known that it goes about by itself."""
    return not (track.roams and is_named(track)) and scene.steady_since > at - CAMERA_S


def _is_moving(track: Track) -> bool:
    """It came, and was not only found late."""
    return track.start_motion > BORN_MOVING or max(track.speed(1.0), track.speed(2.0)) > BORN_SPEED


def _negated(velocity: tuple[float, float]) -> tuple[float, float]:
    return -velocity[0], -velocity[1]
