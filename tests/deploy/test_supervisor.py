import asyncio
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest

from deploy.parts import Pace, Part, PartFailed
from deploy.probes import free_port
from deploy.process import Command
from tests.deploy.support import FAKE, Story, alive, fake, parts_of, supervised, until


class TestStart:
    async def test_starts_a_part_after_what_it_depends_on(self, tmp_path: Path):
        story = Story()
        parts = [
            fake("database", port=free_port()),
            fake("migrate", once=True, depends_on=("database",)),
            fake("gateway", port=free_port(), depends_on=("migrate",)),
        ]
        async with supervised(parts, tmp_path, story) as supervisor:
            await supervisor.start()
        assert story.lines == [("database", "ready"), ("migrate", "ready"), ("gateway", "ready")]

    async def test_does_not_wait_for_a_part_that_is_not_awaited(self, tmp_path: Path):
        async def never() -> bool:
            return False

        parts = [
            Part("engine", Command((*FAKE, "engine")), ready=never, awaited=False),
            fake("gateway", port=free_port()),
        ]
        async with supervised(parts, tmp_path, Story()) as supervisor:
            await supervisor.start()
            assert supervisor.still_starting() == ["engine"]

    async def test_writes_the_state_of_every_part(self, tmp_path: Path):
        parts = [fake("gateway", port=free_port()), fake("migrate", once=True)]
        async with supervised(parts, tmp_path, Story()) as supervisor:
            await supervisor.start()
            (gateway,) = parts_of(tmp_path).values()
            assert (gateway["state"], gateway["restarts"]) == ("running", 0)
            assert alive(gateway["pid"])
        (gateway,) = parts_of(tmp_path).values()
        assert (gateway["state"], gateway["pid"]) == ("stopped", None)

    async def test_gives_up_after_quick_deaths_in_a_row(self, tmp_path: Path):
        story = Story()
        part = fake("gateway", port=free_port(), environment={"FAIL": "gateway"})
        async with supervised([part], tmp_path, story) as supervisor:
            with pytest.raises(PartFailed, match="exited with status 1, 3 times in a row") as failed:
                await supervisor.start()
        assert "  gateway was told to fail" in str(failed.value)
        assert str(tmp_path / "gateway.log") in str(failed.value)

    async def test_gives_up_what_runs_once_at_its_first_failure(self, tmp_path: Path):
        story = Story()
        part = fake("migrate", once=True, environment={"FAIL": "migrate"})
        async with supervised([part], tmp_path, story) as supervisor:
            with pytest.raises(PartFailed, match="The migrate part exited with status 3"):
                await supervisor.start()
        assert story.lines == []

    async def test_tells_what_a_part_can_explain_itself(self, tmp_path: Path):
        log = "1: not the reason\nthe reason\nnot the reason\n"
        argv = (sys.executable, "-c", f"print({log!r}); raise SystemExit(1)")
        for explain, told in ((lambda said: said.splitlines()[1], "says:\nthe reason"), (lambda _: None, "The end of")):
            part = Part("engine", Command(argv), final=(1,), explain=explain)
            async with supervised([part], tmp_path, Story()) as supervisor:
                with pytest.raises(PartFailed, match="The engine part exited with status 1") as raised:
                    await supervisor.start()
            assert told in str(raised.value)

    async def test_gives_up_a_part_that_is_not_ready_in_time(self, tmp_path: Path):
        async def never() -> bool:
            return False

        part = Part("engine", Command((*FAKE, "engine")), ready=never, ready_timeout=0.2)
        async with supervised([part], tmp_path, Story()) as supervisor:
            with pytest.raises(PartFailed, match=r"was not ready after 0\.2 seconds"):
                await supervisor.start()

    async def test_names_a_program_that_does_not_exist(self, tmp_path: Path):
        async with supervised([Part("redis", Command(("/no/such/program",)))], tmp_path, Story()) as supervisor:
            with pytest.raises(PartFailed, match=r"redis part cannot be started.*/no/such/program"):
                await supervisor.start()


