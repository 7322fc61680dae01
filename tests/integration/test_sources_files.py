"""Files through PyAV: made here with its own encoders, and the damaged and real ones that lie beside the checkout."""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest
from av.stream import Disposition
from av.video.stream import VideoStream

from streamcap.errors import NoVideo, SourceNotFound, SourceUnreadable, UsageError
from streamcap.sources import SourceOptions, nvdec, open_source
from streamcap.types import Frame, Notice, NoticeKind, SourceInfo
from tests.patience import LONG_S, PATIENCE_S

SHARED = Path(__file__).parents[2].parent / "shared"
STRESS = SHARED / "stress"
CLIPS = sorted(p for p in (SHARED / "clips").glob("*.*") if p.suffix in {".mp4", ".avi", ".mpg"})


def make(
    path: Path,
    stamps: list[float],
    *,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 48),
    rotation: float = 0,
    options: dict[str, str] | None = None,
    title: str = "",
) -> Path:
    """A clip whose pictures grow brighter with their number; in rotated ones the upper half is black."""
    with av.open(path, "w") as container:
        stream = cast(VideoStream, container.add_stream(codec, rate=25, options=options or {}))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 90_000)
        if title:
            container.metadata["title"] = title
        if rotation:
            stream.set_display_rotation(rotation)
        for number, stamp in enumerate(stamps):
            image = np.full((size[1], size[0], 3), 20 + number % 200, dtype=np.uint8)
            if rotation:
                image[:] = 255
                image[: size[1] // 2] = 0
            frame = av.VideoFrame.from_ndarray(image)
            frame.pts, frame.time_base = round(stamp * 90_000), Fraction(1, 90_000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@dataclass
class Read:
    info: SourceInfo
    frames: list[Frame]
    notices: list[Notice]
    decoded: int
    drops: int

    @property
    def times(self) -> list[float]:
        return [f.pts for f in self.frames]

    def told(self, kind: NoticeKind) -> list[Notice]:
        return [n for n in self.notices if n.kind is kind]


async def read(uri: Path | str, *, most: int = 1_000_000, **values: Any) -> Read:
    notices: list[Notice] = []
    options = SourceOptions(stream="s", on_notice=notices.append, **values)
    frames: list[Frame] = []
    async with open_source(str(uri), options) as source:
        async for frame in source.frames():
            frames.append(frame)
            if len(frames) == most:
                break
    times = [f.pts for f in frames]
    assert all(a < b for a, b in itertools.pairwise(times))
    assert all(a.index < b.index for a, b in itertools.pairwise(frames))
    assert all(f.image.dtype == np.uint8 and not f.image.flags.writeable and f.image.shape[2] == 3 for f in frames)
    return Read(source.info, frames, notices, source.decoded, source.drops)


def even(count: int, rate: float = 25.0) -> list[float]:
    return [n / rate for n in range(count)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.ts", "strange :name%20?.mp4"])
async def test_everything_is_decoded_and_what_is_wanted_handed_over(tmp_path: Path, name: str) -> None:
    codec = "mpeg4" if name.endswith("avi") else "libx264"
    if codec == "mpeg4":
        with av.open(tmp_path / name, "w") as container:  # AVI has no stamps, only a rate
            stream = container.add_stream("mpeg4", rate=25)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for number in range(100):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), number, np.uint8))))
            container.mux(stream.encode(None))
    else:
        make(tmp_path / name, even(100))
    got = await read(tmp_path / name, fps=5)
    assert got.decoded == 100
    assert got.drops == 0
    assert got.times == pytest.approx(even(20, 5.0), abs=0.002)
    assert [f.index for f in got.frames] == list(range(0, 100, 5))
    assert got.info == SourceInfo(str(tmp_path / name), False, 64, 48, 25.0, got.info.duration)
    assert got.info.duration == pytest.approx(4.0, abs=0.1)
    assert got.notices == []
    assert abs(got.frames[-1].captured_at - time.time()) < PATIENCE_S
    levels = [int(f.image.mean()) for f in got.frames]
    assert levels == sorted(levels)
    assert levels[-1] - levels[0] > 80


async def test_a_relative_path_and_a_loop_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path / "a.mp4", even(10))
    monkeypatch.chdir(tmp_path)
    assert (await read("a.mp4?loop=0", fps=25)).decoded == 10


async def test_times_come_from_the_stamps(tmp_path: Path) -> None:
    stamps = [0.0, 0.1, 0.2, 1.2, 2.2, 2.25, 9.0, 19.0]
    got = await read(make(tmp_path / "a.mkv", stamps), fps=1000)
    assert got.times == pytest.approx(stamps, abs=0.002)
    assert got.told(NoticeKind.DISCONTINUITY) == []


