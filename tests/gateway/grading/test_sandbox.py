"""Python graders behind a command: real processes, ended whatever they do."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import psutil
import pytest

from gateway.grading.sandbox import PythonSandbox
from judges import python_runner
from judges.ask import SandboxEnd
from judges.grade import GraderFailed
from judges.graders import Python
from judges.python_grader import grade_in_sandbox
from judges.sample import Sample
from tests.polling import until

pytestmark = pytest.mark.anyio

RUNNER = Path(python_runner.__file__)
BARE = (sys.executable, "-I", str(RUNNER))
"""No isolation at all: for what the gateway does around the command."""
DECISION = Path(__file__).parents[3] / "docs/decisions/0008-python-graders-in-an-operators-sandbox.md"
PREFIX = Path(sys.base_prefix).resolve()
PLACES = {
    "/opt/tuneway/judges/python_sandbox.sh": str(RUNNER.with_name("python_sandbox.sh")),
    "/opt/graders/bin/python": str(PREFIX / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"),
    "/opt/graders": str(PREFIX),
}


def documented() -> list[tuple[str, ...]]:
    """The commands that the decision shows."""
    blocks = re.findall(r"```toml\n(.*?)```", DECISION.read_text(), re.DOTALL)
    return [tuple(tomllib.loads(block)["grading"]["python_runner"]) for block in blocks]


ISOLATED = tuple(PLACES.get(part, part) for part in documented()[0])
"""The first of them, with this machine's paths."""
NAMESPACES = ISOLATED[: ISOLATED.index("--") + 1]


