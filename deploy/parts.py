"""What a supervisor is told about a part, and how a part can fail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.process import Command

TAIL_LINES = 12  # enough for the last lines of a traceback or of PostgreSQL's FATAL and its HINT


class StackError(Exception):
    """The stack cannot start or go on. The message is a sentence for the operator."""

    exit_status = 1


class PartFailed(StackError):
    """A part did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Part:
    """One process of a stack.

    `prepare` runs before every start of the command. `ready` is asked again and again until it is true; without one, a part is
    ready as soon as it runs. A `once` part is ready when it has ended with status 0, and is not started again. Start-up
    does not wait for a part with `awaited=False`.
    """

    name: str
    command: Command
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_timeout: float = 60.0
    depends_on: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    once: bool = False
    awaited: bool = True


def tail(log: Path, start: int = 0) -> str:
    """The last lines of a log, of what was written after byte `start`, indented."""
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(start, size - 16_384))
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:])
