"""When to speak, what belongs together, and that nothing is said twice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamcap.captioners.grounded import GroundedCaptioner
from streamcap.captions import BUSY_LONGEST_S, HELD_S, PACES, CaptionBook, Pace, Step, WindowBuilder
from streamcap.config import Profile
from streamcap.language import Description
from streamcap.types import Caption, CaptionKind, CaptionStatus, Fact, Observation, Window
from tests.scenes import fact, instance, observation

STEP = 0.2


GUARD = PACES[Profile.SURVEILLANCE]


def play(seen: Iterable[Observation], *, pace: Pace = GUARD, prefix: str = "c") -> list[Step]:
    builder = WindowBuilder("s", pace=pace, prefix=prefix)
    return [step for one in seen for step in builder.add(one)] + builder.flush()


def quiet(start: float, end: float, instances: Sequence[object] = ()) -> list[Observation]:
    count = round((end - start) / STEP)
    return [observation(round(start + n * STEP, 6), (), instances) for n in range(count)]  # type: ignore[arg-type]


def closed(steps: Iterable[Step]) -> list[Window]:
    return [step.window for step in steps if step.closed]


def captions(steps: Iterable[Step], book: CaptionBook | None = None) -> list[Caption]:
    """As the pipeline does it: drafts of open windows, finals of closed ones."""
    book, grounded = book or CaptionBook(), GroundedCaptioner()
    found = []
    for step in steps:
        what = grounded.whole(step.window) if step.closed else grounded.draft(step.window)
        caption = book.revise(
            replace(step.window, said=book.said(step.window.start)), what, source="grounded", final=step.closed
        )
        if caption is not None:
            found.append(caption)
    return found


def finals(found: Iterable[Caption]) -> list[Caption]:
    return [caption for caption in found if caption.status is CaptionStatus.FINAL]


# ---- windows


def test_nothing_happens_no_window() -> None:
    assert play(quiet(5, 60)) == []


def test_a_window_opens_with_a_fact_and_closes_when_it_grows_quiet() -> None:
    enter = fact("enter", 1, where="left", at=9.6)
    steps = play([*quiet(5, 10), observation(10.0, [enter], [instance(1)]), *quiet(10.2, 20)])
    assert [step.closed for step in steps] == [False, True]
    (window,) = closed(steps)
    assert window.facts == (enter,)
    assert window.instances == (instance(1),)
    assert not window.scene_start
    assert window.start == 9.6
    assert window.end == 9.6
    # The frame at 10.0 was captured at 1010.0, so what happened at 9.6 was captured at 1009.6.
    assert window.captured_at == pytest.approx(1009.6)


def test_what_was_waited_until_a_rule_was_sure_and_nothing_more_came_is_told_apart() -> None:
    leave = fact("leave", 1, where="left", at=10.0)  # last seen then; sure of it only four seconds later
    draft, final = play([*quiet(5, 14), observation(14.0, [leave], [instance(1)]), *quiet(14.2, 20)])
    assert draft.window.end == 10.0
    assert draft.window.captured_at == pytest.approx(1010.0)
    assert draft.window.waited == pytest.approx(4.0)
    assert 0 <= final.window.waited - 4.0 - GUARD.quiet_s <= STEP + 1e-9
    first, last = captions([draft, final])
    assert (first.waited, last.waited) == (draft.window.waited, final.window.waited)


def test_what_follows_quickly_belongs_together() -> None:
    facts = [fact("enter", 1, where="left", at=10.0), fact("enter", 2, where="left", at=10.4)]
    steps = play([observation(10.0, facts[:1]), *quiet(10.2, 10.4), observation(10.4, facts[1:]), *quiet(10.6, 20)])
    (window,) = closed(steps)
    assert window.facts == tuple(facts)
    assert (window.start, window.end) == (10.0, 10.4)


def test_what_comes_later_is_another_window() -> None:
    facts = [fact("enter", 1, where="left", at=10.0), fact("leave", 1, where="left", at=15.0)]
    steps = play([observation(10.0, facts[:1]), *quiet(10.2, 15), observation(15.0, facts[1:]), *quiet(15.2, 20)])
    assert [window.facts for window in closed(steps)] == [(facts[0],), (facts[1],)]
    assert [window.id for window in closed(steps)] == ["c1", "c2"]


def test_a_busy_scene_does_not_keep_a_window_open_for_ever() -> None:
    seen = [observation(10 + n * STEP, [fact("enter", n, where="left", at=10 + n * STEP)]) for n in range(100)]
    windows = closed(play(seen))
    assert len(windows) > 2
    assert all(window.end - window.start <= BUSY_LONGEST_S + STEP for window in windows)
    assert sum(len(window.facts) for window in windows) == 100


def test_windows_grow_with_the_captions_of_the_last_minute_and_shrink_again() -> None:
    busy = [at for n in range(12) for at in (10 + 4.0 * n, 11 + 4.0 * n)]
    calm = [300.0, 305.0]
    seen = []
    for number, at in enumerate([*busy, *calm]):
        seen += quiet(60, 70) if at == calm[0] else []
        seen += [observation(at, [fact("enter", number, where="left", at=at)]), *quiet(at + STEP, at + 0.9)]
    windows = closed(play([*seen, *quiet(306, 320)]))
    busiest = max(len(window.facts) for window in windows)
    assert len(windows[0].facts) == 1 < busiest
    assert [len(window.facts) for window in windows[-2:]] == [1, 1]


def test_while_the_captioner_is_busy_what_changes_gathers_in_the_open_window() -> None:
    builder = WindowBuilder("s", pace=GUARD)
    builder.held = True
    facts = [fact("enter", n, where="left", at=10 + 2.0 * n) for n in range(4)]
    steps = [step for one in facts for step in builder.add(observation(one.end, [one]))]
    steps += [step for one in quiet(16.2, 18) for step in builder.add(one)]
    assert [step.closed for step in steps] == [False] * 4, "its draft is revised all the same"
    builder.held = False
    (step,) = builder.add(observation(18.0))
    assert (step.closed, step.overdue, step.window.facts) == (True, False, tuple(facts))


def test_a_window_is_not_held_open_for_ever() -> None:
    builder = WindowBuilder("s", pace=GUARD)
    builder.held = True
    seen = [observation(10 + n * STEP, [fact("enter", n, where="left", at=10 + n * STEP)]) for n in range(150)]
    windows = [step for one in seen for step in builder.add(one) if step.closed]
    assert [step.overdue for step in windows] == [True, True]
    assert all(step.window.end - step.window.start <= HELD_S + STEP for step in windows)


def test_a_new_scene_closes_a_window_that_is_held() -> None:
    builder = WindowBuilder("s", pace=GUARD)
    builder.held = True
    builder.add(observation(10.0, [fact("enter", 1, where="left", at=10.0)]))
    cut = fact("cut", label="scene", at=10.2)
    first, *_ = builder.add(observation(10.2, [cut], scene_start=True, settled=False))
    assert (first.closed, first.overdue, first.window.scene_start) == (True, False, False)


def test_what_hardly_matters_is_left_out() -> None:
    small, large = fact("stop", 1, where="left", saliency=0.3), fact("enter", 2, where="left", saliency=0.7)
    assert play([observation(10.0, [small]), *quiet(10.2, 12)], pace=replace(GUARD, floor=0.4)) == []
    (window,) = closed(play([observation(10.0, [small, large]), *quiet(10.2, 12)], pace=replace(GUARD, floor=0.4)))
    assert window.facts == (large,)


def test_a_scene_begins_with_a_window_that_waits_until_it_has_settled() -> None:
    seen = [
        observation(n * STEP, (), [instance(1)] if n > 2 else [], scene_start=n == 0, settled=n > 6) for n in range(15)
    ]
    steps = play(seen)
    (window,) = closed(steps)
    assert window.scene_start
    assert window.start == 0
    assert window.end >= 7 * STEP
    assert window.instances == (instance(1),)
    drafts = [step for step in steps if not step.closed]
    assert len(drafts) == 1  # when the person was found, not with each frame


def test_a_new_scene_closes_the_window_of_the_old_one() -> None:
    enter, cut = fact("enter", 1, where="left", at=10.0), fact("cut", label="scene", at=10.2)
    steps = play(
        [observation(10.0, [enter]), observation(10.2, [cut], scene_start=True, settled=False), *quiet(10.4, 15)]
    )
    first, second = closed(steps)
    assert (first.id, first.facts, first.scene_start) == ("c1", (enter,), False)
    assert (second.id, second.facts, second.scene_start) == ("c2", (cut,), True)
    order = [(step.window.id, step.closed) for step in steps]
    assert order.index(("c1", True)) < order.index(("c2", False))


def test_scene_after_scene_each_has_its_window() -> None:
    seen = [
        observation(n * STEP, [fact("cut", label="scene", at=n * STEP)], scene_start=True, settled=False)
        for n in range(6)
    ]
    assert [window.id for window in closed(play(seen))] == [f"c{n}" for n in range(1, 7)]


def test_the_end_of_the_stream_closes_what_is_open() -> None:
    enter = fact("enter", 1, where="left", at=10.0)
    builder = WindowBuilder("s", pace=GUARD)
    builder.add(observation(10.0, [enter]))
    (step,) = builder.flush()
    assert step.closed
    assert step.window.facts == (enter,)
    assert builder.flush() == []


def test_ids_tell_one_run_from_another() -> None:
    seen = [observation(10.0, [fact("enter", 1, where="left", at=10.0)]), *quiet(10.2, 12)]
    assert closed(play(seen, prefix="a1-c"))[0].id == "a1-c1"


# ---- the book


def window(number: int, start: float, end: float, *, full: bool = False, who: Sequence[int] = (1,)) -> Window:
    return Window(f"c{number}", "s", start, end, 1000 + end, (), tuple(instance(w) for w in who), scene_start=full)


def said(text: str, *who: int) -> Description:
    return Description(text, {}, who, 0.6)


def test_drafts_are_revised_until_the_final() -> None:
    book = CaptionBook()
    one = window(1, 0, 1)
    found = [
        book.revise(one, said("A person enters.", 1), source="x", final=False),
        book.revise(one, said("A person enters.", 1), source="x", final=False),  # nothing new
        book.revise(one, said("Two people enter.", 1), source="x", final=False),
        book.revise(one, said("Two people enter.", 1), source="y", final=True),
    ]
    assert found[1] is None
    kept = [caption for caption in found if caption is not None]
    assert [(c.id, c.rev, c.status, c.text) for c in kept] == [
        ("c1", 0, CaptionStatus.OPEN, "A person enters."),
        ("c1", 1, CaptionStatus.UPDATE, "Two people enter."),
        ("c1", 2, CaptionStatus.FINAL, "Two people enter."),
    ]
    assert kept[-1].source == "y"
    assert kept[-1].instances == (instance(1),)
    assert book.said(0.0)[-1] == "Two people enter."


def test_a_draft_always_becomes_final_even_if_there_is_nothing_more_to_say() -> None:
    book = CaptionBook()
    one = window(1, 0, 1)
    assert book.revise(one, said("Something enters."), source="x", final=False) is not None
    final = book.revise(one, said(""), source="x", final=True)
    assert final is not None
    assert (final.status, final.text) == (CaptionStatus.FINAL, "Something enters.")


def test_what_is_empty_is_not_said() -> None:
    book = CaptionBook()
    assert book.revise(window(1, 0, 1), said(""), source="x", final=True) is None
    assert book.said(0.0) == ()


@pytest.mark.parametrize(
    ("later", "text", "who", "repeats"),
    [
        (10.0, "A person stops.", (1,), True),
        (29.0, "A person stops.", (1,), True),
        (40.0, "A person stops.", (1,), False),
        (10.0, "A person stops.", (2,), False),
        (10.0, "A person walks.", (1,), False),
    ],
)
def test_the_same_about_the_same_is_not_said_again_soon(
    later: float, text: str, who: tuple[int, ...], repeats: bool
) -> None:
    book = CaptionBook()
    assert book.revise(window(1, 0, 1), said("A person stops.", 1), source="x", final=True) is not None
    again = window(2, later, later + 1, who=(1, 2))
    assert (book.revise(again, said(text, *who), source="x", final=False) is None) is repeats
    book = CaptionBook()
    book.revise(window(1, 0, 1), said("A person stops.", 1), source="x", final=True)
    assert (book.revise(again, said(text, *who), source="x", final=True) is None) is repeats


def test_something_in_between_does_not_make_it_news() -> None:
    book = CaptionBook()
    for number, text in enumerate(["The camera shakes.", "The lights go out.", "The camera shakes."]):
        caption = book.revise(window(number, number * 3.0, number * 3.0 + 1), said(text), source="x", final=True)
        assert (caption is None) == (number == 2)


def test_after_a_cut_even_an_equal_view_is_described() -> None:
    """The view cuts three times within half a minute: each time something happened that was not said before."""
    cuts = [10.0, 18.0, 26.0]
    seen: list[Observation] = []
    for n in range(200):
        time = round(n * STEP, 6)
        start = n == 0 or time in cuts
        since = time - max([0.0, *(cut for cut in cuts if cut <= time)])
        facts = [fact("cut", label="scene", at=time)] if time in cuts else []
        seen.append(observation(time, facts, [], scene_start=start, settled=since >= 1.2))
    found = finals(captions(play(seen)))
    assert [c.kind for c in found] == [CaptionKind.FULL] * 4
    assert sum("cuts" in c.text for c in found) == 3


def test_a_caption_points_at_its_evidence() -> None:
    enter = fact("enter", 1, where="left", at=9.6)
    steps = play([observation(10.0, [enter], [instance(1), instance(2, "car")]), *quiet(10.2, 12)])
    (final,) = finals(captions(steps))
    assert final.kind is CaptionKind.DIFF
    assert final.instances == (instance(1),)
    assert final.evidence == (9.6,)
    assert final.captured_at == pytest.approx(1009.6)
    assert (final.start, final.end, final.saliency) == (9.6, 9.6, 0.6)


def test_an_empty_scene_makes_no_draft_and_one_full_caption() -> None:
    found = captions(play([observation(0.0, scene_start=True, settled=False), *quiet(STEP, 10)]))
    assert [(c.kind, c.status) for c in found] == [(CaptionKind.FULL, CaptionStatus.FINAL)]


# ---- what is likely


LEAVES = fact("leave", 1, where="right", at=10.0)
LIKELY = replace(LEAVES, sure=False)


def until(start: float, end: float, *likely: Fact) -> list[Observation]:
    """Frames in which this is likely."""
    count = round((end - start) / STEP)
    return [observation(round(start + n * STEP, 6), (), [instance(1)], likely=likely) for n in range(count)]


def test_a_likely_departure_is_drafted_at_once_and_the_final_waits_until_it_is_sure() -> None:
    found = captions(
        play([*quiet(5, 10.2), *until(10.2, 11, LIKELY), observation(11, [LEAVES], [instance(1)]), *quiet(11.2, 14)])
    )
    assert [(c.id, c.rev, c.status, c.text) for c in found] == [
        ("c1", 0, CaptionStatus.OPEN, "The person leaves to the right."),
        ("c1", 1, CaptionStatus.FINAL, "The person leaves to the right."),
    ]
    draft, final = found
    # Both speak of the last sight, at 10.0; the draft was made with the first frame after it.
    assert (draft.end, draft.captured_at) == (10.0, 1010.0)
    assert draft.waited == pytest.approx(0.2)
    assert (final.end, final.captured_at) == (10.0, 1010.0)
    assert (draft.evidence, final.evidence) == ((), (10.0,))  # no picture is kept of what may not come true


def test_who_comes_back_has_not_left_and_the_draft_is_withdrawn() -> None:
    found = captions(play([*quiet(5, 10.2), *until(10.2, 10.8, LIKELY), *quiet(10.8, 14)]))
    assert [(c.id, c.rev, c.status, c.text) for c in found] == [
        ("c1", 0, CaptionStatus.OPEN, "The person leaves to the right."),
        ("c1", 1, CaptionStatus.UPDATE, ""),
    ]
    assert (found[-1].instances, found[-1].skills, found[-1].evidence) == ((), {}, ())


def test_the_id_of_a_withdrawn_draft_is_that_of_the_next_caption() -> None:
    enter = observation(12, [fact("enter", 2, where="left", at=12)], [instance(1), instance(2)])
    found = captions(play([*quiet(5, 10.2), *until(10.2, 10.8, LIKELY), *quiet(10.8, 12), enter, *quiet(12.2, 14)]))
    assert [(c.id, c.rev, c.status) for c in found] == [
        ("c1", 0, CaptionStatus.OPEN), ("c1", 1, CaptionStatus.UPDATE),
        ("c1", 2, CaptionStatus.OPEN), ("c1", 3, CaptionStatus.FINAL),
    ]  # fmt: skip
    assert "leaves" not in found[-1].text


def test_an_open_draft_tells_what_is_likely_and_takes_it_back() -> None:
    stops = observation(10, [fact("stop", 2, at=10)], [instance(1), instance(2)])
    found = captions(play([*quiet(5, 10), stops, *until(10.2, 10.4, LIKELY), *quiet(10.4, 14)]))
    texts = [c.text for c in found]
    assert [("leaves" in text, "stops" in text) for text in texts] == [
        (False, True), (True, True), (False, True), (False, True)
    ]  # fmt: skip
    assert {c.id for c in found} == {"c1"}
    assert found[-1].status is CaptionStatus.FINAL


def test_what_is_still_likely_when_its_caption_is_final_goes_over_to_the_next() -> None:
    stops = observation(10, [fact("stop", 2, at=10)], [instance(1), instance(2)])
    sure = observation(11.4, [LEAVES], [instance(1)])
    found = captions(play([*quiet(5, 10), stops, *until(10.2, 11.4, LIKELY), sure, *quiet(11.6, 14)]))
    finished = finals(found)
    assert [("leaves" in c.text, "stops" in c.text) for c in finished] == [(False, True), (True, False)]
    after_final = found[found.index(finished[0]) + 1]
    assert (after_final.id, after_final.status) == ("c2", CaptionStatus.OPEN)
    assert "leaves" in after_final.text


def test_what_was_likely_when_the_stream_ends_is_withdrawn() -> None:
    found = captions(play([*quiet(5, 10.2), *until(10.2, 10.4, LIKELY)]))
    assert [(c.status, bool(c.text)) for c in found] == [(CaptionStatus.OPEN, True), (CaptionStatus.UPDATE, False)]


def test_what_is_too_small_to_be_told_is_not_told_where_it_is_likely() -> None:
    small = replace(LIKELY, saliency=GUARD.floor / 2)
    assert play([*quiet(5, 10.2), *until(10.2, 11, small), *quiet(11, 14)]) == []


# ---- whatever is seen


@st.composite
def streams(draw: st.DrawFn) -> list[Observation]:
    """A stream of observations as perception may make them: facts end at their frame or some seconds before it."""
    time, seen, since = 0.0, [], 0.0
    for n in range(draw(st.integers(1, 40))):
        time = round(time + draw(st.sampled_from([0.1, 0.2, 0.2, 0.7, 3.0, 40.0])), 3)
        start = n == 0 or draw(st.integers(0, 12)) == 0
        since = time if start else since
        facts: list[Fact] = []
        for _ in range(draw(st.sampled_from([0, 0, 0, 1, 2]))):
            what = draw(st.sampled_from(["enter", "leave", "stop", "empty", "shake", "light"]))
            where = {"empty": "", "shake": "", "light": "off"}.get(what, "left")
            end = max(since, time - draw(st.sampled_from([0.0, 0.4, 4.0])))
            who = [] if what in ("empty", "shake", "light") else [draw(st.integers(1, 3))]
            label = "person" if who else "scene"
            facts.append(fact(what, *who, label=label, where=where, at=end, saliency=draw(st.floats(0, 1))))
        there = [instance(k) for k in range(1, draw(st.integers(0, 3)) + 1)]
        seen.append(observation(time, facts, there, scene_start=start, settled=time - since >= 1.2))
    return seen


@given(streams())
@settings(deadline=None, max_examples=80)
def test_every_caption_that_opens_becomes_final_once(seen: list[Observation]) -> None:
    steps = play(seen)
    found = captions(steps)
    by_id: dict[str, list[Caption]] = {}
    for caption in found:
        by_id.setdefault(caption.id, []).append(caption)
    for revisions in by_id.values():
        assert [c.rev for c in revisions] == list(range(len(revisions)))
        statuses = [c.status for c in revisions]
        assert statuses[-1] is CaptionStatus.FINAL
        assert statuses.count(CaptionStatus.FINAL) == 1
        assert statuses[:-1] == [CaptionStatus.OPEN, *[CaptionStatus.UPDATE] * (len(statuses) - 2)][: len(statuses) - 1]
        assert len({c.kind for c in revisions}) == 1
        assert all(c.text for c in revisions)


def foreseen(seen: Sequence[Observation], draw: st.DataObject) -> list[Observation]:
    """The same stream with departures that are likely for some frames each, and come true or not."""
    found, left, who = [], 0, 0
    for one in seen:
        if left == 0 and draw.draw(st.integers(0, 3)) == 0:
            left, who = draw.draw(st.integers(1, 4)), draw.draw(st.integers(1, 3))
        gone = fact("leave", who, where="right", at=max(0.0, one.pts - 0.2), sure=False)
        found.append(replace(one, likely=(gone,) if left and not one.scene_start else ()))
        left = max(0, left - 1)
    return found


@given(streams(), st.data())
@settings(deadline=None, max_examples=80)
def test_what_is_only_likely_changes_no_final_and_no_draft_of_it_is_left(
    seen: list[Observation], data: st.DataObject
) -> None:
    plain, found = captions(play(seen)), captions(play(foreseen(seen, data)))
    assert [(c.text, c.kind, c.start, c.end, c.captured_at, c.evidence, c.instances) for c in finals(found)] == [
        (c.text, c.kind, c.start, c.end, c.captured_at, c.evidence, c.instances) for c in finals(plain)
    ]
    shown: dict[str, Caption] = {}
    revisions: dict[str, int] = {}
    for caption in found:
        assert caption.rev == revisions.get(caption.id, -1) + 1
        revisions[caption.id] = caption.rev
        if caption.status is CaptionStatus.FINAL or not caption.text:
            assert caption.status is CaptionStatus.FINAL or caption.id in shown, "only what was shown is withdrawn"
            shown.pop(caption.id, None)
        else:
            assert (caption.status is CaptionStatus.OPEN) == (caption.id not in shown)
            shown[caption.id] = caption
    assert shown == {}


@given(streams())
@settings(deadline=None, max_examples=80)
def test_windows_come_one_after_the_other_and_hold_each_fact_once(seen: list[Observation]) -> None:
    steps = play(seen)
    windows = closed(steps)
    assert [w.id for w in windows] == [f"c{n}" for n in range(1, len(windows) + 1)]
    open_id = None
    for step in steps:  # never two open at once
        assert open_id in (None, step.window.id)
        open_id = None if step.closed else step.window.id
    assert open_id is None
    held = [f for w in windows for f in w.facts]
    assert held == [f for one in seen for f in one.facts if f.saliency >= 0.2]
    last = seen[-1].pts
    for w in windows:
        assert 0 <= w.start <= w.end <= last
        assert w.captured_at == pytest.approx(1000 + w.end)
        assert all(w.start <= f.start and f.end <= w.end for f in w.facts)


@given(streams())
@settings(deadline=None, max_examples=80)
def test_nothing_is_said_twice_in_half_a_minute(seen: list[Observation]) -> None:
    found = [c for c in finals(captions(play(seen))) if c.kind is CaptionKind.DIFF and c.rev == 0]
    for n, one in enumerate(found):
        for other in found[n + 1 : n + 2]:
            same = (one.text, {i.id for i in one.instances}) == (other.text, {i.id for i in other.instances})
            assert not same or other.start - one.end >= 30


# ---- pace


def test_a_guard_is_told_more_and_sooner_than_others() -> None:
    assert PACES.keys() == set(Profile)
    guard, viewer, listener = PACES[Profile.SURVEILLANCE], PACES[Profile.COMMENTARY], PACES[Profile.GENERAL]
    assert guard.floor < viewer.floor < listener.floor
    assert guard.longest_s < viewer.longest_s < listener.longest_s


def test_in_a_busy_scene_small_things_make_room_and_salient_ones_do_not() -> None:
    seen = [
        observation(
            n * STEP,
            [fact("enter", n, where="left", at=n * STEP, saliency=0.6), fact("stop", n, at=n * STEP, saliency=0.3)]
            if n % 8 == 1
            else [],
        )
        for n in range(1000)
    ]
    told = [f.what for window in closed(play(seen)) for f in window.facts]
    assert told.count("enter") == 125
    assert 0 < told.count("stop") < 110
