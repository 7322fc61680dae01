"""`streamcap demo`: the main job in one command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from streamcap.errors import WeightsUnavailable
from streamcap.models.resolver import Resolver
from tests.patience import PATIENCE_S
from tests.programs import QUICK_S, Done, interrupted, side_by_side, streamcap

pytestmark = pytest.mark.weights


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory, weights: Callable[[str], Path]) -> dict[str, Done]:
    """One that ends by itself, and one that is ended."""
    assert weights("efficientdet-lite0").exists()
    try:
        Resolver().ensure_first("demo-clip")
    except WeightsUnavailable as error:
        pytest.skip(str(error))
    tmp = tmp_path_factory.mktemp("demo")
    return side_by_side(
        {
            "short": lambda: streamcap("demo", "--seconds", "4", "--port", "0"),
            "stopped": lambda: interrupted(
                ["demo", "--port", "0"], tmp / "demo", when=lambda out, _: "  =  " in out.read_text("utf-8")
            ),
        }
    )


@pytest.mark.parametrize("name", ["short", "stopped"])
def test_it_captions_a_real_clip_and_ends_cleanly(demos: dict[str, Done], name: str) -> None:
    done = demos[name]
    assert done.code == 0, done.err
    assert done.clean, done.err
    assert "\x1b" not in done.out + done.err
    # The stream loops, so the scene that the reader finds first is at some moment of it.
    assert re.search(r"^\d\d:\d\d\.\d  =  [A-Z].*\.$", done.out, re.M), done.out
    assert re.search(r"streamcap watch ws://127\.0\.0\.1:\d+", done.err)


def test_it_takes_about_as_long_as_it_was_told(demos: dict[str, Done]) -> None:
    assert 4 <= demos["short"].seconds < 4 + 2 * PATIENCE_S


def test_it_ends_soon_after_ctrl_c(demos: dict[str, Done]) -> None:
    assert demos["stopped"].seconds < QUICK_S
