"""The state of a stream as its messages tell it. The hub keeps one for the truth, every client one for its copy.

The rule is the same on both sides, so for any point of joining or dropping, snapshot or replay plus what follows
gives the hub's own state:

* a snapshot replaces everything; a hello drops the drafts (those still open are sent again), and under another epoch
  everything;
* a durable message at or below the newest number is a double and changes nothing;
* of a draft the newest revision wins, and one without text withdraws it; a final supersedes it, a retraction withdraws
  it and its final;
* ``connecting``, ``ended`` and ``failed`` close all drafts: whoever wrote them is not there to finish them.
"""

from __future__ import annotations

from typing import Any, Final

from streamcap.types import CaptionStatus
from streamcap.wire.codec import is_durable
from streamcap.wire.messages import (
    CaptionMessage,
    CaughtUpMessage,
    HeartbeatMessage,
    HelloMessage,
    Message,
    NumberedMessage,
    Scene,
    SnapshotMessage,
    StatusMessage,
    StreamState,
)

__all__ = ["DRAFT_ENDS", "HOLES_KEPT", "OPEN_MAX", "RECENT_MAX", "FeedState", "Hole"]

RECENT_MAX: Final = 20  # finals in a snapshot: about a screen of a page that joins late
OPEN_MAX: Final = 32  # drafts held: one or two are usual; a publisher that never finishes its drafts costs no more
HOLES_KEPT: Final = 100
DRAFT_ENDS: Final = frozenset({StreamState.CONNECTING, StreamState.ENDED, StreamState.FAILED})

Hole = tuple[int, int]  # first and last missing number


class FeedState:
    """What is known of one stream. Pure: no clock, no I/O.

    Args:
        stream: id of the stream; messages of another are refused.
        epoch, seq: where the reader stands already, to go on from there.
        complete: False for a reader that asked for some kinds only: numbers that it does not see are no holes.

    Attributes:
        seq: number of the newest durable message folded in.
        status: the newest status, None before the first.
        recent: the newest finals, oldest first, at most ``RECENT_MAX``.
        open: the drafts by caption id, at most ``OPEN_MAX``.
        scene: the scene as of the newest snapshot.
        holes: spans of numbers that never came, oldest first, at most ``HOLES_KEPT``.
    """

    def __init__(self, stream: str, *, epoch: str | None = None, seq: int = 0, complete: bool = True) -> None:
        self.stream = stream
        self.epoch = epoch
        self.seq = seq
        self.complete = complete
        self.status: StatusMessage | None = None
        self.recent: tuple[CaptionMessage, ...] = ()
        self.open: dict[str, CaptionMessage] = {}
        self.scene = Scene()
        self.holes: list[Hole] = []

    def missing_before(self, message: Message) -> Hole | None:
        """The numbers that should have come before this message and did not; None where it follows."""
        if not self.complete:
            return None
        if isinstance(message, NumberedMessage):
            upto = message.prev or 0  # a draft has none
        elif isinstance(message, HeartbeatMessage | CaughtUpMessage):
            upto = message.seq
        else:
            return None
        return (self.seq + 1, upto) if upto > self.seq else None

    def apply(self, message: Message) -> bool:
        """Fold one message in.

        Returns:
            False where it is a double or was superseded already, and nothing changed.

        Raises:
            ValueError: it belongs to another stream.
        """
        if message.stream is not None and message.stream != self.stream:
            raise ValueError(f"a message of {message.stream} folded into {self.stream}")
        if isinstance(message, HelloMessage):
            self._hello(message)
        elif isinstance(message, SnapshotMessage):
            self._snapshot(message)
        elif isinstance(message, HeartbeatMessage | CaughtUpMessage):
            self._note_hole(message)
            self.seq = max(self.seq, message.seq)
        elif is_durable(message):
            return self._durable(message)
        elif isinstance(message, CaptionMessage):
            return self._draft(message)
        return True

    def _hello(self, message: HelloMessage) -> None:
        self.open.clear()
        if self.epoch is not None and message.epoch != self.epoch:
            self.seq, self.status, self.recent, self.scene = 0, None, (), Scene()
            self.holes.clear()
        self.epoch = message.epoch

    def _snapshot(self, message: SnapshotMessage) -> None:
        self.seq, self.status, self.scene = message.seq, message.status, message.scene
        self.recent = message.recent
        self.open = {draft.id: draft for draft in message.open}

    def _durable(self, message: Message) -> bool:
        assert isinstance(message, NumberedMessage) and message.seq is not None
        if message.seq <= self.seq:
            return False
        self._note_hole(message)
        self.seq = message.seq
        if isinstance(message, CaptionMessage):
            self._finished(message)
        elif isinstance(message, StatusMessage):
            self.status = message
            if message.state in DRAFT_ENDS:
                self.open.clear()
        return True

    def _finished(self, message: CaptionMessage) -> None:
        self.open.pop(message.id, None)
        if message.status is CaptionStatus.RETRACTED:
            self.recent = tuple(final for final in self.recent if final.id != message.id)
        elif not self.is_final(message.id):  # the text of a final never changes: the first one stands
            self.recent = (*self.recent, message)[-RECENT_MAX:]

    def _draft(self, message: CaptionMessage) -> bool:
        known = self.open.get(message.id)
        if self.is_final(message.id) or (known is not None and message.rev <= known.rev):
            return False
        if not message.text:
            return self.open.pop(message.id, None) is not None
        self.open[message.id] = message
        if len(self.open) > OPEN_MAX:
            # By content, not by order of arrival, so that two readers drop the same one.
            del self.open[min(self.open.values(), key=lambda draft: (draft.start, draft.id)).id]
        return True

    def _note_hole(self, message: Message) -> None:
        hole = self.missing_before(message)
        if hole is not None:
            self.holes.append(hole)
            del self.holes[:-HOLES_KEPT]

    def is_final(self, caption_id: str) -> bool:
        """True where a final with this id is among the recent ones."""
        return any(final.id == caption_id for final in self.recent)

    def summary(self) -> dict[str, Any]:
        """The state in plain JSON values, as the shared test vectors spell it."""
        return {
            "epoch": self.epoch,
            "seq": self.seq,
            "status": self.status.state.value if self.status else None,
            "recent": [[final.id, final.text] for final in self.recent],
            "open": {draft.id: [draft.rev, draft.text] for draft in self.open.values()},
            "holes": [list(hole) for hole in self.holes],
        }
