"""Processes that hold answers against rules (gateway/rule_process.py), and take turns with what is asked.

A rule that takes long (a pattern, a schema, a hostile answer) takes the time of such a process and not of the event loop,
nor of a thread that nobody could end: a process that hangs is killed, and another takes its place.
"""

import asyncio
import logging
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from gateway.kit.background import Background
from gateway.rule_frames import Question, Said, decode_said, encode_question
from gateway.settings import child_environment

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "gateway.rule_process")
START_SECONDS = 15.0
"""That whoever asks waits for processes that are only being started."""
KILL_SECONDS = 10.0
"""After which a process that still works at one answer is ended."""
END_SECONDS = 2.0
"""That the kernel has to end a process whose output has ended."""
PAUSE_SECONDS = 1.0
"""Before a process that ended is started again."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


def failed(code: str, rationale: str) -> Said:
    """Of an answer of which nothing can be said. Args: code: of ERROR_CODES (gateway/exchanges/checked.py)."""
    return Said(index=0, error_code=code, rationale=rationale)


ENDED = failed("fault", "The process that applies the rules ended.")
TOO_LONG = failed("timeout", "The rules took too long, and were ended.")


@dataclass(slots=True)
class _Job:
    question: bytes
    answer: "asyncio.Future[list[Said]]"


@dataclass
class RuleProcesses:
    """Those of one process of ours; none is started until something is asked."""

    background: Background
    processes: int
    command: Sequence[str] = COMMAND
    kill_seconds: float = KILL_SECONDS
    pause_seconds: float = PAUSE_SECONDS
    _jobs: "asyncio.Queue[_Job]" = field(default_factory=asyncio.Queue["_Job"])
    _ready: asyncio.Event = field(default_factory=asyncio.Event)
    _started: bool = False

    def start(self) -> None:
        """Harmless when repeated."""
        if not self._started:
            self._started = True
            for number in range(self.processes):
                self.background.spawn(self._work(), f"apply rules ({number})")

    async def ready(self) -> None:
        """Once one of them is."""
        self.start()
        with suppress(TimeoutError):
            async with asyncio.timeout(START_SECONDS):
                await self._ready.wait()

    async def ask(self, question: Question, seconds: float) -> list[Said]:
        """What the rules say of each choice; one error where a process ended over it.

        Args:
            seconds: for its turn and the answer.

        Raises:
            TimeoutError: they were not enough.
        """
        job = _Job(encode_question(question), asyncio.get_running_loop().create_future())
        self._jobs.put_nowait(job)
        try:
            async with asyncio.timeout(seconds):
                return await job.answer
        finally:
            job.answer.cancel()

    async def _work(self) -> None:
        """One process after the other."""
        while True:
            try:
                await self._serve()
            except (OSError, TimeoutError, EOFError, msgspec.MsgspecError) as error:
                log.error("a process that applies rules ended: %s", repr(error))
            self._ready.set()  # where none can be started, nobody waits for it
            await asyncio.sleep(self.pause_seconds)

    async def _serve(self) -> None:
        """Raises OSError, EOFError: it ended. TimeoutError: it had to be."""
        process = await asyncio.create_subprocess_exec(*self.command, stdin=PIPE, stdout=PIPE, env=_environment())
        try:
            async with asyncio.timeout(START_SECONDS * 4):
                await _read(process)
            self._ready.set()
            while True:
                job = await self._jobs.get()
                if not job.answer.done():
                    await self._answer(process, job)
        finally:
            await _end(process)

    async def _answer(self, process: Process, job: _Job) -> None:
        said = [ENDED]
        try:
            async with asyncio.timeout(self.kill_seconds):
                await _write(process, job.question)
                said = decode_said(await _read(process))
        except TimeoutError:
            said = [TOO_LONG]
            raise
        except EOFError:
            said = [TOO_LONG if await _ended(process) == -signal.SIGPROF else ENDED]
            raise
        finally:
            if not job.answer.done():
                job.answer.set_result(said)


async def _ended(process: Process) -> int:
    """How a process ended that says nothing more. It is not killed at once: `Popen.kill` asks for its status, which asyncio then misses."""
    with suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            return await process.wait()
    return await _end(process)


async def _end(process: Process) -> int:
    """How it ended; harmless when it has."""
    with suppress(ProcessLookupError):
        process.kill()
    return await asyncio.shield(process.wait())


async def _read(process: Process) -> bytes:
    """Raises EOFError."""
    assert process.stdout is not None
    size = int.from_bytes(await process.stdout.readexactly(4))
    return await process.stdout.readexactly(size)


async def _write(process: Process, frame: bytes) -> None:
    """Raises OSError."""
    assert process.stdin is not None
    process.stdin.write(len(frame).to_bytes(4) + frame)
    await process.stdin.drain()


def _environment() -> dict[str, str]:
    """Without secrets: what is read there was written by strangers."""
    return {name: value for name, value in child_environment().items() if not name.startswith("AWS_")} | ONE_THREAD
