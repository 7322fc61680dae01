"""Facts to sentences: present tense, one idea a clause, right numbers and articles."""

from streamcap.language.change import describe_change
from streamcap.language.description import Description
from streamcap.language.recap import Recap
from streamcap.language.scene import describe_scene
from streamcap.language.summary import Tally, summarise

__all__ = ["Description", "Recap", "Tally", "describe_change", "describe_scene", "summarise"]
