"""The benchmarks' own arithmetic and writing. What they measure is not tested here: a test would only be slow."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import common, process
from benchmarks.common import Aim, CannotRun, Result, Table, percentile, replace_between
from benchmarks.encoders import batcher_overhead, open_onnxruntime, time_runtime
from benchmarks.glass import read_clock, stamp
from benchmarks.gpu import ITEMS
from benchmarks.machine import describe_machine
from benchmarks.peaks import VIT_B16, Vit
from benchmarks.run import BENCHMARKS
from benchmarks.speed import read_timings
from benchmarks.static import slope
from benchmarks.streams import Load, largest
from benchmarks.trackers import scenes
from benchmarks.tracking.scenes import crowd, street
from benchmarks.tracking.scores import score
from streamcap.models.cuda import gpu_present
from tests.patience import LONG_S, SOON_S

ROOT = Path(__file__).resolve().parents[2]
PAGE = "# Head\n\n<!-- begin a -->\nold\n<!-- end a -->\nprose\n<!-- begin b -->\n<!-- end b -->\ntail\n"


def result(**changes: object) -> Result:
    made = Result(
        "speed", {"clip": "x.mp4"}, {"seconds": 1.5}, [Table(("what", "s"), (("a|b", "1.5"),), "Title")],
        [Aim("speed", "≥ 8×", "9×", True)], ["A note."],
    )  # fmt: skip
    for name, value in changes.items():
        setattr(made, name, value)
    return made


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 1))
def test_percentile_lies_between_the_ends_and_reaches_them(values: list[float], share: float) -> None:
    assert min(values) <= percentile(values, share) <= max(values)
    assert percentile(values, 0) == min(values)
    assert percentile(values, 1) == max(values)


def test_percentile_is_linear_between_two_values() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == 2.5
    assert percentile(list(range(101)), 0.95) == 95
    with pytest.raises(ValueError, match="no percentile"):
        percentile([], 0.5)


def test_markers_enclose_what_is_replaced_and_nothing_else() -> None:
    once = replace_between(PAGE, "a", "new\nlines\n")
    assert once == PAGE.replace("old", "new\nlines")
    assert replace_between(once, "a", "new\nlines\n") == once
    assert replace_between(once, "b", "B").endswith("<!-- begin b -->\nB\n<!-- end b -->\ntail\n")


@pytest.mark.parametrize("page", ["", PAGE.replace("end c", "x"), PAGE + PAGE, "<!-- end a --><!-- begin a -->"])
def test_missing_double_or_crossed_markers_are_refused(page: str) -> None:
    with pytest.raises(ValueError, match="needs one"):
        replace_between(page, "c" if "Head" in page and page.count("Head") == 1 else "a", "new")


def test_the_documentation_has_a_place_for_every_benchmark() -> None:
    page = (ROOT / "docs" / "benchmarks.md").read_text("utf-8")
    for name in BENCHMARKS:
        assert "fresh" in replace_between(page, name, "fresh")


def test_a_table_is_markdown_with_bars_escaped() -> None:
    lines = result().tables[0].markdown().splitlines()
    assert lines == ["**Title**", "", "| what | s |", "|---|---:|", "| a\\|b | 1.5 |"]


def test_json_says_what_where_and_when(tmp_path: Path) -> None:
    path = common.write(result(), describe_machine(1.25), tmp_path)
    assert path == tmp_path / "speed.json"
    said = json.loads(path.read_text("utf-8"))
    assert said["benchmark"] == "speed"
    assert said["figures"] == {"seconds": 1.5}
    assert said["aims"] == [{"what": "speed", "wanted": "≥ 8×", "got": "9×", "met": True}]
    machine = said["machine"]
    assert machine["cores"] >= 1
    assert machine["memory_gb"] > 0
    assert machine["load_before"] == 1.25
    assert machine["packages"]["numpy"]
    assert machine["date"].endswith("+00:00")


@pytest.mark.parametrize(("changes", "lasting"), [({}, True), ({"quick": True}, False), ({"partial": True}, False)])
def test_only_full_results_reach_the_documentation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], lasting: bool
) -> None:
    page = tmp_path / "benchmarks.md"
    page.write_text("<!-- begin speed -->\n<!-- end speed -->\n", "utf-8")
    for name, place in (("DOCS", page), ("RESULTS", tmp_path / "results"), ("SCRATCH", tmp_path / "scratch")):
        monkeypatch.setattr(common, name, place)
    common.save(result(**changes), 0.0)
    assert (tmp_path / "results" / "speed.json").exists() is lasting
    assert (tmp_path / "scratch" / "speed.json").exists() is not lasting
    assert ("✓ speed: 9× (aim: ≥ 8×)" in page.read_text("utf-8")) is lasting


def test_a_child_is_measured() -> None:
    held = "x = bytearray(64 << 20); sum(range(2_000_000)); time.sleep(1)"  # long enough to be looked at
    code = f"import sys, time; {held}; print('out'); print('err', file=sys.stderr)"
    done = process.run([sys.executable, "-c", code], timeout=LONG_S)
    assert (done.stdout, done.stderr) == ("out\n", "err\n")
    assert 64 < done.peak_mb < 200
    assert done.cpu > 0
    assert 0 < done.seconds < LONG_S


def test_a_child_that_fails_or_hangs_is_named_and_leaves_nothing() -> None:
    with pytest.raises(CannotRun, match="ended with 3: so it is"):
        process.run([sys.executable, "-c", "import sys; print('so it is', file=sys.stderr); sys.exit(3)"])
    began = time.monotonic()
    with pytest.raises(CannotRun, match="did not end within 1 s"):
        process.run([sys.executable, "-c", "import time; time.sleep(600)"], timeout=1)
    assert time.monotonic() - began < SOON_S


def test_timings_are_read_from_what_the_command_prints() -> None:
    said = (
        "79.4 s of video in 9.7 s, 8.2× real time, 26 captions\n"
        "      detect    57.85 ms × 398, 17.10 ms of processor time\n        gate     1.61 ms × 398\n"
    )
    assert read_timings(said) == (79.4, 9.7, {"detect": (57.85, 398, 17.1), "gate": (1.61, 398, 0.0)})
    with pytest.raises(CannotRun):
        read_timings("nothing of the sort")


def test_slope_of_a_line_with_noise_on_both_sides() -> None:
    assert slope([(0, 1), (1, 3), (2, 5)]) == pytest.approx(2)
    assert slope([(0, 1), (1, 0), (2, 1)]) == pytest.approx(0)
    with pytest.raises(ValueError, match="two different"):
        slope([(1, 1), (1, 2)])


def test_scenes_are_the_same_for_the_same_seed_and_seen_in_part_where_asked() -> None:
    assert crowd(5, fps=5, seed=7, tiles=None) == crowd(5, fps=5, seed=7, tiles=None)
    assert crowd(5, fps=5, seed=7, tiles=None) != crowd(5, fps=5, seed=8, tiles=None)
    full, part = (scenes(look, seeds=(1,), rates=(5.0,), crowds=(6,)) for look in ("full", "two"))
    for whole, some in zip(full, part, strict=True):
        assert sum(len(m.seen) for m in some.moments) < 0.6 * sum(len(m.seen) for m in whole.moments)


def test_a_perfect_tracker_scores_one_and_swapped_identities_are_counted() -> None:
    scene = street(fps=5, seed=1, tiles=None)
    perfect = [{o.id: o.box for o in m.truth} for m in scene.moments]
    best = score(scene, perfect, 1.0)
    assert (best.mota, best.idf1, best.switches, best.fragments) == (1, 1, 0, 0)
    # The walker of the first 20 s is called by another name from 12 s on.
    half = [
        {(9 if k == 1 and m.t >= 12 else k): b for k, b in f.items()}
        for m, f in zip(scene.moments, perfect, strict=True)
    ]
    worse = score(scene, half, 1.0)
    assert worse.switches == 1
    assert worse.idf1 < 1
    silent = score(scene, [{} for _ in scene.moments], 1.0)
    assert (silent.mota, silent.idf1, silent.found) == (0, 0, 0)


@pytest.mark.parametrize("script", ["run.py", "speed.py", "quality.py", "trackers.py"])
def test_each_program_explains_itself(script: str) -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr
    assert "--quick" in done.stdout


@pytest.mark.parametrize("limit", [0, 1, 4, 7, 12, 13, 40, 99])
def test_the_largest_number_that_holds_is_found(limit: int) -> None:
    tried: list[int] = []

    def hold(number: int) -> bool:
        tried.append(number)
        return number <= limit

    assert largest(hold) == min(limit, 40)
    assert len(tried) == len(set(tried)) and len(tried) <= 13


@given(st.floats(1.6e9, 2.1e9), st.integers(0, 2**32 - 1), st.integers(-15, 15))
def test_a_clock_in_pixels_is_read_back_through_noise_and_scaling(wall: float, seed: int, level: int) -> None:
    rng = np.random.default_rng(seed)
    picture = rng.integers(0, 255, (72, 640, 3), np.uint8)
    stamp(picture, wall)
    noisy = np.clip(picture + rng.normal(level, 12, picture.shape), 0, 255).astype(np.uint8)
    found = read_clock(noisy, wall + 3.0)
    assert found is not None and abs(found - wall) < 0.001


def test_blocks_that_are_not_clear_are_no_clock() -> None:
    assert read_clock(np.full((72, 640, 3), 128, np.uint8), 1.7e9) is None


def gpu(*arguments: str) -> str:
    command = [sys.executable, "benchmarks/gpu.py", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG_S, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(gpu_present(), reason="there is a GPU here")
def test_without_a_gpu_its_benchmark_ends_at_once_and_says_what_was_not_run() -> None:
    said = gpu()
    assert said.startswith("not run:")
    for name in ITEMS:
        assert f"  {name}: there is no NVIDIA GPU" in said


@pytest.mark.engines
def test_the_gpu_benchmark_can_be_tried_on_a_processor(tmp_path: Path) -> None:
    said = gpu("--device", "cpu", "--quick", "--output", str(tmp_path / "gpu.json"))
    found = json.loads((tmp_path / "gpu.json").read_text("utf-8"))
    ways = {speed["how"] for speed in found["speeds"]}
    assert ways == {"torch eager", "ONNX Runtime CPU", "torch.compile (backend eager)"}
    assert all(speed["images_s"] > 0 for speed in found["speeds"])
    assert found["figures"]["matmul_tflops"]["fp32"] >= 0
    assert {"TensorRT", "NVDEC", "decode and encode", "encoders in FP8"} <= found["not_run"].keys()
    assert "plans run on a GPU only" in said


def test_a_vit_needs_what_is_published() -> None:
    """17.6 and 81 GFLOP of multiply-adds: An Image is Worth 16x16 Words, and OpenAI's ViT-L/14."""
    assert VIT_B16.flops / 2e9 == pytest.approx(17.6, rel=0.01)
    assert Vit(1024, 24, patch=14).flops / 2e9 == pytest.approx(81, rel=0.01)


