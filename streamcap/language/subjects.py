"""Who a clause is about, so that a reader can tell them apart and carry on from the caption before."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import pairwise

from streamcap.language.groups import Group
from streamcap.language.naming import bearing, dressed
from streamcap.language.phrases import ARRIVALS, DEPARTURES, MUTUAL
from streamcap.language.words import noun, number, ordinal, plural, written
from streamcap.types import Fact, Instance

__all__ = ["subject", "was_there"]

# Among more than this many of a kind nobody keeps count of who came first.
COUNTED = 3
# Who came this much later (seconds) than the one before came second.
LATER_S = 1.0


def subject(
    item: Group,
    present: dict[int, Instance],
    facts: Sequence[Fact],
    *,
    strangers: Collection[int] = (),
    manner: int = 0,
) -> str:
    """Who: by what tells them apart.

    ``a person in a red top``, ``another person``, ``two more people`` for who comes; ``the person`` for the only one,
    ``the person in the red top`` or ``the second car`` where that tells, else ``one of the people``.

    Args:
        present: all that are known, by id.
        facts: all of the window, for who was there when it happened.
        strangers: ids of those of whom nothing was said yet: "a car leaves", where "the car" would be a riddle.
        manner: 0 for the usual words, more for other words of the same meaning.
    """
    if item.label == "person" and not item.who:
        return "someone"
    # Who meets is told by how many they are; what comes before the lens was not there before.
    new = item.what == "close_up" and not item.who
    if item.label == "object" or item.what in MUTUAL or new:
        return noun(item.label, item.count)
    alike = [i for i in present.values() if i.label == item.label and i.id not in item.who]
    others = [i for i in alike if was_there(i, item, facts)]
    one = present.get(item.who[0]) if item.count == 1 and item.who else None
    if one is not None and one.label != item.label:
        one = None
    if item.what in ARRIVALS and not item.again:
        return _who_comes(item, one, others, facts, manner)
    if one is not None and one.attributes and all(i.attributes[:1] != one.attributes[:1] for i in others):
        return dressed(one, definite=one.id not in strangers)
    # "The person with the bag puts a bag down" says it twice.
    handled = any(fact.detail.get("object") for fact in item.facts)
    if one is not None and one.carries and others and not handled and not any(i.carries for i in others):
        return bearing(one)
    if one is not None and one.id in strangers and all(i.id in strangers for i in others):
        return noun(item.label)
    if not others:
        gone = {
            w for f in facts if f.what in DEPARTURES and f.label == item.label and f.start < item.start for w in f.who
        }
        which = "other " if len(gone - set(item.who)) == 1 else "last " if gone - set(item.who) else ""
        return (
            f"the {which}{written(item.label)}" if item.count == 1 else f"the {number(item.count)} {plural(item.label)}"
        )
    if one is not None and (which := _which(one, others)):
        return f"the {which} {written(item.label)}"
    return f"{number(item.count)} of the {plural(item.label)}"


def _who_comes(
    item: Group, one: Instance | None, others: Sequence[Instance], facts: Sequence[Fact], manner: int
) -> str:
    if one is not None and (one.attributes or one.carries):
        return dressed(one, definite=False)
    fresh = {who for fact in facts if fact.what in ARRIVALS for who in fact.who}
    if all(i.id in fresh for i in others):
        return noun(item.label, item.count)
    if item.count == 1:
        return f"one more {written(item.label)}" if manner else f"another {written(item.label)}"
    return f"{number(item.count)} more {plural(item.label)}"


def _which(one: Instance, others: Sequence[Instance]) -> str:
    """``first``, ``second`` … in the order in which they came; empty where a reader could not know that order."""
    came = sorted(i.first_seen for i in (one, *others))
    if len(came) > COUNTED or any(b - a < LATER_S for a, b in pairwise(came)):
        return ""
    return ordinal(1 + came.index(one.first_seen))


def was_there(instance: Instance, item: Group, facts: Sequence[Fact]) -> bool:
    """In view when it happened: who came after a leave was not among those who could leave."""
    own = [fact for fact in facts if instance.id in fact.who]
    if item.what not in ARRIVALS and any(fact.what in ARRIVALS and fact.start > item.start for fact in own):
        return False
    return instance.visible or any(fact.what in DEPARTURES and fact.start > item.start for fact in own)
