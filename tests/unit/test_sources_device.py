"""What is told of a device that gives no pictures. There is no camera here: the system's own errors stand in for it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import av
import pytest

from streamcap.errors import SourceError, SourceNotFound, SourceUnreadable
from streamcap.sources import SourceOptions, open_source, parse
from streamcap.sources.av_errors import explain


@pytest.mark.parametrize(
    ("make", "kind", "words"),
    [
        ("nothing", SourceNotFound, "no such device"),
        ("file", SourceUnreadable, "it is no camera"),
        ("folder", SourceUnreadable, "it is no camera"),
        ("pipe", SourceUnreadable, "it is no camera"),
        ("/dev/null", SourceUnreadable, "it is no camera"),
    ],
)
async def test_what_is_no_camera(make: str, kind: type[SourceError], words: str, tmp_path: Path) -> None:
    path = tmp_path / "it"
    if make == "file":
        path.write_text("no video")
    elif make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)  # without a writer it would hold whoever opens it
    elif make.startswith("/"):
        path = Path(make)
    with pytest.raises(kind, match=words) as caught:
        await open_source(f"device:{path}", SourceOptions(stream="s")).open()
    assert str(caught.value) == f"device:{path}: {words}"
    assert caught.value.hint


@pytest.mark.parametrize(
    ("number", "kind", "words", "hint"),
    [
        (errno.EBUSY, SourceUnreadable, "another program uses it", "end that program"),
        (errno.EACCES, SourceUnreadable, "permission denied", "group video"),
        (errno.ENODEV, SourceUnreadable, "it gives no pictures", "first number"),
        (errno.EINVAL, SourceUnreadable, "no such picture size, rate or format", "v4l2-ctl --list-formats-ext"),
        (errno.ENXIO, SourceNotFound, "no such device", "ls /dev/video*"),
        (errno.EIO, SourceUnreadable, "Input/output error", "plugged in"),
    ],
)
def test_what_a_camera_that_is_asked_for_pictures_fails_with(
    number: int, kind: type[SourceError], words: str, hint: str
) -> None:
    with pytest.raises(av.FFmpegError) as caught:
        av.error.err_check(-number, "/dev/video0")
    told = explain(caught.value, parse("device:/dev/video0?size=1280x720"), waited=0.1, timeout=10)
    assert type(told) is kind
    assert words in str(told) and hint in told.hint
