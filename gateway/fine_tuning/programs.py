"""Small programs of the trainer (`python -m trainer.estimate`): asked one thing, they answer and end."""

import asyncio
import sys

from gateway.settings import child_environment

LAST_WORDS = 2000


class NoAnswer(Exception):
    """Why there is none: for the log, not for a client."""


async def answer_of(program: str, question: bytes = b"", *, seconds: float) -> bytes:
    """What a program, given `question`, writes to its standard output; it does not outlive this call.

    Raises:
        NoAnswer: it cannot be started, failed, or took longer than `seconds`.
    """
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", program, stdin=pipe, stdout=pipe, stderr=pipe, env=child_environment()
        )
    except OSError as error:
        raise NoAnswer(f"{program} cannot be started: {error}") from None
    try:
        async with asyncio.timeout(seconds):
            answer, complaint = await process.communicate(question)
    except TimeoutError:
        raise NoAnswer(f"{program} took more than {seconds:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode:
        raise NoAnswer(f"{program} failed: {complaint.decode(errors='replace')[-LAST_WORDS:]}")
    return answer
