"""The life of a fine-tuning job, in OpenAI's words.

    validating_files ---> queued ---> running ---> succeeded
           |  ^            |  ^          |
           |  '------------'  |          |--------> failed      (also from validating_files and queued)
           |   (2)     |      | (1)      |
           '-----------|------|----------|--------> cancelled   (from all three, and from paused)
                       '-> paused <------'          (from validating_files, too)

(1) Resumed by its owner; no worker moves a paused job.
(2) It was paused before its files were validated: when a worker takes it up, that comes first.

A move is one UPDATE that names the states it may start from, so two processes cannot both make it.
"""

from typing import Literal

Status = Literal["validating_files", "queued", "running", "paused", "succeeded", "failed", "cancelled"]

FROM: dict[str, tuple[Status, ...]] = {
    "validating_files": ("queued",),
    "queued": ("validating_files", "paused"),
    "running": ("queued",),
    "paused": ("validating_files", "queued", "running"),
    "succeeded": ("running",),
    "failed": ("validating_files", "queued", "running"),
    "cancelled": ("validating_files", "queued", "running", "paused"),
}
"""Status -> where a job may come from."""

ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
