"""Which pictures of a stream a vision–language model is shown."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from streamcap.looks import MOST, PAST, Looks
from streamcap.memory import Memory
from streamcap.types import Fact, Frame, KeyFrame, Observation, Window
from tests.scenes import fact, instance, observation

STEP = 0.2


def picture(t: float, width: int = 64) -> Frame:
    image = np.full((width // 2, width, 3), round(t * 10) % 256, np.uint8)
    return Frame("s", round(t / STEP), t, 1000 + t, image)


def shown(image: NDArray[np.uint8]) -> float:
    """The time that a picture was made for."""
    return float(image[0, 0, 0]) / 10


def window(
    start: float, end: float, facts: tuple[Fact, ...] = (), *, number: int = 1, scene_start: bool = False
) -> Window:
    return Window(f"c{number}", "s", start, end, 1000 + end, facts, (instance(1),), scene_start=scene_start)


def seen(t: float, *, changed: bool = True, scene_start: bool = False) -> Observation:
    made = observation(t, (), [instance(1)], scene_start=scene_start)
    return Observation(
        made.pts, made.captured_at, changed, scene_start, True, made.facts, made.instances, made.key_frame
    )


def played(looks: Looks, start: float, end: float, **how: bool) -> None:
    for n in range(round((end - start) / STEP)):
        t = round(start + n * STEP, 3)
        looks.take(picture(t), seen(t, **how))


def test_before_the_change_at_its_facts_and_now() -> None:
    looks = Looks(Memory)
    played(looks, 0, 1, scene_start=False)
    played(looks, 1, 4, changed=False)
    played(looks, 4, 5)
    enter = fact("enter", 1, where="left", at=4.2)
    looks.note(window(4.2, 4.2, (enter,)))
    played(looks, 5, 8)
    times = [look.t for look in looks.of(window(4.2, 4.4, (enter,)))]
    assert times[0] < 4.2 and times[0] > 3.5, "the quiet scene as it was until the change"
    assert any(abs(t - 4.2) <= 0.4 for t in times[1:-1])
    assert times[-1] > 7.4
    assert times == sorted(times)


def test_each_look_shows_its_moment_and_who_was_there() -> None:
    looks = Looks(Memory)
    played(looks, 0, 2)
    for look in looks.of(window(1.0, 1.6, (fact("stop", 1, at=1.6),))):
        assert abs(shown(look.image) - look.t) < 0.11
        assert [each.id for each in look.instances] == [1]


def test_they_are_narrow_and_few_however_much_happens() -> None:
    looks = Looks(Memory)
    many = tuple(fact("enter", n, where="left", at=n / 5, saliency=0.3 + 0.01 * (n % 30)) for n in range(1, 60))
    for n in range(60):
        t = n / 5
        looks.take(picture(t, width=1920), seen(t))
        looks.note(window(0.2, t, tuple(f for f in many if f.end <= t)))
    found = looks.of(window(0.2, 12.0, many))
    assert len(found) == MOST
    assert max(look.image.shape[1] for look in found) == 672
    assert found[0].t == 0.0 and found[-1].t > 11.5


def test_a_scene_that_begins_shows_nothing_of_the_one_before() -> None:
    looks = Looks(Memory)
    played(looks, 0, 3)
    cut = fact("cut", label="scene", at=3.0)
    looks.take(picture(3.0), seen(3.0, scene_start=True))
    old = looks.of(window(2.0, 2.6, (fact("enter", 1, where="left", at=2.4),)))
    assert old and max(look.t for look in old) < 3
    looks.note(window(3.0, 3.0, (cut,), number=2, scene_start=True))
    played(looks, 3.2, 5)
    assert min(look.t for look in looks.of(window(3.0, 4.8, (cut,), number=2, scene_start=True))) >= 3.0


def test_nothing_was_seen_nothing_is_shown() -> None:
    assert Looks(Memory).of(window(1, 2)) == ()


def test_windows_that_are_never_closed_cost_little() -> None:
    looks = Looks(Memory)
    played(looks, 0, 2)
    for n in range(100):
        looks.note(window(1, 2, number=n))
    assert len(looks._aside) <= 4


def test_of_the_past_few_key_frames_stand_for_all() -> None:
    memory = Memory()
    _, jpeg = cv2.imencode(".jpg", np.zeros((9, 16, 3), np.uint8))
    rng = np.random.default_rng(3)
    for n in range(200):
        feature = rng.normal(size=8).astype(np.float32) + 5 * np.eye(8, dtype=np.float32)[n // 50]
        memory.add(feature / np.linalg.norm(feature), float(n), KeyFrame(float(n), jpeg.tobytes() if n % 3 else None))
    looks = Looks(lambda: memory)
    past = looks.past(150.0)
    assert len(past) == PAST
    times = [span.key.t for span in past]
    assert times == sorted(times)
    assert max(times) < 145, "what is newer is in the looks"
    assert {int(t // 50) for t in times} == {0, 1, 2}, "one of each of the three things that were seen"
    assert all(span.key.jpeg for span in past)
    for span in past:
        others = [key.t for key, _ in span.others]
        assert others == sorted(set(others) - {span.key.t})
        assert {int(t // 50) for t in others} <= {int(span.key.t // 50)}, "alike are those of one thing"
    assert any(span.others for span in past)
    assert looks.past(2.0) == ()
