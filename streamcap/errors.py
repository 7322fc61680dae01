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
    │   │   └── LoginRefused    it does not take the user name and password that it was given
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
    │   ├── EngineLost          the accelerator serves this process no more
    │   │   └── EngineStalled   it does not come back from its work
    │   ├── ModelNotFound       the server has no model of that name
    │   ├── ModelUnauthorised   the server wants another key, or lets this one not use the model
    │   ├── ModelUnavailable    it cannot be reached or fails; it may be well again later
    │   │   ├── ModelBusy       it asks to come later
    │   │   ├── ModelResting    it is left alone for a while after failing
    │   │   └── ModelTimeout    it does not answer, or does not go on, in time
    │   ├── PromptRefused       it does not take what it is shown or asked
    │   │   └── PromptTooLong   more than it can hold at a time
    │   ├── AnswerUnusable      it answers, and that is no answer
    │   │   ├── AnswerCut       the answer breaks off
    │   │   ├── AnswerMalformed what comes is not what the interface says
    │   │   ├── AnswerEmpty     there is no word in it
    │   │   ├── AnswerUnreadable  nothing in its words can be used
    │   │   └── AnswerWithheld  the model's maker or the server's filter holds it back
    │   └── OverBudget          more calls or tokens than were allowed, or no turn in time
    └── FeedError             the caption feed failed (exit 3: to a subscriber it is a source)
        ├── WireError         bytes that are not a protocol v1 message
        └── FeedClosed        the feed was closed for a reason that a retry does not cure

Every error carries one clear line and, where there is something to do about it, a hint.
"""

from __future__ import annotations

__all__ = [
    "AnswerCut",
    "AnswerEmpty",
    "AnswerMalformed",
    "AnswerUnreadable",
    "AnswerUnusable",
    "AnswerWithheld",
    "ConfigError",
    "EngineLost",
    "EngineStalled",
    "FeedClosed",
    "FeedError",
    "LoginRefused",
    "ModelBusy",
    "ModelError",
    "ModelLoadError",
    "ModelNotFound",
    "ModelResting",
    "ModelTimeout",
    "ModelUnauthorised",
    "ModelUnavailable",
    "NoVideo",
    "OutOfDeviceMemory",
    "OverBudget",
    "Overloaded",
    "PlanRefused",
    "PromptRefused",
    "PromptTooLong",
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

    @property
    def in_full(self) -> str:
        """What is wrong and, where that is known, what to do about it."""
        return f"{self}; {self.hint}" if self.hint else str(self)


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
    """The machine has no room for another stream.

    Args:
        retry_after_s: seconds after which there may be room though nothing is taken away; None where nobody knows.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class SourceError(StreamcapError):
    """A video source failed."""

    exit_code = 3


class SourceNotFound(SourceError):
    """Nothing is there: no such file, host or device."""


class SourceUnreadable(SourceError):
    """Something is there, but no decoder can read it."""


class LoginRefused(SourceUnreadable):
    """The source does not take the user name and password that it was given; many lock an account after some such."""


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


class EngineLost(ModelError):
    """The accelerator failed in a way after which it serves this process no more: only a new process gets it back."""


class EngineStalled(EngineLost):
    """The accelerator does not come back from its work; nobody knows what it still writes to."""


class ModelNotFound(ModelError):
    """The server has no model of that name; the hint lists those that it has."""


class ModelUnauthorised(ModelError):
    """The server wants another key, or does not let this one use the model. The message does not hold the key."""


class ModelUnavailable(ModelError):
    """The model cannot be reached or fails, for a reason that may pass.

    Args:
        retry_after_s: seconds after which it is worth asking again; None where nobody knows.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class ModelResting(ModelUnavailable):
    """The model's server is left alone for a while after failing; the message says what failed."""


class ModelBusy(ModelUnavailable):
    """The model has too much to do, and asks to come later."""


class ModelTimeout(ModelUnavailable):
    """The model does not answer, or does not go on, in time."""


class PromptRefused(ModelError):
    """The model does not take what it is shown or asked."""


class PromptTooLong(PromptRefused):
    """The prompt is more than the model can hold at a time."""


class AnswerUnusable(ModelError):
    """The model answers, and that is no answer."""


class AnswerCut(AnswerUnusable):
    """The answer breaks off. What was given out of it before is its beginning.

    Args:
        at_limit: at the most tokens that it may have, and not because something failed.
    """

    def __init__(self, message: str, *, hint: str = "", at_limit: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.at_limit = at_limit


class AnswerMalformed(AnswerUnusable):
    """What comes is not what the interface says."""


class AnswerEmpty(AnswerUnusable):
    """There is no word in the answer."""


class AnswerUnreadable(AnswerUnusable):
    """A model answered, and nothing in its answer can be used."""


class AnswerWithheld(AnswerUnusable):
    """A filter holds the answer back."""


class OverBudget(ModelError):
    """More calls or tokens than were allowed, or no turn before the deadline.

    Args:
        retry_after_s: seconds after which there is budget again; None where there never is for so much at once.
    """

    def __init__(self, message: str, *, hint: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


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
