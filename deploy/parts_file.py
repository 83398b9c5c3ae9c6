"""`run/parts.json`: the state of every part, for the gateway's /ready and for the start after a crash.

    {"parts": {"postgres": {"pid": 4711, "state": "running", "restarts": 0, "since": 1767225600, "created": 1767225599.87}}}

`since` (Unix seconds) is when the state began; `created` (Unix seconds) is the process's own start, which with the pid names it
for good. `pid` is null when no process runs. A part that runs once is listed while it runs.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

State = Literal["starting", "running", "restarting", "stopped"]


@dataclass(frozen=True)
class PartStatus:
    pid: int | None
    state: State
    restarts: int
    since: int
    created: float | None


def write_parts(path: Path, parts: Mapping[str, PartStatus]) -> None:
    """Replace the file at once: a reader sees the old state or the new one."""
    unfinished = path.with_suffix(".new")
    unfinished.write_text(json.dumps({"parts": {name: asdict(status) for name, status in parts.items()}}))
    os.replace(unfinished, path)


def read_parts(path: Path) -> dict[str, PartStatus]:
    """Empty when there is no file or it cannot be understood."""
    try:
        return {name: PartStatus(**status) for name, status in json.loads(path.read_text())["parts"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
