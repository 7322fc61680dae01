"""Messages are built from the value types. A durable one gets its number later, from the journal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from streamcap.types import Caption, Event, Instance, Skill
from streamcap.wire.codec import numbered
from streamcap.wire.messages import (
    CaptionMessage,
    ConflictView,
    EventMessage,
    Evidence,
    GapMessage,
    InstanceView,
    Skills,
    StatusMessage,
    StreamState,
    UnchangedMessage,
)

__all__ = [
    "caption_message",
    "event_message",
    "gap_message",
    "instance_view",
    "status_message",
    "unchanged_message",
    "wall_time",
]


def wall_time(unix: float) -> datetime:
    """Unix seconds as the feed writes them: UTC, whole milliseconds."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=round(unix * 1000))


def instance_view(instance: Instance) -> InstanceView:
    """An instance as the feed shows it; a box that leaves the frame is cut at its edge."""
    x0, y0, x1, y1 = (min(1.0, max(0.0, float(v))) for v in instance.box)
    return InstanceView(
        id=int(instance.id),
        label=instance.label,
        box=(x0, y0, x1, y1),
        attributes=tuple(instance.attributes),
        state=instance.posture if instance.visible else "hidden",
        carries=tuple(instance.carries) or None,
    )


def caption_message(stream: str, caption: Caption, *, emitted_at: float, seq: int | None = None) -> CaptionMessage:
    """A revision of a caption as a message.

    Args:
        emitted_at: wall time at which it is handed to the feed, Unix seconds.
        seq: number of a durable one where the caller numbers (a file of captions); a hub's publisher leaves it out.
    """
    emitted, captured = wall_time(emitted_at), wall_time(caption.captured_at)
    age_ms = max(0, (emitted - captured) // timedelta(milliseconds=1))
    message = CaptionMessage(
        stream=stream,
        at=emitted,
        id=caption.id,
        rev=caption.rev,
        status=caption.status,
        kind=caption.kind,
        start=float(caption.start),
        end=float(caption.end),
        text=caption.text,
        skills=Skills(**{skill.value: caption.skills.get(skill) for skill in Skill}),
        instances=tuple(instance_view(each) for each in caption.instances),
        saliency=float(caption.saliency),
        source=caption.source,
        evidence=tuple(Evidence(t=float(t)) for t in caption.evidence),
        conflicts=tuple(ConflictView(what=c.kind.value, said=c.said, perceived=c.perceived) for c in caption.conflicts)
        or None,
        captured_at=captured,
        emitted_at=emitted,
        age_ms=age_ms,
        waited_ms=min(age_ms, round(1e3 * caption.waited)),
    )
    return message if seq is None else numbered(message, seq)


def event_message(stream: str, event: Event, *, at: float, seq: int | None = None) -> EventMessage:
    """An event as a message; ``at`` in Unix seconds."""
    message = EventMessage(
        stream=stream,
        at=wall_time(at),
        id=event.id,
        label=event.label,
        start=float(event.start),
        end=float(event.end),
        saliency=float(event.saliency),
        instances=tuple(instance_view(each) for each in event.instances),
        text=event.text,
        rule=event.rule,
    )
    return message if seq is None else numbered(message, seq)


def status_message(
    stream: str, state: StreamState, *, at: float, reason: str = "", detail: str = "", seq: int | None = None
) -> StatusMessage:
    """A change of state; ``at`` in Unix seconds, ``reason`` a word for programs, ``detail`` a line for people."""
    message = StatusMessage(stream=stream, at=wall_time(at), state=state, reason=reason, detail=detail)
    return message if seq is None else numbered(message, seq)


def gap_message(
    stream: str, *, start: float, end: float, at: float, reason: str = "", seq: int | None = None
) -> GapMessage:
    """Media seconds that were not watched; ``at`` in Unix seconds."""
    message = GapMessage(stream=stream, at=wall_time(at), start=float(start), end=float(end), reason=reason)
    return message if seq is None else numbered(message, seq)


def unchanged_message(stream: str, *, since: float, t: float, at: float) -> UnchangedMessage:
    """Looked at media second ``t``: nothing new since ``since``; ``at`` in Unix seconds."""
    return UnchangedMessage(stream=stream, at=wall_time(at), since=float(since), t=float(t))
