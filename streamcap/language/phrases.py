"""What is said of each kind of fact: tables by :attr:`streamcap.types.Fact.what`. Verbs stand in the plural."""

from __future__ import annotations

from collections.abc import Mapping
from string import Formatter

__all__ = [
    "ARRIVALS",
    "DEPARTURES",
    "DOUBTED",
    "HEDGED",
    "MUTUAL",
    "SCENE",
    "SUMMARY",
    "SUMMARY_SCENE",
    "SYNONYMS",
    "VERBS",
    "phrase",
]

ARRIVALS = ("enter", "appear")
DEPARTURES = ("leave", "disappear")

# Who does it together is told by how many they are: "two people meet".
MUTUAL = ("meet", "part", "group_forms", "group_parts", "grapple")

# Below this confidence a fact is said with a hedge: "seems to pick something up".
HEDGED = 0.5
# What is never sure, and told in a summary all the same, with its hedge.
DOUBTED = ("grapple",)

# From the most telling on; the first of which all fields are known is said. Fields: {where} a place or side, {at} and
# {out} the same with its preposition, {way} a side as a direction, {object}, {vehicle} and {along} a thing with its
# article, {in} a vehicle that was there before, {to} who or what it is done to. ``what.pose`` goes before ``what``
# where the fact's detail names that pose.
VERBS: Mapping[str, tuple[str, ...]] = {
    "enter": ("enter from the {where}", "enter"),
    "come_back": ("come back from the {where}", "come back"),
    "leave": ("leave {out}", "leave"),
    "appear": ("appear {at}", "appear"),
    "disappear": ("disappear from view {at}", "disappear from view"),
    "stop": ("stop {at}", "stop"),
    "start": ("start moving {at}", "start moving"),
    "meet": ("meet {at}", "meet"),
    "part": ("part",),
    "group_forms": ("form a group {at}", "form a group"),
    "group_parts": ("part ways",),
    "grapple": ("struggle",),
    "turn": ("turn {way}", "turn around"),
    "run": ("run {at}", "run"),
    "loiter": ("linger {at}", "linger"),
    "approach": ("approach {to}", "come closer"),
    "retreat": ("move away from {to}", "move away"),
    "close_up": ("come close to {to}", "come very close"),
    "fall": ("fall to the floor",),
    "lie": ("lie down",),
    "lie.floor": ("lie on the floor",),
    "sit": ("sit down on {object}", "sit down"),
    "stand_up": ("stand up",),
    "stand_up.bending": ("straighten up",),
    "bend": ("bend forward",),
    "bend.down": ("bend down",),
    "bend.crouching": ("crouch down",),
    "raise_arms": ("raise an arm",),
    "raise_arms.both": ("raise both arms",),
    "wave": ("wave",),
    "eat": ("eat something",),
    "drink": ("drink something",),
    "drive_through": ("drive along {along}", "drive {way}", "drive through"),
    "park": ("park {at}", "park"),
    "pick_up": ("pick up {object} {at}", "pick up {object}", "pick something up"),
    "put_down": ("put {object} down {at}", "put {object} down", "put something down"),
    "carry": ("carry {object}", "carry something"),
    "left_behind": ("be left behind {at}", "be left behind"),
    "ride": ("ride {vehicle}", "ride past"),
    "get_in": ("get into {in}", "get into a vehicle"),
    "get_out": ("get out of {in}", "get out of a vehicle"),
}

# Other words for what happens so often that it would read alike: for each way to say it, phrases as above.
SYNONYMS: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "enter": (("come in from the {where}",), ("arrive from the {where}",), ("appear from the {where}",)),
    "leave": (("go out {out}",), ("exit {out}",), ("go out of view {out}",)),
    "pick_up": (("take {object} {at}", "take {object}", "take something"),),
    "put_down": (("set {object} down {at}", "set {object} down", "set something down"),),
    "stand_up.bending": (("get up again",),),
    "appear": (("come into view {at}",), ("show up {at}",)),
    "stop": (("come to a stop {at}",), ("halt {at}",)),
    "start": (("begin to move {at}",), ("get going {at}",)),
}

# Of the scene and the camera, by the fact's ``where``.
SCENE: Mapping[str, Mapping[str, str]] = {
    "empty": {"": "the scene is empty again"},
    "cut": {"": "the view cuts to another scene"},
    "pan": {"left": "the camera pans to the left", "right": "the camera pans to the right"},
    "tilt": {"up": "the camera tilts up", "down": "the camera tilts down"},
    "zoom": {"in": "the camera zooms in", "out": "the camera zooms out"},
    "shake": {"": "the camera shakes"},
    "light": {"on": "the lights come on", "off": "the lights go out"},
    "crowd": {"": "the place becomes crowded"},
    "freeze": {"": "the picture freezes"},
    "unfreeze": {"": "the picture is live again"},
    "black": {"": "the picture goes black", "blank": "the picture goes blank"},
    "exposure": {"dark": "the picture is too dark", "bright": "the picture is too bright"},
    "blur": {"": "the picture is out of focus"},
    "blocked": {"": "something blocks the camera's view"},
    "moved": {"": "the camera now looks elsewhere"},
    "clear": {"": "the picture is clear again"},
}

# What a summary counts, most telling first.
SUMMARY: Mapping[str, str] = {
    "grapple": "seem to struggle",
    "fall": "fall to the floor",
    "lie": "lie down",
    "pick_up": "pick something up",
    "put_down": "put something down",
    "left_behind": "be left behind",
    "get_in": "get into a vehicle",
    "get_out": "get out of a vehicle",
    "park": "park",
    "ride": "ride past",
    "meet": "meet",
    "run": "run",
    "loiter": "linger",
    "drive_through": "drive through",
    "enter": "enter",
    "come_back": "come back",
    "leave": "leave",
    "appear": "come into view",
    "disappear": "disappear from view",
}
SUMMARY_SCENE: Mapping[str, str] = {
    "cut": "the view cuts to another scene",
    "light": "the light changes",
    "pan": "the camera pans",
    "tilt": "the camera tilts",
    "zoom": "the camera zooms",
    "shake": "the camera shakes",
}


def phrase(what: str, known: Mapping[str, str], manner: int = 0) -> str:
    """The first phrase of a kind of fact whose fields are all known, filled in.

    Args:
        what: the kind; one without an entry is said by its own name.
        known: values of the fields; an empty one is not known.
        manner: 0 for the usual words; 1, 2 … for synonyms where there are any.
    """
    if f"{what}.{known.get('pose')}" in VERBS:
        what = f"{what}.{known['pose']}"
    others = SYNONYMS.get(what, ())
    ways = (others[(manner - 1) % len(others)],) if manner and others else ()
    for template in (*(t for way in ways for t in way), *VERBS.get(what, ())):
        if _is_complete(template, known):
            return template.format_map(known)
    return what.replace("_", " ")


def _is_complete(template: str, known: Mapping[str, str]) -> bool:
    return all(known.get(name) for _, name, _, _ in Formatter().parse(template) if name)
