"""A few examples before the question, those most like it (LM-BFF, arXiv:2012.15723). Written for this program.

They are material like any window's, so that their form is always that of the question; they show no pictures. What is
alike is told by the kinds of fact and of instance: no embedding. They stand in the constant prefix of a stream's
prompts, which a backend keeps: see :class:`Examples`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from streamcap.config import AnswerForm
from streamcap.labels import group
from streamcap.prompts.base import Turn
from streamcap.prompts.structure import ask_line, fact_lines, instance_lines
from streamcap.prompts.tasks import WindowTask
from streamcap.types import Fact, Instance, Skill

__all__ = ["Examples"]

# Others are taken where they are more like the window by this much: mean likeness of the choice, 0..1. What that keeps
# of prompts is told in docs/prompts.md.
MARGIN: Final = 0.15


@dataclass(frozen=True, slots=True)
class _Demonstration:
    facts: tuple[Fact, ...]
    instances: tuple[Instance, ...]
    answer: Mapping[str, Any]
    full: bool = False


class Examples:
    """The examples of one stream: those most like its window, or those of the window before if they are nearly as like.

    Each other choice has a backend read examples and all after them anew. They always stand in the same order, so that
    streams and windows with the same ones share their prefix.

    Args:
        form: in which the model is to answer.
        most: examples of one prompt.
    """

    def __init__(self, form: AnswerForm, most: int) -> None:
        self._form, self._most = form, most
        self._held: dict[bool, tuple[int, ...]] = {}  # by whether a scene begins, which has examples of its own

    def of(self, task: WindowTask) -> tuple[Turn, ...]:
        """The examples for a window."""
        asked = _features(task.facts, task.instances)
        alike = {n: _alike(asked, _features(e.facts, e.instances)) for n, e in enumerate(_ALL) if e.full == task.full}
        best = tuple(sorted(sorted(alike, key=lambda n: -alike[n])[: self._most]))
        held = self._held.get(task.full)
        if held is None or sum(alike[n] for n in best) - sum(alike[n] for n in held) > MARGIN * len(best):
            held = self._held[task.full] = best
        return tuple(_turn(_ALL[n], self._form) for n in held)


def _features(facts: tuple[Fact, ...], instances: tuple[Instance, ...]) -> dict[str, float]:
    """What a window is like. What happened counts more than who is about."""
    whats = {f"{fact.what}": 2.0 for fact in facts}
    whos = {f"{fact.what} {group(fact.label)}": 1.0 for fact in facts}
    kinds = {group(i.label): 0.5 for i in instances if i.visible}
    return {**whats, **whos, **kinds, "many" if len(instances) > 3 else "few": 0.25}


def _alike(a: Mapping[str, float], b: Mapping[str, float]) -> float:
    """Weighted Jaccard, 0..1."""
    both = sum(weight for key, weight in a.items() if key in b)
    return both / sum({**a, **b}.values())


def _turn(each: _Demonstration, form: AnswerForm) -> Turn:
    end = max(fact.end for fact in each.facts) if each.facts else 8.0
    lines = ["(Pictures left out here.)"]
    if who := instance_lines((), each.facts, each.instances):
        lines += ["Instances that perception follows:", *who]
    if what := fact_lines(each.facts, each.instances):
        lines += ["What perception measured:", *what]
    start = min((fact.start for fact in each.facts), default=end)
    lines.append(ask_line(start, end, form, full=each.full))
    said = each.answer["caption"] or "Nothing new."
    return Turn("\n".join(lines), json.dumps(each.answer) if form is AnswerForm.JSON else said)


def _who(
    number: int, label: str, box: tuple[float, float, float, float], *attributes: str, posture: str = "", **more: Any
) -> Instance:
    return Instance(number, label, 0.9, box, (0.0, 0.0), 0.0, 8.0, attributes, posture, **more)


def _did(what: str, at: float, who: tuple[int, ...] = (), label: str = "scene", where: str = "", **detail: str) -> Fact:
    skill = Skill.CAMERA if label == "camera" else Skill.ACTION
    return Fact(what, at, at + 0.4, 0.9, skill, who, label, where, 0.7, (), detail)


def _note(number: int, kind: str, appearance: str, actions: str, position: str) -> dict[str, Any]:
    return {"id": number, "class": kind, "appearance": appearance, "actions_and_motion": actions, "position": position}


def _says(
    caption: str, overview: str, *notes: dict[str, Any], background: str = "", camera: str = "", nothing: bool = False
) -> dict[str, Any]:
    return {
        "nothing_new": nothing,
        "caption": caption,
        "global": overview,
        "instances": list(notes),
        "background": background,
        "camera": camera,
    }


_ALL: tuple[_Demonstration, ...] = (
    _Demonstration(
        (_did("enter", 7.2, (3,), "person", "left"),),
        (
            _who(3, "person", (0.05, 0.4, 0.15, 0.9), "red top", "blue trousers"),
            _who(1, "car", (0.6, 0.5, 0.9, 0.8), "white"),
        ),
        _says(
            "A man in a red jacket and jeans walks in from the left, past the parked car.",
            "A man walks into a yard where a white car is parked.",
            _note(3, "man", "red jacket, jeans", "walks in from the left", "left"),
        ),
    ),
    _Demonstration(
        (_did("leave", 7.5, (2,), "car", "right"),),
        (_who(2, "car", (0.8, 0.5, 1.0, 0.7), "black"), _who(4, "person", (0.3, 0.4, 0.4, 0.8))),
        _says(
            "The black car drives off to the right; a person stays behind on the pavement.",
            "A street with a person on the pavement.",
            _note(2, "car", "black", "drives out of the frame to the right", "gone"),
            _note(4, "person", "", "stands on the pavement", "left"),
        ),
    ),
    _Demonstration(
        (_did("pick_up", 7.0, (1,), "person", "centre", object="bottle"),),
        (_who(1, "person", (0.3, 0.1, 0.7, 0.9), "grey top"), _who(5, "cup", (0.5, 0.6, 0.55, 0.7))),
        _says(
            "The woman takes a bottle from the middle of the table.",
            "A woman at a table with a bottle and a cup.",
            _note(1, "woman", "grey pullover", "reaches out and lifts a bottle", "centre"),
            background="a kitchen table",
        ),
    ),
    _Demonstration(
        (_did("sit", 7.1, (1,), "person", "right", object="chair"),),
        (_who(1, "person", (0.6, 0.3, 0.8, 0.9), posture="sitting"), _who(2, "chair", (0.6, 0.5, 0.85, 0.95))),
        _says(
            "The person sits down on the chair on the right and leans back.",
            "A person on a chair in a living room.",
            _note(1, "person", "dark clothes", "sits down and leans back", "right"),
        ),
    ),
    _Demonstration(
        (_did("fall", 6.8, (1,), "person", "centre"), _did("lie", 7.6, (1,), "person", "centre")),
        (_who(1, "person", (0.3, 0.7, 0.7, 0.9), posture="lying"),),
        _says(
            "The person slips off the chair, falls to the floor and stays lying there.",
            "A person lies on the floor of a room beside a chair.",
            _note(1, "person", "", "falls and lies still", "bottom"),
        ),
    ),
    _Demonstration(
        (_did("pan", 6.5, (), "camera", "right"),),
        (_who(1, "car", (0.1, 0.5, 0.3, 0.7), "blue"),),
        _says(
            "The camera pans to the right along the row of houses; the blue car is now on the left.",
            "A street with houses and a parked blue car.",
            _note(1, "car", "blue", "parked; shifts in the picture as the camera turns", "left"),
            camera="pans to the right",
        ),
    ),
    _Demonstration(
        (),
        (_who(1, "person", (0.4, 0.4, 0.5, 0.8)),),
        _says("", "A person stands at a counter.", nothing=True),
    ),
    _Demonstration(
        (_did("meet", 7.0, (1, 2), "person", "centre"),),
        (
            _who(1, "person", (0.4, 0.3, 0.5, 0.8)),
            _who(2, "person", (0.5, 0.3, 0.6, 0.8)),
            _who(3, "person", (0.1, 0.3, 0.15, 0.5)),
            _who(4, "person", (0.8, 0.3, 0.85, 0.5)),
        ),
        _says(
            "Two people stop in the middle of the square and talk while others walk on.",
            "Several people on an open square.",
            _note(1, "person", "", "stops and turns to another person", "centre"),
            _note(2, "person", "", "stops and talks", "centre"),
        ),
    ),
    _Demonstration(
        (_did("enter", 7.3, (2,), "dog", "right"),),
        (_who(2, "dog", (0.75, 0.6, 0.9, 0.8), "brown"),),
        _says(
            "A brown dog trots in from the right with its nose to the ground.",
            "A brown dog on a lawn.",
            _note(2, "dog", "brown, short hair", "trots in from the right, sniffing", "right"),
        ),
    ),
    _Demonstration(
        (),
        (
            _who(1, "person", (0.1, 0.3, 0.2, 0.8), "black top"),
            _who(2, "car", (0.5, 0.5, 0.8, 0.7), "white"),
            _who(3, "person", (0.8, 0.4, 0.85, 0.6)),
        ),
        _says(
            "A street by day: a man in black walks along the pavement on the left, a white car is parked at the kerb, "
            "and somebody stands far back on the right.",
            "A street with a parked white car and two people.",
            _note(1, "man", "black jacket", "walks along the pavement", "left"),
            _note(2, "car", "white", "parked", "centre"),
            _note(3, "person", "far away", "stands", "right"),
            background="a row of brick houses",
        ),
        full=True,
    ),
    _Demonstration(
        (),
        (_who(1, "person", (0.35, 0.2, 0.6, 0.9), posture="sitting"), _who(2, "cup", (0.6, 0.6, 0.65, 0.7))),
        _says(
            "A living room: a woman sits at a table with a cup before her and looks at a sheet of paper.",
            "A woman at a table in a living room.",
            _note(1, "woman", "blue pullover", "sits and reads", "centre"),
            background="a room with a window and a shelf",
        ),
        full=True,
    ),
    _Demonstration(
        (),
        (),
        _says(
            "An empty yard behind a house, with a closed gate and a tree that moves in the wind.",
            "An empty yard with a gate and a tree.",
            background="a paved yard with a wooden gate",
        ),
        full=True,
    ),
)
