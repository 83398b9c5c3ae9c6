"""The stack that the demo talks to: `tuneway serve` as a user would start it, and a key made with `tuneway keys`."""

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
from rich.console import Console

from deploy.probes import free_port

READY_SECONDS = 180
"""A cold disk reads torch slowly; a part that gives up ends the wait at once."""
STOP_SECONDS = 90
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
    name: str


class DemoStack:
    """A running stack and how to reach it."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, admin_key: str, log: Path) -> None:
        self._process = process
        self.url = url
        self.admin_key = admin_key
        self.log = log
        self.key: Key

    def make_key(self, project: str, name: str) -> Key:
        """`tuneway keys create`, as an operator would."""
        command = [*TUNEWAY, "keys", "create", "--project", project, "--name", name, "--json"]
        environment = _environment(TUNEWAY_URL=self.url, TUNEWAY_ADMIN_KEY=self.admin_key)
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DemoError(f"`tuneway keys create` said: {done.stderr.strip()}")
        made = json.loads(done.stdout)
        return Key(made["id"], made["value"], made["name"])

    def wait_until_ready(self) -> None:
        """Raises DemoError when the stack ends instead, or takes too long."""
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            if self._process.poll() is not None:
                raise DemoError(f"`tuneway serve` ended with status {self._process.returncode}:\n{self.last_words()}")
            try:
                if httpx.get(f"{self.url}/ready", timeout=5).status_code == 200:
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.2)
        raise DemoError(f"the stack was not ready within {READY_SECONDS} s:\n{self.last_words()}")

    def last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]

    def wait(self) -> None:
        """Until the stack ends (a Ctrl-C reaches it through its parent)."""
        self._process.wait()

    def stop(self) -> None:
        """SIGTERM, and the status must be 0: stopping cleanly is part of the promise."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            status = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise DemoError(f"`tuneway serve` did not stop within {STOP_SECONDS} s") from None
        if status:
            raise DemoError(f"`tuneway serve` ended with status {status}:\n{self.last_words()}")


@contextmanager
def running_stack(directory: Path, port: int, out: Console) -> Generator[DemoStack]:
    """Start it in `directory`, and stop it whatever happens."""
    port = port or free_port()
    admin_key = f"sk-admin-{secrets.token_urlsafe(32)}"
    config, log = directory / "tuneway.toml", directory / "serve.log"
    config.write_text(CONFIG)
    command = [*TUNEWAY, "serve", "--port", str(port), "--data-dir", str(directory / "data"), "--config", str(config)]
    started = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=_environment(TUNEWAY_ADMIN_KEY=admin_key),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    stack = DemoStack(process, f"http://127.0.0.1:{port}", admin_key, log)
    failed = True
    try:
        out.print("[bold]1. The stack[/]  PostgreSQL, Redis, an inference engine, a worker and the gateway")
        stack.wait_until_ready()
        out.print(f"   ready at {stack.url}/v1 after {time.monotonic() - started:.0f} s")
        yield stack
        failed = False
    finally:
        try:
            stack.stop()
        except DemoError:
            if not failed:
                raise


def _environment(**more: str) -> Mapping[str, str]:
    """This environment without the settings of another Tuneway."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TUNEWAY_")} | more
