"""Whose turn it is: all projects share one queue.

The next job is that of the project with the fewest running jobs; between equals, of the one whose last start is longest
ago; within a project, the oldest. So a project that sends a hundred jobs delays another's first by one job, not by a
hundred.
"""

from collections import defaultdict, deque
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
    queues: dict[str, deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda job: (job.created_at, job.job_id)):
        queues[job.project_id].append(job)
    running, starts = list(running), dict(last_start)
    latest = max(starts.values(), default=0.0)
    order: list[Waiting] = []
    # Only each project's oldest job: comparing all with all would hold up the worker over a long queue.
    while (first := next_turn([queue[0] for queue in queues.values() if queue], running[1:], starts)) is not None:
        order.append(queues[first.project_id].popleft())
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
