"""Looks from close by at what people have with them, and whose it is.

A bag on somebody who is 200 pixels high is 30 pixels large in a crop that shows the person with the surroundings, and
twice to three times that in one that shows the person alone. Such looks are worth little where nobody is new, so they
are few: each look of the usual sort earns a small part of one.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamcap.geometry import area, contained
from streamcap.instances import Observed, Stage, Track
from streamcap.labels import BAGS, DISHES
from streamcap.load import CARRIED, LARGEST, owner_share
from streamcap.types import Box

__all__ = ["SOUGHT", "Carrying"]

# Share of the usual looks that is spent on looks from close by as well, and how many of them may be saved up.
EARNED = 0.07
SAVED = 4.0
# Pixels and share of the frame's height from which what a person carries can be made out.
LEGIBLE_PX = 130
LEGIBLE = 0.15
# Seconds from one look at a person to the next: after the first ones, where something was found, and later on; later
# on begins with so many looks. Only who moves (own heights a second) or came in the last seconds is looked at.
AGAIN_S = 1.2
CONFIRM_S = 0.4
RARELY_S = 5.0
RARELY_LOOKS = 4
MOVES = 0.1
NEW_S = 3.0
# The crop is so many times as high as the person; who is higher than this in pixels is shown by parts.
SNUG = 1.2
WHOLE_PX = 480
# What the looks from close by tell the tracker of: it must be this sure, as they show much that is a part of something.
SOUGHT = BAGS | DISHES | {"sports ball", "bicycle", "dog", "umbrella"}
FOUND = 0.5
# So much of a thing lies on its bearer, and no more than that on anybody else.
OWN = 0.7
OTHERS = 0.3
# Who was there this long (seconds) before or after a bag was first seen by itself may have brought it.
NEAR_S = 2.0
# A thing that is followed on its own is the same as what is seen now.
SAME = 0.5


class Carrying:
    """Chooses the looks from close by and gives what is found on people to them. State is a few numbers."""

    def __init__(self) -> None:
        self._earned = 0.0
        self._part = 0
        self._look: Box | None = None
        self._found: list[tuple[Track, Observed]] = []

    def next(self, tracks: Sequence[Track], size: tuple[int, int], pts: float, looks: int) -> Box | None:
        """Where to look from close by in this frame, if anywhere.

        Args:
            tracks: all that is followed.
            size: (width, height) of the frame in pixels.
            pts: media seconds.
            looks: looks of the usual sort in this frame.
        """
        self._earned = min(SAVED, self._earned + EARNED * looks)
        self._look = None
        if self._earned < 1:
            return None
        due = [t for t in tracks if _is_due(t, size, pts)]
        if due:
            self._earned -= 1
            self._look = self._crop(max(due, key=lambda t: (t.load.open, -t.load.looks, area(t.box))), size)
        return self._look

    def sort(self, seen: Sequence[Observed], tracks: Sequence[Track]) -> list[Observed]:
        """Take what lies on people as theirs; returns what is to be followed on its own.

        A bag on somebody, and what somebody surely carries, is no thing by itself until they part; a bottle may stand
        before somebody, so it is both.
        """
        people = [t for t in tracks if t.label == "person" and t.stage is not Stage.LOST]
        self._found, left = [], []
        for one in seen:
            bearer = _bearer(one.box, people) if one.label in CARRIED else None
            if bearer is not None:
                self._found.append((bearer, one))
            part = bearer is not None and _is_part(one, bearer, tracks)
            if not part and not (self._is_doubtful(one) and not _known(one, tracks)):
                left.append(one)
        return left

    def settle(self, tracks: Sequence[Track], aspect: float, pts: float) -> None:
        """Let each person's votes count, when the tracks of this frame are known."""
        for bearer, one in self._found:
            at, box = bearer.trail[-1]
            if at == pts:
                bearer.load.add(one.label, one.score, one.box, box, aspect, pts)
        for track in tracks:
            if track.label == "person" and track.stage is Stage.ACTIVE:
                if track.load.carries and any(_has_left(thing, track) for thing in tracks):
                    track.load.drop()
                if self._look is not None and _shows(self._look, track.box):
                    track.load.look(pts)
                if track.load.open or track.load.carries:
                    track.load.settle(track.trail, aspect, pts)
        self._found = []

    def _is_doubtful(self, one: Observed) -> bool:
        """Perhaps only seen from close by, and not well enough to begin a track."""
        seen_near = self._look is not None and contained(one.box, self._look) > SAME
        return seen_near and one.label in SOUGHT and one.score < FOUND

    def _crop(self, track: Track, size: tuple[int, int]) -> Box:
        """The person alone; of who is very high, in turn the hands and the lower half."""
        box = track.box
        if (box[3] - box[1]) * size[1] <= WHOLE_PX:
            return _square(box, SNUG, size)
        self._part += 1
        pose = track.body.pose
        hands = pose.hand_boxes if pose is not None and track.body.looked - pose.t < AGAIN_S else ()
        if hands and self._part % 2:
            hand = hands[(self._part // 2) % len(hands)]
            return _square(hand, 2.0, size)
        half = (box[0], (box[1] + box[3]) / 2, box[2], box[3])
        return _square(half, SNUG, size)


def _is_due(track: Track, size: tuple[int, int], pts: float) -> bool:
    high = track.box[3] - track.box[1]
    if track.stage is not Stage.ACTIVE or track.label != "person" or track.misses:
        return False
    if high * size[1] < LEGIBLE_PX or high < LEGIBLE:
        return False
    load = track.load
    if load.carries and not load.open:
        pause = RARELY_S
    else:
        pause = CONFIRM_S if load.open else AGAIN_S if load.looks < RARELY_LOOKS else RARELY_S
    fresh = pts - track.confirmed <= NEW_S or track.speed(1.0) > MOVES
    return fresh and pts - load.looked >= pause


def _bearer(thing: Box, people: Sequence[Track]) -> Track | None:
    """Whose it is, where that is beyond doubt."""
    shares = sorted(((owner_share(thing, t.box), t.id) for t in people), reverse=True)
    if not shares or shares[0][0] < OWN or (len(shares) > 1 and shares[1][0] > OTHERS):
        return None
    return next(t for t in people if t.id == shares[0][1])


def _is_part(one: Observed, bearer: Track, tracks: Sequence[Track]) -> bool:
    if one.label in bearer.load.carries or (one.label in BAGS and set(bearer.load.carries) & (BAGS | {"bag"})):
        return True
    return one.label in BAGS and not _known(one, tracks)


def _known(one: Observed, tracks: Sequence[Track]) -> bool:
    """It is followed on its own, by this name."""
    return any(t.id and t.label == one.label and contained(t.box, one.box) > SAME for t in tracks)


def _has_left(thing: Track, person: Track) -> bool:
    """A bag that began to be seen by itself where the person with the bag was, and is not on the person."""
    if thing.label not in BAGS or not set(person.load.carries) & (BAGS | {"bag"}) or thing.born < person.born:
        return False
    if area(thing.box) > LARGEST * area(person.box):
        return False
    at, box = thing.trail[0]
    then = [b for t, b in person.trail if abs(t - at) <= NEAR_S]
    return any(contained(box, b) > 0 for b in then) and owner_share(thing.box, person.box) < OTHERS


def _shows(look: Box, person: Box) -> bool:
    return contained(person, look) > 0.95 or contained(look, person) > SAME


def _square(box: Box, zoom: float, size: tuple[int, int]) -> Box:
    """A square around a box, inside the frame."""
    width, height = size
    side = min(float(min(size)), max((box[2] - box[0]) * width, (box[3] - box[1]) * height) * zoom)
    sx, sy = side / width, side / height
    x = min(max((box[0] + box[2] - sx) / 2, 0.0), 1 - sx)
    y = min(max((box[1] + box[3] - sy) / 2, 0.0), 1 - sy)
    return (x, y, x + sx, y + sy)
