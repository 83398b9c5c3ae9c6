"""Hostile or merely large files, looked at in a process of their own: bounded in memory, time and number.

The gateway's event loop and interpreter stay free, and a file that breaks a parser breaks nothing else. What the process
reads and writes are unlinked temporary files that it inherits, so nothing is left on disk whichever of the two dies.
"""

import asyncio
import logging
import sys
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

import msgspec

from gateway.datasets.unusable import OUT_OF_MEMORY, Refused
from gateway.errors import InvalidRequest, Surprise, Unavailable
from gateway.settings import child_environment

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "gateway.datasets", "--bound")
AT_ONCE = 2
SECONDS = 300.0
WAIT_SECONDS = 30.0
"""How long a call waits for its turn before it is told to come back later."""
MEMORY_BYTES = 2 * 1024**3
"""Of address space. Files that are what they say need a tenth of it."""
PIECE = 1024 * 1024
ONE_THREAD = {
    "MALLOC_ARENA_MAX": "2",  # each arena reserves address space
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "TOKENIZERS_PARALLELISM": "false",
    "RAYON_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_NUM_THREADS": "1",
}


class Isolated:
    """Runs `python -m gateway.datasets`. One for a gateway process.

    Args:
        command: another one that takes the bound as its last argument and answers in the same way.
        seconds: that one file may take.
        memory_bytes: address space of one process.
    """

    def __init__(
        self,
        *,
        at_once: int = AT_ONCE,
        seconds: float = SECONDS,
        memory_bytes: int = MEMORY_BYTES,
        wait: float = WAIT_SECONDS,
        command: Sequence[str] = (),
    ) -> None:
        self._command = command
        self._turns = asyncio.Semaphore(at_once)
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._wait = wait

    async def run(
        self,
        arguments: Sequence[str],
        files: Sequence[IO[bytes]],
        *,
        first: Callable[[], Awaitable[object]] | None = None,
    ) -> bytes:
        """The JSON that the command prints.

        Args:
            arguments: of gateway/datasets/__main__.py; they name files by `path_of`.
            files: which it inherits.
            first: brings a stored file here, when it is this call's turn: any number of copies would fill the disk.

        Raises:
            InvalidRequest: the file is at fault: unreadable, or it takes too much memory or time.
            Unavailable: too many others are at work.
            Surprise: a bug; the log has the traceback.
            Whatever `first` raises.
        """
        try:
            async with asyncio.timeout(self._wait):
                await self._turns.acquire()
        except TimeoutError:
            raise Unavailable("Other files are being looked at right now; please retry.", retry_after=10) from None
        try:
            if first is not None:
                await first()
            return await self._run(arguments, [file.fileno() for file in files])
        finally:
            self._turns.release()

    async def _run(self, arguments: Sequence[str], inherited: list[int]) -> bytes:
        process = await asyncio.create_subprocess_exec(
            *(self._command or COMMAND),
            str(self._memory_bytes),
            *arguments,
            stdin=asyncio.subprocess.PIPE,  # its end tells the process that this one is gone
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=inherited,
            env=_environment(),
        )
        try:
            async with asyncio.timeout(self._seconds):
                output, errors = await _streams(process)
        except TimeoutError:
            raise InvalidRequest(
                f"The file takes more than {self._seconds:.0f} seconds to read. Split it into smaller ones.",
                param="file",
            ) from None
        finally:
            await asyncio.shield(_end(process))
        return _result(process.returncode or 0, output, errors)


def _environment() -> dict[str, str]:
    """Without secrets, those of the file storage included: what is read there was written by strangers."""
    kept = {name: value for name, value in child_environment().items() if not name.startswith("AWS_")}
    return kept | ONE_THREAD


async def _streams(process: asyncio.subprocess.Process) -> tuple[bytes, bytes]:
    assert process.stdout is not None
    assert process.stderr is not None
    output, errors = await asyncio.gather(process.stdout.read(), process.stderr.read())
    await process.wait()
    return output, errors


async def _end(process: asyncio.subprocess.Process) -> None:
    with suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _result(status: int, output: bytes, errors: bytes) -> bytes:
    """The output of a process that ended as it should. Raises InvalidRequest, Surprise."""
    if status == OUT_OF_MEMORY or status < 0:  # a parser that breaks on bad bytes dies by a signal
        log.warning("a file could not be read (status %s): %s", status, errors[-500:].decode(errors="replace"))
        raise InvalidRequest(
            "The file needs more memory to read than is allowed: it is damaged, unpacks to far more than its size, or has "
            "single values that are too large. Write it anew in smaller pieces, as JSONL or CSV.",
            param="file",
        )
    if status:
        log.error("the process that reads files ended with status %s:\n%s", status, errors.decode(errors="replace"))
        raise Surprise
    if output.startswith(b'{"outcome":"refused"'):
        refused = msgspec.json.decode(output, type=Refused)
        raise InvalidRequest(refused.message, param=refused.param)
    return output


def temporary(directory: Path) -> IO[bytes]:
    """A file without a name, on the disk that holds `directory`."""
    directory.mkdir(parents=True, exist_ok=True)
    return tempfile.TemporaryFile(dir=directory)


def path_of(file: IO[bytes]) -> str:
    """By which a process that inherits the file opens it."""
    return f"/dev/fd/{file.fileno()}"


async def fill(file: IO[bytes], pieces: AsyncIterable[bytes]) -> int:
    """Write `pieces` into the file; how many bytes. Raises Unavailable when the disk is full."""
    size = 0
    try:
        async for piece in pieces:
            size += await asyncio.to_thread(file.write, piece)
        await asyncio.to_thread(file.flush)
    except OSError as error:
        log.error("temporary file: %s", error)
        raise Unavailable("There is no room for the file on the server's disk right now; please retry.") from error
    return size


async def pieces_of(file: IO[bytes]) -> AsyncIterator[bytes]:
    """The file from its beginning."""
    await asyncio.to_thread(file.seek, 0)
    while piece := await asyncio.to_thread(file.read, PIECE):
        yield piece
