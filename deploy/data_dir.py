"""The data directory of a stack: its layout, its lock and its two secrets.

lock            held (flock) by the stack that runs here; says who that is
secret_key      keys the hashes of API keys (0600)
encryption.key  seals the keys of providers that are added through the API (0600)
admin_key_made  says that the first admin key was made; never the key itself
logs/ run/      one log per part; parts.json
postgres/ redis/
"""

import base64
import fcntl
import json
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from deploy.parts import StackError

SHORTEST_SECRET = 32


class DataDirInUse(StackError):
    """Another stack holds the lock."""

    exit_status = 2


@dataclass(frozen=True)
class DataDir:
    root: Path

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def postgres(self) -> Path:
        return self.root / "postgres"

    @property
    def redis(self) -> Path:
        return self.root / "redis"

    def secret_key(self) -> str:
        """64 hexadecimal digits, made at the first call. Raises StackError when the file was emptied or cut."""
        path = self.root / "secret_key"
        if not path.exists():
            _write_secret(path, secrets.token_hex(32))
        secret = path.read_text().strip()
        if len(secret) < SHORTEST_SECRET:
            raise StackError(
                f"{path} is not a secret key of {SHORTEST_SECRET} or more characters: restore it from a backup."
            )
        return secret

    def encryption_key_file(self) -> Path:
        """A file with 32 random bytes in base64, made at the first call. What else it holds is the settings' to judge."""
        path = self.root / "encryption.key"
        if not path.exists():
            _write_secret(path, base64.b64encode(secrets.token_bytes(32)).decode() + "\n")
        return path

    @property
    def has_admin_key(self) -> bool:
        return self._admin_key_mark.exists()

    def remember_admin_key(self) -> None:
        self._admin_key_mark.write_text(
            f"The admin key was made at {int(time.time())} (Unix seconds) and shown once.\n"
        )

    @property
    def _admin_key_mark(self) -> Path:
        return self.root / "admin_key_made"


@contextmanager
def claim(root: Path, url: str) -> Generator[DataDir]:
    """Make the directory if needed (0700) and hold its lock.

    Raises:
        DataDirInUse: another stack holds it; the message says which.
        StackError: the directory cannot be made or written.
    """
    directory = DataDir(root)
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StackError(
            f"The data directory {root} cannot be written ({error.strerror}): choose another with --data-dir."
        ) from error
    with os.fdopen(lock, "r+") as file:
        _lock(file.fileno(), root)
        _write_holder(file.fileno(), {"pid": os.getpid(), "url": url, "started_at": int(time.time())})
        directory.logs.mkdir(mode=0o700, exist_ok=True)
        directory.run.mkdir(mode=0o700, exist_ok=True)
        try:
            yield directory
        finally:
            os.ftruncate(file.fileno(), 0)


def _lock(descriptor: int, root: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataDirInUse(
            f"Tuneway already runs on {root}{_holder(descriptor)}: stop it, or choose another --data-dir."
        ) from None
    except OSError as error:
        raise StackError(
            f"The data directory {root} cannot be locked ({error.strerror}): put it on a local disk."
        ) from error


def _holder(descriptor: int) -> str:
    """` (pid 4711, http://127.0.0.1:8000)`, or nothing when the holder has not written it yet."""
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return f" (pid {holder['pid']}, {holder['url']})"
    except (ValueError, KeyError, TypeError):
        return ""


def _write_holder(descriptor: int, holder: dict[str, int | str]) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, json.dumps(holder).encode(), 0)


def _write_secret(path: Path, secret: str) -> None:
    """Whole or not at all, and readable by its owner alone from the beginning."""
    unfinished = path.with_suffix(".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)
