"""Health and metrics, from a real server, read with Prometheus' own parser."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from streamcap.config import Settings
from streamcap.hub import OutboxLimits
from streamcap.metrics import STAGE_BOUNDS, Histogram, Stages
from streamcap.models.pool import Models
from streamcap.server.service import running
from streamcap.wire import StreamState
from tests.feeding import caption, event, final, http_to, opened, serving, status
from tests.patience import PATIENCE_S

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(text: str) -> Samples:
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in parse(text) for s in family.samples}


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


async def test_what_the_hub_did() -> None:
    hub = await opened("cam", "yard", limits=OutboxLimits(messages=2))
    async with (
        serving(hub) as where,
        http_to(where) as http,
    ):
        async with hub.subscribe("cam") as slow:
            await anext(aiter(slow))
            await anext(aiter(slow))  # the snapshot: from here on it is live
            await hub.publish("cam", status())
            for n in range(5):
                await hub.publish("cam", event(n))
            await hub.publish("cam", caption(rev=0))
            await hub.publish("cam", caption(rev=1))
            await hub.publish("cam", final())
            await hub.publish("cam", caption(rev=3))  # too late
            async with hub.subscribe("*"):
                answer = await http.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=")
        found = samples(answer.text)
        assert of(found, "streamcap_streams", state="live") == 1
        assert of(found, "streamcap_streams", state="connecting") == 1, "one that has not said anything yet"
        assert of(found, "streamcap_streams", state="failed") == 0
        assert of(found, "streamcap_stream_state", stream="cam", state="live") == 1
        assert of(found, "streamcap_stream_seq", stream="cam") == 7
        assert of(found, "streamcap_messages_total", stream="cam", kind="event") == 5
        assert of(found, "streamcap_messages_total", stream="cam", kind="draft") == 2
        assert of(found, "streamcap_messages_total", stream="cam", kind="final") == 1
        assert of(found, "streamcap_drafts_superseded_total") == 1
        assert of(found, "streamcap_subscribers") == 2
        assert of(found, "streamcap_journal_commit_seconds_count") == 7
        # The captions of the test are 500 ms old.
        assert of(found, "streamcap_caption_age_seconds_sum", stream="cam", status="draft") == 1.0
        assert of(found, "streamcap_caption_age_seconds_bucket", stream="cam", status="final", le="0.25") == 0
        assert of(found, "streamcap_caption_age_seconds_bucket", stream="cam", status="final", le="0.5") == 1
        assert of(found, "streamcap_caption_age_seconds_bucket", stream="cam", status="final", le="+Inf") == 1
        assert of(found, "streamcap_caption_lag_seconds_sum", stream="cam", status="draft") == 1.0
        assert of(found, "process_resident_memory_bytes") > 1e6

        later = samples((await http.get("/metrics")).text)
        assert of(later, "streamcap_subscriptions_closed_total", reason="too_slow") == 1
        assert of(later, "streamcap_subscriptions_closed_total", reason="left") == 1
        await hub.publish("yard", status(StreamState.ENDED, "yard"))
        hub.close_stream("yard")
        hub.close_stream("cam")
        assert not [key for key in samples((await http.get("/metrics")).text) if ("stream", "cam") in key[1]]
        accept = {"accept": "application/openmetrics-text; version=1.0.0"}
        modern = await http.get("/metrics", headers=accept)
        families = list(parse_openmetrics(modern.text))  # type: ignore[no-untyped-call]
        assert modern.text.endswith("# EOF\n") and len(families) > 10


@pytest.mark.weights
async def test_what_a_real_stream_costs(models: Models) -> None:
    raw = {"server": {"port": 0}, "streams": [{"id": "scene", "source": "test:?seconds=3600", "fps": 5}]}
    async with (
        running(Settings.model_validate(raw), models) as run,
        http_to(run.listening) as http,
        asyncio.timeout(PATIENCE_S),
    ):
        found: Samples = {}
        while ("streamcap_caption_age_seconds_count", (("status", "draft"), ("stream", "scene"))) not in found:
            found = samples((await http.get("/metrics")).text)
            await asyncio.sleep(0.2)
        assert of(found, "streamcap_frames_total", stream="scene") > 3
        assert of(found, "streamcap_frames_dropped_total", stream="scene") >= 0
        stages = {dict(key[1])["stage"] for key in found if key[0] == "streamcap_stage_seconds_count"}
        assert {"gate", "detect"} <= stages, stages
        for stage in stages:
            count = of(found, "streamcap_stage_seconds_count", stream="scene", stage=stage)
            assert of(found, "streamcap_stage_seconds_bucket", stream="scene", stage=stage, le="+Inf") == count > 0
            assert of(found, "streamcap_stage_seconds_sum", stream="scene", stage=stage) > 0


def test_a_histogram_counts_each_value_once() -> None:
    spread = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 99.0):
        spread.add(value)
    assert spread.cumulative() == [("1.0", 2), ("2.0", 4), ("+Inf", 5)] and spread.total == 104.0
    stages = Stages()
    stages.add("look", 0.02)
    stages.add("look", 100.0)
    entry = stages.times["look"]
    assert (entry.count, sum(entry.spread.counts), entry.spread.counts[-1]) == (2, 2, 1)
    assert list(STAGE_BOUNDS) == sorted(STAGE_BOUNDS)


async def test_health_may_be_asked_with_head() -> None:
    async with (
        serving(await opened()) as where,
        http_to(where) as http,
    ):
        for path in ("/healthz", "/readyz"):
            assert (await http.head(path)).status_code == 200
            assert (await http.delete(path)).headers["allow"] == "GET, HEAD"
