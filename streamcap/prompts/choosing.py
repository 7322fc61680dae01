"""Which instances a prompt speaks of: by how much a viewer would want to know of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from streamcap.geometry import area
from streamcap.labels import MOVERS
from streamcap.language.naming import THING_SURE
from streamcap.types import Fact, Instance

__all__ = ["MOST_MARKED", "chosen", "weight"]

# More numbers than this on one picture hide what they number; of these so many things that only stand about.
MOST_MARKED = 12
MOST_STANDING = 4
# What a window's fact is about comes first, then what moves, is large, and came lately. Each part is 0..1 before it is
# weighed; a speed of half a frame a second and a quarter of the frame's area are the most that count.
TOLD_WEIGHT, MOTION_WEIGHT, SIZE_WEIGHT, NOVEL_WEIGHT, KIND_WEIGHT = 2.0, 1.0, 0.8, 0.5, 0.5
SPEED_FULL = 0.5
AREA_FULL = 0.25
NOVEL_S = 4.0


def weight(instance: Instance, facts: Iterable[Fact] = (), at: float | None = None) -> float:
    """How much of a viewer's interest an instance has, >= 0.

    Args:
        facts: of the window.
        at: media seconds for which to judge how new it is; None for when it was last seen.
    """
    told = max((fact.saliency for fact in facts if instance.id in fact.who), default=0.0)
    speed = math.hypot(*instance.velocity)
    age = (instance.last_seen if at is None else at) - instance.first_seen
    return (
        TOLD_WEIGHT * told
        + MOTION_WEIGHT * min(1.0, speed / SPEED_FULL)
        + SIZE_WEIGHT * math.sqrt(min(1.0, area(instance.box) / AREA_FULL))
        + NOVEL_WEIGHT * max(0.0, 1.0 - age / NOVEL_S)
        + KIND_WEIGHT * (instance.label in MOVERS and instance.label != "object")
    )


def chosen(
    instances: Sequence[Instance], facts: Sequence[Fact] = (), *, most: int = MOST_MARKED, at: float | None = None
) -> tuple[Instance, ...]:
    """The most telling instances, by id; among equals those that came first.

    Things that only stand about come last, and a few of them are enough: shelves full of bowls tell nothing one by one.
    """
    told = {who for fact in facts for who in fact.who}
    ranked = sorted(instances, key=lambda i: (-weight(i, facts, at), i.id))
    acting = [i for i in ranked if i.id in told or i.label in MOVERS]
    standing = [i for i in ranked if i.id not in told and i.label not in MOVERS and i.confidence >= THING_SURE]
    kept = [*acting, *standing[:MOST_STANDING]][:most]
    return tuple(sorted(kept, key=lambda i: i.id))
