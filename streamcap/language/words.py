"""Words: numbers, plurals, articles, lists, places. Nothing here knows of facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typeguard

__all__ = [
    "at",
    "conjugated",
    "counted",
    "joined",
    "listing",
    "noun",
    "number",
    "ordinal",
    "plural",
    "sentence",
    "times",
    "with_article",
    "written",
]


def _engine() -> Any:
    """inflect's engine without its checks of argument types: building them in takes 1.4 s of every start."""
    checked = typeguard.typechecked
    typeguard.typechecked = lambda target: target  # type: ignore[assignment]
    try:
        import inflect
    finally:
        typeguard.typechecked = checked
    return inflect.engine()


_words = _engine()

# Labels that are not written as they are.
_WRITTEN = {"tv": "TV"}
# From this many on nobody counts at a glance, and the detector misses some.
ROUGHLY = 7


def written(label: str) -> str:
    """A label as it stands in a sentence."""
    return _WRITTEN.get(label, label)


def noun(label: str, count: int = 1) -> str:
    """``a person``, ``two people``, ``something``, ``three things``."""
    if label == "object":
        return "something" if count == 1 else f"{number(count)} things"
    if count == 1:
        return with_article(written(label))
    return f"{number(count)} {plural(label)}"


def counted(label: str, count: int) -> str:
    """As :func:`noun`, of what is in view at once: ``a person``, ``two people``, ``about 20 people``."""
    if count < ROUGHLY:
        return noun(label, count)
    step = 5 if count < 30 else 10
    return f"about {number(count if count < 10 else step * round(count / step))} {plural(label)}"


def with_article(phrase: str) -> str:
    """``a`` or ``an`` before a phrase."""
    return str(_words.a(phrase))


def plural(label: str) -> str:
    """Plural of a label; ``person`` is ``people``."""
    word = written(label)
    return "people" if label == "person" else str(_words.plural_noun(word) or word)


def number(count: int) -> str:
    """In words up to twelve, then in figures."""
    return str(_words.number_to_words(str(count))) if count <= 12 else str(count)


def ordinal(count: int) -> str:
    """``first``, ``second``, ``third`` …"""
    return str(_words.number_to_words(str(_words.ordinal(str(count)))))


def times(count: int) -> str:
    """``once``, ``twice``, ``three times``."""
    return {1: "once", 2: "twice"}.get(count, f"{number(count)} times")


def listing(parts: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return str(_words.join(list(parts), final_sep="")) if parts else ""


def joined(clauses: Sequence[str]) -> str:
    """Clauses as one: ``a car enters, and a person leaves``."""
    return ", and ".join(clauses)


def sentence(clause: str) -> str:
    """Capital letter and full stop."""
    return clause[:1].upper() + clause[1:] + "."


def at(where: str) -> str:
    """``in the centre``, ``on the left``, ``at the top right``."""
    if where == "centre":
        return "in the centre"
    return f"on the {where}" if where in ("left", "right") else f"at the {where}"


def conjugated(phrase: str, count: int) -> str:
    """A phrase that begins with a verb, for one or for many: ``enters from the left``, ``enter from the left``."""
    verb, *rest = phrase.split(" ")
    if verb == "be":
        verb = "is" if count == 1 else "are"
    elif count == 1:
        if verb.endswith("y") and verb[-2:-1] not in "aeiou":
            verb = verb[:-1] + "ies"
        else:
            verb += "es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s"
    return " ".join([verb, *rest])
