"""The monitor in a browser: weight, websocket message to paint, heap over ten thousand messages, long tasks.

python benchmarks/page.py --quick

Chromium without a window, on 127.0.0.1, driven by ``tests/browser/measure.js``; the server says what it is told to, so
that all streams are as busy as wanted, and no video is analysed meanwhile.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, Aim, CannotRun, Quick, Result, Table, conclude, percentile

__all__ = ["measure"]

FOLDER = ROOT / "tests" / "browser"
PATIENCE_S = 600.0
PAINT_AIM_MS, WEIGHT_AIM_KB = 50.0, 150.0
HEAP_AIM = 20.0  # bytes a message: less than the shortest caption, so that none of them stays


def measure(*, quick: bool = False) -> Result:
    """Open the monitor in a browser and look at what it costs.

    Raises:
        CannotRun: no Node, no Chromium, or the run failed.
    """
    node = shutil.which("node")
    if node is None:
        raise CannotRun("no node here")
    if not (FOLDER / "node_modules" / "playwright-core").is_dir():
        raise CannotRun("no playwright-core: npm ci in tests/browser")
    command = [node, "measure.js", *(["--quick"] if quick else [])]
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    if done.returncode:
        raise CannotRun(f"the browser's run failed: {done.stderr.strip()[-500:]}")
    return _result(json.loads(done.stdout.splitlines()[-1]), quick)


def _slope(samples: list[list[float]]) -> float:
    """Bytes a message, by least squares."""
    middle = sum(x for x, _ in samples) / len(samples)
    level = sum(y for _, y in samples) / len(samples)
    spread = sum((x - middle) ** 2 for x, _ in samples)
    return sum((x - middle) * (y - level) for x, y in samples) / spread


def _result(found: dict[str, Any], quick: bool) -> Result:
    paint: list[float] = found["paint_ms"]
    weight, heap, long = found["weight"], found["heap"], found["long_ms"]
    p50, p95, p99 = (percentile(paint, share) for share in (0.5, 0.95, 0.99))
    sent_kb, plain_kb = weight["transferred"] / 1000, weight["plain"] / 1000
    slope = _slope(heap)
    figures = {
        "transferred_kb": round(sent_kb, 1),
        "plain_kb": round(plain_kb, 1),
        "files": weight["files"],
        "first_tile_ms": weight["first_tile_ms"],
        "paint_ms": {"p50": round(p50, 1), "p95": round(p95, 1), "p99": round(p99, 1), "n": len(paint)},
        "heap_mb": [round(size / 1e6, 2) for _, size in heap],
        "heap_bytes_per_message": round(slope, 2),
        "long_tasks": {"n": len(long), "longest_ms": round(max(long, default=0.0), 1)},
    }
    rows = (
        ("HTML, JavaScript and CSS, as sent", f"{sent_kb:.0f} kB in {weight['files']} files"),
        ("the same, unpacked", f"{plain_kb:.0f} kB"),
        ("from the address to the first tile", f"{weight['first_tile_ms']} ms"),
        (f"websocket message to paint, {len(paint)} captions", f"p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms"),
        (
            f"JavaScript heap over {heap[-1][0]:.0f} messages, list full",
            f"{heap[0][1] / 1e6:.1f} to {heap[-1][1] / 1e6:.1f} MB",
        ),
        (
            f"tasks over 50 ms, wall of {found['streams']} streams, 50 captions/s, scrolled",
            f"{len(long)}, longest {max(long, default=0):.0f} ms",
        ),
    )
    aims = [
        Aim("message to paint, p95", f"≤ {PAINT_AIM_MS:.0f} ms", f"{p95:.0f} ms", p95 <= PAINT_AIM_MS),
        Aim("weight of the page", f"≤ {WEIGHT_AIM_KB:.0f} kB", f"{sent_kb:.0f} kB", sent_kb <= WEIGHT_AIM_KB),
        Aim("growth of the heap", f"< {HEAP_AIM:.0f} bytes a message", f"{slope:+.1f} bytes", slope < HEAP_AIM),
    ]
    notes = ["The wall is measured without pictures: its server has none."]
    return Result("page", {"browser": found["browser"]}, figures, [Table(("", ""), rows)], aims, notes, quick=quick)


def main(quick: Quick = False) -> None:
    """Measure the monitor in a browser."""
    conclude(lambda: measure(quick=quick))


if __name__ == "__main__":
    typer.run(main)
