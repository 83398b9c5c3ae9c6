"""Checkpoint directories: complete when their manifest is there, trusted when every file still has its hash.

    step-38/adapter_config.json adapter_model.safetensors    the adapter, ready to be served
            optimizer.pt scheduler.pt rng_state.pth trainer_state.json
            manifest.json                                    written last: step, epoch, metrics, sha256 of each file

The manifest is written atomically after every other file reached the disk, so a crash leaves a checkpoint that is whole
or one without a manifest, which the next start deletes.
"""

import hashlib
import shutil
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from trainer.contract import CHECKPOINTS_KEPT, Metrics
from trainer.durable import sync, sync_tree, write_atomically
from trainer.failures import disk_full, is_disk_full

MANIFEST = "manifest.json"


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    step: int
    epoch: int
    """Finished epochs."""
    kind: Literal["epoch", "stop", "resume"]
    """`epoch`: at the end of one. `stop`: because training was asked to stop. Both are announced, and may be served.
    `resume`: saved to go on later, deleted once a newer one exists."""
    metrics: Metrics
    seconds: float
    """Time trained so far, over all processes."""
    files: dict[str, str] = {}
    """Path in the directory -> sha256 (hex)."""


def directory(root: Path, step: int) -> Path:
    return root / f"step-{step}"


@contextmanager
def whole_or_absent(path: Path) -> Generator[None]:
    """A directory that cannot be written is deleted, which also frees its space. Raises TrainingFailed on a full disk."""
    try:
        yield
    except Exception as error:
        shutil.rmtree(path, ignore_errors=True)
        if is_disk_full(error):
            raise disk_full() from None
        raise


def seal(path: Path, manifest: Manifest) -> Manifest:
    """Makes the files in `path` durable, then the checkpoint complete."""
    sync_tree(path)
    sync(path.parent)
    files = {file.relative_to(path).as_posix(): _sha256(file) for file in _content(path)}
    sealed = msgspec.structs.replace(manifest, files=files)
    write_atomically(path / MANIFEST, msgspec.json.encode(sealed))
    return sealed


def promote(path: Path, manifest: Manifest, metrics: Metrics) -> Manifest:
    """A checkpoint that was saved right at the end of an epoch becomes that epoch's checkpoint."""
    promoted = msgspec.structs.replace(manifest, kind="epoch", metrics=metrics)
    write_atomically(path / MANIFEST, msgspec.json.encode(promoted))
    return promoted


def newest(root: Path) -> tuple[Path, Manifest] | None:
    """The newest checkpoint whose files all have the hash in its manifest."""
    for path, manifest in reversed(list(_complete(root))):
        if _is_intact(path, manifest):
            return path, manifest
    return None


def prune(root: Path) -> None:
    """Deletes all but the last CHECKPOINTS_KEPT that were announced; a `resume` checkpoint lives until anything newer exists."""
    complete = list(_complete(root))
    announced = [path for path, manifest in complete if manifest.kind != "resume"]
    kept = {*announced[-CHECKPOINTS_KEPT:], *(path for path, _ in complete[-1:])}
    for path, _ in complete:
        if path not in kept:
            _delete(path)


def discard_incomplete(root: Path) -> None:
    """Deletes what a crash in the middle of saving left behind."""
    for path in _directories(root):
        if _manifest(path) is None:
            shutil.rmtree(path)


def _delete(path: Path) -> None:
    """The manifest goes first, so a crash in between leaves an incomplete checkpoint, not a damaged one."""
    (path / MANIFEST).unlink()
    shutil.rmtree(path)


def _complete(root: Path) -> Iterator[tuple[Path, Manifest]]:
    """Checkpoints that have a manifest, oldest first."""
    for path in _directories(root):
        manifest = _manifest(path)
        if manifest is not None:
            yield path, manifest


def _directories(root: Path) -> list[Path]:
    return sorted(root.glob("step-*"), key=lambda path: int(path.name.removeprefix("step-")))


def _manifest(path: Path) -> Manifest | None:
    try:
        return msgspec.json.decode((path / MANIFEST).read_bytes(), type=Manifest)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None


def _is_intact(path: Path, manifest: Manifest) -> bool:
    try:
        return all(_sha256(path / name) == digest for name, digest in manifest.files.items())
    except FileNotFoundError:
        return False


def _content(path: Path) -> list[Path]:
    return sorted(file for file in path.rglob("*") if file.is_file() and file != path / MANIFEST)


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
