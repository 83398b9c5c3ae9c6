"""Adapters are published once, into an immutable directory."""

import os
import secrets
import shutil
from pathlib import Path

DIRECTORY = "adapters"


def publish(source: Path, data_dir: Path, job_id: str) -> str:
    """Copy a finished adapter to where it stays for good; returns the path relative to `data_dir`.

    The directory appears at once and complete, or not at all; a second try finds it there, and two at the same time do
    not disturb each other. Its name is flat, because vLLM joins such names into paths, and never used again, because
    vLLM caches by name and path.
    """
    relative = Path(DIRECTORY) / job_id
    target = data_dir / relative
    if target.exists():
        return str(relative)
    incomplete = target.with_name(f".{job_id}.{secrets.token_hex(4)}")
    try:
        _copy(source, incomplete)
        incomplete.rename(target)
    except OSError:
        if not target.exists():  # else another was faster, with the same adapter
            raise
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
    _sync(target.parent)
    for leftover in target.parent.glob(f".{job_id}.*"):  # of a worker that died
        shutil.rmtree(leftover, ignore_errors=True)
    return str(relative)


def withdraw(data_dir: Path, job_id: str) -> None:
    """Remove an adapter that became no model."""
    shutil.rmtree(data_dir / DIRECTORY / job_id, ignore_errors=True)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target)
    for path in [*target.rglob("*"), target]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
