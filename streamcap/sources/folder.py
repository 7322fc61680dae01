"""A folder of video files, played one after the other as one stream: recordings that a camera cut into pieces."""

from __future__ import annotations

import re
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

from streamcap.errors import SourceError, SourceNotFound, SourceUnreadable
from streamcap.sources.address import Address
from streamcap.sources.av_session import AvSession
from streamcap.sources.av_source import AvSource
from streamcap.sources.options import SourceOptions
from streamcap.sources.session import After, Picture, Session
from streamcap.types import NoticeKind, SourceInfo

__all__ = ["FolderSource", "videos"]

# By name, because opening whatever lies in a folder to see what it is would take minutes; not by MIME type, because to
# many systems .ts is a translation.
_VIDEO_SUFFIXES = frozenset(
    {
        *(".264", ".265", ".3gp", ".asf", ".avi", ".dav", ".f4v", ".flv", ".h264", ".h265", ".hevc", ".ivf", ".m2ts"),
        *(".m4v", ".mjpeg", ".mjpg", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".mxf", ".nut", ".ogv", ".ts"),
        *(".vob", ".webm", ".wmv", ".y4m"),
    }
)


def videos(address: Address) -> list[Path]:
    """The videos of a folder, in the order of their names, numbers by value (2 before 10).

    Left out are hidden files, empty ones, and those whose names do not end like a video's.

    Raises:
        SourceNotFound: there are none.
        SourceUnreadable: the folder may not be read.
    """
    try:
        files = [path for path in Path(address.target).iterdir() if _may_be_video(path)]
    except OSError as error:
        raise SourceUnreadable(f"{address.shown} cannot be read: {error.strerror}", hint="check its mode") from None
    if not files:
        raise SourceNotFound(f"{address.shown} holds no video files", hint="put some in, or give one file")
    return sorted(files, key=_natural)


class FolderSource(AvSource):
    """The files of a folder as one stream, without a seam; for ever where the address says ``?loop=1``.

    A file that cannot be read is told of and passed over. The folder is looked at when it is opened, and again at the
    start of each round.

    Args:
        address: what to open.
    """

    def __init__(self, address: Address, options: SourceOptions) -> None:
        super().__init__(address, options)
        self._left: list[Path] = []
        self._passed: set[Path] = set()

    def _connect(self, *, first: bool) -> Session:
        error: SourceError | None = None
        # What is left of this round; where nothing of that can be read, the next one begins.
        for _ in range(2 if self._address.loop and not first else 1):
            if first or not self._left:
                self._left = videos(self._address)
            while self._left:
                path = self._left.pop(0)
                try:
                    return self._session(path)
                except SourceError as exc:
                    self._check_stop()
                    error = exc
                    self._pass_over(path, error)
        if self._last is None or self._address.loop:
            raise error or SourceUnreadable(f"{self.shown} holds nothing that can be read", hint="are these videos?")
        return _Nothing(self.info)

    def _pass_over(self, path: Path, error: SourceError) -> None:
        """Tell of a file that cannot be read, once: in the next round that is no news."""
        if path not in self._passed:
            self._passed.add(path)
            self._emit(NoticeKind.DAMAGE, self._last[0] if self._last else 0.0, f"passed over: {error}")

    def _session(self, path: Path) -> AvSession:
        # The name alone: where the folder lies is known, and one file must not loop by itself.
        address = replace(self._address, target=str(path), shown=path.name, loop=False)
        options = replace(self._options, start=None, end=None, realtime=self._options.realtime or self._address.loop)
        session = AvSession(address, options, self._reporter, self._stop)
        session.info = replace(session.info, uri=self.shown, duration=None)
        if self._left or self._address.loop:
            session.after = After.NEXT
        return session


class _Nothing(Session):
    """What follows where the last files of a folder cannot be read."""

    def __init__(self, info: SourceInfo) -> None:
        self.info = info

    def pictures(self) -> Generator[Picture, None, None]:
        yield from ()


def _may_be_video(path: Path) -> bool:
    named = path.suffix.casefold() in _VIDEO_SUFFIXES and not path.name.startswith(".")
    return named and path.is_file() and path.stat().st_size > 0


def _natural(path: Path) -> list[tuple[int, str]]:
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]
