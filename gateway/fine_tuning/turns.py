"""Whose turn it is: all projects share one queue.

The next job is that of the project with the fewest running jobs; between equals, of the one whose last start is longest
ago; within a project, the oldest. So a project that sends a hundred jobs delays another's first by one job, not by a
hundred.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True)
class Waiting:
    job_id: str
    project_id: str
    created_at: datetime


def in_order(waiting: Sequence[Waiting], running: Sequence[str], last_start: Mapping[str, float]) -> list[Waiting]:
    """The order in which jobs will start if those that run end in the order of their starts and none is added.

    Args:
        running: project ids of the jobs that run, in the order of their starts.
        last_start: project id -> when one of its jobs was last started (Unix seconds); missing means never.
    """
    left, running, starts = list(waiting), list(running), dict(last_start)
    latest = max(starts.values(), default=0.0)
    order: list[Waiting] = []
    while (first := next_turn(left, running[1:], starts)) is not None:
        order.append(first)
        left.remove(first)
        latest += 1
        starts[first.project_id] = latest
        running = [*running[1:], first.project_id]
    return order


def next_turn(waiting: Sequence[Waiting], running: Sequence[str], last_start: Mapping[str, float]) -> Waiting | None:
    """The job to start now that a device is free, or None when nothing waits. Arguments as of `in_order`."""

    def place(job: Waiting) -> tuple[int, float, datetime, str]:
        project = job.project_id
        return running.count(project), last_start.get(project, 0.0), job.created_at, job.job_id

    return min(waiting, key=place, default=None)
