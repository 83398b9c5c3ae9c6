"""A run with the fake trainer (tests/fakes/trainer.py)."""

import asyncio
import json
import logging
import os
import shutil
import sys
from pathlib import Path

import pytest

from gateway.fine_tuning import out_of_memory
from gateway.fine_tuning.restarts import Crashed
from gateway.fine_tuning.runner import Run, Stopped, job_directory
from tests.fakes.fine_tuning import TRAINER, until
from trainer.contract import (
    OWNER,
    CheckpointSaved,
    Failed,
    Message,
    Metrics,
    Started,
    StepMetrics,
    Succeeded,
    TrainingEvent,
    TrainingSpec,
    encode,
)

pytestmark = pytest.mark.anyio

SPEC = TrainingSpec(job_id="ftjob-1", base_model="/nowhere", seed=3)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = job_directory(tmp_path, "ftjob-1")
    directory.mkdir(parents=True)
    return directory


def run_of(directory: Path, mode: str, *, stop_seconds: float = 10) -> Run:
    (directory.parent.parent / "trainer-mode").write_text(mode)
    return Run(directory, TRAINER, stop_seconds=stop_seconds)


async def events_of(run: Run) -> list[TrainingEvent]:
    return [event async for batch in run.events() for event in batch]


async def waiting(directory: Path, mode: str, *, stop_seconds: float = 10) -> Run:
    """A run whose trainer has done its first step and goes no further."""
    run = run_of(directory, mode, stop_seconds=stop_seconds)
    await run.start(SPEC)
    await until(lambda: (directory / "checkpoints" / "step-1").exists())
    return run


def starts(directory: Path) -> int:
    return len((directory / "starts.jsonl").read_text().splitlines()) if (directory / "starts.jsonl").exists() else 0


