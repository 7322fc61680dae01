"""``streamcap serve --data`` as a user runs it: what is said where the journal cannot be used."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from streamcap.journal.files import FILE_NAME, FolderLock
from tests.programs import Done, interrupted, streamcap

pytestmark = pytest.mark.weights


def serve(*arguments: object) -> Done:
    return streamcap("serve", "--stream", "cam=test:", "--port", "0", *map(str, arguments))


def test_a_damaged_journal_is_an_error_of_usage(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("not a database")
    done = serve("--data", tmp_path)
    assert done.code == 2 and done.complaint == f"the journal {tmp_path / FILE_NAME} is not a database"
    assert "put back a copy, or move journal.sqlite3 away" in done.hint and done.clean
    assert (tmp_path / FILE_NAME).read_text() == "not a database"


def test_one_server_for_one_folder(tmp_path: Path) -> None:
    with FolderLock(tmp_path):
        done = serve("--data", tmp_path)
    assert done.code == 2 and done.complaint.startswith("another streamcap (process ") and done.clean


@pytest.mark.parametrize("data", [True, False])
def test_where_captions_are_kept_is_said(tmp_path: Path, data: bool) -> None:
    arguments = ["serve", "--stream", "cam=test:", "--port", "0", *(["--data", str(tmp_path / "d")] if data else [])]
    done = interrupted(
        arguments, tmp_path / "out", when=lambda _, err: "Ctrl-C stops" in err.read_text(), number=signal.SIGTERM
    )
    assert done.code == 0 and done.clean
    assert ("journal: " in done.err) is data and ("captions are kept in memory" in done.err) is not data
    left = sorted(path.name for path in (tmp_path / "d").iterdir()) if data else []
    assert left == (["journal.lock", FILE_NAME] if data else [])
