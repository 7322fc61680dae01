"""What a captioner has to say."""

from __future__ import annotations

from dataclasses import dataclass, field

from streamcap.types import Conflict, Skill

__all__ = ["Description"]


@dataclass(frozen=True, slots=True)
class Description:
    """What a captioner has to say of a window.

    Attributes:
        text: the whole sentence or sentences; empty where there is nothing to say.
        skills: the parts of the text by skill.
        who: ids of the instances that the text is about.
        saliency: 0..1, the largest of its facts.
        source: who says it, where that is not the captioner itself (one that stands back for another); else empty.
        conflicts: where the text contradicts what was perceived; of a vetoed text those that it was vetoed for.
        growing: more of it comes; it may be shown as a draft.
    """

    text: str
    skills: dict[Skill, str] = field(default_factory=dict)
    who: tuple[int, ...] = ()
    saliency: float = 0.5
    source: str = ""
    conflicts: tuple[Conflict, ...] = ()
    growing: bool = False
