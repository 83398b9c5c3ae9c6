"""What a process that reads strangers' files does to itself before it begins."""

import os
import resource
import sys
import threading
from contextlib import suppress


def bind(memory_bytes: int) -> None:
    """At most `memory_bytes` of address space, no core dump, behind everybody else, and no longer than the parent lives.

    The parent holds the other end of standard input and never writes: its end is the end of the parent, `kill -9` or not.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(ValueError, OSError):  # macOS knows the limit by name only
        resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    with suppress(OSError):
        os.nice(10)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    with suppress(OSError):
        os.read(sys.stdin.fileno(), 1)
    os._exit(1)
