"""Merged weights, made once a model and kept while they are asked for.

DATA_DIR/exports/<name>/                merged weights, complete; its date is that of the last use
DATA_DIR/exports/.<name>.making-<pid>   being made, or left behind by a process that died
DATA_DIR/exports/.<name>.<x>.leaving    being removed, or left behind likewise
DATA_DIR/exports/.<name>.failed         why the last try failed
DATA_DIR/exports/.<name>.lock           held while it is made;  `.merging.lock`: one at a time, for the memory
"""

import fcntl
import os
import re
import secrets
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.fine_tuning.publish import sync_tree

DIRECTORY = "exports"
MERGING_LOCK = ".merging.lock"

_unfit = re.compile(r"[^A-Za-z0-9._-]+")


def flat_name(model_id: str) -> str:
    """A model's name as part of a file's: `ft:org/base:...` -> `ft-org-base-...`."""
    return _unfit.sub("-", model_id)


@dataclass(frozen=True)
class Export:
    """The merged weights of one model, made or not."""

    data_dir: Path
    name: str
    """Of the model's published directory."""

    @property
    def directory(self) -> Path:
        return self.data_dir / DIRECTORY / self.name

    @property
    def is_ready(self) -> bool:
        return self.directory.is_dir()

    def use(self) -> None:
        """It stays for another day."""
        with suppress(FileNotFoundError):
            os.utime(self.directory)

    @property
    def failure(self) -> str | None:
        """Why the last try failed."""
        with suppress(FileNotFoundError):
            return self._failed.read_text()
        return None

    def fail(self, reason: str) -> None:
        incomplete = self._failed.with_suffix(".writing")
        incomplete.write_text(reason)
        incomplete.rename(self._failed)

    def forget_failure(self) -> None:
        self._failed.unlink(missing_ok=True)

    def incomplete(self) -> Path:
        """Where to write it; what a process that died has left there is removed."""
        for leftover in self.directory.parent.glob(f".{self.name}.making-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        return self.directory.with_name(f".{self.name}.making-{os.getpid()}")

    def complete(self, incomplete: Path) -> None:
        """It appears at once, and is still whole after a power failure."""
        sync_tree(incomplete)
        os.utime(incomplete)
        incomplete.rename(self.directory)

    @contextmanager
    def lock(self) -> Generator[bool]:
        """Whether nobody else makes it now."""
        with lock(self.data_dir, f".{self.name}.lock") as held:
            yield held

    @property
    def _failed(self) -> Path:
        return self.directory.with_name(f".{self.name}.failed")


@contextmanager
def lock(data_dir: Path, name: str) -> Generator[bool]:
    """Hold a lock that goes with the process, unless another holds it."""
    root = data_dir / DIRECTORY
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


def remove_unused(data_dir: Path, wanted: set[str], *, unused_seconds: float) -> list[str]:
    """Remove what was not used for so long, and what belongs to no model of `wanted` any more; the names of both.

    What is sent at this moment is sent to its end: its files are open.
    """
    root = data_dir / DIRECTORY
    edge = time.time() - unused_seconds
    removed: list[str] = []
    for path in list(root.iterdir()) if root.is_dir() else []:
        hidden = path.name.startswith(".")
        with suppress(FileNotFoundError):  # completed, or removed by another worker, in this moment
            if path.stat().st_mtime < edge or (not hidden and path.name not in wanted):
                _remove(path)
                removed.append(path.name)
    return removed


def _remove(path: Path) -> None:
    """An export goes all at once, so that nobody is sent half of it."""
    if not path.is_dir():
        path.unlink()
        return
    if not path.name.startswith("."):
        path = path.rename(path.with_name(f".{path.name}.{secrets.token_hex(4)}.leaving"))
    shutil.rmtree(path, ignore_errors=True)
