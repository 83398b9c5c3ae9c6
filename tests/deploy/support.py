"""Fake parts, a story that remembers, and a stack in a process of its own."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from deploy.parts import Pace, Part
from deploy.probes import answers_ok
from deploy.process import Child, Command
from deploy.supervisor import Supervisor
from tests.servers import start

HERE = Path(__file__).parent
FAKE = (sys.executable, str(HERE / "fake_part.py"))
QUICK = Pace(poll=0.01, settle=0.2, first_pause=0.01, longest_pause=0.04, give_up=3)
PATIENCE = 30.0


def fake(kind: str, *, port: int | None = None, environment: dict[str, str] | None = None, **options: Any) -> Part:
    """A part that runs fake_part.py; with a port it is ready when it answers."""
    argv = (*FAKE, kind, *(("--port", str(port)) if port else ()))
    command = Command(argv, {**os.environ, **(environment or {})}, stop_timeout=options.pop("stop_timeout", 10.0))
    ready = partial(answers_ok, "127.0.0.1", port, "/health") if port else None
    return Part(kind, command, ready=ready, **options)


@dataclass
class Story:
    """Remembers what it was told."""

    lines: list[tuple[str, ...]] = field(default_factory=list)
    pauses: list[float] = field(default_factory=list)

    def ready(self, part: str, seconds: float, *, again: bool) -> None:
        self.lines.append((part, "ready again" if again else "ready"))

    def died(self, part: str, how: str, pause: float) -> None:
        self.lines.append((part, how))
        self.pauses.append(pause)


@asynccontextmanager
async def supervised(parts: list[Part], folder: Path, story: Story, pace: Pace = QUICK) -> AsyncGenerator[Supervisor]:
    """A supervisor that is stopped at the end, started by the caller."""
    supervisor = Supervisor(parts, run=folder, logs=folder, story=story, pace=pace)
    try:
        yield supervisor
    finally:
        await supervisor.stop(asyncio.Event())


@asynccontextmanager
async def running(part: Part, log: Path) -> AsyncGenerator[Child]:
    child = await start(part, log)
    try:
        yield child
    finally:
        await child.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in another process
            await asyncio.sleep(0.02)


def parts_of(folder: Path) -> dict[str, dict[str, Any]]:
    try:
        return json.loads((folder / "parts.json").read_text())["parts"]
    except FileNotFoundError:
        return {}


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class StackProcess:
    """A stack in a process of its own. What it prints is in `output`."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self.popen = popen
        self.output = ""

    def wait_for(self, pattern: str) -> re.Match[str]:
        """Read on until the output matches."""
        assert self.popen.stdout is not None
        while (found := re.search(pattern, self.output)) is None:
            line = self.popen.stdout.readline()
            assert line, f"the stack ended without {pattern!r}:\n{self.output}"
            self.output += line
        return found

    def end(self, number: signal.Signals | None = None) -> int:
        """Send a signal if one is given, read the rest and return the exit status."""
        if number is not None:
            self.popen.send_signal(number)
        self.output += self.popen.communicate(timeout=PATIENCE)[0]
        return self.popen.returncode


@contextmanager
def stack(data_dir: Path, *, environment: dict[str, str] | None = None, **options: Any) -> Generator[StackProcess]:
    """Start a stack on a free port; it is stopped at the end if the test has not done it."""
    asked = {"data_dir": str(data_dir), "port": 0, "engine": "none", **options}
    popen = subprocess.Popen(
        [sys.executable, str(HERE / "fake_stack.py"), json.dumps(asked)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **(environment or {})},
        start_new_session=True,
    )
    process = StackProcess(popen)
    try:
        yield process
    finally:
        if popen.poll() is None:
            process.end(signal.SIGTERM)
        assert popen.stdout is not None
        popen.stdout.close()
