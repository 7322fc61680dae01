"""The caption lane: in order, one at a time, and nobody waits for it who must not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import replace

import pytest

from streamcap.captioners import Difference, GroundedCaptioner
from streamcap.errors import (
    AnswerCut,
    AnswerUnreadable,
    ModelError,
    ModelResting,
    ModelTimeout,
    ModelUnauthorised,
    ModelUnavailable,
    PromptTooLong,
)
from streamcap.language import Description
from streamcap.standing import Standing, Status
from streamcap.types import Window
from streamcap.wire import StreamState
from streamcap.wording import DOUBT_S, HURRIED_S, WAITING, Wording
from tests.scenes import fact, instance
from tests.virtual_time import virtual_time


class Slow:
    """A captioner that takes its time; windows whose id is in ``broken`` fail."""

    name = "slow"

    def __init__(self, seconds: float, broken: Iterable[str] = ()) -> None:
        self.seconds, self.broken = seconds, set(broken)
        self.asked: list[str] = []
        self.left = 0

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        self.asked.append(window.id)
        try:
            yield Description(f"{window.id} grow", growing=True)
            await asyncio.sleep(self.seconds)
        finally:
            self.left += 1
        if window.id in self.broken:
            raise ModelError("it broke", hint="mend it")
        yield Description(f"{window.id} after {window.previous or 'nothing'}")


class Folding(Slow):
    """One that also makes summaries."""

    async def summarise(self, differences: Sequence[Difference], start: float, end: float, before: str = "") -> str:
        await asyncio.sleep(self.seconds)
        if "summary" in self.broken:
            raise ModelError("no")
        return f"{len(differences)} from {start:g} to {end:g}" + (f" after {before}" if before else "")


class Lane:
    """A lane with what it published: (window, text, source, final) and states."""

    def __init__(self, captioner: Slow) -> None:
        self.told: list[tuple[str, str, str, bool]] = []
        self.states: list[Status] = []
        self.said: list[str] = []
        self.wording = Wording(
            "s", captioner, GroundedCaptioner(), Standing(),
            recalled=lambda window: replace(window, said=tuple(self.said[-1:])), revise=self._revise, say=self._say,
            is_news=lambda window, what: window.id != "old",
        )  # fmt: skip

    async def _revise(self, window: Window, what: Description, source: str, *, final: bool) -> None:
        self.told.append((window.id, what.text, source, final))
        if final:
            self.said.append(what.text)

    async def _say(self, changes: Iterable[Status]) -> None:
        self.states += changes

    @property
    def finals(self) -> list[tuple[str, str]]:
        return [(key, source) for key, _, source, final in self.told if final]

    async def tell(self, text: str | None, source: str) -> None:
        self.told.append(("summary", text or "", source, True))


def window(name: str, t: float = 10.0) -> Window:
    return Window(name, "s", t, t, 1000 + t, (fact("enter", 1, where="left", at=t),), (instance(1),))


@virtual_time
async def test_one_after_the_other_each_knows_what_was_said_before() -> None:
    lane = Lane(Slow(3.0))
    run = asyncio.create_task(lane.wording.run())
    for name in ("a", "b"):
        await lane.wording.put(window(name), live=True)
    assert lane.wording.busy
    await lane.wording.end()
    await run
    assert lane.told == [
        ("a", "a grow", "slow", False),
        ("a", "a after nothing", "slow", True),
        ("b", "b grow", "slow", False),
        ("b", "b after a after nothing", "slow", True),
    ]
    assert not lane.wording.busy


@virtual_time
async def test_what_grows_goes_out_at_once() -> None:
    lane = Lane(Slow(60.0))
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("a"), live=True)
    await asyncio.sleep(1)
    assert lane.told == [("a", "a grow", "slow", False)]
    run.cancel()
    await asyncio.wait({run})


@virtual_time
async def test_what_is_given_up_while_a_draft_is_published_ends_at_once() -> None:
    captioner = Slow(1000.0)
    lane = Lane(captioner)
    held = asyncio.Event()

    async def stuck(window: Window, what: Description, source: str, *, final: bool) -> None:
        await held.wait()

    lane.wording._revise = stuck
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("a"), live=True)
    await asyncio.sleep(1)
    assert (captioner.asked, captioner.left) == (["a"], 0)
    run.cancel()
    with pytest.raises(asyncio.CancelledError) as cancelled:  # its frames are still held here
        await run
    assert captioner.left == 1, cancelled


@virtual_time
async def test_a_failure_is_said_once_and_its_end_too() -> None:
    lane = Lane(Slow(1.0, broken=["a", "b"]))
    run = asyncio.create_task(lane.wording.run())
    for name in ("a", "b", "c"):
        await lane.wording.put(window(name), live=True)
    await lane.wording.end()
    await run
    assert lane.finals == [("a", "grounded"), ("b", "grounded"), ("c", "slow")]
    assert [(s.state, s.reason) for s in lane.states] == [
        (StreamState.DEGRADED, "captioner"),
        (StreamState.LIVE, "recovered"),
    ]
    assert lane.states[0].detail == "slow: it broke; mend it"


class Failing(Slow):
    """Fails in turn in these ways; whole where it is None."""

    def __init__(self, *ways: ModelError | None) -> None:
        super().__init__(0.0)
        self.ways = list(ways)

    async def describe(self, window: Window) -> AsyncGenerator[Description, None]:
        way = self.ways.pop(0)
        if way is not None:
            raise way
        yield Description("well")


@virtual_time
async def test_another_fault_is_news_once_and_rest_after_faults_is_none() -> None:
    down, rests = ModelUnavailable("down"), ModelResting("left alone")
    lane = Lane(Failing(rests, down, rests, down, ModelUnauthorised("no key"), down, rests, None, down))
    run = asyncio.create_task(lane.wording.run())
    for name in "abcdefghi":
        await lane.wording.put(window(name), live=False)
    await lane.wording.end()
    await run
    assert [s.detail.removeprefix("slow: ") for s in lane.states] == [
        "left alone", "down", "no key", "slow answers again", "down",
    ]  # fmt: skip


class Mending(Failing):
    """Is well again so long after it was looked after; counts how often that was."""

    def __init__(self, after: float, *ways: ModelError | None) -> None:
        super().__init__(*ways)
        self.after, self.looked_after = after, 0

    async def recovered(self) -> None:
        self.looked_after += 1
        await asyncio.sleep(self.after)


async def told_at(lane: Lane, times: Sequence[float], until: float) -> list[str]:
    """States of a lane that gets a window at each of these seconds, each with the second at which it was said."""
    run, loop = asyncio.create_task(lane.wording.run()), asyncio.get_running_loop()
    spoken: list[str] = []

    async def watch() -> None:
        while True:
            await asyncio.sleep(0.1)
            spoken.extend(f"{loop.time() - begun:.0f} {s.state.value}" for s in lane.states[len(spoken) :])

    begun = loop.time()
    watching = asyncio.create_task(watch())
    for n, t in enumerate([*times, until]):
        await asyncio.sleep(begun + t - loop.time())
        if t is not until:
            await lane.wording.put(window(f"w{n}"), live=True)
    await lane.wording.end()
    await run
    watching.cancel()
    await asyncio.wait({watching})
    return spoken


@virtual_time
async def test_a_captioner_that_is_well_again_is_so_without_being_asked() -> None:
    captioner = Mending(8, ModelUnavailable("down"))
    lane = Lane(captioner)
    assert await told_at(lane, [1], 100) == ["1 degraded", "9 live"]
    assert captioner.looked_after == 1, "and no longer than it was wrong"
    assert captioner.ways == []


@virtual_time
async def test_a_sign_that_was_wrong_is_doubted_for_longer_each_time_until_a_good_answer() -> None:
    down = ModelTimeout("it hangs")
    captioner = Mending(5, down, down, down, None, down)
    lane = Lane(captioner)
    found = await told_at(lane, [0, 20, 200, 500, 510], 600)
    assert found == [
        "0 degraded", "5 live", "20 degraded", f"{20 + DOUBT_S + 5:.0f} live",
        "200 degraded", f"{200 + 2 * DOUBT_S + 5:.0f} live", "510 degraded", "515 live",
    ]  # fmt: skip


@virtual_time
@pytest.mark.parametrize(
    "fault",
    [
        ModelUnauthorised("no key"),
        AnswerUnreadable("no JSON"),
        PromptTooLong("too long"),
        AnswerCut("cut", at_limit=True),
    ],
)
async def test_a_fault_of_what_is_asked_or_answered_is_over_with_a_good_answer_alone(fault: ModelError) -> None:
    captioner = Mending(1, fault, ModelUnavailable("and down"), None)
    assert await told_at(Lane(captioner), [0, 50, 90], 100) == ["0 degraded", "50 degraded", "90 live"]
    assert captioner.looked_after == 0


@virtual_time
async def test_a_good_answer_while_it_is_looked_after_ends_it_once() -> None:
    lane = Lane(Mending(50, ModelUnavailable("down"), None, None))
    assert await told_at(lane, [0, 10, 70], 100) == ["0 degraded", "10 live"]


@virtual_time
@pytest.mark.parametrize(
    ("fault", "live"), [(PromptTooLong("too long"), []), (ModelUnavailable("down"), ["folding answers again"])]
)
async def test_a_good_summary_ends_what_may_pass_and_no_fault_of_windows(fault: ModelError, live: list[str]) -> None:
    class Half(Failing):
        name = "folding"

        async def summarise(self, differences: Sequence[Difference], start: float, end: float, before: str = "") -> str:
            return "all well"

    lane = Lane(Half(fault))
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("a"), live=False)
    await lane.wording.summarise([Difference(0.0, 1.0, "a", 0.5)], 0.0, 1.0, lane.tell)
    await lane.wording.end()
    await run
    assert ("summary", "all well", "folding", True) in lane.told
    assert [s.detail for s in lane.states if s.state is StreamState.LIVE] == live


@virtual_time
async def test_on_a_live_stream_the_one_at_work_is_given_up_for_those_that_wait() -> None:
    captioner = Slow(1000.0)
    lane = Lane(captioner)
    run = asyncio.create_task(lane.wording.run())
    loop = asyncio.get_running_loop()
    await lane.wording.put(window("w0"), live=True)
    await asyncio.sleep(0.1)
    for n in range(1, WAITING + 2):
        await lane.wording.put(window(f"w{n}"), live=True)
        await asyncio.sleep(0.1)
    assert loop.time() < 5, "nobody waited"
    assert lane.finals == [("w0", "grounded")]
    assert captioner.asked == ["w0", "w1"]
    assert captioner.left == 1, "what it was at is ended"
    assert not lane.states, "a captioner that is slow is no captioner that fails"
    run.cancel()
    await asyncio.wait({run})


@virtual_time
async def test_who_reads_a_file_for_its_own_sake_waits() -> None:
    lane = Lane(Slow(10.0))
    run = asyncio.create_task(lane.wording.run())
    for n in range(2 * WAITING):
        await lane.wording.put(window(f"w{n}"), live=False)
    assert asyncio.get_running_loop().time() >= 10
    await lane.wording.end()
    await run
    assert lane.finals == [(f"w{n}", "slow") for n in range(2 * WAITING)]


@virtual_time
async def test_an_overdue_window_is_told_in_its_turn_and_not_asked_about() -> None:
    captioner = Slow(5.0)
    lane = Lane(captioner)
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("a"), live=True)
    await lane.wording.put(window("b"), live=True, overdue=True)
    await lane.wording.put(window("c"), live=True)
    await lane.wording.end()
    await run
    assert lane.finals == [("a", "slow"), ("b", "grounded"), ("c", "slow")]
    assert captioner.asked == ["a", "c"]


@virtual_time
async def test_what_says_nothing_new_costs_no_captioner() -> None:
    captioner = Slow(5.0)
    lane = Lane(captioner)
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("old"), live=True)
    await lane.wording.end()
    await run
    assert captioner.asked == []
    assert asyncio.get_running_loop().time() == 0


@virtual_time
async def test_a_stream_that_is_to_stop_does_not_wait_long() -> None:
    captioner = Slow(1000.0)
    lane = Lane(captioner)
    run = asyncio.create_task(lane.wording.run())
    for name in ("a", "b", "c"):
        await lane.wording.put(window(name), live=True)
    await asyncio.sleep(1)
    lane.wording.hurry()
    await lane.wording.end()
    await run
    assert asyncio.get_running_loop().time() <= 1 + HURRIED_S + 0.1
    assert lane.finals == [("a", "grounded"), ("b", "grounded"), ("c", "grounded")]
    assert captioner.asked == ["a"]


@virtual_time
async def test_after_a_fault_nothing_is_left_open() -> None:
    lane = Lane(Slow(1000.0))
    run = asyncio.create_task(lane.wording.run())
    for name in ("a", "b"):
        await lane.wording.put(window(name), live=True)
    await lane.wording.put(window("c"), live=True, overdue=True)
    await asyncio.sleep(1)
    run.cancel()
    await asyncio.wait({run})
    await lane.wording.leave_nothing_open()
    assert lane.finals == [("a", "grounded"), ("b", "grounded"), ("c", "grounded")]
    assert not lane.wording.busy


@virtual_time
async def test_summaries_take_their_turn_and_fall_back() -> None:
    differences = (Difference(1.0, 2.0, "A person enters.", 0.7),)
    lane = Lane(Folding(2.0))
    run = asyncio.create_task(lane.wording.run())
    await lane.wording.put(window("a"), live=True)
    await lane.wording.summarise(differences, 0, 300, lane.tell)
    await lane.wording.put(window("b"), live=True)
    await lane.wording.end()
    await run
    assert [key for key, *_, final in lane.told if final] == ["a", "summary", "b"]
    assert ("summary", "1 from 0 to 300", "slow", True) in lane.told

    for captioner in (Slow(1.0), Folding(1.0, broken=["summary"])):  # one that makes none, one that fails
        lane = Lane(captioner)
        assert (await lane.wording.retold(differences, 0, 300))[0] is None


@virtual_time
async def test_a_summary_goes_on_from_the_last_one_whoever_made_that() -> None:
    differences = (Difference(1.0, 2.0, "A person enters.", 0.7),)
    lane = Lane(Folding(1.0))
    assert (await lane.wording.retold(differences, 0, 300))[0] == "1 from 0 to 300"
    lane.wording.captioner = Folding(1.0, broken=["summary"])  # as by another prompt; this one fails
    assert (await lane.wording.retold(differences, 300, 600))[0] is None
    lane.wording.captioner = Folding(1.0)
    assert (await lane.wording.retold(differences, 600, 900))[0] == "1 from 600 to 900 after 1 from 0 to 300"
