"""Final captions as WebVTT or SubRip cues, written as they come.

WebVTT: https://www.w3.org/TR/webvtt1/. A cue stays until the next one or until it has been read.
"""

from __future__ import annotations

from typing import Literal

from pysubs2.formats.subrip import SubripFormat
from pysubs2.formats.webvtt import WebVTTFormat

__all__ = ["SubtitleTrack"]

# Reading speed that subtitling guides for adults agree on (characters a second), and the shortest and longest hold.
READ_CPS = 17.0
SHORTEST_S = 1.5
LONGEST_S = 7.0


class SubtitleTrack:
    """Turns captions into cues; a cue is complete when the next one begins.

    Args:
        form: ``vtt`` or ``srt``.
    """

    def __init__(self, form: Literal["vtt", "srt"]) -> None:
        self._form = form
        self._count = 0
        self._held: tuple[float, float, str] | None = None

    def header(self) -> str:
        """What the file begins with."""
        return "WEBVTT\n\n" if self._form == "vtt" else ""

    def add(self, start: float, end: float, text: str) -> str:
        """Take in one caption and return the cue before it.

        Args:
            start, end: media seconds that the text speaks about; ``start`` is moved behind the cue before.
        """
        done = self._release(until=end)
        hold = min(LONGEST_S, max(SHORTEST_S, len(text) / READ_CPS))
        # Shown from when it is known: nobody wants to read of what is not yet to be seen.
        self._held = (end, end + hold, text)
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
        end = max(start + 0.001, min(end, until))
        stamp = WebVTTFormat.ms_to_timestamp if self._form == "vtt" else SubripFormat.ms_to_timestamp
        body = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;") if self._form == "vtt" else text
        return f"{self._count}\n{stamp(round(start * 1000))} --> {stamp(round(end * 1000))}\n{body}\n\n"
