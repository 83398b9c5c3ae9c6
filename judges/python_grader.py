"""The Python grader: what goes into the operator's sandbox, and what comes out of it (judges/python_runner.py)."""

import math
from typing import Any

import msgspec

from judges.ask import Sandbox, SandboxEnd
from judges.grade import GraderFailed
from judges.graders import Python
from judges.sample import Item, Sample

SECONDS = 120
"""OpenAI's guide: "The grading execution itself is limited to 2 minutes"."""
STARTED = b'{"started": true}'
"""The first line of the runner: from here on, what goes wrong is the grader's doing and not the sandbox's."""
DETAIL_LIMIT = 4000


class _Result(msgspec.Struct):
    """The last line of the runner; exactly one of the two."""

    reward: float | None = None
    error: str | None = None


async def grade_in_sandbox(grader: Python, sample: Sample, item: Item, sandbox: Sandbox | None) -> float:
    """What `grade(sample, item)` returned.

    Raises:
        GraderFailed: python_grader_server_error when the sandbox is not there or did not start, else
            python_grader_runtime_error; unresponsive_reward_error when it took too long.
    """
    if sandbox is None:
        raise GraderFailed("python_grader_server_error", "python graders are switched off on this server", "disabled")
    return read_end(await sandbox(request(grader, sample, item)))


def request(grader: Python, sample: Sample, item: Item) -> bytes:
    """The runner's stdin: one JSON object."""
    variables: dict[str, Any] = {"output_json": None, "output_audio": None} | sample.variables()
    body = {"source": grader.source, "image_tag": grader.image_tag, "sample": variables, "item": item}
    return msgspec.json.encode(body)


def read_end(end: SandboxEnd) -> float:
    """The reward of a run. Raises GraderFailed."""
    if end.status is None:
        raise GraderFailed("python_grader_server_error", "the sandbox could not be started", "not_started")
    first, _, rest = end.stdout.partition(b"\n")
    if first.strip() != STARTED:
        raise GraderFailed("python_grader_server_error", "the sandbox did not start the grader", "not_started")
    if end.stopped == "timeout":
        raise GraderFailed("unresponsive_reward_error", f"the grader took longer than {SECONDS} seconds")
    if end.stopped == "output":
        raise _runtime("the grader wrote too much to its output")
    try:
        result = msgspec.json.decode(rest, type=_Result)
    except (ValueError, RecursionError):
        raise _runtime(f"the grader's process ended without a result ({_status(end.status)})") from None
    if result.reward is None or not math.isfinite(result.reward):
        raise _runtime(result.error or "the grader returned nothing")
    return result.reward


def _runtime(details: str) -> GraderFailed:
    return GraderFailed("python_grader_runtime_error", details[:DETAIL_LIMIT])


def _status(status: int) -> str:
    return f"killed by signal {-status}" if status < 0 else f"exit status {status}"
