"""What a worker does with its lease; the SQL is in test_claims."""

import asyncio
from contextlib import asynccontextmanager
from typing import Any

import pytest

from gateway.errors import Unavailable
from gateway.fine_tuning import claims
from gateway.fine_tuning.lease import Lease

pytestmark = pytest.mark.anyio


class Away:
    """A database that cannot be reached, or that hangs."""

    def __init__(self, *, hangs: bool = False) -> None:
        self.hangs = hangs
        self.asked = 0

    @asynccontextmanager
    async def session(self) -> Any:
        self.asked += 1
        if self.hangs:
            await asyncio.sleep(600)
        raise Unavailable("away")
        yield


class Fine:
    @asynccontextmanager
    async def session(self) -> Any:
        yield None


class TestKeep:
    async def test_is_lost_when_the_database_is_away_for_too_long(self) -> None:
        database = Away()
        lease = Lease(database, 0.1, poll_seconds=0.01)  # type: ignore[arg-type]
        await asyncio.wait_for(lease.keep(), 10)
        assert lease.lost.is_set()
        assert database.asked > 1

    async def test_is_lost_when_the_database_hangs(self) -> None:
        lease = Lease(Away(hangs=True), 0.1, poll_seconds=0.01)  # type: ignore[arg-type]
        await asyncio.wait_for(lease.keep(), 10)
        assert lease.lost.is_set()

    async def test_is_lost_when_another_has_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        answers = ["running", "running", None]

        async def extend(*_: Any) -> str | None:
            return answers.pop(0)

        monkeypatch.setattr(claims, "extend", extend)
        lease = Lease(Fine(), 60, poll_seconds=0.01)  # type: ignore[arg-type]
        lease.statuses = ("running",)
        await asyncio.wait_for(lease.keep(), 10)
        assert answers == []
        assert lease.lost.is_set()

    async def test_ends_when_it_is_given_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def extend(*_: Any) -> str:
            return "running"

        monkeypatch.setattr(claims, "extend", extend)
        monkeypatch.setattr(claims, "release", extend)
        lease = Lease(Fine(), 60, poll_seconds=30)  # type: ignore[arg-type]
        keeping = asyncio.ensure_future(lease.keep())
        await asyncio.sleep(0.01)
        await lease.give_back()
        await asyncio.wait_for(keeping, 10)

    async def test_pause_stops_the_work_but_the_lease_is_kept_until_it_is_given_back(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answers = ["running", "paused"]
        kept = asyncio.Event()

        async def extend(*_: Any) -> str:
            if len(answers) > 1:
                return answers.pop(0)
            if lease.lost.is_set():
                kept.set()
            return answers[0]

        monkeypatch.setattr(claims, "extend", extend)
        monkeypatch.setattr(claims, "release", extend)
        lease = Lease(Fine(), 60, poll_seconds=0.01)  # type: ignore[arg-type]
        lease.statuses = ("running",)
        keeping = asyncio.ensure_future(lease.keep())
        await asyncio.wait_for(kept.wait(), 10)
        assert not keeping.done()
        await lease.give_back()
        await asyncio.wait_for(keeping, 10)

    def test_two_holds_of_one_process_are_not_the_same(self) -> None:
        assert Lease(Fine(), 1).holder != Lease(Fine(), 1).holder  # type: ignore[arg-type]

    async def test_giving_back_without_a_database_is_left_to_time(self) -> None:
        await Lease(Away(), 1).give_back()  # type: ignore[arg-type]
