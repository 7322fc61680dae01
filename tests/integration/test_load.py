"""A machine that cannot keep up: all streams are looked at less often, say so and recover; one more is refused."""

from __future__ import annotations

import asyncio
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from streamcap import manager, pipeline, shedding, supervision
from streamcap.config import Settings
from streamcap.errors import ModelError
from streamcap.models.base import Image
from streamcap.models.pool import Models
from streamcap.server.service import Service, running
from streamcap.types import Detections
from streamcap.wire import StatusMessage, StreamState, decode
from tests.feeding import http_to
from tests.patience import PATIENCE_S

# Small, so that the load is the detector's and not that of a busy machine.
SMALL = "test:?realtime=1&width=160&height=120"
SOURCES = {"a": f"{SMALL}&seed=1", "b": f"{SMALL}&seed=2", "c": f"{SMALL}&seed=3"}
IDLE = "test:?realtime=1&fps=1&width=160&height=120"


class Slow:
    """A detector that sees nothing and takes its time."""

    labels = ("person",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        time.sleep(self.seconds)
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rules, in seconds and not in half minutes."""
    for module, name, seconds in (
        (manager, "WEIGH_S", 0.2), (manager, "SETTLED_S", 1.0), (pipeline, "LOWERED_S", 0.3),
        (pipeline, "RESTORED_S", 2.0),
        (shedding, "DOWN_AFTER_S", 0.6), (shedding, "UP_AFTER_S", 1.0), (shedding, "SMOOTH_S", 0.6),
        (shedding, "REGRET_S", 1.0),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, seconds)


async def test_it_sheds_says_so_refuses_and_recovers(quick: None) -> None:
    slow = Slow()
    settings: dict[str, Any] = {
        "server": {"port": 0},
        "load": {"floor_fps": 4.0},
        "streams": [{"id": key, "source": source} for key, source in SOURCES.items()],
    }
    with ThreadPoolExecutor(2) as workers:
        models = Models(slow, None, workers)
        async with (
            running(Settings.model_validate(settings), models) as service,
            http_to(service.listening) as http,
            asyncio.timeout(3 * PATIENCE_S),
        ):
            await _until(http, lambda views: all(v["state"] == "live" and v["target_fps"] == v["fps"] for v in views))

            slow.seconds = 0.25
            # Evenly, and no lower than the floor; what does not fit even so is dropped and counted.
            views = await _until(
                http, lambda views: all(v["target_fps"] == 4.0 and v["reason"] == "load" and v["drops"] for v in views)
            )
            assert {view["state"] for view in views} == {"degraded"}
            assert "too busy to look 5 times a second" in views[0]["detail"]
            refused = await _refused(http)
            assert refused.headers["content-type"] == "application/problem+json"
            assert "has no room for another" in refused.json()["detail"]
            assert len((await http.get("/v1/streams")).json()["streams"]) == 3
            scrape = (await http.get("/metrics")).text
            assert 'streamcap_stream_fps{of="target",stream="a"} 4.0' in scrape
            assert 'streamcap_stream_degraded{reason="load",stream="a"} 1.0' in scrape
            assert "streamcap_share 0.8\n" in scrape and "streamcap_streams_lowered 3.0\n" in scrape
            tries = re.search(r'^streamcap_refused_total\{reason="load",what="stream"\} (\d+)', scrape, re.MULTILINE)
            assert tries is not None and int(tries[1]) >= 1
            assert 'streamcap_refused_total{reason="source",what="stream"} 0.0' in scrape

            slow.seconds = 0.0
            await _until(http, lambda views: all(v["target_fps"] == 5.0 and v["state"] == "live" for v in views))
            await _until(http, lambda views: all(v["analysed_fps"] >= 3.0 for v in views))
            assert "streamcap_share 1.0\n" in (await http.get("/metrics")).text
            for name in SOURCES:
                states = await _states(service, name)
                assert states[:3] == [
                    (StreamState.CONNECTING, ""),
                    (StreamState.LIVE, "connected"),
                    (StreamState.DEGRADED, "load"),
                ]
                assert states[-1] == (StreamState.LIVE, "recovered")
                assert len(states) <= 6, "a busy machine may add a dip of its own; it does not swing"
            added = await http.post("/v1/streams", json={"id": "late", "source": "test:?realtime=1"})
            assert added.status_code == 201


async def test_many_at_once_are_not_taken_on_trust_and_told_when_to_come_again() -> None:
    """What is not there, or was given up, costs nothing and is not counted."""
    settings = {"server": {"port": 0}, "streams": [{"id": "gone", "source": "no-such-file.mp4"}]}
    with ThreadPoolExecutor(2) as workers:
        async with (
            running(Settings.model_validate(settings), Models(Slow(), None, workers)) as service,
            http_to(service.listening) as http,
            asyncio.timeout(3 * PATIENCE_S),
        ):
            await _until(http, lambda views: views[0]["state"] == "failed")
            taken = 0
            while (answer := await http.post("/v1/streams", json={"id": f"s{taken}", "source": IDLE})).is_success:
                taken += 1
            assert 4 <= taken < 64
            assert answer.status_code == 503
            assert f"watches {taken} streams and has no room" in answer.json()["detail"]
            assert f"{taken} of them began just now" in answer.json()["detail"]
            assert answer.headers["retry-after"] == "10"


async def test_where_the_settings_say_so_a_stream_is_taken_all_the_same(quick: None) -> None:
    slow = Slow()
    slow.seconds = 0.3
    settings = {
        "server": {"port": 0},
        "load": {"floor_fps": 4.0, "admission": "lower"},
        "streams": [{"id": "a", "source": SOURCES["a"]}, {"id": "b", "source": SOURCES["b"]}],
    }
    with ThreadPoolExecutor(2) as workers:
        async with (
            running(Settings.model_validate(settings), Models(slow, None, workers)) as service,
            http_to(service.listening) as http,
            asyncio.timeout(3 * PATIENCE_S),
        ):
            await _until(http, lambda views: all(view["reason"] == "load" for view in views))
            added = await http.post("/v1/streams", json={"id": "late", "source": SOURCES["c"]})
            assert added.status_code == 201
            assert 4.0 <= added.json()["target_fps"] < 5.0


async def _until(http: httpx.AsyncClient, holds: Any) -> list[dict[str, Any]]:
    while True:
        views: list[dict[str, Any]] = (await http.get("/v1/streams")).json()["streams"]
        if holds(views):
            return views
        await asyncio.sleep(0.1)


async def _refused(http: httpx.AsyncClient) -> httpx.Response:
    """Ask until it is refused: the load is a mean that takes a moment to come near its full height."""
    for number in range(50):
        answer = await http.post("/v1/streams", json={"id": f"more{number}", "source": "test:?realtime=1"})
        if answer.status_code != 201:
            assert answer.status_code == 503
            return answer
        await http.delete(f"/v1/streams/more{number}")
        await asyncio.sleep(0.2)
    raise AssertionError("it was never refused")


async def _states(service: Service, stream: str) -> list[tuple[StreamState, str]]:
    async with service.hub.subscribe(stream, after=0, epoch=service.hub.state(stream).epoch) as feed:
        found = []
        async for item in feed:
            message = decode(item.text)
            if isinstance(message, StatusMessage):
                found.append((message.state, message.reason))
            if message.type == "caught_up":
                return found
    return found


class Failing:
    """A detector that sees nothing, and fails so many times after its first looks."""

    labels = ("person",)

    def __init__(self, failures: int) -> None:
        self.failures, self.looks = failures, 0

    def detect(self, image: Image, *, threshold: float, deadline: float | None = None) -> Detections:
        self.looks += 1
        if self.looks > 20 and self.failures > 0:
            self.failures -= 1
            raise ModelError("the device is out of memory")
        return Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int32), np.zeros(0, np.float32))


@pytest.mark.parametrize(("failures", "end"), [(1, StreamState.LIVE), (100, StreamState.FAILED)])
async def test_a_model_that_fails_once_costs_a_camera_a_moment_and_one_that_fails_always_ends_it(
    monkeypatch: pytest.MonkeyPatch, failures: int, end: StreamState
) -> None:
    monkeypatch.setattr(supervision, "BACKOFF_FIRST_S", 0.02)
    detector = Failing(failures)
    raw = {"server": {"port": 0}, "streams": [{"id": "a", "source": "test:?realtime=1"}]}
    told: list[tuple[StreamState, str]] = []
    with ThreadPoolExecutor(2) as workers:
        async with (
            running(Settings.model_validate(raw), Models(detector, None, workers)) as service,
            service.hub.subscribe("a") as feed,
            asyncio.timeout(3 * PATIENCE_S),
        ):
            async for item in feed:
                message = decode(item.text)
                if isinstance(message, StatusMessage):
                    told.append((message.state, message.reason))
                    if message.state is end and detector.looks > 20:
                        break
    assert told.count((StreamState.RECONNECTING, "model")) == (1 if failures == 1 else supervision.RESTARTS)
    assert told[-1] == (end, "connected" if end is StreamState.LIVE else "model")
