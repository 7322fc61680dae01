"""Protocol v1: the messages of the caption feed as models. ``docs/protocol.md`` is the contract.

Two sorts of message:

* *durable* (final and retracted captions, events, status changes, gaps): numbered per stream without holes (``seq``,
  and ``prev`` = the number before it), committed before anybody sees them, replayed on resume;
* *ephemeral* (everything else): no number of their own, may be conflated or skipped.

Wall times are ISO 8601 UTC with milliseconds, media times are seconds rounded to milliseconds, boxes are
``[x0, y0, x1, y1]`` in 0..1 rounded to four digits. Readers ignore fields that they do not know.
A subscriber imports this with the base dependencies alone: nothing here needs numpy.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from enum import IntEnum, StrEnum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
)

from streamcap.types import CaptionKind, CaptionStatus

__all__ = [
    "ASKED_KINDS",
    "DURABLE_STATUSES",
    "FRAME_MAX_BYTES",
    "KINDS",
    "MESSAGE_MAX_BYTES",
    "PROTOCOL",
    "STREAM_ID",
    "SUBPROTOCOL",
    "CaptionMessage",
    "CaughtUpMessage",
    "CloseCode",
    "ConflictView",
    "DurableMessage",
    "ErrorMessage",
    "EventMessage",
    "Evidence",
    "GapMessage",
    "HeartbeatMessage",
    "HelloMessage",
    "InstanceView",
    "InstancesMessage",
    "Message",
    "NumberedMessage",
    "PublishableMessage",
    "Scene",
    "Skills",
    "SnapshotMessage",
    "StatusMessage",
    "StreamState",
    "UnchangedMessage",
]

PROTOCOL: Final = 1
SUBPROTOCOL: Final = "streamcap.v1"

# A published message larger than this is refused: a caption that names 200 instances takes 30 KB, so what is larger
# is a fault, and the bound makes every buffer of the feed a number of messages times this.
MESSAGE_MAX_BYTES: Final = 64 * 1024
# What a reader must be ready to take in one frame: a snapshot holds at most 20 finals, 32 drafts, a scene and a status.
FRAME_MAX_BYTES: Final = 4 * 1024 * 1024

STREAM_ID: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
KINDS: Final = frozenset({"caption", "event", "status", "gap", "unchanged"})
ASKED_KINDS: Final = frozenset({"instances"})  # come only to those who name them
DURABLE_STATUSES: Final = frozenset({CaptionStatus.FINAL, CaptionStatus.RETRACTED})

_SAFE_INT: Final = 2**53 - 1  # the largest integer that every JSON reader keeps exact
_UTC_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?(Z|\+00:00)", re.ASCII)


class CloseCode(IntEnum):
    """Why a feed's socket is closed."""

    ENDED = 1000  # the stream ended, after its ``ended`` status
    TOO_BIG = 1009  # the client sent a larger message than a subscriber ever needs to
    INTERNAL = 1011  # the server failed: come back and resume
    RESTARTING = 1012  # the server stops or restarts: come back and resume
    OVERLOADED = 1013  # too many subscribers: try again later
    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    NO_SUCH_STREAM = 4404
    TOO_SLOW = 4408  # the subscriber did not keep up: come back and resume with ``after``


class StreamState(StrEnum):
    """How a stream does. ``connecting`` begins a run; drafts do not outlive the run that wrote them."""

    CONNECTING = "connecting"
    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    DEGRADED = "degraded"
    ENDED = "ended"
    FAILED = "failed"


def _read_time(value: Any) -> Any:
    if isinstance(value, str):
        if not _UTC_TIME.fullmatch(value):
            raise ValueError("not an ISO 8601 UTC time")
        return datetime.fromisoformat(value)
    return value


