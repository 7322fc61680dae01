"""What people carry, told once for each person and thing."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from streamcap.facts.scene import Scene, about
from streamcap.types import Fact

__all__ = ["Loads"]

# Votes of many looks stand behind it (load.py); share of such statements that were true on the clips looked at.
SURE = 0.85
REMEMBERED = 256


@dataclass(slots=True)
class Loads:
    """Carry: somebody has something along, as a bag; said when it is sure."""

    _told: deque[tuple[int, str]] = field(default_factory=lambda: deque(maxlen=REMEMBERED))

    def update(self, scene: Scene) -> Iterator[Fact]:
        """See :class:`streamcap.facts.scene.Rule`."""
        for track in scene.tracks.active:
            for thing in track.load.carries if track.label == "person" else ():
                # A bag that turns out to be a backpack is no second bag.
                kind = "bag" if thing in ("backpack", "suitcase") else thing
                if (track.id, kind) not in self._told:
                    self._told.append((track.id, kind))
                    fact = about(track, "carry", scene.pts, scene.pts, "", SURE)
                    yield replace(fact, detail={"object": thing})