def can_isolate() -> str:
    """Why not; empty if so."""
    if missing := [
        tool
        for tool in ("unshare", "pivot_root", "setpriv", "prlimit")
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin")
    ]:
        return f"not installed: {', '.join(missing)}"
    done = subprocess.run(
        [*NAMESPACES, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, text=True, check=False
    )
    return done.stderr.strip() if done.returncode else ""


REASON = can_isolate()
isolated = pytest.mark.skipif(bool(REASON), reason=f"this machine makes no user namespaces: {REASON}")


def sandbox(command: tuple[str, ...] = BARE, *, seconds: float = 60, concurrency: int = 2) -> PythonSandbox:
    return PythonSandbox(command, concurrency=concurrency, seconds=seconds)


async def graded(body: str, runs: PythonSandbox | None = None, **item: Any) -> float:
    """What a grader with this body returns."""
    grader = Python(name="p", source=f"import os, sys, time\ndef grade(sample, item):\n{body}")
    return await grade_in_sandbox(grader, Sample.of_text("Paris"), item, runs or sandbox())


async def failure(body: str, runs: PythonSandbox | None = None, **item: Any) -> tuple[str, str]:
    with pytest.raises(GraderFailed) as error:
        await graded(body, runs, **item)
    return error.value.failure.flag, error.value.failure.details


def sleepers(marker: str) -> list[psutil.Process]:
    """Processes that were started with `marker` among their arguments."""
    return [each for each in psutil.process_iter(["cmdline"]) if marker in (each.info["cmdline"] or [])]


class TestRun:
    async def test_a_reward(self) -> None:
        assert await graded("    return 0.5 * (sample['output_text'] == item['answer'])", answer="Paris") == 0.5

    async def test_an_exception(self) -> None:
        flag, details = await failure("    return item['nothing']")
        assert (flag, "KeyError: 'nothing'" in details) == ("python_grader_runtime_error", True)

    async def test_no_float(self) -> None:
        assert await failure("    return 'good'") == (
            "python_grader_runtime_error",
            "TypeError: grade() must return a float, not str",
        )

    async def test_a_large_sample_and_a_large_print(self) -> None:
        runs = sandbox()
        grader = Python(name="p", source="def grade(s, i):\n  print('x' * 3_000_000)\n  return len(s['output_text'])")
        assert await grade_in_sandbox(grader, Sample.of_text("x" * 5_000_000), {}, runs) == 5_000_000

    async def test_secrets_of_the_gateways_environment_are_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("OPENAI_API_KEY", "TUNEWAY_SECRET_KEY", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, "secret")
        assert await graded("    return 'secret' in os.environ.values()") == 0


class TestEnd:
    async def test_an_endless_loop(self) -> None:
        assert (await failure("    while True: pass", sandbox(seconds=1)))[0] == "unresponsive_reward_error"

    async def test_one_that_does_not_listen_is_killed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("gateway.grading.sandbox.TERM_SECONDS", 0.2)
        body = "    import signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(600)"
        assert (await failure(body, sandbox(seconds=1)))[0] == "unresponsive_reward_error"

    async def test_an_endless_output(self) -> None:
        body = "    while True: os.write(item['fd'], b'x' * 65536)"  # the runner's own way out, found and abused
        flag, details = await failure(body, fd=3)
        assert (flag, details) == ("python_grader_runtime_error", "the grader wrote too much to its output")

    async def test_endless_prints_are_thrown_away_until_its_time_is_up(self) -> None:
        assert (await failure("    while True: print('x' * 65536)", sandbox(seconds=1)))[
            0
        ] == "unresponsive_reward_error"

    async def test_a_memory_bomb(self) -> None:
        flag, details = await failure("    kept = []\n    while True: kept.append(bytearray(50_000_000))")
        assert (flag, details.startswith("MemoryError")) == ("python_grader_runtime_error", True)

    async def test_a_crash(self) -> None:
        assert await failure("    os.kill(os.getpid(), 11)") == (
            "python_grader_runtime_error", "the grader's process ended without a result (killed by signal 11)",
        )  # fmt: skip

    @pytest.mark.parametrize("last", ["return 1", "time.sleep(600)"])
    async def test_what_it_started_ends_with_it(self, last: str) -> None:
        """In its group, holding its output open."""
        marker = f"tuneway-{os.urandom(6).hex()}"
        body = f"    import subprocess\n    subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}])\n    {last}"
        if last == "return 1":
            assert await graded(body) == 1
        else:
            assert (await failure(body, sandbox(seconds=1)))[0] == "unresponsive_reward_error"
        psutil.wait_procs(sleepers(marker), timeout=30)
        assert sleepers(marker) == []

    async def test_a_child_that_left_the_group_does_not_hold_the_answer_up(self) -> None:
        """Only a process namespace ends such a one; here the test does."""
        marker = f"tuneway-{os.urandom(6).hex()}"
        child = f"[sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}], start_new_session=True"
        try:
            assert (
                await graded(f"    import subprocess\n    subprocess.Popen({child}, pass_fds=(3,))\n    return 1") == 1
            )
        finally:
            for each in sleepers(marker):
                each.kill()

    async def test_a_caller_that_gives_up_leaves_nothing_behind(self) -> None:
        marker = f"tuneway-{os.urandom(6).hex()}"
        run = asyncio.ensure_future(
            sandbox((*BARE, marker))(json.dumps({"source": "while True: pass", "sample": {}, "item": {}}).encode())
        )
        await until(lambda: sleepers(marker))
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
        psutil.wait_procs(sleepers(marker), timeout=30)
        assert sleepers(marker) == []


class TestCommand:
    async def test_one_that_does_not_exist(self, caplog: pytest.LogCaptureFixture) -> None:
        assert (await failure("    return 1", sandbox(("/no/such/command",))))[0] == "python_grader_server_error"
        assert "/no/such/command cannot be started" in caplog.text

    async def test_one_that_fails_tells_the_operator_why(self, caplog: pytest.LogCaptureFixture) -> None:
        runs = sandbox(("sh", "-c", "echo cannot reach the daemon >&2; exit 125"))
        assert (await failure("    return 1", runs))[0] == "python_grader_server_error"
        assert "cannot reach the daemon" in caplog.text

    async def test_one_that_reads_nothing(self) -> None:
        assert await sandbox(("true",))(b"x" * 5_000_000) == SandboxEnd(b"", 0)

    async def test_no_more_at_a_time_than_allowed(self, tmp_path: Path) -> None:
        """Each finds its own file alone in the folder."""
        body = (
            "    path = item['folder'] + '/' + str(os.getpid()); open(path, 'w').close(); time.sleep(0.1)\n"
            "    count = len(os.listdir(item['folder'])); os.unlink(path)\n    return count"
        )
        runs = sandbox(concurrency=1)
        assert await asyncio.gather(*(graded(body, runs, folder=str(tmp_path)) for _ in range(3))) == [1, 1, 1]


@isolated
class TestIsolated:
    """judges/python_sandbox.sh, as docs/decisions/0008 shows it."""

    async def test_a_reward(self) -> None:
        assert await graded("    return 0.5", sandbox(ISOLATED)) == 0.5

    async def test_no_network(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            body = "    import socket\n    socket.create_connection(('127.0.0.1', item['port']), 5)\n    return 1"
            assert await graded(body, port=server.getsockname()[1]) == 1  # there is something to reach
            flag, details = await failure(body, sandbox(ISOLATED), port=server.getsockname()[1])
        assert (flag, "OSError" in details or "ConnectionRefusedError" in details) == (
            "python_grader_runtime_error",
            True,
        )

    async def test_no_files_of_the_machine(self, tmp_path: Path) -> None:
        secret = tmp_path / "secret"
        secret.write_text("x")
        body = "    return sum(os.path.exists(path) for path in item['paths'])"
        paths = [str(secret), "/etc/passwd", "/home", "/var", str(Path(__file__)), "/sys", "/proc/1/root/etc/passwd"]
        assert await graded(body, paths=paths) > 4
        assert await graded(body, sandbox(ISOLATED), paths=paths) == 0

    async def test_nothing_to_write_but_tmp(self) -> None:
        body = (
            "    failed = 0\n    for path in ('/x', '/usr/x', '/python_runner.py', sys.executable, '/old/x', '/proc/sys/kernel/hostname'):\n"
            "        try: open(path, 'ab').close()\n        except OSError: failed += 1\n"
            "    open('/tmp/x', 'w').write('x')\n    return failed"
        )
        assert await graded(body, sandbox(ISOLATED)) == 6

    async def test_no_other_processes_and_no_capabilities(self) -> None:
        body = (
            "    status = dict(line.split(':', 1) for line in open('/proc/self/status'))\n"
            "    others = [name for name in os.listdir('/proc') if name.isdigit() and int(name) != os.getpid()]\n"
            "    caps = [int(status[name], 16) for name in ('CapInh', 'CapPrm', 'CapEff', 'CapBnd', 'CapAmb')]\n"
            "    return len(others) + sum(caps) + (status['NoNewPrivs'].strip() != '1')"
        )
        assert await graded(body, sandbox(ISOLATED)) == 0

    async def test_no_mounting_its_way_out(self) -> None:
        body = (
            "    import ctypes\n    libc = ctypes.CDLL(None, use_errno=True)\n"
            "    calls = (libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None), libc.umount(b'/usr'), libc.chroot(b'/tmp'),\n"
            "        libc.mount(None, b'/usr', None, 32 | 4096, None), libc.setuid(1))\n"
            "    return sum(result == -1 for result in calls)"
        )
        assert await graded(body, sandbox(ISOLATED)) == 5

    async def test_a_child_that_left_the_group_ends_with_it(self) -> None:
        marker = f"tuneway-{os.urandom(6).hex()}"
        child = f"[sys.executable, '-c', 'import time; time.sleep(600)', {marker!r}], start_new_session=True"
        assert (
            await graded(f"    import subprocess\n    subprocess.Popen({child})\n    return 1", sandbox(ISOLATED)) == 1
        )
        psutil.wait_procs(sleepers(marker), timeout=30)
        assert sleepers(marker) == []

    async def test_an_endless_loop(self) -> None:
        assert (await failure("    while True: pass", sandbox(ISOLATED, seconds=2)))[0] == "unresponsive_reward_error"
