"""What perception holds to be true of a window, as a text is held against it."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from streamcap.labels import group
from streamcap.language.naming import is_named
from streamcap.types import Box, Fact, Instance

__all__ = ["Seen"]

# Who was not seen for longer than this (seconds) before the newest look does not count as there.
FRESH_S = 3.0


class Seen:
    """What perception holds to be true of a window.

    Attributes:
        known: all instances, by id.
        recent: those that are there, of whom the facts speak, or who were there a moment ago.
    """

    def __init__(self, facts: Sequence[Fact], instances: Sequence[Instance]) -> None:
        self.facts = facts
        newest = max((i.last_seen for i in instances), default=0.0)
        told = {who for fact in facts for who in fact.who}
        self.known = {i.id: i for i in instances}
        self.recent = [i for i in instances if i.visible or i.id in told or newest - i.last_seen <= FRESH_S]

    def of(self, groups: Collection[str]) -> list[Instance]:
        """Those that may be of one of some groups: what has no name may be anything."""
        return [i for i in self.recent if group(i.label) in groups or i.label == "object"]

    def most(self, groups: Collection[str]) -> int:
        """How many of some groups there can have been in the window at most."""
        unknown = {who for fact in self.facts for who in fact.who} - self.known.keys()
        return len(self.of(groups)) + len(unknown)

    def sure(self, groups: Collection[str]) -> list[Instance]:
        """Those in view now whose kind is sure."""
        return [i for i in self.recent if is_named(i) and group(i.label) in groups]

    def did(self, whats: Collection[str], groups: Collection[str]) -> list[Fact]:
        """Facts of some kinds about some groups."""
        return [f for f in self.facts if f.what in whats and (group(f.label) in groups or f.label == "object")]

    def places(self, instance: Instance) -> list[Box]:
        """Where it was in the window."""
        own = [box for f in self.facts for who, box in zip(f.who, f.boxes, strict=False) if who == instance.id]
        return [instance.box, *own]

    def words(self, instance: Instance) -> str:
        """The places that facts name for it."""
        return " ".join(f.where for f in self.facts if instance.id in f.who)
