"""How long tests wait, in one place: the machine may be slow, shared, and stand still for seconds.

A wait ends as soon as what it waits for is there, so a long limit costs nothing where all is well. A test that
something happens *soon* holds it against an alternative that takes minutes, not against the speed of the machine.
"""

from __future__ import annotations

__all__ = ["LONG_S", "PATIENCE_S", "SOON_S"]

# For what ought to take a second or two.
PATIENCE_S = 60.0
# At once, where the other way would take LONG_S or for ever.
SOON_S = 30.0
# A time-out that no test may reach.
LONG_S = 600.0
