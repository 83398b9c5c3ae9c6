"""Rules of a route, held against an answer before it leaves: in processes of their own, within the time that a check has.

A rule that takes long (a pattern, a schema, a hostile answer) takes the time of such a process and not of the event loop,
and what it hangs is killed. What is not done in time is an error: the answer leaves, and is flagged as unchecked.
"""

import asyncio
import logging
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import msgspec

from gateway.errors import Withheld
from gateway.exchanges import checked, withholding
from gateway.exchanges.checked import CheckSaid
from gateway.kit.background import Background
from gateway.protocol.routes import Check
from gateway.rule_frames import Question, Said, decode_said, encode_question
from gateway.settings import child_environment
from gateway.streaming import Relay

log = logging.getLogger(__name__)

FLAGS = "x-tuneway-flags"
COMMAND = (sys.executable, "-m", "gateway.rule_process")
START_SECONDS = 15.0
"""That a call waits for processes that are only being started."""
KILL_SECONDS = 10.0
"""After which a process that still works at one answer is ended."""
PAUSE_SECONDS = 1.0
"""Before a process that ended is started again."""
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Case:
    """An answer on its way."""

    route: str
    """`name@revision`."""
    checks: Sequence[Check]
    request: bytes

    @property
    def blocks(self) -> bool:
        return any(check.mode == "block" for check in self.checks)


@dataclass(frozen=True, slots=True)
class Found:
    """What came of it."""

    verdicts: tuple[CheckSaid, ...] = ()

    @property
    def withheld(self) -> dict[int, str]:
        """Choice -> the check that it is withheld for."""
        broken = [each for each in self.verdicts if each.mode == "block" and each.passed is False]
        return {each.choice_index: each.check for each in reversed(broken)}

    @property
    def refusal(self) -> Withheld | None:
        """For the log."""
        if not self.verdicts:
            return None
        names = sorted(set(self.withheld.values()))
        return Withheld(self.verdicts[0].route, names) if names else None

    @property
    def headers(self) -> dict[str, str]:
        """`name` of each check that an answer does not pass, `name=error` where that could not be told."""
        if not self.verdicts:
            return {}
        flags = {each.check: each.check for each in self.verdicts if each.passed is False}
        errors = {each.check: f"{each.check}=error" for each in self.verdicts if each.passed is None}
        told = errors | flags
        return {FLAGS: ", ".join(told.values())} if told else {}

    @property
    def record(self) -> bytes | None:
        return checked.encode(self.verdicts) if self.verdicts else None


NOTHING = Found()


@dataclass(slots=True)
class _Job:
    question: bytes
    answer: "asyncio.Future[list[Said] | None]"
    """None: no verdict could be had."""


@dataclass
class InlineRules:
    """The processes of one gateway process; none until a route has checks."""

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

    async def check(self, case: Case, reply: bytes, *, streamed: bool = False) -> Found:
        """Hold a reply against all checks at a time. Raises nothing but CancelledError."""
        await self.ready()
        found = await asyncio.gather(*(self._check(case, each, reply, streamed=streamed) for each in case.checks))
        return Found(tuple(said for some in found for said in some))

    async def _check(self, case: Case, check: Check, reply: bytes, *, streamed: bool) -> list[CheckSaid]:
        rules = msgspec.json.encode(check.rules)
        question = Question(rules=rules, request=case.request, reply=reply, streamed=streamed)
        began = time.perf_counter()
        said = await self._ask(encode_question(question), check.timeout_ms / 1000)
        ms = (time.perf_counter() - began) * 1000
        return [_told(case, check, each, ms) for each in said]

    async def _ask(self, question: bytes, seconds: float) -> list[Said]:
        job = _Job(question, asyncio.get_running_loop().create_future())
        self._jobs.put_nowait(job)
        try:
            async with asyncio.timeout(seconds):
                said = await job.answer
        except TimeoutError:
            return [_error("timeout", f"The check took longer than its {seconds * 1000:.0f} ms.")]
        finally:
            job.answer.cancel()
        return said if said is not None else [_error("fault", "The process that applies the rules ended.")]

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
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())

    async def _answer(self, process: Process, job: _Job) -> None:
        said: list[Said] | None = None
        try:
            async with asyncio.timeout(self.kill_seconds):
                await _write(process, job.question)
                said = decode_said(await _read(process))
        finally:
            if not job.answer.done():
                job.answer.set_result(said)


async def frames(
    rules: InlineRules, case: Case, relay: Relay, sent: AsyncIterator[bytes], tell: Callable[[Found], object]
) -> AsyncIterator[bytes]:
    """A stream's frames: as they come, or, where a check may block, all of them once they are checked.

    Args:
        tell: is told what was found, before the last of them.
    """
    held: list[bytes] = []
    async for frame in sent:
        if case.blocks:
            held.append(frame)
        else:
            yield frame
    found = await rules.check(case, relay.raw(), streamed=True)
    tell(found)
    for frame in withholding.frames(held, found.refusal):
        yield frame


def _told(case: Case, check: Check, each: Said, ms: float) -> CheckSaid:
    return CheckSaid(
        check=check.name,
        mode=check.mode,
        route=case.route,
        rules=list(check.rules),
        judge_version_id=check.judge_version_id,
        choice_index=each.index,
        passed=each.passed,
        score=each.score,
        rationale=each.rationale,
        said=each.said,
        error_code=each.error_code,
        ms=ms,
    )


def _error(code: str, rationale: str) -> Said:
    return Said(index=0, error_code=code, rationale=rationale)


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
