"""What training made is published once, into an immutable directory."""

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from trainer.contract import ADAPTER_FILES, PROBE

DIRECTORY = "adapters"
LEAVING = ".leaving"
ADAPTER_CONFIG, MODEL_CONFIG = "adapter_config.json", "config.json"

_MODEL_SUFFIXES = (".safetensors", ".json", ".jinja", ".model", ".txt")
_TRAINING_STATE = ("trainer_state.json", "manifest.json")


def directory_name(job_id: str, step: int | None = None) -> str:
    """Flat, because vLLM joins such names into paths."""
    return job_id if step is None else f"{job_id}-step-{step}"


def job_of(directory: Path) -> str:
    """The job that made what is in a published directory."""
    return directory.name.split("-step-")[0]


def publish(source: Path, data_dir: Path, name: str, wanted: Callable[[str], bool] = lambda _: True) -> str:
    """Copy what was trained to where it stays for good; returns the path relative to `data_dir`.

    The directory appears at once and complete, or not at all; a second try finds it there, and two at the same time do
    not disturb each other. Its name is never used again, because vLLM caches by name and path.

    Args:
        name: of `directory_name`.
        wanted: which of the files in `source` are copied; all when left out.

    Raises:
        OSError: the disk is full, or `source` is not there.
    """
    relative = Path(DIRECTORY) / name
    target = data_dir / relative
    if target.exists():
        return str(relative)
    incomplete = target.with_name(f".{name}.{secrets.token_hex(4)}")
    try:
        _copy(source, incomplete, wanted)
        incomplete.rename(target)
    except OSError:
        if not target.exists():  # else another was faster, with the same files
            raise
    finally:
        shutil.rmtree(incomplete, ignore_errors=True)
    _sync(target.parent)
    for leftover in target.parent.glob(f".{name}.*"):  # of a worker that died
        shutil.rmtree(leftover, ignore_errors=True)
    return str(relative)


def withdraw(data_dir: Path, name: str) -> None:
    """Remove what became no model, or is none any more. A crash in the middle leaves nothing that looks published."""
    target = data_dir / DIRECTORY / name
    leaving = target.with_name(f".{name}{LEAVING}")
    shutil.rmtree(leaving, ignore_errors=True)
    try:
        target.rename(leaving)
    except FileNotFoundError:
        return
    shutil.rmtree(leaving, ignore_errors=True)


def remove_halves(data_dir: Path, *, quiet_seconds: float) -> list[str]:
    """What workers left that were killed in `publish` or `withdraw`; returns the names. A copy may still be going on: it
    is taken for left once nothing in it was changed for so long."""
    root, since = data_dir / DIRECTORY, time.time() - quiet_seconds
    hidden = [path for path in root.glob(".*") if path.is_dir()]
    halves = [path for path in hidden if path.name.endswith(LEAVING) or _is_quiet(path, since)]
    for path in halves:
        shutil.rmtree(path, ignore_errors=True)
    return [path.name for path in halves]


def _is_quiet(directory: Path, since: float) -> bool:
    """By the change of the entry: its content keeps the time that it has at the source."""
    try:
        return all(path.stat().st_ctime < since for path in (directory, *directory.rglob("*")))
    except FileNotFoundError:  # somebody is at work in it
        return False


def published(data_dir: Path) -> Iterator[Path]:
    """Every directory that was published, whether or not a model names it."""
    root = data_dir / DIRECTORY
    return (path for path in root.iterdir() if not path.name.startswith(".")) if root.is_dir() else iter(())


def kind_of(directory: Path) -> str:
    """`adapter`, or `full` for weights of their own. Raises FileNotFoundError when it holds neither."""
    if (directory / ADAPTER_CONFIG).exists():
        return "adapter"
    if (directory / MODEL_CONFIG).exists():
        return "full"
    raise FileNotFoundError(f"neither {ADAPTER_CONFIG} nor {MODEL_CONFIG} is in {directory}")


def is_adapter_file(name: str) -> bool:
    """What an engine loads, and the probe that shows that it did."""
    return name in ADAPTER_FILES or name == PROBE


def is_model_file(name: str) -> bool:
    """Weights, configuration and tokenizer, without the state of the optimizer."""
    return name.endswith(_MODEL_SUFFIXES) and name not in _TRAINING_STATE


def _copy(source: Path, target: Path, wanted: Callable[[str], bool]) -> None:
    """Not shutil.copytree, whose error hides what happened: a full disk, or a checkpoint that the trainer has deleted."""
    target.mkdir(parents=True)
    for path in source.iterdir():
        if path.is_dir():
            _copy(path, target / path.name, wanted)
        elif wanted(path.name):
            shutil.copy2(path, target / path.name)
    source.stat()  # deleted meanwhile, it may have been listed without some of its files
    sync_tree(target)


def sync_tree(directory: Path) -> None:
    """Bring a directory with everything in it to the disk."""
    for path in [*directory.rglob("*"), directory]:
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
