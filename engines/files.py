"""Writing large files: whole or not at all, and a clear word where the disk is full."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from streamcap.errors import ModelError
from streamcap.models.graph import engines_root, sidecar_of

__all__ = ["SCRATCH", "WORKING", "disk", "folder_of", "remove_graph", "remove_plan", "replace_all"]

# What folders of unfinished files are called: in the folder that these belong to, and where the system has such files.
WORKING = ".make-"
SCRATCH = "streamcap-engines-"


def folder_of(model: str, output: Path | None = None) -> Path:
    """Where the graphs of a model lie: a folder of its name in the cache, or the folder that was named."""
    return output or engines_root() / model


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Say in a line what kept a file from being written.

    Raises:
        ModelError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        hint = "--output DIR writes elsewhere"
        if folder.name.startswith(SCRATCH):
            folder, hint = folder.parent, "TMPDIR=DIR puts what is needed for a while elsewhere"
        elif folder.name.startswith(WORKING):
            folder = folder.parent
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ModelError(f"no room on the disk of {folder}", hint=hint) from error
        raise ModelError(f"cannot write to {folder}: {error.strerror or error}") from error


def replace_all(fresh: Path, path: Path) -> list[Path]:
    """Move a graph and the files that lie beside it to where they belong, the graph last. Returns those others."""
    others = [each for each in sorted(fresh.parent.iterdir()) if each != fresh]
    moved = [each.replace(path.with_name(each.name)) for each in others]
    fresh.replace(path)
    return moved


def remove_graph(path: Path) -> None:
    """Remove a graph, its sidecar first, so that nobody loads the rest."""
    for each in (sidecar_of(path), path, *path.parent.glob(f"{path.name}.data")):
        each.unlink(missing_ok=True)


def remove_plan(path: Path) -> None:
    """Remove a plan, its sidecar first, as without it nobody loads the rest."""
    for each in (sidecar_of(path), path):
        each.unlink(missing_ok=True)
