"""Looks from close by at people, and whose a thing is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from streamcap.carrying import EARNED, Carrying
from streamcap.facts.loads import Loads
from streamcap.facts.scene import Scene
from streamcap.instances import Observed, Tracker
from streamcap.types import Box, Fact
from tests.scenes import STILL, WHOLE, colours

SIZE = (1280, 720)
ASPECT = 16 / 9


@dataclass
class Street:
    """Boxes through the looks, the tracker and the rule, five frames a second, two usual looks a frame."""

    carrying: Carrying = field(default_factory=Carrying)
    tracker: Tracker = field(default_factory=Tracker)
    rule: Loads = field(default_factory=Loads)
    looks: list[tuple[float, Box]] = field(default_factory=list)
    facts: list[Fact] = field(default_factory=list)
    frames: int = 0

    def play(self, seconds: float, there: Callable[[float], Iterable[tuple[str, Box, float]]]) -> None:
        """Show what is there at each time: label, box and score."""
        for _ in range(round(5 * seconds)):
            pts = self.frames / 5
            self.frames += 1
            near = self.carrying.next(self.tracker.tracks, SIZE, pts, looks=2)
            if near is not None:
                self.looks.append((pts, near))
            seen = [Observed(box, score, label, colours(1), 0.5) for label, box, score in there(pts)]
            seen = self.carrying.sort(seen, self.tracker.tracks)
            update = self.tracker.update(seen, [WHOLE], STILL.transform, pts, changed=lambda _: 0.5)
            self.carrying.settle(update.active, ASPECT, pts)
            self.facts += self.rule.update(Scene(pts, pts, update, STILL, aspect=ASPECT))

    def labels(self) -> set[str]:
        """Of all that is followed under an id."""
        return {t.label for t in self.tracker.tracks if t.id}


def walker(t: float, high: float = 0.4, y: float = 0.9) -> Box:
    wide = high * 0.4 / ASPECT
    return 0.1 + 0.08 * t - wide / 2, y - high, 0.1 + 0.08 * t + wide / 2, y


def held(person: Box) -> Box:
    """A bag in the hand of a person."""
    w, h = person[2] - person[0], person[3] - person[1]
    return person[0] + 0.1 * w, person[1] + 0.5 * h, person[0] + 0.5 * w, person[1] + 0.68 * h


def test_a_bag_that_goes_along_is_told_once_and_is_no_instance() -> None:
    street = Street()
    street.play(8, lambda t: [("person", walker(t), 0.8), ("handbag", held(walker(t)), 0.5)])
    assert [(fact.what, fact.detail) for fact in street.facts] == [("carry", {"object": "bag"})]
    assert street.labels() == {"person"}
    person = next(t for t in street.tracker.tracks if t.id)
    assert person.instance().carries == ("bag",)


def test_a_bag_that_stands_where_somebody_passes_is_its_own() -> None:
    street = Street()
    bag = held(walker(5))
    street.play(9, lambda t: [("person", walker(t), 0.8), ("handbag", bag, 0.8)])
    assert not street.facts
    assert street.labels() == {"person", "handbag"}


def test_a_bag_left_behind_becomes_an_instance_and_is_carried_no_more() -> None:
    street = Street()

    def there(t: float) -> list[tuple[str, Box, float]]:
        return [("person", walker(t), 0.8), ("handbag", held(walker(min(t, 5.0))), 0.7)]

    street.play(9, there)
    assert [fact.what for fact in street.facts] == ["carry"]
    assert street.labels() == {"person", "handbag"}
    assert all(not t.instance().carries for t in street.tracker.tracks)


def test_a_bag_between_two_people_is_nobodys() -> None:
    street = Street()

    def there(t: float) -> list[tuple[str, Box, float]]:
        one = walker(t)
        shift = 0.3 * (one[2] - one[0])
        other = (one[0] + shift, one[1], one[2] + shift, one[3])
        bag = held(one)
        return [("person", one, 0.8), ("person", other, 0.7), ("handbag", (bag[0] + shift, *bag[1:]), 0.6)]

    street.play(8, there)
    assert not street.facts


def test_looks_from_close_by_are_few_and_show_the_person() -> None:
    street = Street()
    street.play(10, lambda t: [("person", walker(t), 0.8)])
    assert 3 <= len(street.looks) <= 50 * 2 * EARNED
    assert all(look[2] - look[0] < 0.4 for _, look in street.looks)
    for t, (x0, _, x1, _) in street.looks:
        person = walker(t)
        assert x0 < person[0] and person[2] < x1


def test_tiny_people_and_who_stands_still_for_long_are_not_looked_at() -> None:
    street = Street()
    street.play(10, lambda t: [("person", walker(t, high=0.15), 0.8)])
    assert not street.looks
    street = Street()
    street.play(20, lambda t: [("person", walker(3.0), 0.8)])
    assert max(t for t, _ in street.looks) < 5


def test_a_person_as_high_as_the_picture_is_looked_at_in_part() -> None:
    street = Street()
    street.play(6, lambda t: [("person", walker(t, high=0.85, y=0.95), 0.8)])
    assert street.looks
    assert all(look[3] - look[1] < 0.6 for _, look in street.looks)
