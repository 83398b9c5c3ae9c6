"""Runs the gateway: a parent that holds the port, and workers (deploy/gateway_worker.py) that serve it, made anew when they die.

The parent imports next to nothing: it is there for as long as the gateway is, beside workers that need the memory.
"""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager

from deploy.process import follow_parent, how_it_ended

WORKER = (sys.executable, "-P", "-m", "deploy.gateway_worker")
DRAIN_SECONDS = 25
"""A worker that still has open replies after this long is ended; the supervisor waits a little longer."""
KILL_SECONDS = DRAIN_SECONDS + 10
BACKLOG = 2048
POLL_SECONDS = 0.1
START_SECONDS = 30.0
"""A worker that ends before has not lasted."""
LONGEST_PAUSE_SECONDS = 30.0
"""Before the next one is started, where none of those before it has lasted."""


class Hopeless(Exception):
    """A worker has ended at the first start: others would, too."""


class Port:
    """Where workers listen. One has the parent's socket, which stays open while another takes its place.

    Several have one each (SO_REUSEPORT), so that the kernel shares connections out among them. Of a socket that they share
    whoever wakes first takes all that wait: of 32 that came at once one of two workers was seen to take every one.
    """

    def __init__(self, host: str, port: int, *, workers: int) -> None:
        """Raises OSError: no address of this machine, or somebody listens there, also another gateway."""
        self._family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        self._own = socket.socket(self._family, socket.SOCK_STREAM)
        self._own.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._own.bind(address)
        self._has_many = workers > 1 and sys.platform == "linux"  # elsewhere the last socket gets everything

    @contextmanager
    def listener(self) -> Generator[int]:
        """A file descriptor to start a worker with, which keeps it."""
        if not self._has_many:
            yield self._own.fileno()
            return
        with socket.socket(self._family, socket.SOCK_STREAM) as one:
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind(self._own.getsockname())
            yield one.fileno()


class Worker:
    """A process that serves the port, and those that take its place."""

    def __init__(self, port: Port) -> None:
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0
        self._early_ends = 0
        """In a row."""
        self._started = self._start_at = 0.0
        self.start()

    def start(self) -> None:
        with self._port.listener() as listener:
            follow = follow_parent(signal.SIGTERM)
            self._process = subprocess.Popen([*WORKER, str(listener)], pass_fds=[listener], preexec_fn=follow)
        self._started = time.monotonic()
        self._starts += 1

    def mend(self) -> None:
        """Put another in the place of one that has ended: at once, or after a pause where they do not last. Raises Hopeless.

        One that has served was well configured. What the next one lacks may come back (a database, memory), and other
        workers serve meanwhile: that is no reason to end the gateway.
        """
        now = time.monotonic()
        if self._process is not None and (status := self._process.poll()) is not None:
            self._process = None
            print(f"a worker of the gateway {how_it_ended(status)}", file=sys.stderr, flush=True)
            ended_early = now - self._started < START_SECONDS
            if status > 0 and ended_early and self._starts == 1:
                raise Hopeless
            self._early_ends = self._early_ends + 1 if ended_early else 0
            self._start_at = now + self._pause()
        if self._process is None and now >= self._start_at:
            self._start_again(now)

    def _start_again(self, now: float) -> None:
        try:
            self.start()
        except (OSError, subprocess.SubprocessError) as error:  # no memory for another process, too many of them
            print(f"a worker of the gateway cannot be started: {error}", file=sys.stderr, flush=True)
            self._early_ends += 1
            self._start_at = now + self._pause()

    def _pause(self) -> float:
        """Seconds, more with each that has not lasted."""
        ends = self._early_ends
        return min(2.0 ** min(ends - 1, 30), LONGEST_PAUSE_SECONDS) if ends else 0.0

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def wait(self, deadline: float) -> None:
        """Until it has ended, or is ended because that time of the monotonic clock has come."""
        if self._process is None:
            return
        try:
            self._process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def serve(*, host: str, port: int, workers: int) -> int:
    """Serve until SIGTERM or SIGINT; replies on their way are finished first. The exit status."""
    told: list[int] = []  # no threading.Event: a handler that sets one while the same thread waits for it may hang
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, _: told.append(number))
    try:
        place = Port(host, port, workers=workers)
    except OSError as error:
        print(f"tuneway: {host}:{port} cannot be listened on: {error}", file=sys.stderr)
        return 1
    running: list[Worker] = []
    try:
        running.extend(Worker(place) for _ in range(workers))
        while not told:
            time.sleep(POLL_SECONDS)
            for worker in running:
                worker.mend()
        return 0
    except Hopeless:
        return 1
    finally:
        _stop(running)


def _stop(workers: list[Worker]) -> None:
    for worker in workers:
        worker.terminate()
    deadline = time.monotonic() + KILL_SECONDS
    for worker in workers:
        worker.wait(deadline)
