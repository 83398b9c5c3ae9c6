"""Not outliving the process that started this one."""

import contextlib
import logging
import os
import signal
import threading
import time

logger = logging.getLogger("tuneway.engine")

PATIENCE_SECONDS = 10.0
"""Between asking this process to stop and ending it."""


def exit_with_parent(parent: int, *, every: float = 0.5) -> None:
    """Ends this process when the process that started it has died, however it died."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(every)
        logger.warning("The parent process is gone.")
        with contextlib.suppress(ProcessLookupError):
            os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(PATIENCE_SECONDS)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()
