"""The life of a fine-tuning job, in OpenAI's words.

    validating_files -> queued -> running -> succeeded
           |              |          |----> failed
           |              |----------|----> cancelled
           |-> failed, cancelled

A move is one UPDATE that names the states it may start from, so two processes cannot both make it.
"""

from typing import Literal

Status = Literal["validating_files", "queued", "running", "succeeded", "failed", "cancelled"]

FROM: dict[str, tuple[Status, ...]] = {
    "queued": ("validating_files",),
    "running": ("queued",),
    "succeeded": ("running",),
    "failed": ("validating_files", "queued", "running"),
    "cancelled": ("validating_files", "queued", "running"),
}
"""Status -> where a job may come from."""

ENDED: tuple[Status, ...] = ("succeeded", "failed", "cancelled")
