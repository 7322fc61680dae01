"""What tests of the vision–language captioner share: rules by which the test server answers, and settings for it.

``python -m tests.vision`` runs that server until its stdin ends, and says where on the first line of stdout.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from typing import Any

from streamcap.config import VisionSettings
from tests.llm_server import MODEL, Fault, LlmServer, Shown, echo, llm_server
from tests.patience import PATIENCE_S

__all__ = ["answered", "answering", "draft_of", "fluent", "of_windows", "settings_for", "windows"]


def settings_for(server: LlmServer, **changes: Any) -> VisionSettings:
    """Settings that lead to a test server, with patience for a busy machine."""
    return VisionSettings.model_validate(
        {"model": MODEL, "url": server.url, "retries": 0, "timeout_s": PATIENCE_S, "calls_per_minute": 600} | changes
    )


def draft_of(shown: Shown) -> str:
    """The grounded draft that a window's prompt holds, or empty."""
    found = re.search(r"^Draft of the caption.*?: (\".*\")$", shown.question, re.MULTILINE)
    return str(json.loads(found.group(1))) if found else ""


def windows(server: LlmServer) -> list[Shown]:
    """Of what a server was asked: what was asked of windows."""
    return [shown for shown in server.shown if "nothing_new" in (shown.schema or {}).get("properties", {})]


def answered(text: str, **fields: Any) -> str:
    """An answer about a window."""
    empty = {"nothing_new": False, "caption": text, "global": "", "instances": [], "background": "", "camera": ""}
    return json.dumps(empty | fields)


def fluent(shown: Shown) -> str:
    """A rule: the draft, said at more length; a summary counts its captions; a question is echoed."""
    properties = (shown.schema or {}).get("properties", {})
    if "nothing_new" in properties:
        return answered(f"In this picture one can see that {draft_of(shown)}")
    if "summary" in properties:
        return json.dumps({"summary": f"All in all {shown.question.count(chr(10) + '- ')} things were told."})
    return echo(shown)


def of_windows(rule: Callable[[Shown], str]) -> Callable[[Shown], str]:
    """A rule for what is asked of windows; the rest is answered fluently."""
    return lambda shown: rule(shown) if "nothing_new" in (shown.schema or {}).get("properties", {}) else fluent(shown)


def answering(shown: Shown) -> str:
    """A rule that answers questions by what it was told, and cites what it was not."""
    properties = (shown.schema or {}).get("properties", {})
    if "answered" not in properties:
        return fluent(shown)
    return json.dumps(
        {"answered": True, "answer": f"{len(shown.pictures)} pictures tell of a person.", "times": [5.8, 777.7, -1]}
    )


def _main() -> None:
    with llm_server(rule=answering, fault=Fault.SLOW, pause=0.01) as server:
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    _main()