class TestWatch:
    async def test_starts_a_dead_part_again(self, tmp_path: Path):
        story = Story()
        async with supervised([fake("gateway", port=free_port())], tmp_path, story) as supervisor:
            await supervisor.start()
            os.kill(parts_of(tmp_path)["gateway"]["pid"], signal.SIGKILL)
            await until(lambda: len(story.lines) == 3)
            assert (parts_of(tmp_path)["gateway"]["state"], parts_of(tmp_path)["gateway"]["restarts"]) == ("running", 1)
        assert story.lines == [("gateway", "ready"), ("gateway", "was killed by SIGKILL"), ("gateway", "ready again")]

    async def test_never_gives_up_a_part_that_was_ready_and_waits_longer_each_time(self, tmp_path: Path):
        story = Story()
        async with supervised([fake("gateway", port=free_port())], tmp_path, story) as supervisor:
            await supervisor.start()
            for count in range(4):
                await until(lambda count=count: len(story.lines) == 2 * count + 1)
                os.kill(parts_of(tmp_path)["gateway"]["pid"], signal.SIGKILL)
            await until(lambda: len(story.lines) == 9)
        assert story.pauses == [0.01, 0.02, 0.04, 0.04]

    async def test_a_part_that_was_healthy_is_started_again_at_once(self, tmp_path: Path):
        story = Story()
        pace = Pace(poll=0.01, first_pause=0.01, healthy=0.0)
        async with supervised([fake("gateway", port=free_port())], tmp_path, story, pace) as supervisor:
            await supervisor.start()
            for count in range(2):
                await until(lambda count=count: len(story.lines) == 2 * count + 1)
                os.kill(parts_of(tmp_path)["gateway"]["pid"], signal.SIGKILL)
            await until(lambda: len(story.lines) == 5)
        assert story.pauses == [0.01, 0.01]

    async def test_keeps_dependents_running(self, tmp_path: Path):
        story = Story()
        parts = [fake("database", port=free_port()), fake("gateway", port=free_port(), depends_on=("database",))]
        async with supervised(parts, tmp_path, story) as supervisor:
            await supervisor.start()
            gateway = parts_of(tmp_path)["gateway"]["pid"]
            os.kill(parts_of(tmp_path)["database"]["pid"], signal.SIGKILL)
            await until(lambda: ("database", "ready again") in story.lines)
            assert parts_of(tmp_path)["gateway"]["pid"] == gateway
            assert alive(gateway)

    async def test_ends_what_a_dead_part_has_left_in_its_group(self, tmp_path: Path):
        story = Story()
        part = fake("gateway", port=free_port(), environment={"GROUP": "gateway"})
        async with supervised([part], tmp_path, story) as supervisor:
            await supervisor.start()
            leader = parts_of(tmp_path)["gateway"]["pid"]
            (member,) = psutil.Process(leader).children()
            os.kill(leader, signal.SIGKILL)
            await until(lambda: not alive(member.pid))

    async def test_prepares_before_every_start(self, tmp_path: Path):
        prepared: list[int] = []

        async def prepare() -> None:
            prepared.append(1)

        story = Story()
        async with supervised([fake("gateway", port=free_port(), prepare=prepare)], tmp_path, story) as supervisor:
            await supervisor.start()
            os.kill(parts_of(tmp_path)["gateway"]["pid"], signal.SIGKILL)
            await until(lambda: ("gateway", "ready again") in story.lines)
        assert len(prepared) == 2


class TestStop:
    async def test_stops_in_reverse_order(self, tmp_path: Path):
        order = tmp_path / "order"
        environment = {"ORDER_FILE": str(order)}
        parts = [fake(name, port=free_port(), environment=environment) for name in ("database", "engine", "gateway")]
        async with supervised(parts, tmp_path, Story()) as supervisor:
            await supervisor.start()
        assert order.read_text().split() == ["gateway", "engine", "database"]

    async def test_kills_a_part_that_does_not_stop_in_time(self, tmp_path: Path):
        part = fake("gateway", port=free_port(), environment={"DEAF": "gateway"}, stop_timeout=0.2)
        async with supervised([part], tmp_path, Story()) as supervisor:
            await supervisor.start()
            pid = parts_of(tmp_path)["gateway"]["pid"]
        assert not alive(pid)
        assert "not listening" in (tmp_path / "gateway.log").read_text()

    async def test_hurries_when_asked_twice(self, tmp_path: Path):
        part = fake("gateway", port=free_port(), environment={"DEAF": "gateway"}, stop_timeout=600.0)
        async with supervised([part], tmp_path, Story()) as supervisor:
            await supervisor.start()
            hurry = asyncio.Event()
            stopping = asyncio.ensure_future(supervisor.stop(hurry))
            await until(lambda: "not listening" in (tmp_path / "gateway.log").read_text())
            hurry.set()
            await asyncio.wait_for(stopping, 30)

    async def test_stops_a_part_that_waits_for_its_next_start(self, tmp_path: Path):
        story = Story()
        pace = Pace(poll=0.01, first_pause=600.0, longest_pause=600.0)
        async with supervised([fake("gateway", port=free_port())], tmp_path, story, pace) as supervisor:
            await supervisor.start()
            os.kill(parts_of(tmp_path)["gateway"]["pid"], signal.SIGKILL)
            await until(lambda: story.pauses == [600.0])
            assert parts_of(tmp_path)["gateway"]["state"] == "restarting"


class TestLogs:
    async def test_appends_and_keeps_one_older_log(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("deploy.supervisor.LARGEST_LOG_BYTES", 10)
        log = tmp_path / "migrate.log"
        log.write_text("earlier output\n")
        part = fake("migrate", once=True, environment={"FAIL": "migrate"})
        async with supervised([part], tmp_path, Story()) as supervisor:
            with pytest.raises(PartFailed):
                await supervisor.start()
        assert log.read_text() == "migrate ends with status 3\n"
        assert (tmp_path / "migrate.log.1").read_text() == "earlier output\n"
