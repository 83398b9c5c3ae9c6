"""Where a Unix socket can live: its path is limited to 107 bytes on Linux and 103 on macOS, and it becomes part of a URL."""

import os
import re
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

LONGEST_SOCKET_PATH = 103  # the smaller of the two limits
PLAIN_PATH = re.compile(r"[A-Za-z0-9._/-]+")  # what every URL parser reads as it is written


def socket_directory(preferred: Path, socket_name: str, cleanup: ExitStack) -> Path:
    """`preferred`, or a private temporary directory (0700, removed by `cleanup`) if the socket's path would not do there."""
    path = os.fspath(preferred / socket_name)
    if len(path.encode()) <= LONGEST_SOCKET_PATH and PLAIN_PATH.fullmatch(path):
        return preferred
    return private_directory(cleanup)


def private_directory(cleanup: ExitStack) -> Path:
    """A new directory with a short path that is removed by `cleanup`."""
    parent = tempfile.gettempdir()
    if len(parent) > LONGEST_SOCKET_PATH // 2:
        parent = "/tmp"  # noqa: S108 - mkdtemp makes a directory that is ours alone
    directory = Path(tempfile.mkdtemp(prefix="tuneway-", dir=parent))
    cleanup.callback(shutil.rmtree, directory, ignore_errors=True)
    return directory
