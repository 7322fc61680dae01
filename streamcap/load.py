"""What one person carries: votes over several looks, believed once the thing was seen to go along. Pure and bounded."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamcap.geometry import area, contained
from streamcap.labels import BAGS
from streamcap.types import Box

__all__ = ["CARRIED", "LARGEST", "Load", "owner_share"]

# What is held to be carried where it lies on a person. Other things that the detector names on people are as often a
# part of them: shoes are skateboards, a knee is a ball.
CARRIED = BAGS | {"bottle", "umbrella"}
# Size: of whose box this share or more is covered it is the coat, and slimmer than a finger it is none. In heights of
# the person: a suitcase or handbag is no larger than a coat's front, wide and high.
LARGEST = 0.22
LEAST = 0.004
# Its middle is so near the person's (heights of the person).
ASIDE = 0.55
# A backpack hangs from the shoulders, a suitcase stands by the legs: share of the person's height, from the top.
BACKPACK_ABOVE = 0.6
SUITCASE_BELOW = 0.5
# Sightings at one place on the person: so far apart (heights of the person).
SWING = 0.16
# Sure: the scores of the looks of the last seconds, less what the detector gives to folds of clothes, add up to this
# much, and one of them is this good. Of people without a bag the sums stay below 0.4, the best mostly below 0.4.
FOLDS = 0.22
EVIDENCE = 0.9
BEST = 0.42
LOOKS = 3
WITHIN_S = 8.0
# What stands about stays, what is carried goes along: its place in the picture differs by so many heights more than its
# place on the person, and by this factor.
WENT = 0.4
WENT_FACTOR = 2.0
# A bag is called by its sort where this share of the votes agrees; a suitcase also needs such a mean, as a large paper
# bag is one at a lower.
SORT = 0.75
SUITCASE_MEAN = 0.5
# Not found in so many looks from close by, or not seen for so long (seconds): put down, or hidden.
MISSES = 5
STALE_S = 12.0
KEPT = 24


@dataclass(frozen=True, slots=True)
class _Sighting:
    """A look that found it: media seconds, sort, score, and its middle on the person, in heights from the person's."""

    t: float
    label: str
    score: float
    x: float
    y: float


@dataclass(slots=True, eq=False)
class Load:
    """What one person carries. Bounded; only the perception lane writes it.

    Attributes:
        looks: looks from close by; ``looked``: media seconds of the last one.
        carries: nouns of what is surely carried, surest first.
    """

    looks: int = 0
    looked: float = -STALE_S
    carries: tuple[str, ...] = ()
    _seen: dict[str, deque[_Sighting]] = field(default_factory=dict)
    _looks_at: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))

    @property
    def open(self) -> bool:
        """Something was seen that is not sure yet: another look soon is worth it."""
        return any(kind not in map(_kind, self.carries) for kind in self._seen)

    def drop(self) -> None:
        """It was seen apart from the person: nothing is carried any more, as far as is known."""
        self._seen.clear()
        self.carries = ()

    def look(self, pts: float) -> None:
        """Count a look from close by, whatever it finds."""
        self.looks += 1
        self.looked = pts
        self._looks_at.append(pts)

    def add(self, label: str, score: float, thing: Box, person: Box, aspect: float, pts: float) -> bool:
        """Take in something seen on the person; false where it is none that is carried.

        Args:
            label, score: as detected.
            thing, person: boxes in 0..1 of the frame.
            aspect: width of the frame by its height.
            pts: media seconds.
        """
        x, y = _on(thing, person, aspect)
        down = y + 0.5
        # As the box has followed the person, the thing may lie beside it.
        fits = abs(x) <= ASIDE and abs(y) <= ASIDE and LEAST <= area(thing) / max(area(person), 1e-9) <= LARGEST
        fits &= not (label == "backpack" and down > BACKPACK_ABOVE) and not (
            label == "suitcase" and down < SUITCASE_BELOW
        )
        if fits:
            self._seen.setdefault(_kind(label), deque(maxlen=KEPT)).append(_Sighting(pts, label, score, x, y))
        return fits

    def settle(self, trail: Sequence[tuple[float, Box]], aspect: float, pts: float) -> None:
        """Decide anew what is carried.

        Args:
            trail: (media seconds, box) of the person as the camera stands now, oldest first.
            aspect: width of the frame by its height.
            pts: media seconds.
        """
        for kind, seen in list(self._seen.items()):
            missed = sum(t > seen[-1].t for t in self._looks_at)
            if missed >= MISSES or pts - seen[-1].t > STALE_S:
                del self._seen[kind]
        kept = [kind for kind in map(_kind, self.carries) if kind in self._seen]
        sure = kept + [kind for kind in self._seen if kind not in kept and self._is_sure(kind, trail, aspect)]
        self.carries = tuple(_name(self._seen[kind]) for kind in sure)

    def _is_sure(self, kind: str, trail: Sequence[tuple[float, Box]], aspect: float) -> bool:
        seen = _together(self._seen[kind])
        if len({s.t for s in seen}) < LOOKS or max(s.score for s in seen) < BEST:
            return False
        return sum(s.score - FOLDS for s in seen) >= EVIDENCE and _goes_along(seen, trail, aspect)


