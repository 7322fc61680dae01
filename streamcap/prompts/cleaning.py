"""Words from outside, made harmless: on their way into a prompt, and on their way out of an answer.

What a user, a caption before or a picture brings is data. On the way in it cannot close its fence or pass for a token
of a chat template; on the way out it is plain text without markup, addresses and characters that steer a screen.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Collection

__all__ = ["broken_off", "clipped", "fenced", "garbled", "plain", "settled", "without_marks", "without_steering"]

# Chat templates steer with words in angle brackets, `<|im_end|>`, `</s>`, `<image>`, and some in square ones,
# `[/INST]`.
_ANGLES = str.maketrans({"<": "‹", ">": "›"})
_TEMPLATE = re.compile(r"\[(/?[A-Z][A-Z_]+)\]")

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
# What moves a terminal's cursor, colours its text or names its window (ECMA-48), and what a chat template reads.
_STEERING = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]{0,32}[ -/]{0,8}[@-~]?|\x1b\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?|\x1b[@-_]?"
    r"|\[/?(?:INST|SYS|TOOL_[A-Z]{1,16}|[A-Z]{1,16}_PROMPT)\]"
)
_TAG = re.compile(r"</?[A-Za-z!|][^<>]{0,200}>|<\|[^<>|]{0,80}\|>")
_LINK = re.compile(r"\[([^\[\]]{0,200})\]\(\S{0,500}\)")
# Of a name before @ 64 characters are looked at, more it may not have: with no limit "a.a.a." would be read to its end
# from each of its letters.
_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data):)\S+"
    r"|[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+\b",
    re.IGNORECASE,
)
# What the next letters may make one of these, within the longest of them, a link.
_UNSETTLED_MOST = 720
_UNSETTLED = re.compile(
    r"(?:<(?:[A-Za-z!|/][^<>]{0,200})?|\[[^\[\]]{0,200}(?:\](?:\(\S{0,500})?)?|\S{0,64}@\S{0,200}|\bwww\.?|\b[a-z]{1,15}:/{0,2})\Z",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"(?m)^\s{0,3}(?:#{1,6}\s+|[-*•]\s+|>\s?|\d{1,2}[.)]\s+)|\*\*|__|`{1,3}")
_SPACE = re.compile(r"\s+")
# The numbers of the marks mean something to the model alone: "person 3", "(#3)", "[3]"; not "the car 50 metres away".
_BRACKETED = re.compile(r"\s*[(\[]\s*(?:id\s*:?\s*|no\.?\s*|instance\s+)?#?(?P<id>\d{1,6})\s*[)\]]", re.IGNORECASE)
_HASH = re.compile(r"\s*#(?P<id>\d{1,6})\b")
_NAMED = re.compile(
    r"\b(?P<kind>person|man|woman|child|boy|girl|car|truck|bus|van|bicycle|bike|motorcycle|dog|cat|bird|horse|animal|"
    r"vehicle|object|instance|individual|pedestrian|thing)\s+(?:\(?#|no\.?\s*|number\s+|id\s*:?\s*)?(?P<id>\d{1,6})\b\)?"
    r"(?!\s*(?:[:.,]\d|%|(?:m|km|cm|ft|met(?:re|er)s?|feet|foot|seconds?|minutes?|hours?|years?|times|mph|percent)\b))",
    re.IGNORECASE,
)
# Numbers of pictures likewise: "In picture 2, the man waves."
_PICTURE = re.compile(
    r"(?P<start>^|[.!?]\s+)?\b(?:in|from|by) (?:the )?(?:picture|image|frame) \d{1,2}\b,?\s*(?P<next>\w?)",
    re.IGNORECASE,
)
# What a noun stands behind that has no article yet.
_BARE = re.compile(r"(?:^|[.!?,;:]|\b(?:and|or|by|with|to|at|from|past|behind|near|while|as|but))\s*$", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?…]['\"”’)]?(?=\s|$)")

# Of a sentence at least this share is letters, figures, spaces and stops: 1.0 of what people write, 0.6 of what a model
# writes whose weights or chat template do not fit. One character that no encoding gave may be a server's own slip.
READABLE_SHARE = 0.8
UNDECODED = "\ufffd"
UNDECODED_MOST = 1
_NO_STOPS = frozenset("[]{}_\\@#*")


def fenced(text: str, limit: int) -> str:
    """Text from outside as one quoted line for a prompt: a JSON string, without brackets that a template could read.

    A quotation mark in it stays inside, a line break becomes ``\\n``: it cannot end its fence.

    Args:
        limit: most characters of the text; more is cut off.
    """
    harmless = _TEMPLATE.sub(r"(\1)", _printable(text, keep="\n")).translate(_ANGLES)
    return json.dumps(harmless[:limit], ensure_ascii=False)


def without_steering(text: str) -> str:
    """A text without what steers a terminal or a template; also of JSON, where the control character alone is lost."""
    return _STEERING.sub("", text)


def plain(text: str, limit: int) -> str:
    """What a model wrote as plain text: one line, no markup, no addresses, no control characters, at most ``limit``."""
    text = _THINKING.sub(" ", without_steering(text))
    text = _LINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _ADDRESS.sub(" ", text)
    text = _MARKDOWN.sub(" ", _printable(text, keep="\n"))
    return clipped(_tidy(text), limit)


def settled(text: str) -> str:
    """A text that is still being written, without a tag, link or address at its end that has only begun."""
    found = _UNSETTLED.search(text, max(0, len(text) - _UNSETTLED_MOST))
    return text[: found.start()] if found else text


def without_marks(text: str, ids: Collection[int] | None = None) -> str:
    """A text for readers, who see no marks: "person #3 and person 4 meet" is "the person and the person meet".

    Args:
        ids: numbers that stand for instances, others stay: "bus 42". None: all may.
    """

    def bare(found: re.Match[str]) -> str:
        if ids is not None and int(found["id"]) not in ids:
            return found[0]
        kind = found.groupdict().get("kind")
        if kind is None:
            return ""
        if not _BARE.search(found.string, 0, found.start()):
            return kind
        return ("The " if kind[0].isupper() else "the ") + kind.lower()

    text = _PICTURE.sub(_unpictured, text)
    for pattern in (_NAMED, _BRACKETED, _HASH):
        text = pattern.sub(bare, text)
    return _tidy(text)


def _tidy(text: str) -> str:
    """Single spaces, and none before a stop."""
    return re.sub(r"\s+([.,;:!?])", r"\1", _SPACE.sub(" ", text)).strip()


def _unpictured(found: re.Match[str]) -> str:
    start, following = found["start"], found["next"]
    return following if start is None else start + following.upper()


def clipped(text: str, limit: int) -> str:
    """The text up to ``limit`` characters: to a sentence's end where one lies in its second half, else to a word's."""
    if len(text) <= limit:
        return text
    head = text[:limit]
    ends = [m.end() for m in _SENTENCE_END.finditer(head) if m.end() >= limit // 2]
    if ends:
        return head[: ends[-1]]
    cut = head[: limit - 1]
    return (cut[: cut.rfind(" ")] if " " in cut else cut).rstrip(" ,;:-") + "…"


def garbled(text: str, *, growing: bool = False) -> bool:
    """True for what is no sentence of any language: too many brackets, signs, or characters of no encoding.

    Args:
        growing: more of it comes: one such character may be the first of many.
    """
    if text.count(UNDECODED) > (0 if growing else UNDECODED_MOST):
        return True
    return sum(_readable(c) for c in text) < READABLE_SHARE * len(text)


def _readable(c: str) -> bool:
    return c not in _NO_STOPS and unicodedata.category(c)[0] in "LMNPZ"


def broken_off(text: str) -> str:
    """A text that breaks off, as far as it goes: to the end of its last sentence, else of its last word and "…"."""
    ends = [found.end() for found in _SENTENCE_END.finditer(text)]
    if ends:
        return text[: ends[-1]]
    words = text.rpartition(" ")[0].rstrip(" ,;:-")
    return f"{words or text}…"


def _printable(text: str, *, keep: str = "") -> str:
    """Without control, format (also those that turn the direction of writing), surrogate and private characters."""
    text = unicodedata.normalize("NFC", text)
    return "".join(
        c if c in keep or not unicodedata.category(c).startswith("C") else " " if c.isspace() else "" for c in text
    )
