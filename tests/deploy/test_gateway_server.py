"""The parent of the gateway's workers: it keeps the port, and puts others in the place of those that die."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest

from deploy import gateway_server
from deploy.gateway_server import Port, Worker
from deploy.probes import free_port
from tests.deploy.support import HERE, PATIENCE, alive

SERVE = f"""
import sys
from deploy import gateway_server
gateway_server.WORKER = (sys.executable, {str(HERE / "fake_gateway_worker.py")!r}, sys.argv[1])
gateway_server.LONGEST_PAUSE_SECONDS = 0.05
gateway_server.KILL_SECONDS = float(sys.argv[4])
sys.exit(gateway_server.serve(host="127.0.0.1", port=int(sys.argv[2]), workers=int(sys.argv[3])))
"""


@dataclass
class Gateway:
    """A parent with fake workers (fake_gateway_worker.py)."""

    folder: Path
    process: "subprocess.Popen[str]"
    port: int
    said: list[str] = field(default_factory=list)

    @property
    def starts(self) -> list[int]:
        """Process ids of all workers so far."""
        file = self.folder / "starts"
        return [int(line) for line in file.read_text().split()] if file.exists() else []

    @property
    def workers(self) -> list[int]:
        """Those that live."""
        return [pid for pid in self.starts if alive(pid)]

    def who_answers(self) -> int:
        """Raises ConnectionRefusedError when nobody listens."""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE) as connection:
            return int(connection.recv(100))

    def is_up(self) -> bool:
        try:
            return self.who_answers() > 0
        except ConnectionRefusedError:
            return False

    def end(self, number: signal.Signals | None = None) -> tuple[int, str]:
        """Its status and what it has said."""
        if number is not None:
            self.process.send_signal(number)
        _, said = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, said


@contextmanager
def gateway(folder: Path, *, workers: int = 1, port: int | None = None, kill_after: float = 60.0) -> Generator[Gateway]:
    port = port or free_port()
    argv = [sys.executable, "-c", SERVE, str(folder), str(port), str(workers), str(kill_after)]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, start_new_session=True)
    running = Gateway(folder, process, port)
    try:
        yield running
    finally:
        for pid in [process.pid, *running.workers]:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestServing:
    def test_workers_share_the_port(self, tmp_path: Path) -> None:
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            seen: set[int] = set()
            until(lambda: seen.add(running.who_answers()) or len(seen) == 2)
            assert seen == set(running.starts)
            assert running.end(signal.SIGTERM) == (0, "")
            assert running.workers == []

    def test_each_has_its_share_of_connections(self, tmp_path: Path) -> None:
        """By the kernel: each has a socket of its own, and whoever has died has none that connections could wait at."""
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            until(lambda: _listening(running.port) == 2)
            (tmp_path / "fails").touch()
            os.kill(running.starts[0], signal.SIGKILL)
            until(lambda: len(running.starts) >= 3 and _listening(running.port) == 1)
            assert {running.who_answers() for _ in range(50)} == {running.starts[1]}

    def test_a_port_of_another_gateway(self, tmp_path: Path) -> None:
        """Also where sockets of one port are many."""
        (tmp_path / "other").mkdir()
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            for workers in (1, 2):
                with gateway(tmp_path / "other", port=running.port, workers=workers) as other:
                    status, said = other.end()
                assert (status, other.starts) == (1, [])
                assert "Address already in use" in said

    def test_a_port_that_is_taken(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            with gateway(tmp_path, port=port) as running:
                status, said = running.end()
        assert status == 1
        assert said == f"tuneway: 127.0.0.1:{port} cannot be listened on: [Errno 98] Address already in use\n"
        assert running.starts == []


class TestDying:
    def test_a_worker_that_is_killed_is_replaced(self, tmp_path: Path) -> None:
        """The port stays open meanwhile: who connects waits."""
        with gateway(tmp_path) as running:
            until(running.is_up)
            for _ in range(3):
                (victim,) = running.workers
                os.kill(victim, signal.SIGKILL)
                until(lambda victim=victim: not alive(victim))
                assert running.who_answers() != victim
            assert len(running.starts) == 4
            status, said = running.end(signal.SIGTERM)
        assert status == 0
        assert said == "a worker of the gateway was killed by SIGKILL\n" * 3

    def test_one_that_fails_at_the_start_ends_the_gateway(self, tmp_path: Path) -> None:
        (tmp_path / "fails").touch()
        with gateway(tmp_path) as running:
            status, said = running.end()
        assert status == 1
        assert said == "the database is away\na worker of the gateway exited with status 1\n"
        assert len(running.starts) == 1

    def test_one_that_cannot_be_replaced_yet_does_not_end_the_others(self, tmp_path: Path) -> None:
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            victim, other = running.starts
            (tmp_path / "fails").touch()
            os.kill(victim, signal.SIGKILL)
            until(lambda: len(running.starts) >= 5)
            assert running.who_answers() == other
            (tmp_path / "fails").unlink()
            until(lambda: running.who_answers() not in (victim, other))
            status, said = running.end(signal.SIGTERM)
        assert status == 0
        assert said.count("the database is away") >= 2

    def test_one_that_cannot_be_started_yet_does_not_either(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """No memory for another process, or too many of them."""

        def too_many(*_: Any, **__: Any) -> None:
            raise BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")

        monkeypatch.setattr(gateway_server, "WORKER", (sys.executable, "-c", ""))
        monkeypatch.setattr(gateway_server, "LONGEST_PAUSE_SECONDS", 0.0)
        place: Any = Port("127.0.0.1", free_port(), workers=1)
        worker = Worker(place)
        until(lambda: psutil.Process(_pid(worker)).status() == psutil.STATUS_ZOMBIE)
        with monkeypatch.context() as patch:
            patch.setattr(gateway_server, "WORKER", ("/nowhere/at/all",))
            worker.mend()
        with monkeypatch.context() as patch:
            patch.setattr(gateway_server.subprocess, "Popen", too_many)
            for _ in range(1100):  # as many as there are in half a day
                worker.mend()
        worker.mend()
        worker.wait(time.monotonic() + PATIENCE)
        place._own.close()
        said = capfd.readouterr().err
        assert said.count("cannot be started: [Errno 2]") == 1
        assert said.count("cannot be started: [Errno 11]") == 1100

    def test_what_is_left_when_the_parent_is_killed(self, tmp_path: Path) -> None:
        """Nothing, and the port is free."""
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            running.process.kill()
            until(lambda: not running.workers)
            socket.create_server(("127.0.0.1", running.port), reuse_port=False).close()


class TestStopping:
    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_a_signal_for_all_its_processes(self, number: signal.Signals, tmp_path: Path) -> None:
        """As Ctrl-C in a terminal sends it."""
        with gateway(tmp_path, workers=2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            os.killpg(running.process.pid, number)
            status, _ = running.end()
            assert (status, running.workers) == (0, [])

    def test_a_worker_that_does_not_end_is_ended(self, tmp_path: Path) -> None:
        (tmp_path / "deaf").touch()
        with gateway(tmp_path, workers=2, kill_after=0.2) as running:
            until(lambda: running.is_up() and len(running.starts) == 2)
            until(lambda: all(_ignores_sigterm(pid) for pid in running.starts))
            assert running.end(signal.SIGTERM)[0] == 0
            assert running.workers == []

    def test_before_a_worker_is_up(self, tmp_path: Path) -> None:
        with gateway(tmp_path) as running:
            until(lambda: psutil.Process(running.process.pid).children())
            status, _ = running.end(signal.SIGTERM)
            assert (status, running.workers) == (0, [])


def _pid(worker: Worker) -> int:
    process = worker._process  # pyright: ignore[reportPrivateUsage]
    assert process is not None
    return process.pid


def _ignores_sigterm(pid: int) -> bool:
    ignored = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & 1 << (signal.SIGTERM - 1))


def _listening(port: int) -> int:
    """Sockets that listen there."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return sum(fields[1].endswith(f":{port:04X}") and fields[3] == "0A" for fields in map(str.split, lines))