class TestResult:
    async def test_success_tells_everything_in_order(self, directory: Path) -> None:
        run = run_of(directory, "succeed")
        await run.start(SPEC)
        events = await events_of(run)
        assert [type(event) for event in events] == [Started, *[StepMetrics, CheckpointSaved] * 3]
        assert [event.sequence for event in events] == list(range(1, 8))
        result = run.result()
        assert isinstance(result, Succeeded)
        assert result.trained_tokens == 300

    async def test_failure_is_the_trainers_own(self, directory: Path) -> None:
        run = run_of(directory, "fail")
        await run.start(SPEC)
        await events_of(run)
        result = run.result()
        assert isinstance(result, Failed)
        assert (result.code, result.param) == ("invalid_training_file", "training_file")

    async def test_crash_is_no_result_and_its_last_words_are_logged(
        self, directory: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        run = run_of(directory, "crash")
        await run.start(SPEC)
        assert len(await events_of(run)) == 3
        with caplog.at_level(logging.ERROR), pytest.raises(Crashed) as crashed:
            run.result()
        assert (crashed.value.status, crashed.value.reason) == (3, "crash")
        assert "the fake trainer's last words" in caplog.text

    @pytest.mark.parametrize(
        ("before", "after", "reason"), [(3, 3, "killed"), (3, 4, "memory"), (None, None, "memory")]
    )
    async def test_kill_was_for_memory_if_the_system_counts_one_or_cannot_say(
        self,
        directory: Path,
        monkeypatch: pytest.MonkeyPatch,
        before: int | None,
        after: int | None,
        reason: str,
    ) -> None:
        monkeypatch.setattr(out_of_memory, "kills", lambda: before)
        run = await waiting(directory, "hold")
        monkeypatch.setattr(out_of_memory, "kills", lambda: after)
        assert run._process is not None
        os.kill(run._process.pid, 9)
        await events_of(run)
        with pytest.raises(Crashed) as crashed:
            run.result()
        assert (crashed.value.status, crashed.value.reason) == (-9, reason)

    async def test_launcher_whose_child_was_killed_for_memory(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(out_of_memory, "kills", iter([3, 4]).__next__)
        run = run_of(directory, "crash")
        await run.start(SPEC)
        await events_of(run)
        with pytest.raises(Crashed) as crashed:
            run.result()
        assert (crashed.value.status, crashed.value.reason) == (3, "memory")

    async def test_result_that_cannot_be_read_is_a_crash(self, directory: Path) -> None:
        run = run_of(directory, "broken")
        await run.start(SPEC)
        await events_of(run)
        with pytest.raises(Crashed):
            run.result()

    async def test_crash_whose_directory_is_gone_is_a_crash(self, directory: Path) -> None:
        run = run_of(directory, "crash")
        await run.start(SPEC)
        await events_of(run)
        shutil.rmtree(directory)
        with pytest.raises(Crashed):
            run.result()

    async def test_after_a_crash_it_starts_again_and_tells_what_is_new(self, directory: Path) -> None:
        run = run_of(directory, "crash")
        steps: list[int] = []
        for _ in range(3):
            await run.start(SPEC)
            steps += [event.step for event in await events_of(run) if isinstance(event, CheckpointSaved)]
            with pytest.raises(Crashed):
                run.result()
        assert steps == [1, 2, 3]

    async def test_failure_of_an_earlier_try_is_forgotten(self, directory: Path) -> None:
        (directory / "result.json").write_bytes(encode(Failed(code="server_error", message="old")))
        run = run_of(directory, "crash")
        await run.start(SPEC)
        await events_of(run)
        with pytest.raises(Crashed):
            run.result()

    async def test_success_of_an_earlier_try_is_not_trained_again(self, directory: Path) -> None:
        for _ in range(2):
            run = run_of(directory, "succeed")
            await run.start(SPEC)
            assert len(await events_of(run)) == 7
            assert isinstance(run.result(), Succeeded)
            await run.stopped()
        assert starts(directory) == 1


class TestEvents:
    async def test_torn_line_is_left_out(self, directory: Path) -> None:
        run = run_of(directory, "torn")
        await run.start(SPEC)
        assert [event.sequence for event in await events_of(run)] == [1, 2, 3]
        with pytest.raises(Crashed):
            run.result()

    def test_line_is_read_once_it_is_complete(self, directory: Path) -> None:
        run = Run(directory)
        line = encode(Message(sequence=1, created_at=1, level="info", message="é")) + b"\n"
        path = directory / "events.jsonl"
        assert run._new_events() == []
        path.write_bytes(line + line[:20])
        assert len(run._new_events()) == 1
        assert run._new_events() == []
        with path.open("ab") as file:
            file.write(line[20:])
        assert len(run._new_events()) == 1

    def test_lines_that_mean_nothing_are_skipped(self, directory: Path) -> None:
        line = encode(Message(sequence=1, created_at=1, level="info", message="hello")) + b"\n"
        nonsense = [b"\x00" * 50, b"\xff\xff", b'{"type":"unknown"}', b"[]", b""]
        (directory / "events.jsonl").write_bytes(b"\n".join([*nonsense, line]))
        assert len(Run(directory)._new_events()) == 1

    def test_file_that_was_cut_is_read_anew(self, directory: Path) -> None:
        """A trainer that starts again cuts off what a crash of the machine left unreadable."""
        run = Run(directory)
        first, second = (
            encode(StepMetrics(sequence=n, created_at=n, metrics=Metrics(step=n), total_steps=9, learning_rate=1, tokens_per_second=1))
            + b"\n"
            for n in (1, 2)
        )  # fmt: skip
        path = directory / "events.jsonl"
        path.write_bytes(first + b"\x00" * 1000 + b"\n")
        assert len(run._new_events()) == 1
        path.write_bytes(first + second)
        assert [event.sequence for event in run._new_events()] == [1, 2]

    async def test_waiting_leaves_no_tasks_behind(self, directory: Path) -> None:
        run = await waiting(directory, "hold")
        before = len(asyncio.all_tasks())
        most = 0

        async def watch() -> None:
            nonlocal most
            for _ in range(20):
                most = max(most, len(asyncio.all_tasks()))
                await asyncio.sleep(0.05)
            (directory / "go").touch()

        watching = asyncio.ensure_future(watch())
        await events_of(run)
        await watching
        assert most <= before + 3


class TestStop:
    async def test_saves_a_checkpoint_and_the_next_run_goes_on(self, directory: Path) -> None:
        run = await waiting(directory, "hold")
        run.stop()
        await events_of(run)
        with pytest.raises(Stopped):
            run.result()
        again = run_of(directory, "succeed")
        await again.start(SPEC)
        events = await events_of(again)
        started = [event for event in events if isinstance(event, Started)]
        assert [event.resumed_step for event in started] == [0, 1]
        assert isinstance(again.result(), Succeeded)

    async def test_before_the_start_there_is_no_start(self, directory: Path) -> None:
        run = run_of(directory, "succeed")
        run.stop()
        with pytest.raises(Stopped):
            await run.start(SPEC)
        assert starts(directory) == 0

    async def test_trainer_that_does_not_listen_is_killed_and_that_is_no_failure(self, directory: Path) -> None:
        run = await waiting(directory, "deaf", stop_seconds=0.2)
        await run.stopped()
        assert run._process is not None
        assert run._process.returncode == -9
        await events_of(run)
        with pytest.raises(Stopped):
            run.result()

    async def test_children_of_a_killed_trainer_die_too(self, tmp_path: Path, directory: Path) -> None:
        script = tmp_path / "parent.py"
        script.write_text(
            "import pathlib, signal, subprocess, sys, time\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
            "pathlib.Path(sys.argv[1], 'child').write_text(str(child.pid))\n"
            "time.sleep(600)\n"
        )
        run = Run(directory, (sys.executable, str(script)), stop_seconds=0.2)
        await run.start(SPEC)
        await until(lambda: (directory / "child").exists() and (directory / "child").read_text() != "")
        child = int((directory / "child").read_text())
        await run.stopped()

        def gone() -> bool:
            stat = Path(f"/proc/{child}/stat")
            return not stat.exists() or ") Z" in stat.read_text()

        if sys.platform == "linux":
            await until(gone)

    async def test_twice_or_after_the_end_is_harmless(self, directory: Path) -> None:
        run = run_of(directory, "succeed")
        await run.stopped()
        run = run_of(directory, "succeed")
        await run.start(SPEC)
        await events_of(run)
        await run.stopped()
        await run.stopped()
        assert isinstance(run.result(), Succeeded)

    async def test_terminated_by_someone_else_is_no_failure(self, directory: Path) -> None:
        run = run_of(directory, "terminated")
        await run.start(SPEC)
        await events_of(run)
        with pytest.raises(Stopped):
            run.result()


class TestStart:
    async def test_trainer_gets_the_spec_and_no_secret(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.setenv("TUNEWAY_SECRET_KEY", "secret")
        script = tmp_path / "environment.py"
        script.write_text(
            "import os, pathlib, sys; pathlib.Path(sys.argv[1], 'env').write_text(repr(dict(os.environ)))"
        )
        run = Run(directory, (sys.executable, str(script)))
        await run.start(SPEC)
        await events_of(run)
        assert "TUNEWAY" not in (directory / "env").read_text()
        assert b'"seed":3' in (directory / "spec.json").read_bytes()

    async def test_launcher_gets_our_time_to_stop_and_its_processes_our_id(
        self, directory: Path, tmp_path: Path
    ) -> None:
        """torchrun would kill its processes after 30 s, in the middle of a checkpoint, and outlive a killed worker."""
        script = tmp_path / "environment.py"
        script.write_text(
            "import json, os, pathlib, sys; pathlib.Path(sys.argv[1], 'env').write_text(json.dumps(dict(os.environ)))"
        )
        run = Run(directory, (sys.executable, str(script)), stop_seconds=60)
        await run.start(SPEC)
        await events_of(run)
        environment = json.loads((directory / "env").read_text())
        assert environment[OWNER] == str(os.getpid())
        assert 45 <= int(environment["TORCH_ELASTIC_SHUTDOWN_TIMEOUT"]) < 60

    @pytest.mark.parametrize("device", ["2", "0,1"])
    async def test_trainer_sees_its_device_alone(self, directory: Path, device: str) -> None:
        (directory.parent.parent / "trainer-mode").write_text("succeed")
        run = Run(directory, TRAINER, device=device)
        await run.start(SPEC)
        await events_of(run)
        assert f'"device": "{device}"' in (directory / "starts.jsonl").read_text()
