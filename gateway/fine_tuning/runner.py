"""One training run: a job directory, a trainer process, and what it tells.

The trainer is another process with nothing in common but the directory (trainer/contract.py). Run again on a directory
that holds checkpoints, it resumes; everything it told before is told again and stored once.
"""

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec

from gateway.settings import child_environment
from trainer import contract
from trainer.contract import Failed, TrainingEvent, TrainingResult, TrainingSpec

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
STOP_SECONDS = 60.0
"""A trainer that does not stop on SIGTERM within one optimizer step and a checkpoint is killed."""
LOG = "trainer.log"
TRAINING, VALIDATION = "training.jsonl", "validation.jsonl"
TRAINER = (sys.executable, "-m", "trainer")


def job_directory(data_dir: Path, job_id: str) -> Path:
    return data_dir / "jobs" / job_id


class Stopped(Exception):
    """The trainer stopped because it was asked to, a checkpoint behind it."""


class Run:
    """A trainer at work in `directory`."""

    def __init__(self, directory: Path, command: Sequence[str] = ()) -> None:
        self.directory = directory
        self._command = tuple(command) or TRAINER
        self._process: asyncio.subprocess.Process | None = None
        self._read = 0

    async def start(self, spec: TrainingSpec) -> None:
        """Write the spec and start the trainer."""
        (self.directory / contract.SPEC).write_bytes(contract.encode(spec))
        (self.directory / contract.RESULT).unlink(missing_ok=True)
        with (self.directory / LOG).open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *self._command,
                str(self.directory),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=child_environment(),
                start_new_session=True,
            )

    async def events(self) -> AsyncIterator[list[TrainingEvent]]:
        """Batches of events until the trainer has ended."""
        assert self._process is not None
        while True:
            ended = self._process.returncode is not None
            if batch := self._new_events():
                yield batch
            if ended:
                return
            try:
                await asyncio.wait_for(asyncio.shield(self._process.wait()), POLL_SECONDS)
            except TimeoutError:
                continue

    def stop(self) -> None:
        """Ask the trainer to save a checkpoint and end; `events()` then ends too."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def stopped(self) -> None:
        """Stop, wait, and kill what does not listen."""
        if self._process is None or self._process.returncode is not None:
            return
        self.stop()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_SECONDS)
        except TimeoutError:
            log.error("trainer %s did not stop within %s s and was killed", self._process.pid, STOP_SECONDS)
            self._process.kill()
            await self._process.wait()

    def result(self) -> TrainingResult:
        """How the run ended. Raises Stopped."""
        assert self._process is not None
        path, status = self.directory / contract.RESULT, self._process.returncode
        if path.exists():
            return contract.decode_result(path.read_bytes())
        if status == contract.STOPPED:
            raise Stopped
        log.error("trainer ended with status %s; its last words:\n%s", status, self._last_words())
        return Failed(code="server_error", message=f"The training process ended unexpectedly (status {status}).")

    def _new_events(self) -> list[TrainingEvent]:
        """Complete lines that were not read yet."""
        path = self.directory / contract.EVENTS
        if not path.exists():
            return []
        with path.open("rb") as file:
            file.seek(self._read)
            piece = file.read()
        complete = piece[: piece.rfind(b"\n") + 1]
        self._read += len(complete)
        return [event for line in complete.splitlines() if (event := _event(line)) is not None]

    def _last_words(self) -> str:
        return (self.directory / LOG).read_text(errors="replace")[-2000:]


def _event(line: bytes) -> TrainingEvent | None:
    """One event; a line that a crash tore is skipped."""
    try:
        return contract.decode_event(line)
    except msgspec.DecodeError:
        return None
