"""What ``streamcap caption`` writes: text for people, JSON lines for programs, subtitles for players."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Literal, Protocol, TextIO

from rich.console import Console
from rich.text import Text

from streamcap.errors import UsageError
from streamcap.subtitles import SubtitleTrack
from streamcap.types import CaptionKind, CaptionStatus, Instance
from streamcap.wire import (
    CaptionMessage,
    DurableMessage,
    EventMessage,
    GapMessage,
    Message,
    PublishableMessage,
    StatusMessage,
    StreamState,
    encode,
    is_durable,
    numbered,
)

__all__ = ["FileFeed", "Format", "LineConsole", "ReaderGone", "Writer", "line_of", "reader_may_go", "writer_for"]

SIGNS = {CaptionKind.FULL: "=", CaptionKind.DIFF: "+", CaptionKind.SUMMARY: "Σ", CaptionKind.COMMENTARY: "»"}
STYLES = {CaptionKind.FULL: "bold", CaptionKind.DIFF: "green", CaptionKind.SUMMARY: "cyan", CaptionKind.COMMENTARY: ""}
QUIET_STATES = {StreamState.CONNECTING, StreamState.LIVE, StreamState.ENDED}


class Format(StrEnum):
    """How captions are written."""

    TEXT = "text"
    JSONL = "jsonl"
    VTT = "vtt"
    SRT = "srt"


class Writer(Protocol):
    """Writes durable messages one by one; each call leaves the file whole and flushed."""

    def write(self, message: DurableMessage) -> None:
        """Write one message, or leave it out where the format has no place for it."""
        ...

    def finish(self) -> None:
        """Write what was held back."""
        ...


def clock(seconds: float) -> str:
    """``12:03.4``, with hours only where there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest / 10:04.1f}" if hours else f"{minutes:02d}:{rest / 10:04.1f}"


def line_of(message: Message, *, events: bool) -> Text | None:
    """One message as a line for a person: time, sign, sentence. None for what a person need not read."""
    if isinstance(message, CaptionMessage):
        draft = message.status in (CaptionStatus.OPEN, CaptionStatus.UPDATE)
        sign = "~" if draft else "x" if message.status is CaptionStatus.RETRACTED else SIGNS[message.kind]
        text = message.text or "(the draft is withdrawn)"
        line = _line(message.end, sign, text, "dim" if draft else STYLES[message.kind])
        if message.conflicts and message.source != "grounded":  # one that was overruled need not be known
            against = "; ".join(f"“{each.said}”: {each.perceived}" for each in message.conflicts)
            line.append(f"  ≠ {against}", "yellow")
        return line
    if isinstance(message, EventMessage) and events:
        return _line(message.end, "!", f"{message.text} [{message.label} {message.saliency:.2f}]", "yellow")
    if isinstance(message, GapMessage):
        return _line(message.end, "#", f"not watched from {clock(message.start)}: {message.reason}", "magenta")
    if isinstance(message, StatusMessage) and (
        message.state not in QUIET_STATES or message.reason in ("resolution", "discontinuity", "recovered")
    ):
        return Text(f"         #  {message.state}: {message.detail or message.reason}", "magenta")
    return None


def _line(seconds: float, sign: str, text: str, style: str) -> Text:
    return Text.assemble((f"{clock(seconds):>7}", "dim"), "  ", (sign, style), "  ", (text, style))


class ReaderGone(Exception):
    """Who read the output has closed it (``streamcap … | head``): a reason to end, and no fault.

    Not an ``OSError``: typer would end the process on one, with exit code 1.
    """


@contextmanager
def reader_may_go() -> Iterator[None]:
    """Raise :class:`ReaderGone` where a write finds that nobody reads, and UsageError where it fails otherwise."""
    try:
        yield
    except BrokenPipeError:
        raise ReaderGone from None
    except OSError as error:
        raise UsageError(f"cannot write the output: {error.strerror}") from error


class LineConsole(Console):
    """Prints lines as they are, however long; a reader that has gone is an error for the caller to end on."""

    def __init__(self, out: TextIO) -> None:
        super().__init__(file=out, highlight=False, soft_wrap=True)

    def on_broken_pipe(self) -> None:
        """See :class:`rich.console.Console`, which would end the process from here."""
        raise ReaderGone


class TextWriter:
    """Lines for people; coloured on a terminal, plain in a pipe."""

    def __init__(self, out: TextIO, *, events: bool = False) -> None:
        self._console = LineConsole(out)
        self._out, self._events = out, events

    def write(self, message: DurableMessage) -> None:
        """See :class:`Writer`."""
        line = line_of(message, events=self._events)
        if line is not None:
            with reader_may_go():
                self._console.print(line)
                self._out.flush()

    def finish(self) -> None:
        """See :class:`Writer`."""


class JsonlWriter:
    """Protocol v1, one durable message a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def write(self, message: DurableMessage) -> None:
        """See :class:`Writer`."""
        with reader_may_go():
            self._out.write(encode(message) + "\n")
            self._out.flush()

    def finish(self) -> None:
        """See :class:`Writer`."""


class SubtitleWriter:
    """WebVTT or SubRip: final captions only, without summaries."""

    def __init__(self, out: TextIO, form: Literal["vtt", "srt"]) -> None:
        self._out = out
        self._track = SubtitleTrack(form)
        out.write(self._track.header())

    def write(self, message: DurableMessage) -> None:
        """See :class:`Writer`."""
        if (
            isinstance(message, CaptionMessage)
            and message.status is CaptionStatus.FINAL
            and message.kind is not CaptionKind.SUMMARY
        ):
            with reader_may_go():
                self._out.write(self._track.add(message.start, message.end, message.text))
                self._out.flush()

    def finish(self) -> None:
        """See :class:`Writer`."""
        with reader_may_go():
            self._out.write(self._track.finish())
            self._out.flush()


def writer_for(form: Format, out: TextIO, *, events: bool) -> Writer:
    """The writer of a format."""
    if form is Format.TEXT:
        return TextWriter(out, events=events)
    if form is Format.JSONL:
        return JsonlWriter(out)
    return SubtitleWriter(out, "vtt" if form is Format.VTT else "srt")


class FileFeed:
    """A feed with one reader, the writer: numbers durable messages and leaves out the others.

    Args:
        open_writer: called when the source has been opened: one that cannot be must not cost an older output.
    """

    def __init__(self, open_writer: Callable[[], Writer]) -> None:
        self._open_writer = open_writer
        self._writer: Writer | None = None
        self._held: list[DurableMessage] = []
        self._seq = 0
        self.captions = 0

    async def publish(self, stream: str, message: PublishableMessage, /) -> None:
        """Write one message."""
        if not is_durable(message) or not isinstance(message, DurableMessage):
            return
        self._seq += 1
        self.captions += isinstance(message, CaptionMessage)
        self._held.append(numbered(message, self._seq))
        if isinstance(message, StatusMessage) and message.state is StreamState.CONNECTING:
            return
        if self._writer is None:
            self._writer = self._open_writer()
        for held in self._held:
            self._writer.write(held)
        self._held.clear()

    def finish(self) -> None:
        """Write what the format held back."""
        if self._writer is not None:
            self._writer.finish()

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """Nobody joins a file late."""

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Nobody draws over a file that is read."""
