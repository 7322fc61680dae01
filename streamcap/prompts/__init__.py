"""Prompts: what a vision–language model is shown and asked. Pure."""

from streamcap.prompts.base import Answer, Part, Picture, Prompt, Text, Turn

__all__ = ["Answer", "Part", "Picture", "Prompt", "Text", "Turn"]
