"""One child process: in a session of its own, its output in a log file, waited for without a thread or a pipe.

- Its own session: Ctrl-C in a terminal reaches the parent alone, which decides who stops when.
- On Linux the child gets its stop signal when the parent dies, even by `kill -9`. The kernel sends it when the *thread* that
  forked ends, so children are made on the main thread.
- What is left of the child's process group when the child has ended is killed: a server's workers would keep its port.
"""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

POLL_SECONDS = 0.05  # only where the kernel has no pidfd (macOS, Linux before 5.3)
KILL_AFTER_SECONDS = 5.0  # a child that ignores its second signal for this long hangs
PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_prctl: Callable[..., int] | None = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


@dataclass(frozen=True)
class Account:
    """A system user to run a child as, when the parent is root."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Command:
    """What to run and how to end it. `environment` is the child's whole environment."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    cwd: Path | None = None
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout: float = 10.0
    hurry_signal: signal.Signals = signal.SIGKILL
    """Sent when `stop_timeout` has passed or the operator asked twice."""


class Child:
    """A running command. Make it on the main thread, inside a running event loop."""

    def __init__(self, command: Command, log: Path) -> None:
        """Raises OSError when the program cannot be executed."""
        self.command = command
        loop = asyncio.get_running_loop()
        self._exit: asyncio.Future[int] = loop.create_future()
        with log.open("ab") as output:
            self._popen = _spawn(command, output.fileno())
        self.pid = self._popen.pid
        self.created = _create_time(self.pid)
        self._pidfd = _open_pidfd(self.pid)
        if self._pidfd is None:
            loop.call_later(POLL_SECONDS, self._poll)
        else:
            loop.add_reader(self._pidfd, self._reap)

    @property
    def ended(self) -> bool:
        return self._exit.done()

    async def wait(self) -> int:
        """The exit status, negative for a signal. Cancelling the wait leaves the child alone."""
        return await asyncio.shield(self._exit)

    def send(self, number: signal.Signals) -> None:
        """Signal the child itself; its own children are its own business."""
        if not self.ended:
            self._popen.send_signal(number)

    async def stop(self, hurry: asyncio.Event | None = None) -> int:
        """Stop signal, then the hurry signal, then SIGKILL: each when the one before has not worked in time."""
        self.send(self.command.stop_signal)
        if not await self._ends_within(self.command.stop_timeout, hurry):
            self.send(self.command.hurry_signal)
            if not await self._ends_within(KILL_AFTER_SECONDS, None):
                self.send(signal.SIGKILL)
        return await self.wait()

    async def _ends_within(self, seconds: float, hurry: asyncio.Event | None) -> bool:
        """Whether the child has ended, after so many seconds or when `hurry` is set, whichever comes first."""
        waits = [asyncio.ensure_future(self.wait())]
        if hurry is not None:
            waits.append(asyncio.ensure_future(hurry.wait()))
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pending in waits:
                pending.cancel()
        return self.ended

    def _poll(self) -> None:
        if self._popen.poll() is None:
            asyncio.get_running_loop().call_later(POLL_SECONDS, self._poll)
        else:
            self._reap()

    def _reap(self) -> None:
        """The child has ended: before its pid is free for reuse, end what is left of its group."""
        if self._pidfd is not None:
            asyncio.get_running_loop().remove_reader(self._pidfd)
            os.close(self._pidfd)
        with suppress(ProcessLookupError, PermissionError):  # macOS answers EPERM when only the zombie is left
            os.killpg(self.pid, signal.SIGKILL)
        self._exit.set_result(self._popen.wait())


async def run_to_end(command: Command, log: Path) -> int:
    """Run a command that ends by itself; it is stopped when the caller is cancelled."""
    child = Child(command, log)
    try:
        return await child.wait()
    finally:
        await child.stop()


def how_it_ended(status: int) -> str:
    """`exited with status 1`, `was killed by SIGKILL`."""
    if status >= 0:
        return f"exited with status {status}"
    try:
        return f"was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"was killed by signal {-status}"


def _spawn(command: Command, output: int) -> subprocess.Popen[bytes]:
    account = command.account
    return subprocess.Popen(
        command.argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        env=dict(command.environment),
        cwd=command.cwd,
        user=account.uid if account else None,
        group=account.gid if account else None,
        extra_groups=[] if account else None,
        start_new_session=True,
        preexec_fn=follow_parent(command.stop_signal),  # no other thread of ours can hold a lock here
    )


def follow_parent(stop_signal: signal.Signals) -> Callable[[], None] | None:
    """For Popen's `preexec_fn`: the child gets the signal when this process dies, however it dies. None where it cannot be had.

    Runs in the child after it has changed its user, which would clear the setting. Linux only.
    """
    prctl, parent = _prctl, os.getpid()
    if prctl is None:
        return None

    def follow() -> None:
        prctl(PR_SET_PDEATHSIG, int(stop_signal))
        if os.getppid() != parent:
            os._exit(1)

    return follow


def _create_time(pid: int) -> float:
    """Unix seconds; with the pid it names a process for good. 0.0 when it has already ended."""
    try:
        return psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return 0.0


def _open_pidfd(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None
