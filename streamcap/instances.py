"""Follows instances under stable ids.

The scheme is tracking by detection: predict, assign (Kuhn 1955, through scipy), update; confident detections first,
weak ones second (ByteTrack, arXiv:2110.06864), then lost tracks by appearance and place. What differs from published
trackers is that the detector does not see the whole frame every time: a track is only held to be missed where the
detector looked, and blobs of motion carry it between looks. See docs/decisions for the comparison.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from streamcap.assignment import assign, costs
from streamcap.closeups import fills
from streamcap.geometry import area, clip, contained
from streamcap.labels import MOVERS
from streamcap.reid import Gallery
from streamcap.tracks import HITS_STILL, Observed, Stage, Track, birth
from streamcap.transform import Transform
from streamcap.types import Box

__all__ = ["Observed", "Stage", "Track", "Tracker", "TrackerUpdate"]

# Scores: a new track needs HIGH, a known one is carried on by LOW.
HIGH = 0.40
LOW = 0.22
# Assignment: highest cost that is still a match, 0 (same) .. 1.
MAX_COST = 0.72
MAX_COST_LOST = 0.55
MAX_COST_BLOB = 0.45
HITS_MOVING = 2
# Motion that the detector cannot name must be this large (share of the frame) and last for this many frames.
BLOB_AREA = 0.006
BLOB_HITS = 5
# A tentative track that is not seen again within this time was noise.
TENTATIVE_S = 1.2
# Unseen for this long where the detector looked: lost; lost for longer than that: ended.
LOST_AFTER_S = 0.5
LOST_KEEP_S = 4.0
# Who goes over the border and whose place was seen empty is over after this long (seconds): who came in only just has
# been spoken of by then, as a poor name is waited upon for a little less (facts/presence.py).
EMPTY_AFTER_S = 0.7
# What is not seen goes on as it went for this long, then comes to rest.
COAST_S = 0.8
# Share of a box that changes at least while the thing moves.
RESTING = 0.04
LOST_MISSES = 2
# What fills the frame is often too near to be recognised: while its pixels stir it is there, for this long (seconds).
LARGE_KEEP_S = 6.0
STIRS = 0.12
# So much of an unnamed thing inside what takes up this much of the frame, and it is a part of it.
# The outline of what is too near to be recognised is not known for this long (seconds).
PART = 0.2
LARGE = 0.25
LINGERED_S = 1.0
# A still thing that the detector once saw well is not given up at the first misses.
STILL_KEEP_S = 12.0
# Share of a box that must change for its pixels to count as disturbed.
DISTURBED = 0.2
# From this share of foreground on its place can be seen to be left while it may still be about.
COVERED = 0.25
# Two tracks of one kind of thing, one mostly inside the other for this long, are one thing seen twice.
TWIN_SHARE = 0.8
TWIN_S = 1.0


@dataclass(frozen=True, slots=True)
class TrackerUpdate:
    """What one frame did to the tracks.

    Attributes:
        active: confirmed and in view.
        confirmed, returned, ended: those that became active for the first time, again, or are gone for good.
    """

    active: tuple[Track, ...]
    confirmed: tuple[Track, ...]
    returned: tuple[Track, ...]
    ended: tuple[Track, ...]


class Tracker:
    """Assigns what is seen to tracks. Ids count up from 1; only who left and came back has an old one again."""

    def __init__(self) -> None:
        self._tracks: list[Track] = []
        self._next_id = 1
        self._last_pts: float | None = None
        self._gallery = Gallery()
        self._sought: set[int] = set()  # ids of those that were there before a time that was not seen

    @property
    def tracks(self) -> tuple[Track, ...]:
        """All tracks that are not ended, tentative and lost ones too."""
        return tuple(self._tracks)

    def reset(self) -> tuple[Track, ...]:
        """End all tracks, after a cut; ids go on counting. Returns the confirmed ones."""
        ended = tuple(t for t in self._tracks if t.id)
        for track in self._tracks:
            track.stage = Stage.ENDED
        self._tracks = []
        self._gallery.clear()
        return ended

    def resume(self, pts: float) -> None:
        """After a time that was not seen, in the same place: who was there is looked for, and not yet missed.

        Found again it keeps its id and is told of as confirmed: whatever it did meanwhile, nobody saw it.
        """
        kept = [t for t in self._tracks if t.stage is Stage.ACTIVE]
        for track in self._tracks:
            track.stage = Stage.LOST if track.stage is Stage.ACTIVE else Stage.ENDED
            track.interrupt(pts)
        self._tracks, self._last_pts = kept, pts
        self._sought = {t.id for t in kept}

    def forget_background(self) -> None:
        """The background is another: what is missed now cannot be seen to have left its place."""
        for track in self._tracks:
            track.covered = 0.0

    def update(
        self,
        seen: Sequence[Observed],
        looks: Sequence[Box],
        camera: Transform,
        pts: float,
        *,
        changed: Callable[[Box], float] = lambda _: 0.0,
        cover: Callable[[Box], float] = lambda _: 0.0,
    ) -> TrackerUpdate:
        """Take in one frame.

        Args:
            seen: detections and blobs, duplicates removed.
            looks: crops that the detector examined in this frame.
            camera: motion of the picture since the last frame.
            pts: media seconds, increasing.
            changed: share of a box whose pixels changed since the last frame, 0..1.
            cover: share of a box that differs from the background, 0..1.
        """
        self._predict(camera, pts, changed)
        before = {id(t): t.stage for t in self._tracks}
        detections = [o for o in seen if o.label]
        strong = [o for o in detections if o.score >= HIGH]
        weak = [o for o in detections if LOW <= o.score < HIGH]
        blobs = [o for o in seen if not o.label]
        free = [t for t in self._tracks if t.stage is not Stage.LOST]
        free, strong = self._match(free, strong, pts, MAX_COST)
        free, weak = self._match(free, weak, pts, MAX_COST)
        lost = [t for t in self._tracks if t.stage is Stage.LOST]
        lost, strong = self._match(lost, strong, pts, MAX_COST_LOST)
        self._tracks += [birth(o, pts) for o in strong]
        self._tracks += [birth(o, pts) for o in self._carry(free, blobs, pts)]
        for track in free:
            share = changed(track.box)
            track.disturbed = track.disturbed or share > DISTURBED
            track.hole = cover(track.box)
            if track.covered > COVERED and track.vacated:
                track.disturbed = True  # it was no part of the background, and that is to be seen again
            if share < RESTING and not track.disturbed and not camera.trusted:
                track.hold(pts)
            elif share > STIRS and not camera.trusted and fills(track.trail[-1][1]) and pts - track.seen < LARGE_KEEP_S:
                track.linger(pts)
        for track in self._tracks:
            if track.seen == pts:
                track.covered = cover(track.box)
        self._miss(looks, pts)
        self._twins(pts)
        return self._settle(before, pts)

    def _predict(self, camera: Transform, pts: float, changed: Callable[[Box], float]) -> None:
        dt = pts - self._last_pts if self._last_pts is not None else 0.0
        self._last_pts = pts
        for track in self._tracks:
            if pts - track.seen > COAST_S or (not camera.trusted and changed(track.box) < RESTING):
                track.velocity = (track.velocity[0] * 0.7, track.velocity[1] * 0.7)
            if camera.trusted:
                track.follow(camera)
            track.shift(track.velocity[0] * dt, track.velocity[1] * dt)

    def _match(
        self, tracks: list[Track], seen: list[Observed], pts: float, limit: float
    ) -> tuple[list[Track], list[Observed]]:
        """Assign; return what is left of both."""
        if not tracks or not seen:
            return tracks, seen
        pairs = assign(costs(tracks, seen, pts), limit)
        for r, c in pairs:
            tracks[r].observe(seen[c], pts)
        used_rows, used_columns = {r for r, _ in pairs}, {c for _, c in pairs}
        return (
            [t for i, t in enumerate(tracks) if i not in used_rows],
            [o for i, o in enumerate(seen) if i not in used_columns],
        )

    def _carry(self, tracks: list[Track], blobs: list[Observed], pts: float) -> list[Observed]:
        """Let blobs of motion move tracks that no detection moved; return those that nothing explains.

        A blob is no sighting of something that the detector knows: what was absorbed into the background leaves a
        blob behind when it goes.
        """
        nameless = [t for t in tracks if self._is_nameless(t)]
        _, left = self._match(nameless, blobs, pts, MAX_COST)
        named = [t for t in tracks if t not in nameless and t.motion > 0.1]
        if named and left:
            for r, c in assign(costs(named, left, pts), MAX_COST_BLOB):
                named[r].move(left[c].box, pts)
        known = [t.box for t in self._tracks]
        return [
            b
            for b in left
            if area(b.box) >= BLOB_AREA and not any(max(contained(b.box, k), contained(k, b.box)) > 0.2 for k in known)
        ]

    def _is_nameless(self, track: Track) -> bool:
        """No detector has seen it, or what is so quick was called by names that do not hold, or cannot go by itself."""
        if not track.vote.named:
            return True
        label = track.label
        return track.is_quick and (label == "object" or (label not in MOVERS and not self._carried(track)))

    def _miss(self, looks: Sequence[Box], pts: float) -> None:
        for track in self._tracks:
            if track.lingers == pts:
                continue
            visible = clip(track.box)
            if area(visible) == 0 or any(contained(visible, look) > 0.8 for look in looks):
                track.looked = pts
                track.misses += track.seen != pts

    def _twins(self, pts: float) -> None:
        solid = [t for t in self._tracks if t.stage is not Stage.LOST]
        for young in solid:
            overlaps = any(
                old is not young
                and (old.id or 10**9, old.born) < (young.id or 10**9, young.born)
                and _twins(old, young)
                for old in solid
            )
            young.twin_since = (young.twin_since if young.twin_since is not None else pts) if overlaps else None

    def _carried(self, track: Track) -> bool:
        """Lies on a person, who may be carrying it."""
        return any(
            other is not track and other.label == "person" and contained(track.box, other.box) > 0.3
            for other in self._tracks
        )

    def _confirm(self, track: Track, pts: float) -> None:
        """Give it an id: its old one if it came back, else a new one."""
        track.stage, track.confirmed = Stage.ACTIVE, pts
        known = self._gallery.recall(track, pts)
        if known is not None:
            track.return_as(known.id, known.appearance, known.first_seen)
            return
        track.id = self._next_id
        self._next_id += 1

    def _part_of_large(self, track: Track) -> bool:
        """No name holds for it, and it lies on something large: a part of that, or its outline anew."""
        return track.label == "object" and any(
            other is not track
            and other.stage is Stage.ACTIVE
            and area(other.trail[-1][1]) >= LARGE
            and (contained(track.box, other.box) > PART or track.seen - other.lingers < LINGERED_S)
            for other in self._tracks
        )

    def _settle(self, before: dict[int, Stage], pts: float) -> TrackerUpdate:
        confirmed, ended = [], []
        for track in self._tracks:
            if not track.roams:
                track.roams = track.has_gone() and not self._carried(track)
            if track.stage is Stage.TENTATIVE:
                if _is_confirmed(track) and not self._part_of_large(track) and not self._gallery.awaits(track, pts):
                    self._confirm(track, pts)
                    confirmed.append(track)
                elif track.looked - track.seen > TENTATIVE_S or pts - track.seen > 2 * TENTATIVE_S:
                    track.stage = Stage.ENDED
            elif _is_over(track, pts):
                track.stage = Stage.ENDED
                ended.append(track)
            elif track.misses >= LOST_MISSES and track.looked - track.seen > LOST_AFTER_S and not track.is_fixture():
                track.stage = Stage.LOST
                # Nothing of it is in the frame then: whoever comes in there is judged by the gallery.
                spoken_of = track.looked - track.seen > EMPTY_AFTER_S
                if track.is_out(pts) and (spoken_of or track.may_be_out(pts)):
                    track.stage = Stage.ENDED
                    ended.append(track)
        for track in ended:
            self._gallery.add(track)
        self._tracks = [t for t in self._tracks if t.stage is not Stage.ENDED]
        active = tuple(t for t in self._tracks if t.stage is Stage.ACTIVE)
        back = [t for t in active if before.get(id(t)) is Stage.LOST]
        found = [t for t in back if t.id in self._sought]
        for track in found:
            track.find(pts)
        returned = tuple(t for t in back if t.id not in self._sought)
        self._sought -= {t.id for t in (*found, *ended)}
        return TrackerUpdate(active, (*confirmed, *found), returned, tuple(ended))


def _twins(old: Track, young: Track) -> bool:
    """One thing seen twice: one kind and one inside the other, or of whatever kind and of one place and size."""
    if max(contained(young.box, old.box), contained(old.box, young.box)) <= TWIN_SHARE:
        return False
    alike = min(area(old.box), area(young.box)) > 0.5 * max(area(old.box), area(young.box))
    return alike or old.vote.alike(young.vote)


def _is_confirmed(track: Track) -> bool:
    if not track.vote.named:  # motion alone must be large, last, and go somewhere
        return track.hits >= BLOB_HITS and track.travelled()[0] > 0.5
    if track.roams and track.hits >= BLOB_HITS:  # a word or two of the detector's, of small weight, do not undo that
        return True
    moving = max(track.start_motion, track.motion) > 0.15
    sure = track.best >= 0.5
    return track.hits >= (HITS_MOVING if moving and sure else HITS_STILL) and track.vote.weight >= 0.8


def _is_over(track: Track, pts: float) -> bool:
    if track.twin_since is not None and pts - track.twin_since > TWIN_S:
        return True
    gone = track.looked - track.seen
    return gone > (STILL_KEEP_S if track.is_fixture() else LOST_KEEP_S) or (track.outside and gone > LOST_AFTER_S)
