"""``streamcap serve --data`` as a user runs it: what is said where the journal cannot be used."""

from __future__ import annotations

import signal
from contextlib import closing
from pathlib import Path

import pytest

from streamcap.journal.files import FILE_NAME, FolderLock
from tests.programs import Done, interrupted, side_by_side, streamcap

pytestmark = pytest.mark.weights


def test_a_folder_that_cannot_be_used_is_an_error_of_usage(tmp_path: Path) -> None:
    damaged, taken = tmp_path / "damaged", tmp_path / "taken"
    damaged.mkdir()
    (damaged / FILE_NAME).write_text("not a database")

    def serve(folder: Path) -> Done:
        return streamcap("serve", "--stream", "cam=test:", "--port", "0", "--data", str(folder))

    with closing(FolderLock(taken)):
        done = side_by_side({"damaged": lambda: serve(damaged), "taken": lambda: serve(taken)})
    assert done["damaged"].complaint == f"the journal {damaged / FILE_NAME} is not a database"
    assert "put back a copy, or move journal.sqlite3 away" in done["damaged"].hint
    assert (damaged / FILE_NAME).read_text() == "not a database"
    assert done["taken"].complaint.startswith("another streamcap (process ")
    assert all(each.code == 2 and each.clean for each in done.values())


def test_the_journal_is_closed_in_good_order(tmp_path: Path) -> None:
    arguments = ["serve", "--stream", "cam=test:", "--port", "0", "--data", str(tmp_path / "data")]
    done = interrupted(
        arguments, tmp_path / "out", when=lambda _, err: "Ctrl-C stops" in err.read_text(), number=signal.SIGTERM
    )
    assert done.code == 0 and done.clean and "journal: " in done.err
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["frames.sqlite3", "journal.lock", FILE_NAME]
