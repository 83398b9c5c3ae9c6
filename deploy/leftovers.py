"""Processes of an earlier run that outlived it: found by what it recorded, and stopped before the next run begins.

On Linux the parts stop by themselves when their parent is killed, but a gateway may still be draining then; elsewhere they
would live on.
"""

import asyncio
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from deploy.parts import StackError
from deploy.parts_file import PartStatus, read_parts
from deploy.process import KILL_AFTER_SECONDS, Command

POLL_SECONDS = 0.05
SAME_START_SECONDS = 1.0  # the clock that psutil counts from may be corrected between two readings


async def stop_leftovers(path: Path, commands: Mapping[str, Command]) -> list[str]:
    """Stop what `path` (parts.json) says still runs, the last part first; returns their names.

    `commands` says how each part is stopped. Raises StackError when one does not stop.
    """
    stopped: list[str] = []
    for name, status in reversed(read_parts(path).items()):
        found = list(_still_ours(status))
        if found:
            stopped.append(name)
        for process in found:
            if not await end_process(process, commands.get(name, Command(()))):
                raise StackError(f"The {name} of an earlier run (pid {process.pid}) does not stop.")
    return stopped


async def end_process(process: psutil.Process, command: Command) -> bool:
    """Stop a process that is not our child in the way of `command`; False when not even SIGKILL works."""
    steps = (
        (command.stop_signal, command.stop_timeout),
        (command.hurry_signal, KILL_AFTER_SECONDS),
        (signal.SIGKILL, KILL_AFTER_SECONDS),
    )
    for number, patience in steps:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            return True
        deadline = time.monotonic() + patience
        while time.monotonic() < deadline:
            if not _alive(process):
                return True
            await asyncio.sleep(POLL_SECONDS)
    return False


def _still_ours(status: PartStatus) -> Iterator[psutil.Process]:
    """The recorded process if it is the same one, and what is left of its group."""
    if status.pid is None or status.created is None or status.created < psutil.boot_time() - SAME_START_SECONDS:
        return
    try:
        leader = psutil.Process(status.pid)
        if abs(leader.create_time() - status.created) > SAME_START_SECONDS:
            return  # the pid was used again, which it is not while its old group has members
        if _alive(leader):
            yield leader
    except psutil.NoSuchProcess:
        pass
    yield from _members(status.pid, status.created)


def _members(group: int, created: float) -> Iterator[psutil.Process]:
    for process in psutil.process_iter():
        try:
            same_group = process.pid != group and os.getpgid(process.pid) == group
            if same_group and process.create_time() >= created - SAME_START_SECONDS and _alive(process):
                yield process
        except (psutil.Error, ProcessLookupError):
            continue


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
