"""events.jsonl: one event a line, appended and flushed at once, so that a crash loses at most the line being written."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from trainer.contract import CheckpointSaved, Event, Message, TrainingEvent, decode_event, encode


class EventLog:
    """Appends to `path`. On an existing file it drops a torn last line and goes on with the next `sequence`."""

    def __init__(self, path: Path | None):
        """None: nothing is written (by all processes but the first)."""
        events = _recover(path) if path else []
        self._sequence = events[-1].sequence if events else 0
        self._file = path.open("ab") if path else None
        self.announced_checkpoints = {event.step for event in events if isinstance(event, CheckpointSaved)}
        """Steps whose CheckpointSaved is in the file, this process's included."""
        self._listeners: list[Callable[[TrainingEvent], None]] = []

    def append(self, kind: type[Event], **fields: Any) -> None:
        self._sequence += 1
        event = kind(sequence=self._sequence, created_at=time.time(), **fields)
        if isinstance(event, CheckpointSaved):
            self.announced_checkpoints.add(event.step)
        if self._file:
            self._file.write(encode(event) + b"\n")
            self._file.flush()
        for listener in self._listeners:
            listener(event)  # pyright: ignore[reportArgumentType] every kind of event is one of the union

    @contextmanager
    def told_to(self, listener: Callable[[TrainingEvent], None]) -> Generator[None]:
        """Also calls `listener` with every event of the block."""
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    def say(self, message: str) -> None:
        self.append(Message, level="info", message=message)

    def warn(self, message: str) -> None:
        self.append(Message, level="warn", message=message)

    def fail(self, message: str) -> None:
        self.append(Message, level="error", message=message)

    def __enter__(self) -> "EventLog":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file:
            self._file.close()


def _recover(path: Path) -> list[TrainingEvent]:
    """The whole events of `path`; whatever follows the last one is cut off."""
    if not path.exists():
        return []
    events: list[TrainingEvent] = []
    size = 0
    for line in path.read_bytes().splitlines(keepends=True):
        event = _event(line)
        if event is None:
            break
        events.append(event)
        size += len(line)
    with path.open("r+b") as file:
        file.truncate(size)
    return events


def _event(line: bytes) -> TrainingEvent | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return decode_event(line)
    except msgspec.MsgspecError:
        return None