def _kind(label: str) -> str:
    return "bag" if label in BAGS else label


def _name(seen: Sequence[_Sighting]) -> str:
    """The sort that the looks agree on; a handbag is any bag to the detector."""
    votes: defaultdict[str, float] = defaultdict(float)
    for s in seen:
        votes[s.label] += s.score
    best = max(votes, key=lambda label: votes[label])
    if best not in BAGS:
        return best
    doubtful = best == "suitcase" and votes[best] < SUITCASE_MEAN * sum(s.label == best for s in seen)
    return "bag" if best == "handbag" or doubtful or votes[best] < SORT * sum(votes.values()) else best


def _on(thing: Box, person: Box, aspect: float) -> tuple[float, float]:
    """The thing's middle, in heights of the person from the person's middle."""
    high = max(person[3] - person[1], 1e-3)
    x = ((thing[0] + thing[2]) - (person[0] + person[2])) / 2 * aspect / high
    return x, ((thing[1] + thing[3]) - (person[1] + person[3])) / 2 / high


def _together(seen: Sequence[_Sighting]) -> list[_Sighting]:
    """The sightings of the last seconds, near the last of them on the person: the same thing."""
    last = seen[-1]
    near = (s for s in seen if abs(s.x - last.x) <= SWING and abs(s.y - last.y) <= SWING)
    return [s for s in near if last.t - s.t <= WITHIN_S]


def _goes_along(seen: Sequence[_Sighting], trail: Sequence[tuple[float, Box]], aspect: float) -> bool:
    """Over the sightings it kept its place on the person, not its place in the picture."""
    boxes = dict(trail)
    known = [s for s in seen if s.t in boxes]
    if len(known) < 2:
        return False
    first, last = known[0], known[-1]
    a, b = boxes[first.t], boxes[last.t]
    high = max(b[3] - b[1], 1e-3)
    places = [
        ((box[0] + box[2]) / 2 * aspect + s.x * (box[3] - box[1]), (box[1] + box[3]) / 2 + s.y * (box[3] - box[1]))
        for s, box in ((first, a), (last, b))
    ]
    went = max(abs(places[0][0] - places[1][0]), abs(places[0][1] - places[1][1])) / high
    swung = max(abs(first.x - last.x), abs(first.y - last.y))
    return went >= WENT and went >= WENT_FACTOR * swung


def owner_share(thing: Box, person: Box) -> float:
    """Share of the thing on the person, or within an arm's breadth of the person."""
    arm = 0.15 * (person[2] - person[0])
    return contained(thing, (person[0] - arm, person[1], person[2] + arm, person[3]))
