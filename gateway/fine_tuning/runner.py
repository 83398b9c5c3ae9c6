"""One training run: a job directory, a trainer process, and what it tells.

The trainer is another process with nothing in common but the directory (trainer/contract.py). Run again on a directory
that holds checkpoints, it resumes; everything it told before is told again and stored once.
"""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from gateway.fine_tuning import out_of_memory
from gateway.fine_tuning.restarts import Crashed, Reason
from gateway.settings import child_environment
from trainer import contract
from trainer.contract import OWNER, STOP_SECONDS, Failed, Succeeded, TrainingEvent, TrainingResult, TrainingSpec

log = logging.getLogger(__name__)

POLL_SECONDS = 0.2
KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)
LOG = "trainer.log"
LAST_WORDS = 2000
TRAINING, VALIDATION = "training.jsonl", "validation.jsonl"
TRAINER = (sys.executable, "-m", "trainer")


def job_directory(data_dir: Path, job_id: str) -> Path:
    return data_dir / "jobs" / job_id


class Stopped(Exception):
    """The trainer stopped because it was asked to, a checkpoint behind it."""


class Run:
    """A trainer at work in `directory`; one that died may be started again."""

    def __init__(
        self, directory: Path, command: Sequence[str] = (), *, device: str = "", stop_seconds: float = STOP_SECONDS
    ) -> None:
        """`device`: CUDA indices for the trainer to use; empty leaves it what it finds."""
        self.directory = directory
        self._command = tuple(command) or TRAINER
        self._device = {"CUDA_VISIBLE_DEVICES": device} if device else {}
        self._stop_seconds = stop_seconds
        self._process: asyncio.subprocess.Process | None = None
        self._kills_before: int | None = None
        self._asked_to_stop = False
        self._read = 0

    def has_succeeded(self) -> bool:
        """The training is done; what it made may not be published yet."""
        return isinstance(self.written_result(), Succeeded)

    def written_result(self) -> TrainingResult | None:
        """What an ended trainer left; None while there is nothing that can be read."""
        try:
            return contract.decode_result((self.directory / contract.RESULT).read_bytes())
        except FileNotFoundError:
            return None
        except msgspec.DecodeError as error:
            log.error("%s cannot be read: %s", self.directory / contract.RESULT, error)
            return None

    async def start(self, spec: TrainingSpec) -> None:
        """Write the spec and start the trainer, unless an earlier one has finished the job.

        Raises:
            Stopped: it was asked to stop first.
            OSError: the disk is full, or the directory is gone.
        """
        if self._asked_to_stop:
            raise Stopped
        if self.has_succeeded():
            return
        (self.directory / contract.SPEC).write_bytes(contract.encode(spec))
        (self.directory / contract.RESULT).unlink(missing_ok=True)
        self._kills_before = out_of_memory.kills()
        self._process = await self._spawn()
        if self._asked_to_stop:
            self.stop()

    async def events(self) -> AsyncIterator[list[TrainingEvent]]:
        """Batches of events until the trainer has ended."""
        ended = asyncio.ensure_future(self._end())
        try:
            while True:
                over = ended.done()
                if batch := self._new_events():
                    yield batch
                if over:
                    return
                await asyncio.wait({ended}, timeout=POLL_SECONDS)
        finally:
            ended.cancel()

    def stop(self) -> None:
        """Ask the trainer to save a checkpoint and end; `events()` then ends too."""
        self._asked_to_stop = True
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()

    async def stopped(self) -> None:
        """Stop, wait, and kill what does not listen."""
        self.stop()
        if self._process is None:
            return
        try:
            async with asyncio.timeout(self._stop_seconds):
                await self._process.wait()
        except TimeoutError:
            log.error("trainer %s did not stop within %s s and was killed", self._process.pid, self._stop_seconds)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # it leads a group of its own
            await self._process.wait()

    def told(self) -> list[TrainingEvent]:
        """Everything that trainers wrote in this directory."""
        self._read = 0
        return self._new_events()

    def result(self) -> TrainingResult:
        """How the run ended. Raises Stopped, Crashed."""
        written = self.written_result()
        if isinstance(written, Failed) and written.too_many_at_once:
            raise Crashed(self._status(), "memory", written.too_many_at_once)
        if written is not None:
            return written
        status = self._status()
        if self._asked_to_stop or status in (contract.STOPPED, -signal.SIGTERM):
            raise Stopped
        log.error("trainer ended with status %s; its last words:\n%s", status, self._last_words())
        raise Crashed(status, self._reason(status))

    def _status(self) -> int | None:
        return self._process.returncode if self._process else None

    def _reason(self, status: int | None) -> Reason:
        """A process of a launcher may be killed while the launcher ends with another status."""
        kills = out_of_memory.kills()
        if kills is None or self._kills_before is None:
            return "memory" if status in KILLED else "crash"
        if kills > self._kills_before:
            return "memory"
        return "killed" if status in KILLED else "crash"

    async def _spawn(self) -> asyncio.subprocess.Process:
        with (self.directory / LOG).open("ab") as output:
            return await asyncio.create_subprocess_exec(
                *self._command,
                str(self.directory),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        """torchrun gives its processes half of our time for their checkpoint where nothing else is said, and outlives us."""
        patience = {"TORCH_ELASTIC_SHUTDOWN_TIMEOUT": str(int(0.9 * self._stop_seconds))}
        return patience | child_environment() | self._device | {OWNER: str(os.getpid())}

    async def _end(self) -> None:
        if self._process is not None:
            await self._process.wait()

    def _new_events(self) -> list[TrainingEvent]:
        """Complete lines that were not read yet."""
        path = self.directory / contract.EVENTS
        if not path.exists():
            return []
        if path.stat().st_size < self._read:
            self._read = 0  # a trainer that starts again cuts off what it cannot read
        with path.open("rb") as file:
            file.seek(self._read)
            piece = file.read()
        complete = piece[: piece.rfind(b"\n") + 1]
        self._read += len(complete)
        return [event for line in complete.splitlines() if (event := _event(line)) is not None]

    def _last_words(self) -> str:
        path = self.directory / LOG
        if not path.exists():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - LAST_WORDS))
            return file.read().decode(errors="replace")


def _event(line: bytes) -> TrainingEvent | None:
    """One event; a line that a crash tore is skipped."""
    try:
        return contract.decode_event(line)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
