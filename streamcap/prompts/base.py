"""What a prompt is made of, whichever backend reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamcap.types import Alike

__all__ = ["Answer", "Part", "Picture", "Prompt", "Text", "Turn"]


@dataclass(frozen=True, slots=True)
class Text:
    """Words to the model."""

    text: str


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture to the model.

    Attributes:
        image: (height, width, 3) uint8 RGB, of any size; marks are drawn already.
        t: media seconds.
        alike: other pictures of the stretch of time that this one stands for. A model in this process is given the mean
            of the visual tokens of all of them, each weighted by its count (MovieChat, arXiv:2307.16449), of those that
            have the form of this one; a server is shown this picture alone.
        count: frames that this picture stands for, >= 1; counts only beside others.
    """

    image: NDArray[np.uint8]
    t: float
    alike: tuple[Alike, ...] = ()
    count: int = 1


Part: TypeAlias = Text | Picture


@dataclass(frozen=True, slots=True)
class Turn:
    """One demonstration: what was asked, and what a good answer is."""

    ask: str
    answer: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The form that an answer is to have.

    Attributes:
        name: of the schema, letters and ``_``.
        schema: JSON schema (2020-12) of an object whose properties are all required.
    """

    name: str
    schema: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prompt:
    """All that a model gets for one answer.

    ``system`` and ``demonstrations`` are the constant prefix: the same over many prompts of a stream, so that a backend
    can keep their keys and values.

    Attributes:
        system: character, skills, constraints; nothing that came from outside stands in it.
        demonstrations: a few, before the question (LM-BFF, arXiv:2012.15723).
        parts: text and pictures of the question, in order.
        answer: None for free text.
        max_tokens: most tokens of the answer, >= 1.
        echo: texts that the answer is likely to share spans with (the caption before, the draft), for prompt-lookup
            decoding.
    """

    system: str
    parts: tuple[Part, ...]
    demonstrations: tuple[Turn, ...] = ()
    answer: Answer | None = None
    max_tokens: int = 256
    echo: tuple[str, ...] = ()

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The pictures alone, in order."""
        return tuple(part for part in self.parts if isinstance(part, Picture))
