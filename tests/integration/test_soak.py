"""Half a minute of benchmarks/soak.py: cameras fail at random, subscribers come and go, nothing piles up."""

from __future__ import annotations

import pytest

from benchmarks.soak import Sample, slopes, soak

pytestmark = [pytest.mark.rtsp, pytest.mark.weights]


async def test_half_a_minute_of_failing_cameras(rtsp_python: str) -> None:
    # What must not be left after it (threads, tasks, sockets) is looked for after every test.
    soaked = await soak(30.0, cameras=2, seed=3)
    assert sum(soaked.faults.values()) >= 1
    assert soaked.messages > 10
    late = soaked.samples[len(soaked.samples) // 2 :]
    assert max(s.threads for s in late) < 60
    assert max(s.tasks for s in late) < 100
    assert max(s.files for s in late) < 120


def test_slopes_are_those_after_the_warm_up() -> None:
    samples = [Sample(t, 500 + max(0, 100 - t), 20, 10, 5 + t // 36) for t in range(1000)]
    found = slopes(samples)
    assert found["rss_mb"] == pytest.approx(0, abs=1e-6)
    assert found["tasks"] == pytest.approx(100, rel=0.02)
    with pytest.raises(ValueError, match="too short"):
        slopes(samples[:3])
