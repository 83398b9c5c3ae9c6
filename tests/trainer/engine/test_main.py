"""The process: its arguments, how it starts and how it ends."""

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.train

PATIENCE = 90.0


def python(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, *arguments], stderr=subprocess.PIPE, text=True, **options)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def gone(pid: int) -> bool:
    """A zombie counts: whoever adopted it may not have looked yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        pass
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path("/proc/self").exists()


class TestArguments:
    def test_help_does_not_import_torch(self):
        script = (
            "import sys, runpy; sys.argv = ['engine', '--help']\n"
            "try: runpy.run_module('trainer.engine', run_name='__main__')\n"
            "except SystemExit as end: sys.exit(end.code or ('torch' in sys.modules or 'aiohttp' in sys.modules))\n"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        assert done.returncode == 0
        assert "--served-model-name" in done.stdout

    def test_a_missing_model_is_one_line(self, tmp_path):
        with python("-m", "trainer.engine", "--model", str(tmp_path / "none"), "--port", "1") as process:
            _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert "cannot be loaded" in errors
        assert "Traceback" not in errors


class TestLife:
    def test_serves_and_ends_what_it_writes_on_sigterm(self, nano_model):
        port = free_port()
        arguments = ("--model", str(nano_model), "--port", str(port), "--max-model-len", "128")
        with python("-m", "trainer.engine", *arguments) as process:
            connection = self.wait_for_health(port, process)
            body = {"model": str(nano_model), "prompt": "hello", "stream": True, "ignore_eos": True, "max_tokens": 120}
            connection.request("POST", "/v1/completions", json.dumps(body))
            response = connection.getresponse()
            assert response.readline().startswith(b"data: ")
            process.send_signal(signal.SIGTERM)
            assert response.read().endswith(b"data: [DONE]\n\n")
            connection.close()
            _, errors = process.communicate(timeout=PATIENCE)
            assert process.returncode == 0, errors
            assert "Traceback" not in errors

    def wait_for_health(self, port: int, process: subprocess.Popen[str]) -> http.client.HTTPConnection:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert process.poll() is None, process.stderr and process.stderr.read()
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
            try:
                connection.request("GET", "/health")
                response = connection.getresponse()
                response.read()
                assert response.status == 200
                return connection
            except OSError:
                connection.close()
                time.sleep(0.1)
        raise AssertionError("it never listened")


class TestParent:
    def test_a_child_does_not_outlive_its_parent(self):
        child = "import os, time; from trainer.engine.parent import exit_with_parent; exit_with_parent(os.getppid(), every=0.05); print('ready', flush=True); time.sleep(600)"
        parent = textwrap.dedent(
            f"""
            import subprocess, sys, time
            child = subprocess.Popen([sys.executable, "-c", {child!r}], stdout=subprocess.PIPE, text=True)
            child.stdout.readline()
            print(child.pid, flush=True)
            time.sleep(600)
            """
        )
        with python("-c", parent, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            pid = int(process.stdout.readline())
            assert not gone(pid)
            process.kill()
            process.wait()
            deadline = time.monotonic() + PATIENCE
            while not gone(pid):
                assert time.monotonic() < deadline
                time.sleep(0.05)
