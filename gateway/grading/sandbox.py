"""Runs the operator's sandbox command, once for each Python grader.

The command is the isolation (docs/decisions/0008-python-graders-in-an-operators-sandbox.md); here it only gets little to
read of this process, is held to its time and to the size of its output, and is killed with everything it started.
"""

import asyncio
import logging
import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Literal

from gateway.settings import child_environment
from judges.ask import SandboxEnd
from judges.python_grader import SECONDS

log = logging.getLogger(__name__)

OUTPUT_BYTES = 64 * 1024
LAST_WORDS = 2000
"""Bytes of stderr that are kept for the log."""
TERM_SECONDS = 2.0
"""Between SIGTERM, which a container's client passes on, and SIGKILL, which it cannot."""
REST_SECONDS = 1.0
"""For what the process wrote last; something it left behind may hold its output open for ever."""
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONTEXT")
"""All that the command sees of our environment, which may hold providers' keys."""


class PythonSandbox:
    """`judges.ask.Sandbox` by a command; at most `concurrency` of them at a time in this process."""

    def __init__(self, command: Sequence[str], *, concurrency: int, seconds: float = SECONDS) -> None:
        self._command = tuple(command)
        self._slots = asyncio.Semaphore(concurrency)
        self._seconds = seconds

    async def __call__(self, request: bytes) -> SandboxEnd:
        async with self._slots:
            return await self._run(request)

    async def _run(self, request: bytes) -> SandboxEnd:
        loop = asyncio.get_running_loop()
        watch = _Watch()
        try:
            transport, _ = await loop.subprocess_exec(
                lambda: watch, *self._command, env=_environment(), cwd="/", start_new_session=True
            )
        except OSError as error:
            log.error("grading.python_runner: %s cannot be started: %s", self._command[0], error)
            return SandboxEnd()
        try:
            stdin: Any = transport.get_pipe_transport(0)
            stdin.write(request)
            stdin.write_eof()
            stopped = await self._wait(transport, watch)
        finally:
            _signal(transport, signal.SIGKILL)
            transport.close()
        if not watch.stdout.startswith(b"{"):
            log.error("grading.python_runner started no grader; its last words:\n%s", watch.last_words())
        return SandboxEnd(bytes(watch.stdout[:OUTPUT_BYTES]), transport.get_returncode() or 0, stopped)

    async def _wait(
        self, transport: asyncio.SubprocessTransport, watch: "_Watch"
    ) -> Literal["timeout", "output"] | None:
        """Until it ended; why it had to be stopped, if it had."""
        stopped: Literal["timeout", "output"] | None = None
        try:
            async with asyncio.timeout(self._seconds):
                await watch.ended_or_flooded.wait()
            stopped = None if watch.exited.is_set() else "output"
        except TimeoutError:
            stopped = "timeout"
        if stopped:
            await _stop(transport, watch)
        else:
            _signal(transport, signal.SIGKILL)  # whatever it left in its group
            with suppress(TimeoutError):
                async with asyncio.timeout(REST_SECONDS):
                    await watch.silent.wait()
            stopped = "output" if len(watch.stdout) > OUTPUT_BYTES else None
        return stopped


class _Watch(asyncio.SubprocessProtocol):
    """What a process says, and when it ends.

    Not asyncio's Process: its wait() waits for the pipes too, and a grandchild can hold those open.
    """

    def __init__(self) -> None:
        self.stdout = bytearray()
        self.exited = asyncio.Event()
        self.ended_or_flooded = asyncio.Event()
        self.silent = asyncio.Event()
        """Its stdout and stderr were closed."""
        self._stderr = bytearray()
        self._open = {1, 2}

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if fd != 1:
            self._stderr = (self._stderr + data)[-LAST_WORDS:]
            return
        if len(self.stdout) <= OUTPUT_BYTES:
            self.stdout += data
        if len(self.stdout) > OUTPUT_BYTES:
            self.ended_or_flooded.set()

    def pipe_connection_lost(self, fd: int, exc: Exception | None) -> None:
        self._open.discard(fd)
        if not self._open:
            self.silent.set()

    def process_exited(self) -> None:
        self.exited.set()
        self.ended_or_flooded.set()

    def last_words(self) -> str:
        return self._stderr.decode(errors="replace")


async def _stop(transport: asyncio.SubprocessTransport, watch: _Watch) -> None:
    _signal(transport, signal.SIGTERM)
    try:
        async with asyncio.timeout(TERM_SECONDS):
            await watch.exited.wait()
    except TimeoutError:
        _signal(transport, signal.SIGKILL)
        await watch.exited.wait()


def _signal(transport: asyncio.SubprocessTransport, number: signal.Signals) -> None:
    """To the process and all that stayed in its group, which it leads."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(transport.get_pid(), number)


def _environment() -> dict[str, str]:
    return {name: value for name, value in child_environment().items() if name in KEPT}
