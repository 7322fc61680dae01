"""How long to wait before a source is tried again."""

from __future__ import annotations

import random

__all__ = ["REFUSED_PLAN", "Backoff", "refused_wait"]

# Of each wait over the one before. Who was away for 10 s is found 2.3 s later on average; doubling took 4.8 s.
GROWTH = 1.5
# After a refused login: the first wait, for what passes (a camera that has just been switched on), and each later one,
# seconds. Cameras lock an account, for half an hour and more, after 5 to 7 wrong logins: these are 4 in any half hour.
REFUSED_FIRST_S = 60.0
REFUSED_S = 600.0
REFUSED_LONGER = 1.1  # by chance up to so many times as long; never shorter
REFUSED_PLAN = "tried again in a minute, then every 10 minutes, as cameras lock accounts after a few wrong logins"


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
        self._refusals = 0
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, keeps no secret

    def wait(self) -> float:
        """Seconds to wait now, between half of the present step and all of it."""
        step = self._next
        self._next = min(self._cap, step * GROWTH)
        return step * self._rng.uniform(0.5, 1.0)

    def refused(self) -> float:
        """Seconds to wait now that the login was refused."""
        self._refusals += 1
        return refused_wait(self._refusals)

    def reset(self) -> None:
        """Begin again with the first wait."""
        self._next = self._first
        self._refusals = 0


def refused_wait(refusals: int) -> float:
    """Seconds before a source that has refused the login so many times, >= 1, is tried again."""
    wait = REFUSED_FIRST_S if refusals == 1 else REFUSED_S
    return wait * random.uniform(1.0, REFUSED_LONGER)  # noqa: S311 - spreads load, keeps no secret
