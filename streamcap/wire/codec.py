"""Messages become text and come back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from pydantic import Field, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from streamcap.errors import WireError
from streamcap.wire.messages import (
    DURABLE_STATUSES,
    FRAME_MAX_BYTES,
    MESSAGE_MAX_BYTES,
    PROTOCOL,
    CaptionMessage,
    DurableMessage,
    EventMessage,
    GapMessage,
    Message,
    NumberedMessage,
    SnapshotMessage,
    StatusMessage,
)

__all__ = ["Encoded", "decode", "encode", "is_durable", "numbered", "seal"]

D = TypeVar("D", CaptionMessage, EventMessage, StatusMessage, GapMessage, DurableMessage)

_ADAPTER: Final[TypeAdapter[Message]] = TypeAdapter(Annotated[Message, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class Encoded:
    """A message as text, made once and shared by all who send it.

    Attributes:
        type: the message's ``type``.
        stream: id of the stream, empty for an error about the connection.
        seq: number of a durable message, None for an ephemeral one.
        text: the message on one line of JSON.
        size: its length in bytes of UTF-8.
    """

    type: str
    stream: str
    seq: int | None
    text: str
    size: int


def is_durable(message: Message) -> bool:
    """True for messages that are numbered, journaled and replayed."""
    if isinstance(message, CaptionMessage):
        return message.status in DURABLE_STATUSES
    return isinstance(message, EventMessage | StatusMessage | GapMessage)


def numbered(message: D, seq: int) -> D:
    """A copy of a durable message with its number, ``prev`` being the number before it.

    Raises:
        WireError: the message is a draft.
    """
    if not is_durable(message):
        raise WireError("a draft has no sequence number")
    return message.model_copy(update={"seq": seq, "prev": seq - 1})


def encode(message: Message) -> str:
    """One line of compact JSON; absent fields are left out.

    Raises:
        WireError: a durable message without its number, a draft with one, or text that UTF-8 cannot carry.
    """
    _check_number(message)
    try:
        return message.model_dump_json(exclude_none=True)
    except PydanticSerializationError as error:
        raise WireError(f"a {message.type} message cannot be encoded: {error}") from error


def seal(message: Message) -> Encoded:
    """Encode once, for sharing.

    Raises:
        WireError: as ``encode``; also a published message of more than ``MESSAGE_MAX_BYTES``.
    """
    text = encode(message)
    size = len(text.encode())
    if size > MESSAGE_MAX_BYTES and not isinstance(message, SnapshotMessage):
        raise WireError(f"a {message.type} message of {size} bytes is larger than {MESSAGE_MAX_BYTES}")
    seq = message.seq if isinstance(message, NumberedMessage) else None
    return Encoded(message.type, message.stream or "", seq, text, size)


def decode(data: str | bytes) -> Message:
    """The message that a frame carries.

    Raises:
        WireError: whatever else it is, and nothing but this.
    """
    if len(data) > FRAME_MAX_BYTES:
        raise WireError(f"a frame of {len(data)} is larger than {FRAME_MAX_BYTES}")
    try:
        message = _ADAPTER.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise WireError(f"not a protocol v{PROTOCOL} message: {where or 'frame'}: {first['msg']}") from None
    _check_number(message)
    return message


def _check_number(message: Message) -> None:
    if isinstance(message, SnapshotMessage):
        for part in (*message.recent, *message.open, *([message.status] if message.status else ())):
            _check_number(part)
    elif isinstance(message, NumberedMessage):
        if not is_durable(message):
            if message.seq is not None or message.prev is not None:
                raise WireError("a draft caption carries a sequence number")
        elif message.seq is None or message.prev is None:
            raise WireError(f"a durable {message.type} message carries no sequence number")
        elif message.prev >= message.seq:
            raise WireError(f"prev {message.prev} is not before seq {message.seq}")
