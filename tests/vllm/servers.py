"""Inference servers as processes: vLLM's and the embedded engine, on free ports of this machine."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx

MODEL = "starter"
"""What the servers of the tests call their base model."""

PATIENCE = 420.0
"""Seconds until a server must answer. vLLM takes about one minute on two idle cores."""


@contextmanager
def serving(module: str, *arguments: str, log: Path, **environment: str) -> Iterator[str]:
    """Runs `python -m MODULE --port PORT ARGUMENTS` until the block ends. -> its URL, once it is healthy."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", module, "--host", "127.0.0.1", "--port", str(port), *arguments]
    with log.open("w") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=output, env={**os.environ, **environment}, start_new_session=True
        )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_healthy(url, process, log)
            yield url
        finally:
            _stop(process)


def _wait_until_healthy(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"it ended with {process.returncode}: {log.read_text()[-3000:]}"
        try:
            if httpx.get(f"{url}/health", timeout=5).is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise AssertionError(f"not healthy after {PATIENCE} s: {log.read_text()[-3000:]}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """With its children: vLLM's engine is one."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def post(url: str, path: str, **body: Any) -> httpx.Response:
    reply = httpx.post(f"{url}{path}", json=body, timeout=120)
    assert reply.is_success, reply.text
    return reply
