"""What a supervisor is told about a part, and how a part can fail."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from deploy.process import Command

TAIL_LINES = 12  # enough for the last lines of a traceback, or PostgreSQL's FATAL and its HINT
TAIL_BYTES = 16 * 1024
EXPLAIN_BYTES = 1024 * 1024


class StackError(Exception):
    """The stack cannot start or go on. The message is a sentence for the operator."""

    exit_status = 1


class PartFailed(StackError):
    """A part did not start; the message ends with the last lines of its log."""


@dataclass(frozen=True)
class Part:
    """One process of a stack.

    `prepare` runs before every start of the command. `ready` is asked again and again until it is true; without one, a part
    is ready when it has lived for `Pace.settle` seconds. A `once` part is ready when it has ended with status 0, and is not
    started again. Start-up does not wait for a part with `awaited=False`. A part that was never ready is given up at once when
    it ends with one of the `final` statuses, by which it says that another try would not help.
    """

    name: str
    command: Command
    ready: Callable[[], Awaitable[bool]] | None = None
    ready_timeout: float = 60.0
    depends_on: tuple[str, ...] = ()
    prepare: Callable[[], Awaitable[None]] | None = None
    once: bool = False
    awaited: bool = True
    final: tuple[int, ...] = ()
    explain: Callable[[str], str | None] | None = None
    """Finds in the part's log why it ended; None where the last lines say it."""


@dataclass(frozen=True)
class Pace:
    """How fast a part is asked, given up and started again. Seconds."""

    poll: float = 0.05
    settle: float = 1.0
    first_pause: float = 0.5
    longest_pause: float = 30.0
    healthy: float = 60.0
    """A part that was ready for so long dies for the first time again."""
    give_up: int = 5
    """Deaths in a row before a part that was never ready is given up."""

    def pause(self, deaths: int) -> float:
        """Seconds to wait after so many deaths in a row (1 or more): doubled each time."""
        return min(self.first_pause * 2 ** min(deaths - 1, 16), self.longest_pause)


def tail(log: Path, start: int = 0) -> str:
    """The last lines of what was written to a log after byte `start`, indented."""
    return "\n".join(f"  {line}" for line in _end(log, start, TAIL_BYTES).splitlines()[-TAIL_LINES:])


def last_words(part: Part, log: Path, start: int) -> str:
    """Why the part ended, by its log after byte `start`: a sentence of ours, then lines of its own."""
    if not log.exists():
        return f"Its log {log} says nothing."
    if part.explain is not None and (told := part.explain(_end(log, start, EXPLAIN_BYTES))):
        return f"What {log} says:\n{told}"
    last = tail(log, start)
    return f"The end of {log}:\n{last}" if last else f"Its log {log} says nothing."


def _end(log: Path, start: int, most: int) -> str:
    with log.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(start, size - most))
        return file.read().decode(errors="replace")
