"""Final captions as live WebVTT in HLS (RFC 8216): a sliding playlist of segments, each of which never changes.

Segments lie on the wall clock: number ``n`` covers Unix seconds ``n * SEGMENT_S`` up to the next one. So every server,
also one that was restarted, cuts the same segments under the same numbers, and a playlist follows from the time alone.

A segment is published a fixed while after its time is over, and a caption that comes late is shown as much later: what
has been published therefore holds all that will ever be in it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

from streamcap.subtitles import LONGEST_S, READ_CPS, SHORTEST_S, stamp
from streamcap.types import CaptionKind, CaptionStatus
from streamcap.wire import CaptionMessage, DurableMessage, StatusMessage, StreamState

__all__ = ["SEGMENT_S", "WINDOW", "LiveTrack"]

SEGMENT_S: Final = 4  # whole seconds: the target duration is exact
WINDOW: Final = 15  # segments in a playlist, one minute; a player needs three
# A caption may be this late without being shown any later than what it speaks of. Grounded text takes tenths.
LATE_S: Final = 2.0
# Beyond that for the commit of a caption that is as late as it may be.
COMMIT_S: Final = 1.0
# RFC 8216, 6.2.2: a segment is there for its own length and that of the longest playlist after it has left that.
KEPT: Final = 2 * WINDOW + 2
CUES_MAX: Final = 1000  # within two minutes; what publishes more is no text that anybody reads

_TICKS: Final = 90_000  # of MPEG-2 time, a second
_WRAP: Final = 2**33
_ORIGIN_BACK_S: Final = 3600  # cue times count from here, and none that is still shown lies before


@dataclass(frozen=True, slots=True)
class _Cue:
    id: str
    start: float  # Unix seconds
    end: float
    text: str
    gone: float = math.inf  # Unix seconds at which the caption was taken back


class LiveTrack:
    """The live subtitles of one stream. Pure: whoever asks says what time it is.

    Args:
        now: Unix seconds; cue times count from an hour before.
    """

    def __init__(self, now: float) -> None:
        self._origin = (math.floor(now - _ORIGIN_BACK_S) // SEGMENT_S) * SEGMENT_S
        self._cues: dict[str, _Cue] = {}
        self._ended: float | None = None

    def take(self, message: DurableMessage) -> None:
        """Take in the next durable message of the stream."""
        if isinstance(message, StatusMessage):
            self._ended = message.at.timestamp() if message.state is StreamState.ENDED else None
        elif isinstance(message, CaptionMessage):
            if message.status is CaptionStatus.RETRACTED:
                if message.id in self._cues:
                    gone = message.at.timestamp()
                    self._cues[message.id] = replace(self._cues[message.id], gone=gone)
            elif message.kind is not CaptionKind.SUMMARY:
                self._add(message)

    def playlist(self, now: float) -> str:
        """The media playlist at Unix second ``now``: always ``WINDOW`` segments, empty where nothing was said."""
        last, over = self._last(now)
        first = last - WINDOW + 1
        began = datetime.fromtimestamp(first * SEGMENT_S, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:3",
            f"#EXT-X-TARGETDURATION:{SEGMENT_S}",
            f"#EXT-X-MEDIA-SEQUENCE:{first}",
            f"#EXT-X-PROGRAM-DATE-TIME:{began}",
        ]
        for number in range(first, last + 1):
            lines += [f"#EXTINF:{SEGMENT_S:.3f},", f"live/{number}.vtt"]
        if over:
            lines.append("#EXT-X-ENDLIST")
        return "\n".join(lines) + "\n"

    def segment(self, number: int, now: float) -> str | None:
        """A segment at Unix second ``now``, None where it is not there yet or not any more."""
        last, _ = self._last(now)
        if not last - KEPT < number <= last:
            return None
        start, end = number * SEGMENT_S, (number + 1) * SEGMENT_S
        ticks = self._origin * _TICKS % _WRAP
        parts = [f"WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:{ticks},LOCAL:00:00:00.000\n"]
        # Whole, also where they begin before or end after the segment: RFC 8216, 3.5.
        shown = [each for each in self._cues.values() if each.start < end and each.end > start and each.gone > end]
        parts += [
            f"{cue.id}\n{self._stamp(cue.start)} --> {self._stamp(cue.end)}\n{_escape(cue.text)}\n"
            for cue in sorted(shown, key=lambda each: (each.start, each.id))
            if cue.start >= self._origin
        ]
        # An empty line at the end, too: some players read segments as one file.
        return "\n".join([*parts, ""])

    def forget(self, now: float) -> None:
        """Let go of what no segment shows any more."""
        before = (self._last(now)[0] - KEPT) * SEGMENT_S
        self._cues = {key: cue for key, cue in self._cues.items() if cue.end > before}

    def _add(self, caption: CaptionMessage) -> None:
        # From when it is known, as a viewer of the video would want it, but not where segments are published already.
        start = max(caption.captured_at.timestamp(), caption.emitted_at.timestamp() - LATE_S)
        hold = min(LONGEST_S, max(SHORTEST_S, len(caption.text) / READ_CPS))
        # The end is fixed now, not by the caption that follows: an earlier segment has shown it, and may not be wrong.
        self._cues.setdefault(caption.id, _Cue(_name(caption.id), start, start + hold, caption.text))
        while len(self._cues) > CUES_MAX:
            del self._cues[next(iter(self._cues))]

    def _last(self, now: float) -> tuple[int, bool]:
        """The newest published segment, and whether none follows."""
        last = math.floor((now - LATE_S - COMMIT_S) / SEGMENT_S) - 1
        if self._ended is None:
            return last, False
        final = math.floor(max([self._ended, *(cue.end for cue in self._cues.values())]) / SEGMENT_S)
        return min(last, final), last >= final

    def _stamp(self, at: float) -> str:
        return stamp(at - self._origin, "vtt")


def _escape(text: str) -> str:
    line = " ".join(text.split())
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _name(caption_id: str) -> str:
    """A cue's name: on one line, and without what begins its times."""
    return " ".join(caption_id.replace("-->", "").split()) or "caption"
