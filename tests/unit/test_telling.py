"""What a stream says when its source comes and goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from streamcap.config import StreamSettings
from streamcap.flow import SystemClock
from streamcap.language import Description
from streamcap.telling import Teller
from streamcap.types import CaptionStatus, Fact, Instance, Notice, NoticeKind, Observation, Skill, Window
from streamcap.wire import CaptionMessage, GapMessage, PublishableMessage, StatusMessage, StreamState
from tests.patience import PATIENCE_S
from tests.scenes import fact, instance, observation


class Record:
    """A feed that keeps what it is given, and can be waited for."""

    def __init__(self) -> None:
        self.messages: list[PublishableMessage] = []
        self._news = asyncio.Event()

    async def publish(self, stream: str, message: PublishableMessage, /) -> object:
        self.messages.append(message)
        self._news.set()
        return message

    def set_scene(self, stream: str, /, *, summary: str, instances: tuple[Instance, ...], camera: str) -> None:
        """Not looked at here."""

    def show_instances(self, stream: str, /, *, t: float, instances: tuple[Instance, ...]) -> None:
        """Not looked at here."""

    @property
    def captions(self) -> list[tuple[str, str]]:
        return [(str(m.status), m.text) for m in self.messages if isinstance(m, CaptionMessage)]

    async def final(self) -> None:
        """Return when a caption is final."""
        async with asyncio.timeout(PATIENCE_S):
            while "final" not in [status for status, _ in self.captions]:
                self._news.clear()
                await self._news.wait()


async def test_what_is_open_when_the_camera_goes_away_becomes_final_then() -> None:
    record, clock = Record(), SystemClock()
    teller = Teller(StreamSettings(id="s", source="test:"), record, clock)
    teller.live = True
    lanes = [asyncio.create_task(teller.caption()), asyncio.create_task(teller.tell_notices())]
    fact = Fact("light", 2.0, 2.2, 0.9, Skill.ENVIRONMENT, label="scene", where="on", saliency=0.8)
    await teller.tell(Observation(2.2, clock.wall(), True, False, True, (fact,), ()))
    assert [status for status, _ in record.captions] == ["open"]
    teller.on_notice(Notice(NoticeKind.LOST, 2.2, "it is gone"))
    await record.final()
    assert [status for status, _ in record.captions] == ["open", "final"]
    await teller.notices_told()
    assert StreamState.RECONNECTING in [m.state for m in record.messages if isinstance(m, StatusMessage)]
    for lane in lanes:
        lane.cancel()
    await asyncio.wait(lanes)


async def test_how_long_a_departure_was_doubted_is_no_fault_of_the_machine() -> None:
    record, clock = Record(), SystemClock()
    teller = Teller(StreamSettings(id="s", source="test:"), record, clock)
    gone = Instance(1, "person", 0.9, (0.4, 0.4, 0.5, 0.6), (0, 0), 1.0, 10.0, visible=False)
    leave = Fact("leave", 10.0, 10.0, 0.8, Skill.ACTION, (1,), "person", "left", 0.8)
    captured = clock.wall() - 0.3  # the frame took 0.3 s from the glass to here
    await teller.tell(Observation(14.2, captured, True, False, True, (leave,), (gone,)))
    (draft,) = [m for m in record.messages if isinstance(m, CaptionMessage)]
    assert draft.waited_ms == 4200
    assert 300 <= draft.age_ms - 4200 < 300 + 1000 * PATIENCE_S


class Slow:
    """A captioner that has not answered yet."""

    name = "slow"

    def __init__(self) -> None:
        self.asked, self.may_answer = asyncio.Event(), asyncio.Event()

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        self.asked.set()
        await self.may_answer.wait()
        yield Description("Somebody came in.", who=(2,))


async def test_while_a_caption_waits_for_its_final_it_does_not_say_what_is_only_likely() -> None:
    record, clock, slow = Record(), SystemClock(), Slow()
    teller = Teller(StreamSettings(id="s", source="test:"), record, clock, captioner=slow)
    lane = asyncio.create_task(teller.caption())
    people = (instance(1), instance(2))
    enter, leave = fact("enter", 2, where="left", at=10.0), fact("leave", 1, where="right", at=10.0, sure=False)
    await teller.tell(observation(10.0, [enter], people))
    for n in range(1, 5):
        await teller.tell(observation(10.0 + 0.2 * n, (), people, likely=[leave]))
    await asyncio.wait_for(slow.asked.wait(), PATIENCE_S)
    drafts = {m.id: m.text for m in record.messages if isinstance(m, CaptionMessage)}
    assert drafts == {"c1": "Another person enters from the left.", "c2": "A person leaves to the right."}
    await teller.tell(observation(11.0, (), people))  # back again
    slow.may_answer.set()
    await asyncio.wait_for(record.final(), PATIENCE_S)
    last = {m.id: (m.status, m.text) for m in record.messages if isinstance(m, CaptionMessage)}
    assert last == {"c1": (CaptionStatus.FINAL, "Somebody came in."), "c2": (CaptionStatus.UPDATE, "")}
    lane.cancel()
    await asyncio.wait([lane])


async def test_no_gap_is_lost_where_nothing_can_be_told_for_long() -> None:
    record = Record()
    teller = Teller(StreamSettings(id="s", source="test:"), record, SystemClock())
    for n in range(100):  # nobody tells them yet: the journal's disk is full, say
        teller.on_notice(Notice(NoticeKind.LOST, 10.0 * n, "lost"))
        teller.on_notice(Notice(NoticeKind.GAP, 10.0 * n + 4, "4.0 s were not seen", 10.0 * n, 10.0 * n + 4))
        teller.on_notice(Notice(NoticeKind.CONNECTED, 10.0 * n + 4, "back"))
    lane = asyncio.create_task(teller.tell_notices())
    await teller.notices_told()
    gaps = [m for m in record.messages if isinstance(m, GapMessage)]
    assert gaps[0].start == 0.0
    assert gaps[-1].end == 994.0
    assert all(any(g.start <= 10.0 * n and 10.0 * n + 4 <= g.end for g in gaps) for n in range(100))
    states = [m.state for m in record.messages if isinstance(m, StatusMessage)]
    assert states[-1] is StreamState.LIVE
    lane.cancel()
    await asyncio.wait({lane})
