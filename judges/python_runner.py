"""The program to run INSIDE an operator's sandbox: one Python grader on one sample. Standard library only, no import of ours.

This program is not the isolation. It runs what it is given; the command in front of it (docs/decisions/0008) must take
the network, the files, the other processes and the secrets away. The limits here catch accidents, not attacks.

stdin: {"source", "sample", "item", "image_tag"}. stdout: a line `{"started": true}`, then a line `{"reward": 0.5}` or
`{"error": "..."}`. What the grader prints goes to stderr. Limits as in OpenAI's guide "Graders": 2 minutes, 2 GB of
memory, 1 GB of files, no core dump.
"""

import contextlib
import json
import linecache
import math
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

FILE = "grader.py"
"""The grader's name in tracebacks."""
CPU_SECONDS = 120
WALL_SECONDS = 130
"""For a grader that sleeps while whoever started it, and would have ended it earlier, has died."""
MEMORY_BYTES = 2 * 1024**3
FILE_BYTES = 1024**3
OPEN_FILES = 256
DETAIL_LIMIT = 3000


def main() -> None:
    """Always ends with a line on stdout, unless the process is killed."""
    out = os.dup(1)
    os.dup2(2, 1)
    request = json.loads(sys.stdin.buffer.read())
    os.write(out, b'{"started": true}\n')
    _limit()
    result = _run(request["source"], request["sample"], request["item"])
    os.write(out, json.dumps(result).encode())
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    os._exit(0)  # threads that the grader left behind do not hold the result up


def _limit() -> None:
    for kind, most in (
        (resource.RLIMIT_CPU, CPU_SECONDS),
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    signal.signal(signal.SIGALRM, _give_up)  # the first process of a namespace ignores a signal without a handler
    signal.alarm(WALL_SECONDS)


def _give_up(number: int, frame: object) -> None:
    os._exit(128 + number)


def _run(source: str, sample: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    try:
        return {"reward": _checked(_load(source)(sample, item))}
    except MemoryError:
        pass  # what filled the memory is let go before anything is said about it
    except BaseException as error:  # noqa: BLE001 also SystemExit: every end of the grader has an answer
        return {"error": _told(error)}
    return {"error": f"MemoryError: the grader needs more than {MEMORY_BYTES // 1024**3} GB"}


def _load(source: str) -> Callable[[Any, Any], Any]:
    linecache.cache[FILE] = (len(source), None, source.splitlines(keepends=True), FILE)  # lines for the traceback
    namespace: dict[str, Any] = {"__name__": "grader", "__file__": FILE}
    exec(compile(source, FILE, "exec"), namespace)  # noqa: S102 the purpose of this program
    grade = namespace.get("grade")
    if not callable(grade):
        raise TypeError("the source defines no function `grade(sample, item)`")
    return grade


def _checked(reward: Any) -> float:
    if isinstance(reward, str | bytes) or not hasattr(reward, "__float__"):
        raise TypeError(f"grade() must return a float, not {type(reward).__name__}")
    value = float(reward)
    if not math.isfinite(value):
        raise ValueError(f"grade() must return a finite number, not {value}")
    return value


def _told(error: BaseException) -> str:
    """The error and where in the grader it happened; the frames of this program say nothing to its author."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == FILE]
    lines = [*traceback.format_list(frames), *traceback.format_exception_only(error)]
    return "".join(lines).strip()[-DETAIL_LIMIT:]


if __name__ == "__main__":
    main()
