"""Final captions as WebVTT or SubRip cues, written as they come.

WebVTT: https://www.w3.org/TR/webvtt1/. A cue stays until the next one or until it has been read.
"""

from __future__ import annotations

from typing import Literal

__all__ = ["RunTimeline", "SubtitleTrack", "stamp"]

# Reading speed that subtitling guides for adults agree on (characters a second), and the shortest and longest hold.
READ_CPS = 17.0
SHORTEST_S = 1.5
LONGEST_S = 7.0
# Two captions of one moment: the first one flashes by, but stands in the file.
SHORTEST_CUE_S = 0.1
# Media time that goes back, and by more than this against the wall clock, has begun anew.
BEGUN_ANEW_S = 2.0


class RunTimeline:
    """Lays the runs of a stream on one time line: media seconds of the first run, which go on by the wall clock.

    The service lets media time go on over the runs of a stream. Another publisher may count from 0 again where watching
    begins anew, and subtitles must not go back.
    """

    def __init__(self) -> None:
        self._shift = 0.0
        self._last: tuple[float, float] | None = None  # on the time line, and its wall time

    def place(self, start: float, end: float, captured_at: float) -> tuple[float, float]:
        """Where a caption lies.

        Args:
            start, end: its media seconds.
            captured_at: wall time of ``end``, Unix seconds.
        """
        if self._last is not None:
            last, last_at = self._last
            back = last - (end + self._shift)
            if back > 0 and captured_at - last_at + back > BEGUN_ANEW_S:
                self._shift += back + max(0.0, captured_at - last_at)
        placed = (start + self._shift, end + self._shift)
        if self._last is None or placed[1] >= self._last[0]:
            self._last = (placed[1], captured_at)
        return placed


class SubtitleTrack:
    """Turns captions into cues; a cue is complete when the next one begins.

    Args:
        form: ``vtt`` or ``srt``.
    """

    def __init__(self, form: Literal["vtt", "srt"]) -> None:
        self._form = form
        self._count = 0
        self._held: tuple[float, float, str] | None = None
        self._free_from = 0.0

    def header(self) -> str:
        """What the file begins with."""
        return "WEBVTT\n\n" if self._form == "vtt" else ""

    def add(self, start: float, end: float, text: str) -> str:
        """Take in one caption and return the cue before it.

        Args:
            start, end: media seconds that the text speaks about; ``start`` is moved behind the cue before.
        """
        begin = max(end, self._free_from)
        done = self._release(until=begin)
        hold = min(LONGEST_S, max(SHORTEST_S, len(text) / READ_CPS))
        # Shown from when it is known: nobody wants to read of what is not yet to be seen.
        begin = max(begin, self._free_from)
        self._held = (begin, begin + hold, text)
        return done

    def finish(self) -> str:
        """The last cue."""
        return self._release(until=float("inf"))

    def _release(self, until: float) -> str:
        if self._held is None:
            return ""
        start, end, text = self._held
        self._held = None
        self._count += 1
        end = self._free_from = max(start + SHORTEST_CUE_S, min(end, until))
        body = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if self._form == "vtt" else text
        return f"{self._count}\n{stamp(start, self._form)} --> {stamp(end, self._form)}\n{body}\n\n"


def stamp(seconds: float, form: Literal["vtt", "srt"]) -> str:
    """``00:01:02.345``, with a comma in SubRip; the hours grow as long as the stream runs.

    Args:
        seconds: 0 or more.
    """
    whole, ms = divmod(round(seconds * 1000), 1000)
    minutes, whole = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{'.' if form == 'vtt' else ','}{ms:03d}"
