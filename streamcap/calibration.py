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

from streamcap.types import Observation

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
    slope=2.06,
    other=0.16,
    offsets={
        "appear": 0.15, "cut": 0.16, "disappear": 0.22, "drive_through": 0.17, "eat": 0.13, "empty": 0.2,
        "enter": 0.07, "fall": 0.17, "leave": 0.27, "lie": 0.17, "meet": 0.22, "retreat": 0.18, "sit": 0.16,
        "stand_up": 0.18, "start": 0.25, "stop": 0.08, "turn": 0.17
    },
    counts={
        "appear": 3, "cut": 1, "disappear": 6, "drive_through": 2, "eat": 1, "empty": 9, "enter": 39, "fall": 1,
        "leave": 28, "lie": 1, "meet": 3, "retreat": 1, "sit": 1, "stand_up": 3, "start": 8, "stop": 8, "turn": 1
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
    if not seen.facts:
        return seen
    return replace(
        seen, facts=tuple(replace(fact, confidence=probability(fact.what, fact.confidence)) for fact in seen.facts)
    )
