"""The stack that the demo talks to: `tuneway serve` as a user would start it, and keys made with `tuneway keys`."""

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
from rich.console import Console

from deploy.probes import free_port
from deploy.process import follow_parent

READY_SECONDS = 600
"""A cold disk reads torch slowly, and vLLM reads it three times; a part that gives up ends the wait at once."""
STOP_SECONDS = 90
ENGINES = {"embedded": "an inference engine", "vllm": "vLLM (about a minute)"}
TUNEWAY = (sys.executable, "-m", "deploy.cli")
CONFIG = """\
[[prices]]                 # USD per 1M tokens; a model tuned from `starter` costs the same
model = "starter"
input = 0.10
cached_input = 0.05
output = 0.40
"""


class DemoError(Exception):
    """Something that the demo promises did not happen."""


@dataclass(frozen=True)
class Key:
    id: str
    value: str
    project_id: str
    name: str


class DemoStack:
    """`tuneway serve` with its data in `directory`: it can be started, stopped and started again."""

    key: Key
    """Of whoever plays the application."""

    def __init__(self, directory: Path, *, port: int = 0, config: str = CONFIG, engine: str = "embedded") -> None:
        """Port 0 takes a free one, and keeps it."""
        self._engine = engine
        self._port = port or free_port()
        self._config = directory / "tuneway.toml"
        self._config.write_text(config)
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://127.0.0.1:{self._port}"
        self.admin_key = f"sk-admin-{secrets.token_urlsafe(32)}"
        self.data_dir = directory / "data"
        self.log = directory / "serve.log"

    def start(self) -> None:
        """Returns at once; `wait_until_ready` waits. The caller stops it, whatever happens; on Linux it dies with the caller.

        Call it on the main thread.
        """
        place = ("--port", str(self._port), "--data-dir", str(self.data_dir))
        asked = ("--engine", self._engine, "--config", str(self._config))
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                (*TUNEWAY, "serve", *place, *asked),
                env=_environment(TUNEWAY_ADMIN_KEY=self.admin_key),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=follow_parent(signal.SIGTERM),
            )

    def wait_until_ready(self) -> None:
        """Raises DemoError when the stack ends instead, or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                status = self._process.returncode if self._process else None
                raise DemoError(f"`tuneway serve` ended with status {status}:\n{self.last_words()}")
            if self.is_ready():
                return
            time.sleep(0.2)
        raise DemoError(f"the stack was not ready within {READY_SECONDS} s:\n{self.last_words()}")

    def is_ready(self) -> bool:
        """What /ready says now; a gateway that does not answer is not."""
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def make_key(self, project: str, name: str) -> Key:
        """`tuneway keys create`, as an operator would."""
        command = [*TUNEWAY, "keys", "create", "--project", project, "--name", name, "--json"]
        environment = _environment(TUNEWAY_URL=self.url, TUNEWAY_ADMIN_KEY=self.admin_key)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"`tuneway keys create` said: {done.stderr.strip()}")
        return Key(**json.loads(done.stdout))

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def wait(self) -> None:
        """Until the stack ends (a Ctrl-C reaches it through its parent)."""
        if self._process is not None:
            self._process.wait()

    def kill(self) -> list[psutil.Process]:
        """`kill -9` of `tuneway serve` alone. -> the processes that it had."""
        assert self._process is not None
        processes = psutil.Process(self._process.pid).children(recursive=True)
        self._process.kill()
        self._process.wait()
        self._process = None
        return processes

    def stop(self) -> None:
        """SIGTERM, and the status must be 0: stopping cleanly is part of the promise."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DemoError(f"`tuneway serve` did not stop within {STOP_SECONDS} s") from None
        finally:
            self._process = None
        if status:
            raise DemoError(f"`tuneway serve` ended with status {status}:\n{self.last_words()}")


@contextmanager
def running(stack: DemoStack) -> Generator[DemoStack]:
    """Start it, wait until it is ready, and stop it whatever happens."""
    failed = True
    try:
        stack.start()
        stack.wait_until_ready()
        yield stack
        failed = False
    finally:
        try:
            stack.stop()
        except DemoError:
            if not failed:
                raise


@contextmanager
def running_stack(directory: Path, port: int, engine: str, out: Console) -> Generator[DemoStack]:
    """The same, told as the first step of the demo."""
    started = time.monotonic()
    out.print(f"[bold]1. The stack[/]  PostgreSQL, Redis, {ENGINES[engine]}, a worker and the gateway")
    with running(DemoStack(directory, port=port, engine=engine)) as stack:
        out.print(f"   ready at {stack.url}/v1 after {time.monotonic() - started:.0f} s")
        yield stack


def _environment(**more: str) -> Mapping[str, str]:
    """This environment without the settings of another Tuneway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | more
