"""What happened in a span, told from the events that were published in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from streamcap.language.summary import Tally, summarise
from streamcap.types import Fact, Skill
from streamcap.wire import EventMessage

__all__ = ["Recap"]


class Recap:
    """Folds events into a summary; constant size whatever the length of the span.

    Attributes:
        counts: events by their label.
    """

    def __init__(self) -> None:
        self._tally = Tally()
        self.counts: Counter[str] = Counter()

    def add(self, events: Iterable[EventMessage]) -> None:
        """Take in events, each once."""
        for event in events:
            self.counts[event.label] += 1
            self._tally.add([_fact(event)], ())  # who else was in view an event does not say

    def text(self, seconds: float) -> str:
        """The summary of a span of that length; empty where nothing stands out."""
        return summarise(self._tally, seconds)


def _fact(event: EventMessage) -> Fact:
    """The fact that an event was made of; it is about instances of the first one's kind."""
    label = event.instances[0].label if event.instances else "scene"
    who = tuple(each.id for each in event.instances if each.label == label)
    return Fact(event.label, event.start, event.end, 1.0, Skill.ACTION, who, label, saliency=event.saliency)
