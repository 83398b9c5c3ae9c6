"""Being asked to stop: SIGTERM, SIGINT, or the death of the process that started this one, or of the caller behind it.

Until training runs there is nothing to save and the process ends at once. From then on the request is a flag that
training reads after every optimizer step.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType

from trainer.contract import OWNER, STOP_SECONDS, STOPPED

_POLL_SECONDS = 0.5
PATIENCE_SECONDS = STOP_SECONDS
"""Between an orphan's being asked to stop and its end."""


class Stop:
    def __init__(self) -> None:
        self.requested = False
        self._graceful = False

    def watch(self) -> None:
        """Call it first of all: a parent that died before this call is not noticed (the owner is)."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        owner = os.environ.get(OWNER)
        owner_ended = _end_of(int(owner)) if owner else lambda: False
        threading.Thread(target=_watch, args=(os.getppid(), owner_ended), daemon=True).start()

    def from_now_on_gracefully(self) -> None:
        self._graceful = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if not self._graceful:
            os._exit(STOPPED)


def _watch(parent: int, owner_ended: Callable[[], bool]) -> None:
    """An orphan must not go on training: nobody would read its result, and its successor would write the same files."""
    while os.getppid() == parent and not owner_ended():
        time.sleep(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PATIENCE_SECONDS)
    os._exit(1)


def _end_of(process: int) -> Callable[[], bool]:
    """Says whether that process has ended, also one that nobody has waited for yet. The descriptor stays that process's
    when its id is used again."""
    if not hasattr(os, "pidfd_open"):  # only Linux has it
        return lambda: not _exists(process)
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        return lambda: True
    except OSError:  # an old kernel, or a sandbox
        return lambda: not _exists(process)
    ended = select.poll()
    ended.register(descriptor, select.POLLIN)
    return lambda: bool(ended.poll(0))


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
