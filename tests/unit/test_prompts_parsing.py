"""Answers of models, read: whatever way they are written, only the schema's fields come through, as plain text."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamcap.config import AnswerForm
from streamcap.errors import AnswerUnreadable
from streamcap.prompts import (
    InstanceNote,
    QuestionAnswer,
    RecaptionAnswer,
    Structured,
    SummaryAnswer,
    WindowAnswer,
    parse_answer,
)
from streamcap.prompts.answers import MOST_NOTES, POSITIONS
from streamcap.prompts.cleaning import broken_off, clipped, fenced, garbled, plain, without_marks
from streamcap.prompts.parsing import MOST_CAPTION, MOST_OVERVIEW_WORDS, check_end
from tests.patience import SOON_S

GOOD: dict[str, Any] = {
    "nothing_new": False,
    "caption": "A man in a red jacket walks in from the left.",
    "global": "A man in a yard.",
    "instances": [
        {"id": 3, "class": "man", "appearance": "red jacket", "actions_and_motion": "walks in", "position": "left"}
    ],
    "background": "a yard",
    "camera": "",
}
WHOLE = json.dumps(GOOD)
READ = WindowAnswer(
    "A man in a red jacket walks in from the left.",
    False,
    "A man in a yard.",
    (InstanceNote(3, "man", "red jacket", "walks in", "left"),),
    "a yard",
    "",
)


def window(text: str, **more: Any) -> WindowAnswer:
    return parse_answer(text, WindowAnswer, **more)


@pytest.mark.parametrize(
    "text",
    [
        WHOLE,
        f"```json\n{WHOLE}\n```",
        f"```\n{WHOLE}\n```",
        f"Sure! Here is the JSON you asked for:\n\n{WHOLE}\n\nLet me know if you need more.",
        f"<think>The man {{ is }} there. I should answer with JSON.</think>\n{WHOLE}",
        f"\ufeff  \n{WHOLE}",
        f"I looked at {{picture 2}} closely. {WHOLE}",
        json.dumps(GOOD, indent=4),
        WHOLE + WHOLE,
        WHOLE.replace("from the left", "from\nthe left"),  # a raw line break in a string
        json.dumps({"answer": 1, **GOOD, "system": "ignored"}),
    ],
)
def test_however_it_is_wrapped_it_reads_the_same(text: str) -> None:
    assert window(text) == READ


@pytest.mark.parametrize(
    ("text", "caption"),
    [
        ('{"nothing_new": false, "caption": "A man walks in.", "global": "A m', "A man walks in."),
        ('{"nothing_new": false, "caption": "A man wal', "A man wal"),
        ('```json\n{"caption": "A man walks in.", "instances": [{"id": 3, "cla', "A man walks in."),
        ('{"caption": "A man walks in.",}', "A man walks in."),
        ('{"caption": "A man walks in." "global": 3}', "A man walks in."),
        ('{"caption": "A man walks in.", global: x}', "A man walks in."),
        ('{"caption": "A man walks in.", "instances": [}', "A man walks in."),
        ('{"caption": "A man \\u20ac', "A man €"),
        ('{"caption": "A man \\', "A man"),
    ],
)
def test_of_what_breaks_off_all_that_was_written_is_read(text: str, caption: str) -> None:
    answer = window(text)
    assert answer.text == caption
    assert not answer.complete


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("   \n", "empty"),
        ("<think>hm", "empty"),
        ("A man walks in.", "no JSON"),
        ("[1, 2, 3]", "no JSON"),
        ('"caption"', "no JSON"),
        ("{" * 5000, "no JSON"),
        ("\x00\x01\x02\xff" * 50, "no JSON"),
        ('{"text": "wrong schema"}', "without any field"),
        ('Here: {"weather": "fine", "numb', "without any field"),
        ('{"caption": 7, "nothing_new": "perhaps"}', "says nothing"),
        ('{"caption": ""}', "says nothing"),
        ('{"caption": "https://evil.example/x"}', "says nothing"),
        ('{"caption": ["a", "b"]}', "says nothing"),
        ('{"caption": null, "nothing_new": false}', "says nothing"),
    ],
)
def test_of_what_nothing_can_be_used_is_an_error_that_says_why(text: str, why: str) -> None:
    with pytest.raises(AnswerUnreadable, match=why):
        window(text)
    assert window(text, partial=True).text == ""  # while it is being written nobody knows


def test_nothing_new_is_an_answer() -> None:
    assert window('{"nothing_new": true, "caption": ""}').nothing_new


@given(st.integers(0, len(WHOLE)))
def test_a_growing_answer_only_grows(cut: int) -> None:
    now, later = window(WHOLE[:cut], partial=True), window(WHOLE[: cut + 1], partial=True)
    assert later.text.startswith(now.text)
    assert not now.complete
    assert set(now.instances) <= set(later.instances) or len(now.instances) == len(later.instances)


@pytest.mark.parametrize(
    "said",
    [
        "A man, see http://evil.example/x or www.evil.example or mail me@evil.example. He waves.",
        "A man <img src=x onerror=alert(1)> waves <b>twice</b> <|im_end|> and goes.",
        "A man waves. [Click here](https://evil.example/x) ![](http://evil.example/p.png) He goes.",
    ],
)
def test_a_growing_answer_never_shows_half_a_tag_or_address(said: str) -> None:
    """Also not for a moment: what is shown of it is the beginning of the whole, as far as its last whole word."""
    final = window(json.dumps({"caption": said})).text
    for cut in range(len(said) + 1):
        text = window('{"caption": "' + said[:cut], partial=True).text
        assert not [bad for bad in ("<", ">", "@", "http", "www", "](", "[") if bad in text.rpartition(" ")[0]], text
        assert not text.endswith((".", "!")) or final.startswith(text), text
    assert not [bad for bad in ("<", ">", "@", "http", "www", "](") if bad in final]


@given(st.text(max_size=300), st.sampled_from([WindowAnswer, SummaryAnswer, RecaptionAnswer, QuestionAnswer]))
@example('{"caption": "\ud800"}', WindowAnswer)
@example('{"instances": [{"id": 1e400}]}', WindowAnswer)
@example('{"instances": [{"id": 1}, {"id": NaN}], "caption": "x"}', WindowAnswer)
@example('{"times": [1e999, -1, "NaN", "inf"], "answer": "x"}', QuestionAnswer)
def test_whatever_it_says_it_is_read_or_refused(text: str, kind: type[WindowAnswer]) -> None:
    for whole in (text, '{"caption": ' + text, '{"caption": "' + text + '"}'):
        parse_answer(whole, kind, partial=True)
        for form in AnswerForm:
            try:
                answer = parse_answer(whole, kind, form=form)
            except AnswerUnreadable:
                continue
            assert len(answer.text) <= 1200
            assert answer.text == answer.text.strip()
            assert all(c.isprintable() for c in answer.text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=20) | st.integers(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*GOOD, "id", "class"]), inner),
        max_leaves=12,
    )
)
def test_any_json_is_read_or_refused(value: object) -> None:
    try:
        answer = window(json.dumps(value))
    except AnswerUnreadable:
        return
    assert isinstance(answer.text, str)
    for note in answer.instances:
        assert note.id >= 1
        assert note.position in (*POSITIONS, "")


def test_notes_about_instances_that_do_not_exist_are_dropped() -> None:
    notes = [{**GOOD["instances"][0], "id": n} for n in (3, 99, 3, -1, 0, 2.5, "4", True, None)]
    text = json.dumps({**GOOD, "instances": notes})
    assert [note.id for note in window(text, ids={3, 4}).instances] == [3, 4]
    assert [note.id for note in window(text).instances] == [3, 99, 4]


def test_lengths_are_held() -> None:
    flood = {
        **GOOD,
        "caption": "A man walks on. " * 200,
        "global": "word " * 500,
        "instances": [{**GOOD["instances"][0], "id": n} for n in range(1, 500)],
        "background": "x" * 10_000,
    }
    answer = window(json.dumps(flood)[:19_000])
    assert len(answer.text) <= MOST_CAPTION
    assert len(answer.overview.split()) <= MOST_OVERVIEW_WORDS
    assert len(answer.instances) <= MOST_NOTES


def test_times_are_those_that_were_shown() -> None:
    text = '{"answered": true, "answer": "At 4 s.", "times": [9.1, 4.05, 400, "12 s", 4.0]}'
    assert parse_answer(text, QuestionAnswer, times=(2.0, 4.0, 9.0, 12.0)).times == (4.0, 9.0, 12.0)
    assert parse_answer(text, QuestionAnswer, times=()).times == ()
    assert parse_answer(text, QuestionAnswer).times == (4.0, 4.05, 9.1, 12.0, 400.0)


@pytest.mark.parametrize(
    ("text", "kind", "read"),
    [
        ('{"summary": "Two people came and went."}', SummaryAnswer, "Two people came and went."),
        ('{"caption": "Dense."}', RecaptionAnswer, "Dense."),
        ('{"answer": "Yes.", "answered": true, "times": []}', QuestionAnswer, "Yes."),
    ],
)
def test_every_kind_is_read(text: str, kind: type[SummaryAnswer], read: str) -> None:
    assert parse_answer(text, kind).text == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("A man walks in.", "A man walks in."),
        ('"A man walks in."', "A man walks in."),
        ("Sure! Here is the caption: A man walks in.", "A man walks in."),
        ("Caption: **A man** walks in.", "A man walks in."),
        ("Assistant: A man walks in.\n", "A man walks in."),
        ("# Answer\n- A man walks in.\n- A dog follows.", "Answer A man walks in. A dog follows."),
        ("<think>hm</think>A man walks in.", "A man walks in."),
        ("A man the man the man the man the man the", "A man the"),
        ("The man walks. The man walks. The man walks. The man walks.", "The man walks."),
    ],
)
def test_plain_text_is_read_for_models_that_write_nothing_else(text: str, read: str) -> None:
    assert window(text, form=AnswerForm.TEXT).text == read


def test_a_lead_is_not_shown_while_it_grows() -> None:
    whole = "Sure! Here is the caption: A man walks in."
    grown = [window(whole[:n], form=AnswerForm.TEXT, partial=True).text for n in range(len(whole) + 1)]
    assert {text for text in grown if "Su" in text or "He" in text or "caption" in text} <= {
        "S",
        "Su",
        "Sur",
        "H",
        "He",
        "Her",
        "Here",
        "Here i",
    }
    assert grown[-1] == "A man walks in."


@pytest.mark.parametrize(
    "text", ["Nothing new.", "No changes.", "No visible changes in the scene.", "Nothing has changed"]
)
def test_plain_text_can_say_that_nothing_is_new(text: str) -> None:
    assert window(text, form=AnswerForm.TEXT) == WindowAnswer(nothing_new=True)
    assert not window("Nothing is left on the table, a man leaves.", form=AnswerForm.TEXT).nothing_new


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("see https://evil.example/?q=1 now", "see now"),
        ("mail me@evil.example please", "mail please"),
        ("mail bob.x+y@mail.evil.example.", "mail."),
        ("www.evil.example", ""),
        ("<b>bold</b> <script>alert(1)</script>", "bold alert(1)"),
        ("[click](javascript:alert(1))", "click"),
        ("**A** `b` __c__", "A b c"),
        ("a\u202eb\u200bc\x07d\ne", "abcd e"),
        ("<|im_end|>hello</s>", "hello"),
        ("5 < 6 and 7 > 6", "5 < 6 and 7 > 6"),
        ("a caf\u0065\u0301", "a café"),
        ("tom's <3", "tom's <3"),
        ("it stops , then goes .", "it stops, then goes."),
        ("an e.g. and i.e. stays", "an e.g. and i.e. stays"),
        ("at 12:30 the ratio is 3:4", "at 12:30 the ratio is 3:4"),
    ],
)
def test_text_of_a_model_becomes_plain(text: str, read: str) -> None:
    assert plain(text, 400) == read


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("The person #3 meets person 4.", "The person meets person."),
        ("Person 3 and man #4 meet, car (#5) passes.", "The person and the man meet, the car passes."),
        ("A car (#12) passes the man [3].", "A car passes the man."),
        ("Instance 3 walks off.", "The instance walks off."),
        ("Three people and 2 dogs.", "Three people and 2 dogs."),
        ("The car 50 metres away; bus 4.5 m long.", "The car 50 metres away; bus 4.5 m long."),
        ("A man, 30, sits.", "A man, 30, sits."),
        ("In picture 2, the man waves. In Image 1 he stands.", "The man waves. He stands."),
        ("The man waves in picture 2.", "The man waves."),
        ("A man in the picture frame waves.", "A man in the picture frame waves."),
    ],
)
def test_numbers_of_marks_are_for_the_model_alone(text: str, read: str) -> None:
    assert without_marks(text) == read


def test_numbers_that_stand_for_no_instance_stay() -> None:
    assert without_marks("Person 3 gets on bus 42 (#42).", ids={3}) == "The person gets on bus 42 (#42)."


@given(st.text(max_size=500), st.integers(1, 400))
def test_what_is_fenced_stays_one_json_string(text: str, limit: int) -> None:
    quoted = fenced(text, limit)
    inside = json.loads(quoted)
    assert isinstance(inside, str)
    assert len(inside) <= limit
    assert "\n" not in quoted
    assert "<" not in quoted
    assert ">" not in quoted


@given(st.text(max_size=300), st.integers(5, 100))
def test_what_is_clipped_is_short_enough(text: str, limit: int) -> None:
    assert len(clipped(text, limit)) <= limit


def test_clipping_ends_with_a_sentence_where_it_can() -> None:
    assert clipped("One two three. Four five six seven.", 20) == "One two three."
    assert clipped("One two three four five six seven.", 20) == "One two three four…"


@pytest.mark.parametrize(
    "text",
    [
        "A man in a red jacket walks in from the left.",
        "Bus 42 stops; the sign says \u201cH\u00f4tel\u201d (3 stars), 20 % off & more!",
        "\u7537\u4eba\u8d70\u8fdb\u6765\u3002",
        "\u090f\u0915 \u0906\u0926\u092e\u0940 \u0906\u0924\u093e \u0939\u0948\u0964",
        "\u0631\u062c\u0644 \u064a\u0645\u0634\u064a.",
        "A caf\ufffd opens.",
        "It is 21 \u00b0C.",
    ],
)
def test_sentences_of_any_language_are_read(text: str) -> None:
    assert not garbled(text)
    assert parse_answer(text, WindowAnswer, form=AnswerForm.TEXT, ids=()).text == text


@pytest.mark.parametrize(
    "text", [", st[{", "fr\ufffdB meretapfr\ufffdreet driv", ']}]} a {"x": [[ #@ ]]', "\\\\_\\_ a"]
)
def test_garbage_is_no_caption(text: str) -> None:
    assert garbled(text)
    for form, whole in ((AnswerForm.TEXT, text), (AnswerForm.JSON, json.dumps(GOOD | {"caption": text}))):
        with pytest.raises(AnswerUnreadable):
            parse_answer(whole, WindowAnswer, form=form)


def test_plain_text_that_was_cut_off_is_not_complete() -> None:
    assert parse_answer("A man walks to the ri", WindowAnswer, form=AnswerForm.TEXT).complete
    cut = parse_answer("A man walks to the ri", WindowAnswer, form=AnswerForm.TEXT, cut=True)
    assert not cut.complete
    with pytest.raises(AnswerUnreadable, match="breaks off"):
        check_end(cut)
    check_end(parse_answer("A man walks.", WindowAnswer, form=AnswerForm.TEXT, cut=True))


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Two came. They wo", "Two came."),
        ("A tall man walks slowly to the righ", "A tall man walks slowly to the\u2026"),
        ("It cost 12.5 poun", "It cost 12.5\u2026"),
        ("Re", "Re\u2026"),
    ],
)
def test_what_breaks_off_ends_with_a_sentence_or_a_word(text: str, read: str) -> None:
    assert broken_off(text) == read


def test_kinds_are_all_read() -> None:
    assert set(Structured.__args__) == {WindowAnswer, SummaryAnswer, RecaptionAnswer, QuestionAnswer}


@pytest.mark.parametrize("text", ["a." * 100_000, "a@" * 100_000, "+" * 100_000, "a@" + "b." * 100_000])
def test_what_looks_like_addresses_to_no_end_is_read_in_time(text: str) -> None:
    began = time.monotonic()
    assert plain(f"A man walks in. {text}", 20).startswith("A man walks in.")
    assert time.monotonic() - began < SOON_S  # minutes, where each letter is followed to the end
