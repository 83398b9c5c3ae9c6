"""Files that are either whole or absent after a crash."""

import os
from pathlib import Path


def write_atomically(path: Path, content: bytes) -> None:
    """Replaces `path` with `content`: after a power cut the file is the old one or the new one, never a piece."""
    draft = path.with_name(path.name + ".tmp")
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    sync(path.parent)


def write_once(path: Path, content: bytes, *, name: str) -> bool:
    """The same, unless `path` is there already; whether it was written. Of several processes, each with its own `name`,
    the first one wins."""
    mine = path.with_name(f"{path.name}.{name}")
    write_atomically(mine, content)
    try:
        path.hardlink_to(mine)
    except FileExistsError:
        return False
    finally:
        mine.unlink()
        sync(path.parent)
    return True


def sync_tree(path: Path) -> None:
    """fsync of a directory and of everything in it."""
    for entry in (*path.rglob("*"), path):
        sync(entry)


def sync(path: Path) -> None:
    """fsync of a file or a directory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
