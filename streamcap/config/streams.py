"""Settings of one stream."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from streamcap.config.strict import Strict

__all__ = [
    "DEFAULT_FPS",
    "CaptionerName",
    "Contradiction",
    "Fps",
    "Mark",
    "Profile",
    "StreamSettings",
    "UserPrompt",
    "VisionMode",
]

DEFAULT_FPS = 5.0
# Frames analysed a second; the least is one in a hundred seconds, so that what is divided by it stays a number.
Fps = Annotated[float, Field(ge=0.01, le=60)]
# What a user asks of a vision–language captioner, in characters at most: a page of text.
UserPrompt = Annotated[str, Field(max_length=4000)]


class Profile(StrEnum):
    """Who reads: a guard wants every salient fact, a viewer what happens just now, a listener less and smoother."""

    SURVEILLANCE = "surveillance"
    COMMENTARY = "commentary"
    GENERAL = "general"


class CaptionerName(StrEnum):
    """Who makes the final text."""

    GROUNDED = "grounded"
    VISION = "vision"


class VisionMode(StrEnum):
    """How a vision–language model is shown what happened (ShareGPT4Video, arXiv:2406.04325)."""

    SLIDING = "sliding"  # the picture before and the picture now: what is different
    GRID = "grid"  # all key frames of the window as one picture: one cheap look
    RECAPTION = "recaption"  # the grounded text and the pictures: the text, in more detail


class Mark(StrEnum):
    """What is drawn on pictures for a vision–language model."""

    SET_OF_MARK = "som"  # numbers and outlines (arXiv:2310.11441)
    BLUR = "blur"  # all but the instances blurred (FGVP, arXiv:2306.04356)
    FRAME_NUMBER = "frame-number"  # NumPro (arXiv:2411.10332)
    HEAT = "heat"  # where to look (attention prompting, arXiv:2409.17143)


class Contradiction(StrEnum):
    """What becomes of a text that contradicts what perception holds to be true."""

    NOTE = "note"  # it is told, scored down, and says which
    VETO = "veto"  # the grounded text stands instead


class StreamSettings(Strict):
    """One stream.

    Attributes:
        id: what the feed calls it: letters, digits, ``.``, ``_`` and ``-``, at most 64.
        source: file, URL, ``device:``, ``whip:`` or ``test:``.
        fps: pictures analysed a second, at most.
        captioner: name of what makes the final text.
        prompt: what a vision–language captioner is to heed beside its rules; a user's words.
        mode: how it is shown what happened.
        marks: what is drawn on the pictures that it is shown.
        contradictions: what becomes of its text where that contradicts what was perceived.
    """

    id: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
    source: Annotated[str, Field(min_length=1)]
    fps: Fps = DEFAULT_FPS
    profile: Profile = Profile.SURVEILLANCE
    captioner: CaptionerName = CaptionerName.GROUNDED
    prompt: UserPrompt = ""
    mode: VisionMode = VisionMode.SLIDING
    marks: tuple[Mark, ...] = (Mark.SET_OF_MARK, Mark.FRAME_NUMBER)
    contradictions: Contradiction = Contradiction.NOTE
