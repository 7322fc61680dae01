"""The exception tree.

    StreamcapError
    ├── UsageError            the caller asked for something that cannot be (exit 2)
    │   ├── ConfigError       a settings file or option that does not hold
    │   └── SourceRefused     a source that is not opened for whoever asks
    │       └── SourceUnresolved   its host name stands for nothing just now
    ├── Overloaded            the machine cannot keep up with what it is asked to do beside the rest
    ├── SourceError           a video source failed (exit 3)
    │   ├── SourceNotFound    nothing is there: no such file, host or device
    │   ├── SourceUnreadable  something is there, but no decoder can read it
    │   ├── NoVideo           it can be read, and holds no video
    │   ├── SourceTimeout     it stopped answering
    │   └── SourceClosed      it was closed before it was open: somebody's wish, no fault
    ├── ModelError            a model failed (exit 4)
    │   ├── WeightsUnavailable  no source of a weights file can be reached
    │   ├── WeightsCorrupt      a weights file does not match its hash
    │   ├── ModelLoadError      a runtime refuses a weights file, or is not installed
    │   │   ├── WrongModel      a file of another sort than is asked for
    │   │   └── PlanRefused     a compiled engine that was not built for this machine or this graph
    │   ├── OutOfDeviceMemory   the accelerator has no room for what is asked of it
    │   └── AnswerUnreadable    a model's answer holds nothing that can be used
    └── FeedError             the caption feed failed (exit 3: to a subscriber it is a source)
        ├── WireError         bytes that are not a protocol v1 message
        └── FeedClosed        the feed was closed for a reason that a retry does not cure

Every error carries one clear line and, where there is something to do about it, a hint.
"""

from __future__ import annotations

__all__ = [
    "AnswerUnreadable",
    "ConfigError",
    "FeedClosed",
    "FeedError",
    "ModelError",
    "ModelLoadError",
    "NoVideo",
    "OutOfDeviceMemory",
    "Overloaded",
    "PlanRefused",
    "SourceClosed",
    "SourceError",
    "SourceNotFound",
    "SourceRefused",
    "SourceTimeout",
    "SourceUnreadable",
    "SourceUnresolved",
    "StreamcapError",
    "UsageError",
    "WeightsCorrupt",
    "WeightsUnavailable",
    "WireError",
    "WrongModel",
]


class StreamcapError(Exception):
    """Base of all errors that streamcap raises on purpose.

    Args:
        message: one line that says what failed.
        hint: one line that says what to do about it, or empty.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UsageError(StreamcapError):
    """The caller asked for something that cannot be."""

    exit_code = 2


class ConfigError(UsageError):
    """A settings file or an option does not hold."""


class SourceRefused(UsageError):
    """A source that is not opened for whoever asks. The message names no credentials."""


class SourceUnresolved(SourceRefused):
    """A source whose host name stands for nothing just now, so that nobody can say whether it may be opened."""


class Overloaded(StreamcapError):
    """The machine has no room for another stream."""


class SourceError(StreamcapError):
    """A video source failed."""

    exit_code = 3


class SourceNotFound(SourceError):
    """Nothing is there: no such file, host or device."""


class SourceUnreadable(SourceError):
    """Something is there, but no decoder can read it."""


class NoVideo(SourceError):
    """The source can be read, and holds no video."""


class SourceTimeout(SourceError):
    """The source stopped answering."""


class SourceClosed(SourceError):
    """The source was closed before it was open."""


class ModelError(StreamcapError):
    """A model failed."""

    exit_code = 4


class WeightsUnavailable(ModelError):
    """No source of a weights file can be reached, and it is not cached."""


class WeightsCorrupt(ModelError):
    """A weights file does not match its hash."""


class ModelLoadError(ModelError):
    """A runtime refuses a weights file, or the runtime is not installed."""


class WrongModel(ModelLoadError):
    """A file of another sort than is asked for: no sidecar of this form, another role, other inputs or outputs."""


class PlanRefused(ModelLoadError):
    """A compiled engine that was not built for this machine or this graph; the hint is the command that builds one."""


class OutOfDeviceMemory(ModelError):
    """The accelerator has no room for what is asked of it."""


class AnswerUnreadable(ModelError):
    """A model answered, and nothing in its answer can be used."""


class FeedError(StreamcapError):
    """The caption feed failed."""

    exit_code = 3


class WireError(FeedError):
    """Bytes that are not a protocol v1 message."""


class FeedClosed(FeedError):
    """The feed was closed for a reason that a retry does not cure.

    Args:
        code: websocket close code, see docs/protocol.md.
    """

    def __init__(self, message: str, *, code: int, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.code = code
