"""Structured input: what perception holds to be true, in lines that a model reads."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from streamcap.config import AnswerForm
from streamcap.geometry import centre, place
from streamcap.language import describe_change
from streamcap.language.phrases import ARRIVALS, DEPARTURES
from streamcap.language.words import written
from streamcap.prompts.choosing import chosen
from streamcap.types import Box, Fact, Instance, Look, Setting

__all__ = ["ask_line", "fact_lines", "instance_lines", "motion", "seconds", "setting_line"]

MOST_FACTS = 10
# Share of the frame by which a centre must shift to have moved.
SHIFT = 0.06
# Facts that say that somebody moves about, however little of the frame that is.
GOING = frozenset(
    {"start", "run", "turn", "approach", "retreat", "close_up", "drive_through", "ride", "park", "meet", "part"}
)
# Shares of the class vote below which a name is no more than likely.
SURE = 0.6


def seconds(t: float) -> str:
    """A time as prompts write it, absolute: ``14.2 s``."""
    return f"{t:.1f} s"


def ask_line(start: float, end: float, form: AnswerForm, *, full: bool) -> str:
    """What is asked of a window: at a scene's start all that is there, else what changed."""
    if full:
        return "A new scene begins. Tell what is there: the place, who and what is in view, and what they do."
    if form is AnswerForm.TEXT:
        return "In one sentence: what changed?"
    return f"Tell what changed from {seconds(start)} to {seconds(end)}."


def fact_lines(facts: Sequence[Fact], instances: Sequence[Instance]) -> list[str]:
    """What happened, a line each in order of time; the most telling where there are many."""
    kept = sorted(facts, key=lambda f: -f.saliency)[:MOST_FACTS]
    return [
        f"- {seconds(fact.end)}: {text}{_numbers(fact)}"
        for fact in sorted(kept, key=lambda f: (f.start, f.end))
        if (text := describe_change([fact], instances).text)
    ]


def instance_lines(
    looks: Sequence[Look], facts: Sequence[Fact], instances: Sequence[Instance], marked: Collection[int] | None = None
) -> list[str]:
    """Who is there or was until now, a line each: number, kind, looks, place and how it moved over the pictures.

    Args:
        looks: of the window, oldest first.
        instances: at its end.
        marked: ids that are numbered in the pictures; None where nothing is marked.
    """
    told = {who for fact in facts for who in fact.who}
    there = [i for i in instances if i.visible or i.id in told]
    return [_line(i, looks, facts, marked) for i in chosen(there, facts)]


def motion(number: int, looks: Sequence[Look], facts: Sequence[Fact], now: Instance | None) -> str:
    """How an instance moved: ``stays at the left``, ``moves from the left to the centre``, ``leaves the frame`` …"""
    own = [fact for fact in facts if number in fact.who]
    gone = next((f for f in reversed(own) if f.what in (*ARRIVALS, *DEPARTURES)), None)
    if gone is not None and gone.what in DEPARTURES:
        return f"leaves the frame at the {gone.where}" if gone.where else "leaves the frame"
    seen = [box for look in looks for box in (_box(number, look.instances),) if box is not None]
    last = now.box if now is not None and now.visible else _box(number, looks[-1].instances) if looks else None
    if last is None:
        return "is not in view now"
    came = next((f for f in own if f.what in ARRIVALS), None)
    if came is not None:
        side = f" from the {came.where}" if came.what == "enter" and came.where else ""
        return f"comes into the frame{side}, now at the {place(last)}"
    if len(seen) < 2 or (any(f.what in GOING for f in own) and not _shifted(seen[0], last)):
        return f"is at the {place(last)}"  # seen once; or it goes, and yet little of the frame
    return _moved(seen[0], last)


def setting_line(setting: Setting) -> str:
    """What kind of scene it is, as far as that is sure; empty where nothing is."""
    words = [setting.place, setting.space + "s" if setting.space else "", setting.light]
    words.append({True: "the camera stands still", False: "the camera moves", None: ""}[setting.fixed])
    return ", ".join(word for word in words if word)


def _line(instance: Instance, looks: Sequence[Look], facts: Sequence[Fact], marked: Collection[int] | None) -> str:
    kind = "something" if instance.label == "object" else written(instance.label)
    if instance.label != "object" and instance.confidence < SURE:
        kind = f"probably {kind}"
    looks_like = [*instance.attributes, instance.posture, *(f"with {thing}" for thing in instance.carries)]
    described = ", ".join([kind, *(word for word in looks_like if word)])
    note = " (no number in the pictures)" if marked is not None and instance.id not in marked else ""
    return f"- #{instance.id}{note} {described}: {motion(instance.id, looks, facts, instance)}"


def _moved(first: Box, last: Box) -> str:
    (x0, y0), (x1, y1) = centre(first), centre(last)
    if not _shifted(first, last):
        return f"stays at the {place(last)}"
    if place(first) != place(last):
        return f"moves from the {place(first)} to the {place(last)}"
    across = abs(x1 - x0) >= abs(y1 - y0)
    way = ("right" if x1 > x0 else "left") if across else ("bottom" if y1 > y0 else "top")
    return f"moves towards the {way}, at the {place(last)}"


def _shifted(first: Box, last: Box) -> bool:
    return max(abs(b - a) for a, b in zip(centre(first), centre(last), strict=True)) >= SHIFT


def _box(number: int, instances: Sequence[Instance]) -> Box | None:
    return next((i.box for i in instances if i.id == number and i.visible), None)


def _numbers(fact: Fact) -> str:
    return f" ({', '.join(f'#{who}' for who in fact.who)})" if fact.who else ""
