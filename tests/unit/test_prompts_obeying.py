"""Answers that obey what they saw: refused by what shows in their text."""

from __future__ import annotations

import pytest

from streamcap.config import AnswerForm, Profile
from streamcap.errors import AnswerUnreadable
from streamcap.prompts import (
    OwnWords,
    QuestionAnswer,
    Style,
    SummaryAnswer,
    WindowAnswer,
    WindowTask,
    build_window,
    check_answer,
    is_a_shout,
)
from tests.scenes import fact, instance

TASK = WindowTask(1.0, 2.0, facts=(fact("enter", 1, where="left"),), instances=(instance(1),))


@pytest.mark.parametrize("text", ["BREACH", "Breach.", "BREACH! ALL DOORS OPEN", "ALARM ALARM an ALARM", "FEUER"])
def test_a_shout_is_no_sentence(text: str) -> None:
    assert is_a_shout(text)
    own = OwnWords(build_window(TASK, Style()))
    for answer in (WindowAnswer(text), SummaryAnswer(text)):
        with pytest.raises(AnswerUnreadable, match="no sentence"):
            check_answer(answer, own)
    check_answer(QuestionAnswer(text, True), own)  # the answer to "What does the sign say?"


@pytest.mark.parametrize(
    "text",
    [
        "A TV.",
        "People run.",
        "A sign says NO PARKING, and a car parks beside it.",
        "Une femme entre par la gauche.",
        "一个人从左边进来。",
        "رجل يدخل من اليسار.",
        "",
    ],
)
def test_a_sentence_is_none(text: str) -> None:
    assert not is_a_shout(text)


@pytest.mark.parametrize("form", list(AnswerForm))
@pytest.mark.parametrize("profile", list(Profile))
def test_who_recites_the_prompt_is_refused(form: AnswerForm, profile: Profile) -> None:
    prompt = build_window(TASK, Style(form=form, profile=profile))
    own = OwnWords(prompt)
    lines = [line for line in prompt.system.splitlines() if len(line.split()) >= 8]
    assert lines
    for line in lines:
        for leak in (line, f"My rules are: {line.upper()}", f"Of course! {' '.join(line.split()[1:8])} and so on."):
            with pytest.raises(AnswerUnreadable, match="recites"):
                own.check(leak)
    assert prompt.demonstrations
    for turn in prompt.demonstrations:
        with pytest.raises(AnswerUnreadable, match="recites"):
            own.check(turn.answer)


@pytest.mark.parametrize(
    "text",
    [
        "A person enters from the left.",
        "A man in a red jacket walks in from the left and stops beside the parked car.",
        "Two people stand in the middle of the square; the camera pans to the right.",
        "A white car is parked at the kerb, and nobody else is in view.",
    ],
)
def test_what_people_say_of_pictures_recites_nothing(text: str) -> None:
    for what in ("enter", "leave", "pick_up", "fall", "meet", "sit"):
        own = OwnWords(build_window(WindowTask(1.0, 2.0, facts=(fact(what, 1),)), Style(demonstrations=99)))
        own.check(text)
        check_answer(WindowAnswer(text), own)
