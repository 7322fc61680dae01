"""The documentation's own order: each decision has a number of its own, and stands in the index."""

from __future__ import annotations

import re

from tests.prerequisites import ROOT

DECISIONS = ROOT / "docs" / "decisions"
PAGES = sorted(path.name for path in DECISIONS.glob("*.md") if path.name != "README.md")


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = [name[:3] for name in PAGES]
    assert all(number.isdigit() for number in numbers)
    assert len(set(numbers)) == len(numbers) > 30


def test_the_index_names_every_decision_once_in_order() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[\d{3}\]\((\d{3}-[a-z-]+\.md)\) \|", index, re.MULTILINE) == PAGES


def test_the_table_of_steps_names_files_that_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| step | file") : text.index("## Layers")]
    named = re.findall(r"`((?:[\w-]+/)*[\w-]+\.py|(?:[\w-]+/)+)`", table)
    assert len(named) > 50
    assert [name for name in named if not (ROOT / "streamcap" / name).exists()] == []
