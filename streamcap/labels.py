"""Class names: which belong together, and the vote of a track on what it is."""

from __future__ import annotations

from collections import defaultdict

__all__ = ["ANIMALS", "BAGS", "DISHES", "FIXTURES", "FOOD", "MOVERS", "SEATS", "VEHICLES", "Vote", "group"]

VEHICLES = frozenset({"car", "truck", "bus", "train", "motorcycle", "vehicle"})
ANIMALS = frozenset({"bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "animal"})
BAGS = frozenset({"backpack", "handbag", "suitcase"})
# What people sit on, drink from and eat.
SEATS = frozenset({"chair", "couch", "bench", "bed"})
DISHES = frozenset({"bottle", "cup", "wine glass"})
FOOD = frozenset({"apple", "banana", "cake", "carrot", "donut", "hot dog", "orange", "pizza", "sandwich"})
# One flat bright rectangle is as good as the other to the detector.
SCREENS = frozenset({"tv", "laptop", "screen"})
# What stays where it is: its coming and going is the detector's, or that of who stands before it.
FIXTURES = SCREENS | SEATS | {
    "clock", "dining table", "fire hydrant", "microwave", "oven", "parking meter",
    "potted plant", "refrigerator", "sink", "stop sign", "toilet", "traffic light",
}  # fmt: skip
# What moves by itself: news when it comes or goes.
MOVERS = frozenset({"person", "bicycle", "boat", "airplane", "object"}) | VEHICLES | ANIMALS

# A name needs this share of the votes and this weight (sum of scores); else its group's name, else "object".
NAME_SHARE = 0.55
NAME_WEIGHT = 0.8
# The names for oddly shaped and half-seen things: people bending, heads, hands. An animal needs more evidence, and
# which animal needs looks that agree: the wider name is always right.
ANIMAL_WEIGHT = 2.0
ANIMAL_SHARE = 0.7
# A television that is a laptop now and then is neither: a screen. Which of them takes many looks that agree.
SCREEN_SHARE = 0.8
SCREEN_WEIGHT = 6.0
# A name with less weight than this hardly counts against another.
DECIDED_WEIGHT = 2.0
# A bed with cushions is a couch now and then; what most looks call it is said as surely as that it is one of the two.
COUCHES = frozenset({"bed", "couch"})
COUCH_SHARE = 0.65
# Votes fade so that a long track can change its mind; 1/(1 − FADE) observations count.
FADE = 0.98
# A mean score of this much is as sure as the detector gets on things that it knows well.
SURE_SCORE = 0.6
SURE_STEP = 0.3


def group(label: str) -> str:
    """The wider class of a label: ``vehicle``, ``animal``, ``screen``, or the label itself.

    A teddy bear is what the detector calls an animal of which it sees fur or feathers only.
    """
    if label in VEHICLES:
        return "vehicle"
    if label in SCREENS:
        return "screen"
    return "animal" if label in ANIMALS or label == "teddy bear" else label


class Vote:
    """What a track has been called, weighted by score. A wrong noun is worse than "something"."""

    def __init__(self) -> None:
        self._weights: defaultdict[str, float] = defaultdict(float)
        self._best: defaultdict[str, float] = defaultdict(float)
        # Asked for many times between two votes.
        self._results: dict[bool, tuple[str, float]] = {}
        self._sureness: dict[str, float] = {}

    def add(self, label: str, score: float) -> None:
        """Count one observation; an empty label is a blob of motion and names nothing."""
        if not label:
            return
        for known in self._weights:
            self._weights[known] *= FADE
        self._results.clear()
        self._sureness.clear()
        self._weights[label] += score
        # Slow to rise, so that one lucky look does not make it sure.
        self._best[label] += SURE_STEP * (score - self._best[label]) if self._best[label] else score

    @property
    def named(self) -> bool:
        """A detector has seen it at least once."""
        return bool(self._weights)

    def includes(self, label: str) -> bool:
        """It was called that at least once."""
        return label in self._weights

    @property
    def weight(self) -> float:
        """Sum of the scores."""
        return sum(self._weights.values())

    def result(self, *, roams: bool = False) -> tuple[str, float]:
        """Label and its share of the votes, 0..1.

        Args:
            roams: it goes about by itself, so only what can do that counts: a chair that drives is no chair.
        """
        if roams not in self._results:
            self._results[roams] = self._count(roams)
        return self._results[roams]

    def _count(self, roams: bool) -> tuple[str, float]:
        votes = {k: w for k, w in self._weights.items() if not roams or group(k) in MOVERS}
        total = sum(votes.values())
        if total <= 0:
            return "object", 0.0
        best = max(votes, key=lambda label: votes[label])
        share = votes[best] / total
        if best in COUCHES:
            either = sum(votes.get(label, 0.0) for label in COUCHES)
            share = either / total if share >= COUCH_SHARE * either / total else share
        if share >= _share_needed(best) and votes[best] >= _weight_needed(best):
            # A teddy bear that goes about is none.
            return ("animal" if roams and best not in MOVERS else best), share
        groups: defaultdict[str, float] = defaultdict(float)
        for label, weight in votes.items():
            groups[group(label)] += weight
        wide = max(groups, key=lambda name: groups[name])
        named = wide in ("vehicle", "animal", "screen", best) and groups[wide] >= _weight_needed(wide)
        if named and groups[wide] / total >= NAME_SHARE:
            return wide, groups[wide] / total
        return "object", share

    def sureness(self, label: str) -> float:
        """How sure the detector was on average when it said ``label`` or one of its group, 0..1."""
        if label not in self._sureness:
            scores = [score for known, score in self._best.items() if label in (known, group(known))]
            self._sureness[label] = min(1.0, max(scores, default=0.0) / SURE_SCORE)
        return self._sureness[label]

    def distance(self, label: str) -> float:
        """How badly ``label`` fits what was voted so far: 0 same, 0.3 same group, 1 other; less while little was."""
        decided = min(1.0, self.weight / DECIDED_WEIGHT)
        if not self._weights or label in self._weights:
            return 0.0 if not self._weights else (1 - self._weights[label] / self.weight) * decided
        return (0.3 if any(group(label) == group(known) for known in self._weights) else 1.0) * decided

    def alike(self, other: Vote) -> bool:
        """May both name the same thing?"""
        mine, theirs = self.result()[0], other.result()[0]
        return "object" in (mine, theirs) or group(mine) == group(theirs)


def _share_needed(label: str) -> float:
    if label in SCREENS:
        return SCREEN_SHARE
    return ANIMAL_SHARE if label in ANIMALS else NAME_SHARE


def _weight_needed(label: str) -> float:
    if label in SCREENS and label != "screen":
        return SCREEN_WEIGHT
    if group(label) == "animal":
        return ANIMAL_WEIGHT if label == "animal" else 2 * ANIMAL_WEIGHT
    return NAME_WEIGHT
