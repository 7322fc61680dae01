"""The full caption of a scene: who and what is in view."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from streamcap.geometry import area, place
from streamcap.labels import MOVERS
from streamcap.language.description import Description
from streamcap.language.naming import dressed, is_named
from streamcap.language.words import at, counted, listing, noun, sentence
from streamcap.pose import Posture, seat_of
from streamcap.types import Fact, Instance, Setting, Skill

__all__ = ["describe_scene"]

# Most kinds of thing that a full caption names; a viewer stops listening to a longer list.
MAX_KINDS = 4
# Where it is said of so few.
PLACED = 2
# From this share of the frame on, something is close to the camera.
CLOSE = 0.4

# Postures that are part of a full caption; who stands, or bends for a moment, is just a person.
_FOUND = (Posture.SITTING, Posture.CROUCHING, Posture.LYING)


_PLACES = {"street": "a street", "room": "a room", "kitchen": "a kitchen", "bedroom": "a bedroom"}
_SPACES = {"indoor": "indoors", "outdoor": "outdoors"}
_LIGHTS = {"day": "by day", "night": "at night", "infra-red": "in infra-red light"}
_SWAY = {"leaves": "leaves move in the wind"}


def describe_scene(
    instances: Sequence[Instance], facts: Iterable[Fact] = (), setting: Setting | None = None
) -> Description:
    """The full caption of a scene: what kind of place it is, who and what is in view.

    Args:
        instances: all that are known.
        facts: of the window: a cut is told.
        setting: what kind of scene it is, as far as that is sure.
    """
    setting = setting or Setting()
    found = _in_view(instances, _lead(facts, setting))
    if setting.sway not in _SWAY:
        return found
    text = f"{found.text} {sentence(_SWAY[setting.sway])}"
    return replace(found, text=text, skills={Skill.ENVIRONMENT: text})


def _lead(facts: Iterable[Fact], setting: Setting) -> str:
    busy = setting.place == "street" and setting.traffic == "busy"
    where = "a busy street" if busy else _PLACES.get(setting.place) or _SPACES.get(setting.space, "")
    # Lamps do not tell day from night.
    light = "" if setting.space == "indoor" and setting.light == "day" else _LIGHTS.get(setting.light, "")
    kind = " ".join(part for part in (where, light) if part)
    cut = "the view cuts to another scene" if any(fact.what == "cut" for fact in facts) else ""
    lead = ", ".join(part for part in (cut, kind) if part)
    return f"{lead}: " if lead else ""


def _in_view(instances: Sequence[Instance], lead: str) -> Description:
    sure = [i for i in instances if is_named(i)]
    kinds = Counter(i.label for i in sure)
    if not kinds:
        text = lead + "no people or vehicles are recognised"
        return Description(sentence(text), {Skill.ENVIRONMENT: sentence(text)}, (), 0.5)
    order = sorted(kinds, key=lambda k: (k != "person", k not in MOVERS, -kinds[k], k))[:MAX_KINDS]
    named = [i for i in sure if i.label in order]
    if len(named) <= PLACED:
        parts = [
            f"{dressed(i, definite=False)}{_posture(i, sure)} {_spot(i)}" for k in order for i in named if i.label == k
        ]
        if len(parts) == 2 and len(order) == 1:
            a, b = named
            spots = [_spot(a), _spot(b)]
            parts = (
                [f"{noun(order[0], 2)}, one {spots[0]} and one {spots[1]}"]
                if spots[0] != spots[1]
                else [f"{noun(order[0], 2)} {spots[0]}"]
            )
        text = f"{lead}{_be(named)} {listing(parts)}"
    else:
        text = f"{lead}{_be(named, kinds[order[0]])} {listing([counted(k, kinds[k]) for k in order])} in view"
    return Description(sentence(text), {Skill.ENVIRONMENT: sentence(text)}, tuple(i.id for i in named), 0.6)


def _be(named: Sequence[Instance], first: int | None = None) -> str:
    many = first if first is not None else sum(i.label == named[0].label for i in named)
    return "there is" if many == 1 else "there are"


def _posture(instance: Instance, sure: Sequence[Instance]) -> str:
    """How somebody is found who neither stands nor goes: `` sitting on a chair``."""
    if instance.posture not in _FOUND:
        return ""
    seat = seat_of(instance.box, [(i.label, i.box) for i in sure]) if instance.posture == Posture.SITTING else ""
    return f" {instance.posture}" + (f" on {noun(seat)}" if seat else "")


def _spot(instance: Instance) -> str:
    return "close to the camera" if area(instance.box) >= CLOSE else at(place(instance.box))
