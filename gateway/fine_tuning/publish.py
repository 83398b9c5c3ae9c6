"""Adapters are published once, into an immutable directory."""

import os
import shutil
from pathlib import Path

DIRECTORY = "adapters"


def publish(source: Path, data_dir: Path, job_id: str) -> str:
    """Copy a finished adapter to where it stays for good; returns the path relative to `data_dir`.

    The directory appears at once and complete, or not at all; a second try finds it there. Its name is flat, because
    vLLM joins such names into paths, and never used again, because vLLM caches by name and path.
    """
    relative = Path(DIRECTORY) / job_id
    target = data_dir / relative
    if target.exists():
        return str(relative)
    incomplete = target.with_name(f".{job_id}.incomplete")
    shutil.rmtree(incomplete, ignore_errors=True)
    shutil.copytree(source, incomplete)
    for path in [*incomplete.rglob("*"), incomplete]:
        _sync(path)
    incomplete.rename(target)
    _sync(target.parent)
    return str(relative)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
