"""Where publishers come in: one at a time, bounded, and noticed when they fall silent."""

from __future__ import annotations

import threading

import pytest

from streamcap.sources.ports import (
    SILENT_S,
    WAITING_FRAMES,
    EncodedFrame,
    Port,
    Ports,
    PortTaken,
    Publication,
    is_key,
)
from tests.patience import PATIENCE_S


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def made(clock: Clock, asked: list[float] | None = None) -> Publication:
    return Publication(
        "p",
        ask_key=lambda: asked.append(clock.now) if asked is not None else None,
        on_close=lambda: None,
        monotonic=clock,
    )


def frame(n: int, clock: Clock, *, key: bool = False) -> EncodedFrame:
    return EncodedFrame("vp8", b"x", n * 3000, key, clock.now)


def test_frames_before_the_first_key_frame_are_left_out_and_one_is_asked_for_once_a_second() -> None:
    clock = Clock()
    asked: list[float] = []
    publication = made(clock, asked)
    for n in range(30):
        publication.put(frame(n, clock))
        clock.now += 0.1
    assert len(asked) == 3 and publication.take(0) is None
    publication.put(frame(30, clock, key=True))
    publication.put(frame(31, clock))
    taken = [publication.take(0), publication.take(0), publication.take(0)]
    assert [each and each.timestamp for each in taken] == [30 * 3000, 31 * 3000, None]


def test_a_decoder_that_is_behind_begins_again_with_a_key_frame() -> None:
    clock = Clock()
    asked: list[float] = []
    publication = made(clock, asked)
    publication.put(frame(0, clock, key=True))
    for n in range(1, WAITING_FRAMES + 5):
        publication.put(frame(n, clock))
    assert publication.left_out() == WAITING_FRAMES and publication.left_out() == 0
    assert publication.take(0) is None and asked
    publication.put(frame(500, clock, key=True))
    newest = publication.take(0)
    assert newest is not None and newest.key


def test_one_publishes_at_a_time_and_who_is_silent_makes_room() -> None:
    clock = Clock()
    port, first, second = Port(), made(clock), made(clock)
    port.attach(first)
    with pytest.raises(PortTaken):
        port.attach(second)
    clock.now += SILENT_S
    port.attach(second)
    assert first.closed and port.publication is second
    second.close()
    port.attach(made(clock))


def test_who_waits_at_a_port_is_woken_by_a_publisher_and_by_the_end() -> None:
    port, clock = Port(), Clock()
    found: list[Publication | None] = []
    stop = threading.Event()
    waiting = [threading.Thread(target=lambda: found.append(port.wait(stop.is_set))) for _ in range(2)]
    waiting[0].start()
    publication = made(clock)
    port.attach(publication)
    waiting[0].join(PATIENCE_S)
    publication.close()
    waiting[1].start()
    stop.set()
    port.wake()
    waiting[1].join(PATIENCE_S)
    assert found == [publication, None]


def test_closing_tells_listeners_and_the_publisher_once() -> None:
    ports = Ports()
    told: list[object] = []
    publication = Publication("p", ask_key=lambda: None, on_close=lambda: told.append("closed"))
    stop = publication.listen(lambda each: told.append(each))
    ports.port("a").attach(publication)
    ports.close("b")
    ports.close()
    ports.close()
    stop()
    assert told == [None, "closed"] and publication.take(0) is None


@pytest.mark.parametrize(
    ("codec", "data", "key"),
    [
        ("vp8", b"\x10\x02\x00", True),
        ("vp8", b"\x11\x02\x00", False),
        ("vp8", b"", False),
        ("h264", b"\0\0\0\1\x67\x42\0\0\0\1\x68\0\0\0\1\x65\x88", True),
        ("h264", b"\0\0\1\x09\x10\0\0\1\x65\x88", True),
        ("h264", b"\0\0\1\x41\x9a\0\0\1\x65", False),
        ("h264", b"\0\0\1\x06\x05", False),
        ("h264", b"nothing", False),
    ],
)
def test_key_frames_are_known(codec: str, data: bytes, key: bool) -> None:
    assert is_key(codec, data) is key
