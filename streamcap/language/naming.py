"""How an instance is referred to: by its kind and by what it looks like."""

from __future__ import annotations

from collections.abc import Sequence

from streamcap.geometry import area
from streamcap.labels import MOVERS
from streamcap.language.words import listing, with_article, written
from streamcap.types import Instance

__all__ = ["NAME_SURE", "THING_SURE", "bearing", "dressed", "is_named"]

# Only what the detector named this surely is spoken of as there.
NAME_SURE = 0.6
THING_SURE = 0.8
# What does not move by itself and fills more than this share of the frame is the scene itself, misread.
THING_LARGEST = 0.4


def is_named(instance: Instance) -> bool:
    """Its kind is sure enough to be said."""
    if not instance.visible or instance.label == "object":
        return False
    if instance.label in MOVERS:
        return instance.confidence >= NAME_SURE
    return instance.confidence >= THING_SURE and area(instance.box) <= THING_LARGEST


def dressed(instance: Instance, *, definite: bool) -> str:
    """An instance with what it looks like: ``a person in a red top``, ``the person in black``, ``the white car``.

    Who is spoken of for the first time also with what is carried: ``a person in black with a bag``.
    """
    words = instance.attributes
    if instance.label != "person":
        described = " ".join([*words[:1], written(instance.label)])
        return f"the {described}" if definite else with_article(described)
    return _clothed(words, definite=definite) + ("" if definite else _along(instance))


def bearing(instance: Instance) -> str:
    """By what somebody carries: ``the person with the backpack``."""
    return f"the person with the {instance.carries[0]}"


def _along(instance: Instance) -> str:
    return f" with {with_article(instance.carries[0])}" if instance.carries else ""


def _clothed(words: Sequence[str], *, definite: bool) -> str:
    head = "the person" if definite else "a person"
    colours = [word.split(" ")[0] for word in words]
    if not words:
        return head
    if len(words) == 2 and colours[0] == colours[1]:
        return f"{head} in {colours[0]}"
    if definite:
        return f"{head} in {words[0]}" if words[0].endswith("trousers") else f"{head} in the {words[0]}"
    return f"{head} in " + listing([word if word.endswith("trousers") else with_article(word) for word in words])
