"""From the confidence that a rule gives to the probability that its fact is true.

Rules say how sure they are by their own lights; the table says how often facts of their kind were true on clips whose
events were noted by hand. The form is Platt's (1999) in the logit of the confidence,
``logit p = offset(what) + slope * logit(confidence)`` with a slope > 0, so that of two facts of a kind the surer stays
the surer. Few clips stand behind the table, so it is shrunk towards the rules' own word: see
docs/decisions/014-calibration.md, and ``make quality ARGS=--fit``, which writes :data:`TABLE` anew.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from streamcap.types import Fact, Observation

__all__ = ["TABLE", "Table", "calibrated", "logit", "probability"]

# Confidences are cut at this distance from 0 and 1: no sense is infallible.
LEAST: Final = 0.01


@dataclass(frozen=True, slots=True)
class Table:
    """A fitted calibration.

    Attributes:
        slope: of the logit of the confidence, > 0.
        other: offset (logits) of kinds of fact that were never judged.
        offsets: by ``Fact.what``, in logits.
        counts: facts that each offset rests on.
    """

    slope: float
    other: float
    offsets: Mapping[str, float]
    counts: Mapping[str, int]


# begin fitted
TABLE: Final = Table(
    slope=2.51,
    other=0.33,
    offsets={
        "appear": 0.34, "close_up": 0.26, "cut": 0.33, "drive_through": 0.33, "eat": 0.39, "empty": 0.34, "enter":
        0.35, "fall": 0.33, "leave": 0.38, "lie": 0.33, "meet": 0.37, "pick_up": 0.42, "put_down": 0.38, "retreat":
        0.33, "ride": 0.33, "sit": 0.33, "stand_up": 0.33, "start": 0.37, "stop": 0.29, "turn": 0.33
    },
    counts={
        "appear": 1, "close_up": 1, "cut": 1, "drive_through": 2, "eat": 1, "empty": 9, "enter": 32, "fall": 1,
        "leave": 26, "lie": 1, "meet": 3, "pick_up": 4, "put_down": 3, "retreat": 1, "ride": 1, "sit": 1, "stand_up":
        3, "start": 7, "stop": 7, "turn": 1
    },
)  # fmt: skip
# end fitted


def logit(p: float) -> float:
    """Log odds of a probability, which is first held within LEAST..1-LEAST."""
    held = min(1 - LEAST, max(LEAST, p))
    return math.log(held / (1 - held))


def probability(what: str, confidence: float, table: Table = TABLE) -> float:
    """Probability that a fact is true.

    Args:
        what: its kind, as in ``Fact.what``.
        confidence: that its rule gave, 0..1.

    Returns:
        0..1, rising with ``confidence``.
    """
    z = table.offsets.get(what, table.other) + table.slope * logit(confidence)
    return 1 / (1 + math.exp(-z))


def calibrated(seen: Observation) -> Observation:
    """An observation whose facts' confidence is the probability that they are true."""
    if not seen.facts and not seen.likely:
        return seen
    return replace(seen, facts=_calibrated(seen.facts), likely=_calibrated(seen.likely))


def _calibrated(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    return tuple(replace(fact, confidence=probability(fact.what, fact.confidence)) for fact in facts)
