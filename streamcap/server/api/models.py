"""What the HTTP API takes and gives, beside the messages of the feed (``streamcap.wire``)."""

from __future__ import annotations

from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from streamcap.config import CaptionerName, Contradiction, Fps, Mark, Profile, StreamSettings, UserPrompt, VisionMode
from streamcap.server.api.times import Instant, Seconds
from streamcap.tokens import Scope
from streamcap.wire import STREAM_ID, CaptionMessage, EventMessage, GapMessage, StatusMessage, StreamState

__all__ = [
    "QUESTION_MAX",
    "AnswerView",
    "Citation",
    "HistoryPage",
    "NewStream",
    "Question",
    "SearchPage",
    "SessionView",
    "StreamChange",
    "StreamList",
    "StreamView",
    "Summary",
]

Durable = Annotated[CaptionMessage | EventMessage | StatusMessage | GapMessage, Field(discriminator="type")]
QUESTION_MAX: Final = 1000  # characters
# What a change cannot be about, and what to do instead.
_FIXED: Final = {
    "id": "a stream keeps its id: add one of the other id with POST /v1/streams",
    "source": "a stream keeps its source: end it with DELETE, and add it anew with POST /v1/streams; under the same id "
    "its history and numbers go on",
}
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]+$"  # an address on one line


class NewStream(StreamSettings):
    """A stream to begin."""

    id: Annotated[str, Field(pattern=STREAM_ID, examples=["yard"])]
    source: Annotated[str, Field(min_length=1, max_length=2048, pattern=_PRINTABLE, examples=["test:?seconds=60"])]


class StreamChange(BaseModel):
    """What is to be different; what is absent stays as it is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    fps: Fps | None = None
    profile: Profile | None = None
    paused: bool | None = None
    captioner: CaptionerName | None = None
    prompt: UserPrompt | None = None
    mode: VisionMode | None = None
    marks: tuple[Mark, ...] | None = None
    contradictions: Contradiction | None = None

    @model_validator(mode="before")
    @classmethod
    def _keeps_what_it_is(cls, given: Any) -> Any:
        """Say what to do instead to who wants another source or id, and not only that there is no such field."""
        if isinstance(given, dict) and (fixed := sorted(given.keys() & _FIXED)):
            raise PydanticCustomError("fixed", _FIXED[fixed[-1]])
        return given


class WhepView(BaseModel):
    """What a viewer by WebRTC gets: what the source sends, as it is (``relayed``), or the analysed frames, as VP8; then
    ``why`` says what keeps it from being relayed. A viewer that cannot play H.264 gets the analysed frames, too.
    """

    codec: str
    relayed: bool
    why: str


class StreamView(BaseModel):
    """A stream as the API shows it.

    ``source`` is without credentials; ``fps`` is what is wanted, ``target_fps`` what the stream is lowered to where the
    machine cannot keep up, ``analysed_fps`` what it had in the last five seconds; ``frames`` and ``drops`` count since
    watching began or was last resumed; ``seq`` is the newest durable message; the last ones are where its feed, its
    subtitles and its pictures are; ``whep`` is null where there is nothing to see. ``ask`` is where questions of it are
    answered, null where no vision–language model is set up; ``prompt``, ``mode``, ``marks`` and ``contradictions`` are
    for such a captioner.
    """

    id: str
    state: StreamState | None
    reason: str
    detail: str
    source: str
    fps: float | None
    target_fps: float | None
    analysed_fps: float | None
    profile: Profile | None
    captioner: CaptionerName | None
    prompt: str | None
    mode: VisionMode | None
    marks: list[Mark] | None
    contradictions: Contradiction | None
    paused: bool
    frames: int
    drops: int
    seq: int
    subscribers: int
    feed: str
    sse: str
    history: str
    subtitles: str
    preview: str
    ask: str | None
    whep: WhepView | None


class StreamList(BaseModel):
    """All streams, in the order of their start."""

    streams: list[StreamView]


class SessionView(BaseModel):
    """What the caller may do. ``token`` is the id of its token, null where the server asks for none; ``streams`` are
    patterns.
    """

    token: str | None
    scopes: list[Scope]
    streams: list[str]


class HistoryPage(BaseModel):
    """Durable messages of a stream, oldest first.

    ``earliest`` is the oldest number that is still held; where ``after`` lies before it, what is in between is gone.
    ``next`` goes into ``after`` for what follows, and is absent at the end of what there is now.
    """

    stream: str
    epoch: str
    earliest: int
    newest: int
    next: int | None = None
    messages: list[Durable]


class Summary(BaseModel):
    """What happened in a span.

    ``text`` is empty where nothing stands out, ``source`` says who worded it; ``seconds`` is the length of the span,
    ``unwatched_s`` how much of it nobody watched, as far as that is known; ``events`` counts them by label;
    ``highlights`` are the events of the highest saliency, oldest first. ``whole`` is false where the span is so busy
    that its end was not looked at.
    """

    stream: str
    text: str
    source: str
    seconds: float
    unwatched_s: float
    captions: int
    events: dict[str, int]
    highlights: list[EventMessage]
    whole: bool


class Question(BaseModel):
    """A question about a stream: about all that is known of it, a span (media seconds or wall time), or a moment."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    question: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=QUESTION_MAX),
        Field(examples=["What colour was the van?"]),
    ]
    at: Seconds | None = Field(None, description="Media seconds of the moment that it is about.")
    from_: Seconds | Instant | None = Field(None, alias="from")
    to: Seconds | Instant | None = None


class Citation(BaseModel):
    """A moment that an answer points at; ``image`` is where its frame is, ``text`` what was said of it."""

    t: float
    image: str | None = None
    text: str | None = None


class AnswerView(BaseModel):
    """An answer. ``answered`` is false where what is known does not tell; each of ``times`` (media seconds) was shown
    to the model or told of; ``source`` names the model. Of ``held`` messages that the journal has of the span ``read``
    were read, fewer only of a very long one, and ``told`` captions were given to the model.
    """

    stream: str
    answer: str
    answered: bool
    times: list[float]
    evidence: list[Citation]
    source: str
    held: int
    read: int
    told: int


class SearchPage(BaseModel):
    """Captions and events that were found, newest first."""

    messages: list[Annotated[CaptionMessage | EventMessage, Field(discriminator="type")]]
