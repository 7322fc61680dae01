"""A prompt as token ids: the chat template, pictures in their places, and nothing that a text may pass for.

What stands in a picture or in a user's words is data. Tokens that steer a model (the end of a turn, the place of a
picture) are therefore taken out of every text before the template puts them where they belong.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from streamcap.errors import PromptRefused, WrongModel
from streamcap.models.vlm.towers import Sight
from streamcap.prompts import Part, Picture, Prompt, Text

__all__ = ["Chat", "Tokens", "common"]


@dataclass(frozen=True, slots=True)
class Tokens:
    """A prompt made ready.

    Attributes:
        ids: of the whole prompt, up to where the answer begins.
        constant: how many at the beginning are those of the constant prefix.
    """

    ids: tuple[int, ...]
    constant: int


class Chat:
    """How one model is spoken to.

    Args:
        tokenizer: transformers' fast tokenizer of the model.
        picture: the token that stands for a picture, and for one visual token.
        template: for a model that comes without one.

    Raises:
        WrongModel: the tokenizer does not know the token of a picture.
    """

    def __init__(self, tokenizer: Any, *, picture: str, template: str) -> None:
        self._tokenizer = tokenizer
        self._picture = picture
        self._template = template if not tokenizer.chat_template else None
        steering = {picture, *tokenizer.all_special_tokens}
        steering |= {token for token in tokenizer.get_added_vocab() if re.fullmatch(r"<[^<>\s]+>", token)}
        if picture not in tokenizer.get_vocab():
            raise WrongModel(f"the tokenizer does not know {picture}", hint="its files are those of another model")
        # The longest first: one may be a part of another.
        self._steering = re.compile("|".join(map(re.escape, sorted(filter(None, steering), key=len, reverse=True))))

    def plain(self, text: str) -> str:
        """A text without tokens that steer the model; each becomes a space, so that no new one comes about."""
        return self._steering.sub(" ", text)

    def tokens(self, prompt: Prompt, sights: Sequence[Sight]) -> Tokens:
        """Put a prompt into the form that the model was trained with.

        Args:
            sights: the prompt's pictures, in order.

        Raises:
            PromptRefused: the model's chat template does not take such a prompt.
        """
        before = self._before(prompt)
        question = {"role": "user", "content": self._content(prompt.parts)}
        pieces = self._render([*before, question], answer=True).split(self._picture)
        if len(pieces) != len(sights) + 1:
            raise PromptRefused(
                f"the model's chat template shows {len(pieces) - 1} of {len(sights)} pictures",
                hint="its tokenizer_config.json or chat_template.jinja is not for pictures",
            )
        whole = pieces[0] + "".join(sight.text + piece for sight, piece in zip(sights, pieces[1:], strict=True))
        ids = self.encode(whole)
        prefix = self.encode(self._render(before, answer=False)) if before else ()
        return Tokens(ids, common(prefix, ids[:-1]))

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, none added."""
        return tuple(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    def _before(self, prompt: Prompt) -> list[dict[str, Any]]:
        messages = [self._said("system", prompt.system)] if prompt.system else []
        for turn in prompt.demonstrations:
            messages += [self._said("user", turn.ask), self._said("assistant", turn.answer)]
        return messages

    def _said(self, role: str, text: str) -> dict[str, Any]:
        return {"role": role, "content": self._content([Text(text)])}

    def _content(self, parts: Sequence[Part]) -> list[dict[str, str]]:
        """Parts for the template, each on a line of its own: templates put nothing between them."""
        content: list[dict[str, str]] = []
        for number, part in enumerate(parts):
            if isinstance(part, Picture):
                content.append({"type": "image"})
                continue
            text = self.plain(part.text)
            before = "\n" if number and isinstance(parts[number - 1], Picture) else ""
            after = "\n" if number + 1 < len(parts) and not text.endswith("\n") else ""
            content.append({"type": "text", "text": f"{before}{text}{after}"})
        return content

    def _render(self, messages: list[dict[str, Any]], *, answer: bool) -> str:
        from jinja2 import TemplateError

        try:
            rendered = self._tokenizer.apply_chat_template(
                messages, chat_template=self._template, tokenize=False, add_generation_prompt=answer
            )
        except (TemplateError, ValueError, TypeError) as error:
            raise PromptRefused(f"the model's chat template failed: {error}") from error
        return str(rendered)


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens at the beginning are the same."""
    same = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        same += 1
    return same
