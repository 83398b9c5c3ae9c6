"""Being asked to stop: SIGTERM, SIGINT, or the death of the process that started this one.

Until training runs there is nothing to save and the process ends at once. From then on the request is a flag that
training reads after every optimizer step.
"""

import os
import signal
import threading
import time
from types import FrameType

from trainer.contract import STOPPED

_PARENT_POLL_SECONDS = 0.5


class Stop:
    def __init__(self) -> None:
        self.requested = False
        self._graceful = False

    def watch(self) -> None:
        """Call it first of all: a parent that died before this call is not noticed."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        threading.Thread(target=_watch_parent, args=(os.getppid(),), daemon=True).start()

    def from_now_on_gracefully(self) -> None:
        self._graceful = True

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True
        if not self._graceful:
            os._exit(STOPPED)


def _watch_parent(parent: int) -> None:
    """An orphan must not go on training: nobody would read its result, and its successor would write the same files."""
    while os.getppid() == parent:
        time.sleep(_PARENT_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)