def _to_utc_ms(value: datetime) -> datetime:
    if value.utcoffset() != timedelta(0):
        raise ValueError("not a UTC time")
    return value.replace(microsecond=value.microsecond // 1000 * 1000, tzinfo=UTC)


def _write_time(value: datetime) -> str:
    return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")


WallTime = Annotated[
    datetime, BeforeValidator(_read_time), AfterValidator(_to_utc_ms), PlainSerializer(_write_time, return_type=str)
]
Seconds = Annotated[float, Field(ge=0, le=1e9), AfterValidator(lambda v: round(v, 3))]
Share = Annotated[float, Field(ge=0, le=1), AfterValidator(lambda v: round(v, 4))]
Seq = Annotated[int, Field(ge=1, le=_SAFE_INT)]
SeqOrZero = Annotated[int, Field(ge=0, le=_SAFE_INT)]
StreamId = Annotated[str, StringConstraints(pattern=STREAM_ID)]


class _Model(BaseModel):
    # Strict: a number in quotes is a fault of the writer, not something to guess at.
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class InstanceView(_Model):
    """An instance as the feed shows it.

    ``state`` is a posture, ``hidden`` while it is occluded, or empty; ``carries`` names what a person has along, and is
    absent where that is nothing or not known.
    """

    id: SeqOrZero
    label: str
    box: tuple[Share, Share, Share, Share]
    attributes: tuple[str, ...] = ()
    state: str = ""
    carries: tuple[str, ...] | None = None


class Skills(_Model):
    """The text by differential skill; those without text are absent."""

    action: str | None = None
    environment: str | None = None
    appearance: str | None = None
    camera: str | None = None


class Evidence(_Model):
    """A moment that shows what a caption says. ``image`` is the address of a key frame where one is kept."""

    t: Seconds
    image: str | None = None


class ConflictView(_Model):
    """Where a caption's text contradicts what was perceived; ``what`` is a word: ``count``, ``label``, ``place`` …"""

    what: str
    said: str
    perceived: str


class Scene(_Model):
    """The scene as a whole, now."""

    summary: str = ""
    instances: tuple[InstanceView, ...] = ()
    camera: str = ""


class _Envelope(_Model):
    type: str  # first on the line; each message narrows it


class _StreamMessage(_Envelope):
    stream: StreamId
    at: WallTime


class NumberedMessage(_StreamMessage):
    """Base of the messages that have a number; a draft caption is one that never gets it."""

    seq: Seq | None = None  # None only until the journal has committed it
    prev: SeqOrZero | None = None


class CaptionMessage(NumberedMessage):
    """One revision of a caption, with its whole text; durable where ``status`` is ``final`` or ``retracted``.

    ``age_ms`` runs from the capture of the last frame that the text speaks about to ``emitted_at``. ``waited_ms`` of it
    passed on purpose: until it was sure that somebody is gone and not only hidden, until nothing more came that belongs
    to the same caption. The rest is what transport, looking and wording took. ``conflicts`` is absent where the text
    contradicts nothing; where ``source`` is ``grounded`` it says why another text did not stand.
    """

    type: Literal["caption"] = "caption"
    id: str
    rev: SeqOrZero
    status: CaptionStatus
    kind: CaptionKind
    start: Seconds
    end: Seconds
    text: str
    skills: Skills = Skills()
    instances: tuple[InstanceView, ...] = ()
    saliency: Share = 0.5
    source: str = ""
    evidence: tuple[Evidence, ...] = ()
    conflicts: tuple[ConflictView, ...] | None = None
    captured_at: WallTime
    emitted_at: WallTime
    age_ms: SeqOrZero
    waited_ms: SeqOrZero | None = None  # absent: not known


class EventMessage(NumberedMessage):
    """One time–saliency–text triple. Durable."""

    type: Literal["event"] = "event"
    id: str
    label: str
    start: Seconds
    end: Seconds
    saliency: Share = 0.5
    instances: tuple[InstanceView, ...] = ()
    text: str = ""
    rule: str = "builtin"


class StatusMessage(NumberedMessage):
    """A change in how the stream does. Durable."""

    type: Literal["status"] = "status"
    state: StreamState
    reason: str = ""
    detail: str = ""


class GapMessage(NumberedMessage):
    """Media time that was not watched. Durable."""

    type: Literal["gap"] = "gap"
    start: Seconds
    end: Seconds
    reason: str = ""


class UnchangedMessage(_StreamMessage):
    """The scene was looked at, at media time ``t``, and nothing is new since ``since``."""

    type: Literal["unchanged"] = "unchanged"
    since: Seconds
    t: Seconds


class InstancesMessage(_StreamMessage):
    """Everything that is followed at media time ``t``, for each frame that is looked at; only the newest counts.

    Sent to those only who ask for it among the ``kinds``.
    """

    type: Literal["instances"] = "instances"
    t: Seconds
    instances: tuple[InstanceView, ...] = ()


class HelloMessage(_StreamMessage):
    """First message of each stream on each connection.

    ``epoch`` names the life of the numbering: a number is worth nothing under another epoch. ``seq`` is the newest
    durable message, ``earliest`` the oldest that can still be replayed (``seq`` + 1 where there is none).
    """

    type: Literal["hello"] = "hello"
    protocol: int = PROTOCOL
    epoch: str
    seq: SeqOrZero
    earliest: Seq
    heartbeat_s: Annotated[float, Field(gt=0)]
    server: str = ""


class SnapshotMessage(_StreamMessage):
    """The whole state of a stream after durable message ``seq``; replaces whatever the reader held."""

    type: Literal["snapshot"] = "snapshot"
    seq: SeqOrZero
    status: StatusMessage | None = None
    scene: Scene = Scene()
    recent: tuple[CaptionMessage, ...] = ()
    open: tuple[CaptionMessage, ...] = ()


class HeartbeatMessage(_StreamMessage):
    """The feed is alive, and ``seq`` is the newest durable message."""

    type: Literal["heartbeat"] = "heartbeat"
    seq: SeqOrZero


class CaughtUpMessage(_StreamMessage):
    """The replay is over at ``seq``; what follows is live."""

    type: Literal["caught_up"] = "caught_up"
    seq: SeqOrZero


class ErrorMessage(_Envelope):
    """Something does not hold; then the socket closes, except after ``resync``, which a snapshot follows."""

    type: Literal["error"] = "error"
    stream: StreamId | None = None  # absent where it is about the connection
    at: WallTime
    code: str
    message: str


DurableMessage: TypeAlias = CaptionMessage | EventMessage | StatusMessage | GapMessage
PublishableMessage: TypeAlias = DurableMessage | UnchangedMessage
Message: TypeAlias = (
    PublishableMessage
    | InstancesMessage
    | HelloMessage
    | SnapshotMessage
    | HeartbeatMessage
    | CaughtUpMessage
    | ErrorMessage
)
