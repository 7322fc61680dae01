"""Words from outside, made harmless: on their way into a prompt, and on their way out of an answer.

What a user, a caption before or a picture brings is data. On the way in it cannot close its fence or pass for a token
of a chat template; on the way out it is plain text without markup, addresses and characters that steer a screen.
"""

from __future__ import annotations

import json
import re
import unicodedata

__all__ = ["clipped", "fenced", "plain", "without_marks"]

# Chat templates steer with words in angle brackets, `<|im_end|>`, `</s>`, `<image>`, and some in square ones,
# `[/INST]`.
_ANGLES = str.maketrans({"<": "‹", ">": "›"})
_TEMPLATE = re.compile(r"\[(/?[A-Z][A-Z_]+)\]")

_THINKING = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z!|][^<>]{0,200}>|<\|[^<>|]{0,80}\|>")
_LINK = re.compile(r"\[([^\[\]]{0,200})\]\([^()\s]{0,500}\)")
_ADDRESS = re.compile(
    r"\b(?:[a-z][a-z0-9+.-]{1,15}://|www\.|(?:mailto|javascript|data):)\S+|\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b",
    re.IGNORECASE,
)
_MARKDOWN = re.compile(r"(?m)^\s{0,3}(?:#{1,6}\s+|[-*•]\s+|>\s?|\d{1,2}[.)]\s+)|\*\*|__|`{1,3}")
_SPACE = re.compile(r"\s+")
# The numbers of the marks mean something to the model alone: "person 3", "(#3)", "[3]".
_BRACKETED = re.compile(r"\s*[(\[]\s*(?:#|id\s*:?\s*|no\.?\s*|instance\s+)?#?\d{1,6}\s*[)\]]", re.IGNORECASE)
_HASH = re.compile(r"\s*#\d{1,6}\b")
_OF = re.compile(
    r"\b(person|man|woman|child|boy|girl|car|truck|bus|van|bicycle|bike|motorcycle|dog|cat|bird|horse|animal|vehicle|"
    r"object|instance|individual|pedestrian|thing)\s+(?:no\.?\s*|number\s+|id\s*:?\s*)?\d{1,6}\b(?!\s*(?:[:.,]\d|%))",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?…]['\"”’)]?(?=\s|$)")


def fenced(text: str, limit: int) -> str:
    """Text from outside as one quoted line for a prompt: a JSON string, without brackets that a template could read.

    A quotation mark in it stays inside, a line break becomes ``\\n``: it cannot end its fence.

    Args:
        limit: most characters of the text; more is cut off.
    """
    harmless = _TEMPLATE.sub(r"(\1)", _printable(text, keep="\n")).translate(_ANGLES)
    return json.dumps(harmless[:limit], ensure_ascii=False)


def plain(text: str, limit: int) -> str:
    """What a model wrote as plain text: one line, no markup, no addresses, no control characters, at most ``limit``."""
    text = _THINKING.sub(" ", text)
    text = _LINK.sub(r"\1", text)
    text = _TAG.sub(" ", text)
    text = _ADDRESS.sub(" ", text)
    text = _MARKDOWN.sub(" ", _printable(text, keep="\n"))
    text = _SPACE.sub(" ", text).strip()
    return clipped(re.sub(r"\s+([.,;:!?])", r"\1", text), limit)


def without_marks(text: str) -> str:
    """A text for readers, who see no marks: "the person #3 and person 4 meet" is "the person and person meet"."""
    text = _OF.sub(r"\1", _HASH.sub("", _BRACKETED.sub("", text)))
    return _SPACE.sub(" ", text).strip()


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


def _printable(text: str, *, keep: str = "") -> str:
    """Without control, format (also those that turn the direction of writing), surrogate and private characters."""
    text = unicodedata.normalize("NFC", text)
    return "".join(
        c if c in keep or not unicodedata.category(c).startswith("C") else " " if c.isspace() else "" for c in text
    )
