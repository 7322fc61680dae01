"""``/metrics`` for Prometheus. Everything is read where it is counted, at the moment of the scrape.

Only what nobody else counts is counted here: how old captions were when they went out, and how many went out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from streamcap import __version__
from streamcap.captioners import SharedModel
from streamcap.hub import Hub
from streamcap.metrics import Histogram, StageTime
from streamcap.server.api.streams import StreamInfo
from streamcap.shedding import Load
from streamcap.types import CaptionStatus
from streamcap.wire import CaptionMessage, PublishableMessage, StreamState

__all__ = ["Metrics", "Refusals", "StageTimes"]

StageTimes = Callable[[str], Mapping[str, StageTime]]
"""Time per stage of a stream, by the names of the stages."""
Refusals = Mapping[tuple[str, str], int]
"""How many were refused, by what they were (``stream``, ``publisher``, …) and why."""

# Seconds from the capture of the last frame a text speaks of to its hand-over: a grounded draft takes tenths, a large
# model seconds, and past a minute it is not live any more.
AGE_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 60.0)
# All that can be refused: a counter that is there from the beginning tells of the first one, too.
REFUSALS: Final = (
    ("stream", "load"), ("stream", "most"), ("stream", "source"),
    ("publisher", "most"), ("viewer", "most"), ("subscriber", "most"),
)  # fmt: skip
_FINAL: Final = "final"
_DRAFT: Final = "draft"


class Metrics(Collector):
    """Collects a hub's and its streams' numbers. One for each hub: it listens to what is published.

    Args:
        infos: called for each scrape; streams that are not open in the hub are left out.
        stages: time per stage of a stream.
        vision: the vision–language model, None for a server without.
        load: of the machine; None where that is not known.
        refused: who was refused, beside subscribers, whom the hub counts.
    """

    def __init__(
        self,
        hub: Hub,
        infos: Callable[[], Iterable[StreamInfo]],
        stages: StageTimes | None = None,
        vision: SharedModel | None = None,
        load: Callable[[], Load] | None = None,
        refused: Callable[[], Refusals] = dict,
    ) -> None:
        self._hub, self._infos, self._stages, self._vision = hub, infos, stages, vision
        self._load, self._refused = load, refused
        self._ages: dict[tuple[str, str], Histogram] = {}
        self._lags: dict[tuple[str, str], Histogram] = {}
        self._messages: Counter[tuple[str, str]] = Counter()
        hub.on_published = self._on_published
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """All numbers in the form that a scraper asks for, and its media type."""
        encoder, media_type = choose_encoder(accept)
        return encoder(self._registry), media_type

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        yield InfoMetricFamily("streamcap", "The program", {"version": __version__})
        open_streams = set(self._hub.streams)
        for key in [key for key in self._ages if key[0] not in open_streams]:
            del self._ages[key], self._lags[key]
        for key in [key for key in self._messages if key[0] not in open_streams]:
            del self._messages[key]
        yield from self._of_the_load()
        yield from self._of_streams()
        yield from self._of_messages()
        yield from self._of_the_hub()
        if self._vision is not None:
            yield from _of_the_model(self._vision, open_streams)

    def _on_published(self, message: PublishableMessage) -> None:
        kind: str = message.type
        if isinstance(message, CaptionMessage):
            if message.status is CaptionStatus.RETRACTED:
                kind = "retraction"
            elif not message.text:  # a draft is withdrawn: that speaks of no frame, and has no age
                kind = "withdrawal"
            else:
                kind = _FINAL if message.status is CaptionStatus.FINAL else _DRAFT
                key, lag_ms = (message.stream, kind), message.age_ms - (message.waited_ms or 0)
                self._ages.setdefault(key, Histogram(AGE_BOUNDS)).add(message.age_ms / 1000)
                self._lags.setdefault(key, Histogram(AGE_BOUNDS)).add(lag_ms / 1000)
        self._messages[message.stream, kind] += 1

    def _of_the_load(self) -> Iterator[Metric]:
        if self._load is not None:
            now = self._load()
            yield GaugeMetricFamily("streamcap_load", "How much of what can be looked at is looked at, 0..1", now.load)
            yield GaugeMetricFamily(
                "streamcap_share", "Of its wanted rate, what each stream gets because of the load, 0..1", now.share
            )
        refused = CounterMetricFamily("streamcap_refused", "Who was not taken, and why", labels=["what", "reason"])
        known = dict.fromkeys(REFUSALS, 0) | dict(self._refused())
        for what, count in (known | {("subscriber", "most"): self._hub.counters.refused}).items():
            refused.add_metric(what, count)
        yield refused

    def _of_streams(self) -> Iterator[Metric]:
        by_state = GaugeMetricFamily("streamcap_streams", "Streams by their state", labels=["state"])
        state_of = GaugeMetricFamily(
            "streamcap_stream_state", "1 for the state of a stream", labels=["stream", "state"]
        )
        frames = CounterMetricFamily("streamcap_frames", "Frames looked at", labels=["stream"])
        lowered = 0
        drops = CounterMetricFamily("streamcap_frames_dropped", "Frames nobody had time to look at", labels=["stream"])
        rates = GaugeMetricFamily(
            "streamcap_stream_fps",
            "Frames looked at a second: wanted, lowered to because of the load, and of the last five seconds",
            labels=["stream", "of"],
        )
        reasons = GaugeMetricFamily(
            "streamcap_stream_degraded",
            "1 while a stream is degraded, by the gravest reason",
            labels=["stream", "reason"],
        )
        seq = GaugeMetricFamily("streamcap_stream_seq", "Number of the newest durable message", labels=["stream"])
        watchers = GaugeMetricFamily("streamcap_stream_subscribers", "Live subscriptions", labels=["stream"])
        stages = HistogramMetricFamily("streamcap_stage_seconds", "Time per run of a stage", labels=["stream", "stage"])
        cpu = CounterMetricFamily(
            "streamcap_stage_cpu_seconds", "Processor time of a stage", labels=["stream", "stage"]
        )
        states: Counter[str] = Counter({state.value: 0 for state in StreamState})
        open_streams = set(self._hub.streams)
        for info in self._infos():
            if info.id not in open_streams:
                continue
            known = self._hub.state(info.id)
            state = known.status.state.value if known.status else StreamState.CONNECTING.value
            states[state] += 1
            state_of.add_metric([info.id, state], 1)
            frames.add_metric([info.id], info.frames)
            drops.add_metric([info.id], info.drops)
            wanted = info.settings.fps if info.settings else None
            lowered += wanted is not None and info.target_fps is not None and info.target_fps < wanted
            for of, rate in (
                ("wanted", wanted),
                ("target", info.target_fps),
                ("analysed", info.analysed_fps),
            ):
                if rate is not None:
                    rates.add_metric([info.id, of], rate)
            if known.status is not None and known.status.state is StreamState.DEGRADED:
                reasons.add_metric([info.id, known.status.reason], 1)
            seq.add_metric([info.id], known.seq)
            watchers.add_metric([info.id], self._hub.watchers(info.id))
            for name, stage in sorted(self._stages(info.id).items()) if self._stages is not None else ():
                _add(stages, [info.id, name], stage.spread)
                cpu.add_metric([info.id, name], stage.cpu)
        for state, count in states.items():
            by_state.add_metric([state], count)
        yield GaugeMetricFamily("streamcap_streams_lowered", "Streams that get less than their wanted rate", lowered)
        yield from (by_state, state_of, frames, drops, rates, reasons, seq, watchers, stages, cpu)

    def _of_messages(self) -> Iterator[Metric]:
        ages = HistogramMetricFamily(
            "streamcap_caption_age_seconds",
            "From the capture of the last frame that a caption speaks of to its hand-over to the feed",
            labels=["stream", "status"],
        )
        lags = HistogramMetricFamily(
            "streamcap_caption_lag_seconds",
            "The age of a caption without what it waited on purpose: from the capture of the newest frame looked at",
            labels=["stream", "status"],
        )
        for family, spreads in ((ages, self._ages), (lags, self._lags)):
            for (stream, status), spread in spreads.items():
                _add(family, [stream, status], spread)
        messages = CounterMetricFamily("streamcap_messages", "Messages published", labels=["stream", "kind"])
        for (stream, kind), count in self._messages.items():
            messages.add_metric([stream, kind], count)
        yield from (ages, lags, messages)

    def _of_the_hub(self) -> Iterator[Metric]:
        counters = self._hub.counters
        yield GaugeMetricFamily("streamcap_subscribers", "Subscriptions that are open", self._hub.subscribers)
        closed = CounterMetricFamily(
            "streamcap_subscriptions_closed", "Subscriptions that are over, by how they ended", labels=["reason"]
        )
        for reason, count in ({"too_slow": 0, "left": 0} | dict(counters.closings)).items():
            closed.add_metric([reason], count)
        yield closed
        yield CounterMetricFamily(
            "streamcap_drafts_conflated", "Drafts that subscribers, gone by now, were spared", counters.conflated
        )
        yield CounterMetricFamily(
            "streamcap_drafts_superseded", "Drafts that came too late and went to nobody", counters.superseded
        )
        commits = HistogramMetricFamily("streamcap_journal_commit_seconds", "Time per commit of the journal")
        _add(commits, [], self._hub.commits.spread)
        yield commits


def _of_the_model(vision: SharedModel, open_streams: Collection[str]) -> Iterator[Metric]:
    asked, spent = vision.asked, vision.spent
    asked.keep(open_streams)
    calls = CounterMetricFamily("streamcap_vision_calls", "Answers asked of the model, by use", labels=["for"])
    for sort, count in asked.calls.items():
        calls.add_metric([sort], count)
    failures = CounterMetricFamily("streamcap_vision_failures", "Of these, failed, by the fault", labels=["fault"])
    for fault, count in asked.failures.items():
        failures.add_metric([fault], count)
    tokens = CounterMetricFamily("streamcap_vision_tokens", "Tokens of whole answers", labels=["of"])
    tokens.add_metric(["prompt"], asked.prompt_tokens)
    tokens.add_metric(["answer"], asked.completion_tokens)
    seconds = HistogramMetricFamily(
        "streamcap_vision_answer_seconds", "Time to the first token, and to the last", labels=["to"]
    )
    _add(seconds, ["first"], asked.first)
    _add(seconds, ["last"], asked.whole)
    outcomes = CounterMetricFamily(
        "streamcap_vision_windows", "What became of answers about windows", labels=["stream", "outcome"]
    )
    for (stream, outcome), count in asked.outcomes.items():
        outcomes.add_metric([stream, outcome], count)
    conflicts = CounterMetricFamily(
        "streamcap_vision_conflicts", "Contradictions with what was perceived", labels=["stream", "what"]
    )
    for (stream, what), count in asked.conflicts.items():
        conflicts.add_metric([stream, what], count)
    yield from (calls, failures, tokens, seconds, outcomes, conflicts)
    budget = GaugeMetricFamily("streamcap_vision_spent", "Of the budget, in the last minute", labels=["of"])
    budget.add_metric(["calls"], spent.calls)
    budget.add_metric(["tokens"], spent.tokens)
    yield budget
    yield GaugeMetricFamily("streamcap_vision_working", "Answers under way", spent.working)
    yield GaugeMetricFamily("streamcap_vision_waiting", "Requests that wait for a turn", spent.waiting)
    yield GaugeMetricFamily("streamcap_vision_ready", "1 where the model can be asked", float(vision.well))


def _add(family: HistogramMetricFamily, labels: list[str], spread: Histogram) -> None:
    family.add_metric(labels, buckets=list(spread.cumulative()), sum_value=spread.total)