async def test_a_clip_that_does_not_begin_at_zero(tmp_path: Path) -> None:
    got = await read(make(tmp_path / "a.ts", [50.0 + t for t in even(20)]), fps=25)
    assert got.times == pytest.approx(even(20), abs=0.002)


@pytest.mark.parametrize(
    ("size", "most", "shape"), [((64, 48), 32, (24, 32)), ((48, 96), 64, (64, 32)), ((64, 48), 64, (48, 64))]
)
async def test_large_pictures_are_scaled_down(
    tmp_path: Path, size: tuple[int, int], most: int, shape: tuple[int, int]
) -> None:
    got = await read(make(tmp_path / "a.mp4", even(5), size=size), max_side=most)
    assert got.frames[0].image.shape[:2] == shape
    assert (got.info.height, got.info.width) == shape


@pytest.mark.parametrize(
    ("rotation", "black"),
    [(90, "left"), (-90, "right"), (180, "bottom")],  # counter-clockwise, as the display matrix says
)
async def test_a_turned_clip_is_shown_upright(tmp_path: Path, rotation: float, black: str) -> None:
    got = await read(make(tmp_path / "a.mp4", even(5), rotation=rotation))
    image = got.frames[0].image
    height, width = image.shape[:2]
    assert (width, height) == ((64, 48) if rotation == 180 else (48, 64)) == (got.info.width, got.info.height)
    halves = {
        "left": image[:, : width // 2 - 2],
        "right": image[:, width // 2 + 2 :],
        "bottom": image[height // 2 + 2 :],
    }
    assert halves[black].mean() < 10
    assert image.mean() == pytest.approx(128, abs=15)


@pytest.mark.parametrize("start", [0.5, 3.0, 7.3])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
async def test_from_and_to(tmp_path: Path, name: str, start: float) -> None:
    path = make(tmp_path / name, [20.0 + t for t in even(250)] if name == "a.ts" else even(250), options={"g": "50"})
    got = await read(path, fps=25, start=start, end=start + 1.0)
    assert got.times == pytest.approx([t for t in even(250) if start <= t + 1e-6 < start + 1.0], abs=0.002)
    assert got.frames[0].image.mean() == pytest.approx(20 + round(got.times[0] * 25) % 200, abs=4)
    if name != "a.ts" and start > 2:  # only as much is decoded as the key frame before asks for
        assert got.decoded <= 50 + 26
    assert got.notices == []


async def test_from_behind_the_end_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="after the end"):
        await read(make(tmp_path / "a.mp4", even(50)), start=60)


async def test_a_file_in_real_time_takes_its_time_and_says_when_it_was_shown(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", even(15))
    begun = time.monotonic()
    got = await read(tmp_path / "a.mp4", realtime=True, fps=25)
    assert time.monotonic() - begun >= 0.56
    assert got.info.live
    assert got.info.duration == pytest.approx(0.6, abs=0.05)
    assert got.decoded == 15
    assert len(got.frames) + got.drops == 15
    shown = [f.captured_at - f.pts for f in got.frames]
    assert max(shown) - min(shown) < 0.01


async def test_a_looped_file_is_live_and_has_no_seam(tmp_path: Path) -> None:
    make(tmp_path / "a.mp4", even(10))
    got = await read(f"{tmp_path / 'a.mp4'}?loop=1", fps=25, most=25)
    assert got.info.live
    assert got.info.duration is None
    steps = {round((b.pts - a.pts) / (b.index - a.index), 3) for a, b in itertools.pairwise(got.frames)}
    assert steps == {0.04}
    assert got.notices == []


async def test_a_looped_file_that_goes_away_is_an_error(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", even(5))
    async with open_source(f"{path}?loop=1", SourceOptions(stream="s")) as source:
        path.unlink()
        with pytest.raises(SourceNotFound):
            async for _ in source.frames():
                pass


async def test_a_file_that_is_cut_short_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", even(250), options={"g": "25", "b": "400k"})
    os.truncate(path, path.stat().st_size // 2)
    got = await read(path)
    (note,) = got.told(NoticeKind.TRUNCATED)
    assert "its header promises 10.0 s" in note.detail
    assert 1 < len(got.frames) < 45


async def test_a_title_in_an_unknown_encoding_does_no_harm(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", even(5), title="XXXX")
    data = path.read_bytes()
    assert b"XXXX" in data
    path.write_bytes(data.replace(b"XXXX", b"\xe9\xff\xfe!"))
    assert (await read(path)).decoded == 5


async def test_damage_is_counted_and_the_rest_is_seen(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    with av.open(tmp_path / "a.ts", "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"g": "10"})
        stream.width, stream.height, stream.pix_fmt = 128, 96, "yuv420p"
        for _ in range(100):
            image = rng.integers(0, 255, (96, 128, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    data = bytearray((tmp_path / "a.ts").read_bytes())
    for at in rng.integers(len(data) // 3, len(data), 60):
        data[at] ^= 0xFF
    (tmp_path / "a.ts").write_bytes(data)
    got = await read(tmp_path / "a.ts", fps=25)
    assert len(got.frames) > 60
    assert 1 <= len(got.told(NoticeKind.DAMAGE)) <= 3


def silent(path: Path, *, cover: bool = False) -> Path:
    """A file with sound and no moving picture."""
    with av.open(path, "w") as container:
        sound = container.add_stream("aac", rate=16_000)
        if cover:
            picture: VideoStream = container.add_stream("mjpeg", rate=25)
            picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
            picture.disposition = Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame(32, 32, "yuvj420p")))
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), "fltp", "mono")
        frame.sample_rate = 16_000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))
    return path


async def test_what_cannot_be_opened_says_why(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "random.mp4").write_bytes(np.random.default_rng(1).bytes(50_000))
    (tmp_path / "notes.txt").write_text("no film\n" * 500)
    whole = make(tmp_path / "whole.mp4", even(250))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:4000])
    os.mkfifo(tmp_path / "pipe")
    for name, kind, words in [
        ("none.mp4", SourceNotFound, "no such file"),
        ("none/none.mp4", SourceNotFound, "no such file"),
        ("whole.mp4/none.mp4", SourceUnreadable, "Not a directory"),
        ("pipe", SourceUnreadable, "not a regular file"),
        ("empty.mp4", SourceUnreadable, "is empty"),
        ("random.mp4", SourceUnreadable, "not a media file that can be read"),
        ("notes.txt", SourceUnreadable, "not a media file that can be read"),
        ("cut.mp4", SourceUnreadable, r"the MP4 index \(moov\) is missing"),
        (silent(tmp_path / "sound.m4a").name, NoVideo, "audio only"),
    ]:
        with pytest.raises(kind, match=words) as caught:
            await read(tmp_path / name)
        assert "\n" not in str(caught.value)
        assert caught.value.hint


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
async def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", even(5))
    path.chmod(0)
    with pytest.raises(SourceUnreadable, match="permission denied"):
        await read(path)


async def test_cover_art_is_no_video(tmp_path: Path) -> None:
    with pytest.raises(NoVideo, match="audio only"):
        await read(silent(tmp_path / "song.mp4", cover=True))


def test_nothing_but_our_own_words_reaches_the_terminal(tmp_path: Path) -> None:
    whole = make(tmp_path / "whole.mp4", even(250))
    (tmp_path / "cut.mp4").write_bytes(whole.read_bytes()[:4000])
    program = (
        "import asyncio, sys\n"
        "from streamcap.sources import open_source, SourceOptions\n"
        "async def main():\n"
        "    async with open_source(sys.argv[1], SourceOptions(stream='s')) as s:\n"
        "        async for _ in s.frames(): pass\n"
        "try: asyncio.run(main())\n"
        "except Exception as e: print(type(e).__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "cut.mp4"],
        capture_output=True,
        text=True,
        check=True,
        timeout=LONG_S,
    )
    assert done.stdout == "SourceUnreadable\n"
    assert done.stderr == ""


@pytest.mark.parametrize("delay", [0.0, 0.005, 0.05, 0.2])
async def test_cancelled_anywhere_it_leaves_nothing(tmp_path: Path, delay: float) -> None:
    path = make(tmp_path / "a.mp4", even(500))
    watching = asyncio.create_task(read(f"{path}?loop=1"))
    await asyncio.sleep(delay)
    watching.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watching


# ---- the files beside the checkout


def stress(name: str) -> Path:
    if not (STRESS / name).exists():
        pytest.skip(f"{name} is not beside the checkout")
    return STRESS / name


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("truncated_no_moov.mp4", SourceUnreadable, r"index \(moov\) is missing"),
        ("empty.mp4", SourceUnreadable, "is empty"),
        ("random_bytes.mp4", SourceUnreadable, "not a media file that can be read"),
        ("audio_only.m4a", NoVideo, "audio only"),
        ("audio_only.wav", NoVideo, "audio only"),
    ],
)
async def test_stress_that_cannot_be_watched(name: str, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words):
        await read(stress(name))


async def test_stress_truncated() -> None:
    got = await read(stress("truncated_faststart.mp4"))
    assert 214 < got.decoded < 218  # the packet that was cut may take its neighbours with it
    (note,) = got.told(NoticeKind.TRUNCATED)
    assert "its header promises 30.2 s" in note.detail


async def test_stress_bit_flips() -> None:
    got = await read(stress("corrupt_bitflips.ts"))
    assert got.decoded > 280
    assert 23 < got.times[-1] < 24.5
    assert 2 <= len(got.told(NoticeKind.DAMAGE)) <= 5


async def test_stress_resolution_change() -> None:
    got = await read(stress("resolution_change.ts"))
    shapes = [key for key, _ in itertools.groupby(f.image.shape[:2] for f in got.frames)]
    assert shapes == [(576, 768), (288, 384), (720, 1280)]
    changes = got.told(NoticeKind.RESOLUTION)
    assert [n.at for n in changes] == pytest.approx([8.0, 16.0], abs=0.2)
    assert "384×288 now, and was 768×576" in changes[0].detail


async def test_stress_rollover() -> None:
    got = await read(stress("pts_rollover.ts"), fps=25, max_side=160)
    assert got.decoded == 375
    assert got.times == pytest.approx(even(375), abs=0.01)
    assert got.notices == []


async def test_stress_jumps() -> None:
    got = await read(stress("timestamp_jumps.ts"), fps=25, max_side=160)
    assert got.decoded == 750
    assert got.times == pytest.approx(even(750), abs=0.1)
    assert [n.at for n in got.told(NoticeKind.DISCONTINUITY)] == pytest.approx([10.0, 20.0], abs=0.1)
    begun_later = await read(stress("timestamp_jumps.ts"), fps=25, max_side=160, start=15.0, end=25.0)
    assert begun_later.times == pytest.approx([t for t in got.times if 15 <= t < 25])


async def test_stress_variable_rate() -> None:
    got = await read(stress("vfr.mp4"), fps=30)
    steps = [b - a for a, b in itertools.pairwise(got.times)]
    assert steps[10] == pytest.approx(0.1, abs=0.01)
    assert steps[-2] == pytest.approx(1.0, abs=0.01)
    assert got.times[-1] == pytest.approx(39.0, abs=0.1)
    assert got.notices == []


async def test_stress_half_an_hour_of_nothing() -> None:
    got = await read(stress("static_30min.mp4"), fps=0.2, max_side=160)
    assert got.decoded == 9000
    assert len(got.frames) == 360
    assert got.notices == []


@pytest.mark.clips
@pytest.mark.parametrize("path", CLIPS or [None], ids=lambda p: p.name if p else "none")
async def test_real_clips(path: Path | None) -> None:
    if path is None:
        pytest.skip("the real clips are not beside the checkout")
    got = await read(path, max_side=160)
    assert got.info.duration is not None
    assert len(got.frames) == pytest.approx(min(got.decoded, got.info.duration * 5.0), rel=0.1)
    assert got.times[-1] == pytest.approx(got.info.duration, abs=0.5)
    assert got.notices == []
    half = got.info.duration / 2
    later = await read(path, start=half, max_side=160)
    assert later.times[0] >= half
    assert later.times[0] - half < 0.6
    assert later.times[-1] == pytest.approx(got.times[-1], abs=0.2)
    assert later.decoded <= got.decoded


@pytest.mark.parametrize("shown", ["no device", "a device that refuses"])
async def test_where_no_gpu_decodes_the_processor_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shown: str
) -> None:
    if not nvdec.trouble():
        pytest.skip("a GPU decodes here")
    if shown != "no device":  # the driver answers, and then there is no session to be had
        monkeypatch.setattr(nvdec, "trouble", lambda: "")
    path = make(tmp_path / "clip.mp4", [n / 25 for n in range(10)])
    wanted = await read(path, fps=25)
    found = await read(path, fps=25, gpu_decode=True)
    assert len(found.frames) == len(wanted.frames) == 10
    assert all(np.array_equal(one.image, other.image) for one, other in zip(found.frames, wanted.frames, strict=True))
    with pytest.raises(SourceNotFound):
        await read(tmp_path / "none.mp4", gpu_decode=True)


def test_pictures_stay_on_the_gpu_until_they_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvdec, "trouble", lambda: "")
    wanted = nvdec.nvdec()
    assert wanted is not None
    assert wanted.is_hw_owned
    assert wanted.options == {"primary_ctx": "0"}, "networks may have made the primary context already"
