"""What an instance looks like: colour shares over its sightings, and the words for them, chosen once.

A description that changes from caption to caption ("in black", "in the black top") makes two people of one for a
reader. So words are chosen when enough sightings agree, and kept until the pixels clearly speak against them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamcap.colours import NAMES, attributes, colour_share

__all__ = ["Appearance", "common_colour", "unlike"]

# Sightings of the whole of it after which its colours are spoken of.
LOOKS_SURE = 4
# The average follows the light through the day: a sighting counts at least for this much.
NEWEST = 0.04
# For the next assignment what it looked like just now counts more.
NEWEST_LOOK = 0.2
# A word that was chosen stands while its colour has this share of its part.
KEEP_SHARE = 0.25

Shares = NDArray[np.float32]


@dataclass(slots=True)
class Appearance:
    """Colour shares of one instance.

    Attributes:
        look: (22,) shares (colours.py), averaged over its last sightings, or None.
        dress: the same over those that show all of it.
        usual: the mean of those.
        whole: how many these are.
        words: what it is described by; empty while unsure.
    """

    look: Shares | None = None
    dress: Shares | None = None
    usual: Shares | None = None
    whole: int = 0
    words: tuple[str, ...] = ()

    def add(self, look: Shares, *, whole: bool, label: str) -> None:
        """Take in a sighting.

        Args:
            look: (22,) shares.
            whole: nothing of it is cut off.
            label: what it is held to be.
        """
        self.look = look if self.look is None else _step(self.look, look, NEWEST_LOOK)
        if not whole:
            return
        self.whole += 1
        self.dress = look if self.dress is None else _step(self.dress, look, NEWEST_LOOK)
        self.usual = look if self.usual is None else _step(self.usual, look, max(NEWEST, 1 / self.whole))
        if self.whole >= LOOKS_SURE and not self._holds(self.usual):
            self.words = attributes(label, self.usual)

    def _holds(self, usual: Shares) -> bool:
        return bool(self.words) and all(colour_share(word, usual) >= KEEP_SHARE for word in self.words)


def unlike(a: Shares, b: Shares) -> float:
    """Hellinger distance of two looks, 0 (same) .. 1."""
    return float(np.sqrt(max(0.0, 1 - float(np.sqrt(a * b).sum()))))


def common_colour(a: Shares, b: Shares) -> float:
    """Share, 0..1, of two looks that agrees in a colour that is none of black, white and grey: few people share it."""
    both = np.minimum(a, b).reshape(2, len(NAMES))
    return float(both[:, [i for i, name in enumerate(NAMES) if name not in ("black", "white", "grey")]].sum())


def _step(old: Shares, new: Shares, share: float) -> Shares:
    return np.asarray((1 - share) * old + share * new, np.float32)
