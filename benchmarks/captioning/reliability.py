"""Is a fact that is held to be true with 0.8 true in eight cases of ten? Measured on the clips, and fitted.

The fit is streamcap/calibration.py's own form: ``logit p = offset(what) + slope * logit(confidence)``. It is a maximum
a posteriori fit: the prior says that rules are right about their confidence (offset 0, slope 1) and that kinds of fact
differ little, and each kind moves as far from there as its number of samples warrants (partial pooling).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.captioning.recording import Recording
from benchmarks.captioning.scoring import AFTER_S, BEFORE_S, Truth, fact_line, scorer
from streamcap.calibration import Table, logit, probability
from streamcap.language import describe_change

__all__ = ["Bin", "Reliability", "Sample", "fit", "held_out", "reliability", "samples"]

BINS = 10
# Spreads of the prior, in logits: of the offset common to all kinds, of a kind's own offset around it, of the slope.
# The narrow ones are what the clips held out prefer; see docs/decisions/014-calibration.md.
COMMON_SPREAD = 0.3
KIND_SPREAD = 0.3
SLOPE_SPREAD = 0.5


@dataclass(frozen=True, slots=True)
class Sample:
    """A fact that could be judged.

    Attributes:
        confidence: that its rule gave, 0..1.
        true: all that it says is true of the clip at that time, and nothing of it is invented.
    """

    clip: str
    what: str
    confidence: float
    true: bool
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Bin:
    """Facts of about one confidence: their number, their mean confidence, and the share that is true."""

    low: float
    high: float
    count: int
    confidence: float
    true: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """How confidence and truth go together.

    Attributes:
        bins: that have samples.
        error: expected calibration error: mean distance of a bin's confidence from its share, weighted by count.
        brier: mean square of confidence minus truth (Brier 1950).
        count: samples.
    """

    bins: tuple[Bin, ...]
    error: float
    brier: float
    count: int


def samples(recording: Recording, truth: Truth) -> list[Sample]:
    """Facts of a clip that the scorer can judge, each told by itself."""
    rules, never = scorer(), set(truth.get("never", ()))
    made = []
    for seen in recording.seen:
        for fact in seen.facts:
            line = fact_line(fact, seen.instances, describe_change([fact], seen.instances).text or fact.what)
            invented = never & line.nouns
            if not line.claims and not invented:
                continue  # a state, or a word that the scorer does not know
            right = all(rules.is_true(line, claim, truth, BEFORE_S, AFTER_S) for claim in line.claims)
            made.append(
                Sample(recording.clip, fact.what, fact.confidence, right and not invented, fact.start, fact.end)
            )
    return made


def reliability(pairs: Sequence[tuple[float, bool]]) -> Reliability:
    """Compare stated probabilities with what was true.

    Args:
        pairs: probability 0..1, and whether it was true.
    """
    bins = []
    for index in range(BINS):
        low, high = index / BINS, (index + 1) / BINS
        inside = [(p, true) for p, true in pairs if low <= p < high or (index == BINS - 1 and p == 1)]
        if inside:
            mean = math.fsum(p for p, _ in inside) / len(inside)
            bins.append(Bin(low, high, len(inside), mean, sum(true for _, true in inside) / len(inside)))
    count = max(1, len(pairs))
    return Reliability(
        tuple(bins),
        math.fsum(b.count * abs(b.confidence - b.true) for b in bins) / count,
        math.fsum((p - true) ** 2 for p, true in pairs) / count,
        len(pairs),
    )


def fit(found: Sequence[Sample]) -> Table:
    """Fit the table of streamcap/calibration.py; that of a rule which is always right about itself, without samples."""
    kinds = sorted({sample.what for sample in found})
    if not kinds:
        return Table(1.0, 0.0, {}, {})
    x = np.array([logit(sample.confidence) for sample in found])
    true = np.array([sample.true for sample in found], float)
    kind = np.array([kinds.index(sample.what) for sample in found])

    def loss(v: NDArray[np.float64]) -> float:
        slope, common, own = math.exp(v[0]), v[1], v[2:]
        z = common + own[kind] + slope * x
        unlike = np.sum(np.logaddexp(0, z) - true * z)
        prior = (v[0] / SLOPE_SPREAD) ** 2 + (common / COMMON_SPREAD) ** 2 + np.sum((own / KIND_SPREAD) ** 2)
        return float(unlike + prior / 2)

    best = minimize(loss, np.zeros(2 + len(kinds)), method="L-BFGS-B").x
    counts = Counter(sample.what for sample in found)
    offsets = {what: round(float(best[1] + best[2 + i]), 2) for i, what in enumerate(kinds)}
    return Table(round(math.exp(best[0]), 2), round(float(best[1]), 2), offsets, {k: counts[k] for k in kinds})


def held_out(found: Sequence[Sample]) -> list[float]:
    """Probability of each sample by a table that was fitted without its clip."""
    tables = {clip: fit([s for s in found if s.clip != clip]) for clip in {s.clip for s in found}}
    return [probability(s.what, s.confidence, tables[s.clip]) for s in found]
