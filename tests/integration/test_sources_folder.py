"""A folder of files as one stream."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from streamcap.errors import SourceNotFound, SourceUnreadable, UsageError
from streamcap.sources import check
from streamcap.types import NoticeKind
from tests.integration.test_sources_files import even, make, read


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pieces of a second each, of two sizes, and what else lies in such folders."""
    make(tmp_path / "part2.mp4", even(25))
    make(tmp_path / "part10.ts", [70.0 + t for t in even(25)], size=(96, 64))
    make(tmp_path / "part1.mkv", even(25))
    (tmp_path / "notes.txt").write_text("no film")
    (tmp_path / ".hidden.mp4").write_bytes(b"x")
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "more").mkdir()
    return tmp_path


async def test_its_files_are_one_stream_in_natural_order(folder: Path) -> None:
    got = await read(folder, fps=25)
    assert got.times == pytest.approx(even(75), abs=0.01)
    assert [f.image.shape[1] for f in got.frames[::25]] == [64, 64, 96]
    assert not got.info.live
    assert got.info.uri == str(folder)
    assert [n.kind for n in got.notices] == [NoticeKind.RESOLUTION]
    assert got.drops == 0


async def test_a_part_of_it(folder: Path) -> None:
    got = await read(folder, fps=25, start=0.5, end=1.5)
    assert got.times == pytest.approx([t for t in even(75) if 0.5 <= t < 1.5], abs=0.01)


async def test_looped_it_is_live_and_goes_on_without_a_seam(folder: Path) -> None:
    make(folder / "more" / "a.mp4", even(5))
    make(folder / "more" / "b.mp4", even(5))
    got = await read(f"{folder / 'more'}?loop=1", fps=25, most=14)
    assert got.info.live
    steps = {round((b.pts - a.pts) / (b.index - a.index), 3) for a, b in itertools.pairwise(got.frames)}
    assert steps == {0.04}
    assert got.notices == []


@pytest.mark.parametrize("name", ["part0.mp4", "part3.mp4", "part99.mp4"])
async def test_a_broken_file_is_told_of_and_passed_over(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"nothing that could be shown" * 100)
    got = await read(folder, fps=25)
    assert len(got.frames) == 75
    (note,) = got.told(NoticeKind.DAMAGE)
    assert name in note.detail


@pytest.mark.parametrize("name", ["part0.mp4", "part99.mp4"])
async def test_a_broken_file_does_not_end_a_looped_folder(folder: Path, name: str) -> None:
    (folder / name).write_bytes(b"nothing that could be shown" * 100)
    got = await read(f"{folder}?loop=1", fps=5, most=36)  # 15 a round, at its own speed
    assert len(got.frames) == 36
    (note,) = got.told(NoticeKind.DAMAGE)
    assert name in note.detail


async def test_what_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="holds no video files"):
        check(str(tmp_path))
    (tmp_path / "a.mp4").write_bytes(b"nothing that could be shown" * 100)
    for uri in (str(tmp_path), f"{tmp_path}?loop=1"):
        check(uri)
        with pytest.raises(SourceUnreadable, match="not a media file") as caught:
            await read(uri)
        assert caught.value.hint


async def test_an_unknown_option(folder: Path) -> None:
    with pytest.raises((UsageError, SourceNotFound)):
        await read(f"{folder}?loop=maybe")