@pytest.mark.weights
def test_the_default_encoder_is_timed(weights: Callable[[str], Path]) -> None:
    not_run: list[str] = []
    path = weights("clip-vit-b16-int8")
    (speed,) = time_runtime("ONNX Runtime", open_onnxruntime, "int8", path, 1, (1,), 1, not_run)
    assert speed.least_ms > 0
    assert not not_run


def test_the_micro_batcher_is_timed() -> None:
    found = batcher_overhead(32)
    assert set(found) == {"1", "4", "16"}
    assert all(figures["wall_ms"] > 0 for figures in found.values())


def test_a_number_of_streams_that_holds_by_the_machines_part_alone_is_told_apart() -> None:
    quick, doubted, late = [0.2] * 20, [0.2] * 18 + [4.2] * 2, [1.4] * 20
    assert load(quick, quick).holds and load(quick, quick).holds_whole
    assert load(quick, doubted).holds and not load(quick, doubted).holds_whole
    assert not load(late, late).holds and not load(late, late).holds_whole
    assert not load(quick, quick, fps=2.5).holds and not load(quick, quick, fps=2.5).holds_whole
    naive = Load(4, [5.0], [], [], 0.1, {}, 1.0, 1.0)
    assert naive.holds and naive.holds_whole


def load(ages: list[float], told: list[float], fps: float = 5.0) -> Load:
    return Load(12, [fps] * 12, ages, told, 0.0, {}, 1.0, 900.0)
